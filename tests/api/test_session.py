"""Sessions of libtowline against a real sshd: the ways to a host, questions, facts, threads, and what stays behind.

deadline: 600
"""
import base64
import hashlib
import json
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import Program
from harness import ROOT, Dropbear, Sshd, dropbear_missing, find_processes, wait_for

SERVER = ".towline-server"


def sleepers(seconds):
    """Processes `sleep SECONDS` of anybody."""
    found = []
    for pid in find_processes(argv0="sleep"):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                found += [pid] if seconds in f.read().split("\0") else []
        except OSError:
            pass
    return found


class Ways(unittest.TestCase):
    def test_direct_leaves_nothing(self):
        host = Sshd(test=self)
        before = sorted(os.listdir(host.home))
        r = Program(self, host).drive("--via", "direct", "run", "echo far", check=0)
        self.assertEqual(r.other, ["far"])
        self.assertEqual(r.one("exit"), {"event": "exit", "status": 0, "signal": 0})
        wait_for(lambda: not host.processes("towline-host"), 60, "the host program to end")
        self.assertEqual(sorted(os.listdir(host.home)), before)

    def test_installed_uses_the_agent(self):
        host = Sshd(test=self)
        p = Program(self, host)
        p.drive("--via", "installed", "run", "true", check=0)
        self.assertIn(SERVER, os.listdir(host.home))
        self.assertEqual(p.drive("--via", "installed", "info", check=0).one("info")["via"], "installed")

    def test_daemon_on_demand_and_its_session_for_all(self):
        host = Sshd(test=self)
        p = Program(self, host)
        self.assertEqual(p.drive("info", check=0).one("info")["via"], "direct")  # no daemon yet, and none is started
        self.assertIsNone(p.daemon.pid())
        r = p.drive("--via", "daemon", "run", "echo n=$((6*7))", check=0)
        self.assertEqual(r.other, ["n=42"])
        logins = len(host.connections())
        i = p.drive("info", check=0).one("info")  # now AUTO finds it
        self.assertEqual((i["via"], i["user"], i["home"]), ("daemon", host.user, host.home))
        self.assertEqual(i["sha256"], host.fingerprint())
        self.assertEqual(len(host.connections()), logins)

    def test_auto_with_other_options_goes_its_own_way(self):
        host = Sshd(test=self)
        p = Program(self, host)
        p.drive("--via", "daemon", "run", "true", check=0)
        self.assertEqual(p.drive("-o", "Compression=yes", "info", check=0).one("info")["via"], "direct")

    def test_forms_of_a_host(self):
        host = Sshd(test=self)
        p = Program(self, host)
        with open(host.config, "a") as f:  # everything of the alias but its address
            with open(host.config) as g:
                f.write(g.read().replace("Host demo", "Host 127.0.0.1").replace("HostName 127.0.0.1", "").replace(f"User {host.user}", "")
                        .replace(f"Port {host.port}", ""))
        for target in (f"{host.user}@127.0.0.1:{host.port}", f"ssh://{host.user}@127.0.0.1:{host.port}"):
            i = p.drive("info", target=target, check=0).one("info")
            self.assertEqual((i["user"], i["port"], i["host"]), (host.user, host.port, "127.0.0.1"))
        i = p.drive("-p", host.port, "info", target=f"{host.user}@127.0.0.1", check=0).one("info")
        self.assertEqual(i["port"], host.port)

    def test_nonsense_is_refused(self):
        host = Sshd(test=self)
        p = Program(self, host)
        for target, words in (("-oProxyCommand=x", "'-'"), ("a b", "space"), ("user@", "no host name")):
            e = p.drive("info", target=target, check=1).one("error")
            self.assertEqual(e["name"], "invalid")
            self.assertIn(words, e["message"])
        self.assertEqual(p.drive("-p", 70000, "info", check=1).one("error")["name"], "invalid")


class Facts(unittest.TestCase):
    def test_info(self):
        host = Sshd(test=self)
        i = Program(self, host).drive("info", check=0).one("info")
        with open(host.host_key + ".pub") as f:
            key = base64.b64decode(f.read().split()[1])
        sha1 = hashlib.sha1(key).hexdigest()
        self.assertEqual(i["sha1"], ":".join(sha1[n:n + 2] for n in range(0, 40, 2)))
        want = dict(connected=1, host="127.0.0.1", address="127.0.0.1", user=host.user, port=host.port, via="direct",
                    identity=host.key, auth_method="publickey", sha256=host.fingerprint(), host_key_type="ssh-ed25519",
                    jump="", platform="Linux x86_64", home=host.home)
        self.assertEqual({k: i[k] for k in want}, want)
        self.assertIn("OpenSSH_", i["server_version"])
        self.assertTrue(i["cipher"] and i["kex"], i)

    def test_levels_of_the_log(self):
        host = Sshd(test=self)
        p = Program(self, host)
        for level in (0, 1, 2, 3, 4):
            lines = p.drive("-v", level, "argv", "true", check=0).all("log")
            self.assertLessEqual(max((e["level"] for e in lines), default=0), level)
            text = "\n".join(e["line"] for e in lines)
            if level < 2:
                self.assertEqual(lines, [])
            else:
                self.assertIn("Offering public key", text)
                self.assertIn("Server accepts key", text)
            self.assertEqual("debug2:" in text, level >= 3)
            self.assertEqual("debug3:" in text, level >= 4)


class Questions(unittest.TestCase):
    def test_password_is_asked_on_our_thread(self):
        host = Sshd(password="s3cret", test=self)
        r = Program(self, host).drive("--answer", "wrong", "--answer", "s3cret", "argv", "true", check=0)
        self.assertEqual([(e["kind"], e["attempt"], e["here"]) for e in r.all("prompt")],
                         [("password", 1, 1), ("password", 2, 1)])
        self.assertNotIn("s3cret", str(r.events))

    def test_nobody_to_ask(self):
        host = Sshd(password="s3cret", test=self)
        e = Program(self, host).drive("run", "true", check=1).one("error")
        self.assertEqual(e["name"], "authentication_failed")
        self.assertIn("no prompt function", e["message"])

    def test_refused_answer_cancels(self):
        host = Sshd(password="s3cret", test=self)
        self.assertEqual(Program(self, host).drive("--answer", "-", "run", "true", check=1).one("error")["name"], "canceled")

    def test_unknown_host_key(self):
        host = Sshd(known=False, test=self)
        p = Program(self, host)
        self.assertEqual(p.drive("run", "true", check=1).one("error")["name"], "host_key_rejected")
        self.assertEqual(p.drive("--answer", "no", "run", "true", check=1).one("error")["name"], "host_key_rejected")
        r = p.drive("--answer", "yes", "info", check=0)
        self.assertIn(host.fingerprint(), r.one("prompt")["text"])
        self.assertEqual(r.one("prompt")["kind"], "hostkey")
        self.assertTrue(r.one("info")["sha1"])

    def test_changed_host_key_gets_no_secret(self):
        host = Sshd(password="s3cret", test=self)
        host.new_host_key()
        for verbosity in (0, 4):
            r = Program(self, host).drive("-v", verbosity, "--answer", "s3cret", "run", "true", check=1)
            self.assertEqual(r.one("error")["name"], "host_key_changed")
            self.assertIn(host.known_hosts, r.one("error")["message"])
            self.assertEqual(r.all("prompt"), [])

    def test_passphrase(self):
        host = Sshd(passphrase="open", test=self)
        r = Program(self, host).drive("--answer", "open", "argv", "true", check=0)
        self.assertEqual(r.one("prompt")["kind"], "passphrase")

    def test_deadline(self):
        host = Sshd(wire=True, test=self)
        host.freeze()
        host.wire.stall()
        e = Program(self, host).drive("-t", 1000, "run", "true", check=1).one("error")
        self.assertEqual(e["name"], "timeout")

    def test_reasons_are_the_same_at_every_verbosity(self):
        host = Sshd(test=self)
        p = Program(self, host)
        with open(os.path.join(host.dir, "authorized_keys"), "w"):
            pass
        seen = {(e["name"], e["message"]) for e in (p.drive("-v", v, "run", "true", check=1).one("error") for v in (0, 2, 4))}
        self.assertEqual(len(seen), 1, seen)
        self.assertIn("the host takes publickey", seen.pop()[1])
        host.shut()
        self.assertEqual(p.drive("-v", 3, "run", "true", check=1).one("error")["name"], "connection_refused")


class Canceled(unittest.TestCase):
    def attempt(self, host, *args):
        """A program whose attempt to connect hangs gets SIGINT; its events."""
        p = Program(self, host).start(*args, "connect")
        self.assertIn("connecting", p.stdout.readline())
        wait_for(lambda: host.connections(), 60, "the connection to begin")
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertNotIn("Sanitizer", err)
        return [json.loads(line) for line in out.splitlines()]

    def test_while_the_host_says_nothing(self):
        host = Sshd(wire=True, test=self)
        host.wire.stall()
        for via in ("direct", "installed", "daemon"):
            with self.subTest(via=via):
                e = self.attempt(host, "-t", 300000, "--via", via)[-1]
                self.assertEqual((e["event"], e["name"]), ("error", "canceled"), e)
                host.drop_connections()

    def test_nothing_is_left(self):
        host = Sshd(test=self)
        p = Program(self, host)
        x = p.start("-o", "ProxyCommand=sleep 4714", "connect")
        self.assertIn("connecting", x.stdout.readline())
        wait_for(lambda: sleepers("4714"), 60, "ssh to start its proxy")
        x.send_signal(signal.SIGINT)
        self.assertIn('"canceled"', x.communicate(timeout=60)[0])
        wait_for(lambda: not sleepers("4714"), 60, "the proxy to end")
        folder = os.path.join(p.daemon.runtime_dir, "towline")
        self.assertEqual([n for n in os.listdir(folder) if n.startswith("lib-")], [])


class Many(unittest.TestCase):
    def test_64_threads_with_a_session_each(self):
        host = Sshd(test=self)
        p = Program(self, host)
        p.drive("--via", "direct", "run", "true", check=0)
        r = p.drive("-t", 240000, "--via", "direct", "threads", 64, "echo $N", timeout=300)
        self.assertEqual(r.one("many")["good"], 64, r)
        wait_for(lambda: not host.processes("towline-host"), 60, "the host programs to end")

    def test_500_commands_at_once(self):
        host = Sshd(test=self)
        r = Program(self, host).drive("many", 500, "echo $N", timeout=300)
        self.assertEqual(r.one("many")["good"], 500, r)

    def test_500_commands_at_once_through_the_daemon(self):
        host = Sshd(test=self)
        r = Program(self, host).drive("--via", "daemon", "many", 500, "echo $N", timeout=300)
        self.assertEqual(r.one("many")["good"], 500, r)

    def test_connections_one_after_another(self):
        """LIBTOWLINE_AGAIN=1000 for the whole thing."""
        host = Sshd(test=self)
        n = int(os.environ.get("LIBTOWLINE_AGAIN", "30"))
        p = Program(self, host)
        r = p.drive("again", n, timeout=30 + 5 * n, check=0)
        self.assertEqual(r.one("again")["good"], n)
        left = [x for x in os.listdir(os.path.join(p.daemon.runtime_dir, "towline")) if x.startswith("lib-")]
        self.assertEqual(left, [])


class Elsewhere(unittest.TestCase):
    @unittest.skipIf(dropbear_missing(), dropbear_missing())
    def test_busybox_host_with_dropbear(self):
        static = os.path.join(ROOT, "build", "stage")  # the sanitizer build needs a C library that is not there
        if not os.path.exists(f"{static}/lib/towline/host/towline-host-x86_64") or not os.path.exists(f"{static}/bin/towline-askpass"):
            self.skipTest("needs make native host")
        host = Dropbear(test=self)
        p = Program(self, host)
        p.env["TOWLINE_PREFIX"] = static
        self.assertEqual(p.drive("--via", "direct", "capture", "echo far", check=0).one("output")["out"], "far\n")
        self.assertIn("dropbear", p.drive("info", check=0).one("info")["server_version"])

    def test_jump_host(self):
        host = Sshd(test=self)
        with open(host.config, "a") as f:
            f.write(f"Host far\n    ProxyCommand ssh -F {host.config} -W %h:%p demo\n")
            with open(host.config) as g:
                f.write("".join(g.readlines()[1:]))
        self.assertEqual(Program(self, host).drive("capture", "echo $USER", target="far", check=0).one("output")["out"], host.user + "\n")


class Neighbour(unittest.TestCase):
    def test_children_and_handlers_of_the_program_are_its_own(self):
        host = Sshd(test=self)
        e = Program(self, host).drive("child", check=0).one("child")
        self.assertEqual((e["status"], e["handler"], e["seen"]), (7, 1, 1))

    def test_program_that_is_killed_leaves_nothing(self):
        host = Sshd(test=self)
        p = Program(self, host).start("lost", "echo up; exec sleep 4711")
        while '"data"' not in p.stdout.readline():
            self.assertIsNone(p.poll())
        wait_for(lambda: find_processes(uid=host.uid, argv0="sleep"), 60, "the shell to become the sleeper")
        p.kill()
        wait_for(lambda: not find_processes(uid=host.uid, argv0="sleep"), 60, "the command to end")
        wait_for(lambda: not host.processes("towline-host"), 60, "the host program to end")


if __name__ == "__main__":
    unittest.main()
