"""towline doctor on hosts that are broken in one way each: it names the broken step every time (row B11)."""
# parallel: ok
import json
import os
import socket
import subprocess
import threading
import unittest

from harness import Daemon, Sshd, free_port, run

ROOT_ONLY = unittest.skipIf(os.geteuid() != 0, "needs mounts, namespaces and users of its own")


class Talker:
    """A TCP server that says one thing to everybody: None closes at once, "" says nothing."""

    def __init__(self, text, test):
        self.s = socket.create_server(("127.0.0.1", 0))
        self.port, self.text, self.kept = self.s.getsockname()[1], text, []
        threading.Thread(target=self.serve, daemon=True).start()
        test.addCleanup(self.s.close)

    def serve(self):
        while True:
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            if self.text is None:
                c.close()
                continue
            c.sendall(self.text.encode())
            self.kept.append(c)


class Doctor(unittest.TestCase):
    def setUp(self):
        self.d = Daemon(test=self)

    def visit(self, config, *args, front=(), host="demo"):
        argv = [*front, os.path.join(self.d.stage, "bin", "towline"), "-F", config, *args, "--json", "doctor", host]
        r = subprocess.run(argv, env=self.d.env, cwd=self.d.home, capture_output=True, text=True, timeout=180,
                           stdin=subprocess.DEVNULL, start_new_session=True)
        self.assertEqual(r.stderr, "")
        out = json.loads(r.stdout)
        self.assertEqual(out["ok"], r.returncode == 0, r.stdout)
        return r.returncode, out

    def broken(self, status, step, words, config, *args, **kw):
        """The walk ends at this step, with these words, and says what to do; everything before it was fine."""
        code, out = self.visit(config, *args, **kw)
        self.assertEqual((code, out.get("broken")), (status, step), out)
        self.assertEqual([s["step"] for s in out["steps"] if s["state"] == "bad"], [step])
        last = out["steps"][-1]
        self.assertEqual(last["step"], step)
        self.assertIn(words, last["text"])
        self.assertTrue(last["todo"])
        return out

    def states(self, out):
        return {s["step"]: s["state"] for s in out["steps"]}

    def text(self, out, step):
        return next(s["text"] for s in out["steps"] if s["step"] == step)

    def config(self, *lines):
        path = os.path.join(self.d.dir, "c")
        with open(path, "w") as f:
            f.write("\n  ".join(["Host demo", "UserKnownHostsFile /dev/null", *lines]) + "\n")
        return path

    def choose(self, host):
        """The usual folder, but as if the user had named it: no other one will do."""
        folder = os.path.join(self.d.config_home, "towline", "User")
        os.makedirs(folder)
        with open(os.path.join(folder, "settings.json"), "w") as f:
            json.dump({"remote.SSH.serverInstallPath": {"demo": host.home + "/.towline-server"}}, f)

    # ---- before ssh says anything ----

    def test_configuration(self):
        self.broken(48, "configuration", "Bad configuration option: nonsense", self.config("Nonsense 1"))
        self.broken(2, "configuration", "space", self.config(), host="a b")

    def test_no_such_name(self):
        self.broken(40, "name", "no address for the name nowhere.invalid", self.config("HostName nowhere.invalid"))
        self.broken(40, "name", "gate.invalid", self.config("HostName 127.0.0.1", "ProxyJump me@gate.invalid"))

    @ROOT_ONLY
    def test_no_route(self):
        self.broken(42, "route", "no way to 192.0.2.1", self.config("HostName 192.0.2.1"), front=("unshare", "-n"))

    def test_port_closed(self):
        out = self.broken(41, "port", "is closed", self.config("HostName 127.0.0.1", f"Port {free_port()}"))
        self.assertEqual(self.states(out)["route"], "ok")

    def test_banner_is_not_ssh(self):
        for words, said, status in (("it said: HTTP/1.1 400 Bad Request", "HTTP/1.1 400 Bad Request\r\n\r\n", 46),
                                    ("closed without a word", None, 1), ("nobody says anything", "", 10)):
            port = Talker(said, self).port
            self.broken(status, "banner", words, self.config("HostName 127.0.0.1", f"Port {port}"))

    def test_algorithms(self):
        host = Sshd(extra="Ciphers aes128-ctr", client_extra="Ciphers chacha20-poly1305@openssh.com", test=self)
        self.broken(46, "algorithms", "no matching cipher", host.config)

    # ---- host key and login ----

    def test_host_key(self):
        host = Sshd(test=self)
        host.new_host_key()
        out = self.broken(44, "host key", "not the one known", host.config)
        self.assertIn(host.fingerprint(), self.text(out, "host key"))
        host.learn_host_key()
        with open(host.known_hosts) as f:
            line = f.read()
        with open(host.known_hosts, "w") as f:
            f.write("@revoked " + line)
        self.broken(44, "host key", "revoked", host.config)
        open(host.known_hosts, "w").close()
        self.broken(45, "host key", "not known", host.config, "-o", "StrictHostKeyChecking=yes")

    def test_no_login(self):
        host = Sshd(test=self)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host.key + "2"])
        os.replace(host.key + "2.pub", os.path.join(host.dir, "authorized_keys"))
        out = self.broken(43, "login", "nothing that was tried was accepted", host.config)
        self.assertRegex(self.text(out, "login"), rf"key {host.key} ED25519: refused")
        self.assertEqual(self.states(out)["host key"], "ok")

    @ROOT_ONLY
    def test_wrong_password(self):
        host = Sshd(password="right", test=self)
        self.d.host = host
        t = self.d.terminal("doctor", "demo")
        at = 0
        for i in range(3):
            at = t.expect("password:", 120, at)
            t.send("wrong\n")
        t.expect("password: refused", 120)
        self.assertEqual(t.wait(120), 43)
        self.assertIn("BAD   login", t.text)
        t = self.d.terminal("doctor", "demo")
        t.expect("password:", 120)
        t.send("right\n")
        self.assertEqual(t.wait(120), 0, t.text)
        # one login for everything
        self.assertEqual(t.text.count("password:"), 1)

    # ---- the shell ----

    @ROOT_ONLY
    def test_no_shell(self):
        self.broken(66, "shell", "not available", Sshd(shell="/usr/sbin/nologin", test=self).config)
        self.broken(66, "shell", "status", Sshd(extra="ForceCommand internal-sftp", test=self).config)

    @ROOT_ONLY
    def test_start_up_file_that_ends_the_shell(self):
        host = Sshd(test=self)
        with open(os.path.join(host.home, ".bashrc"), "w") as f:
            f.write("exec true\n")
        self.broken(66, "shell", "no command runs", host.config)

    @ROOT_ONLY
    def test_shell_noise_is_a_note(self):
        host = Sshd(test=self)
        with open(os.path.join(host.home, ".bashrc"), "w") as f:
            f.write("echo Welcome to the machine\n")
        code, out = self.visit(host.config)
        self.assertEqual((code, self.states(out)["shell"]), (0, "note"))
        self.assertIn("Welcome to the machine", self.text(out, "shell"))

    # ---- folders and platform ----

    @ROOT_ONLY
    def test_home(self):
        host = Sshd(test=self)
        os.chmod(host.home, 0o555)
        code, out = self.visit(host.config)
        self.assertEqual((code, self.states(out)["home"]), (0, "note"), out)
        self.assertIn("the server goes elsewhere", self.text(out, "home"))
        self.assertEqual(self.states(out)["server"], "note")
        os.chmod(host.home, 0o755)
        # a folder that was chosen is not left for another one
        self.choose(host)
        os.chmod(host.home, 0o555)
        self.broken(21, "home", "cannot be written", host.config)
        os.chmod(host.home, 0o755)
        for options, status, words in (("noexec", 63, "is mounted noexec"), ("size=64k", 26, "is full"), ("ro", 27, "cannot be written")):
            run(["mount", "-t", "tmpfs", "-o", f"mode=755,uid={host.uid},{options}", "none", host.home])
            try:
                self.broken(status, "home", words, host.config)
            finally:
                run(["umount", "-l", host.home])
        self.assertEqual(self.visit(host.config)[0], 0)

    def test_platform(self):
        fake = os.path.join(self.d.dir, "bin")
        os.mkdir(fake)
        with open(os.path.join(fake, "uname"), "w") as f:
            f.write("#!/bin/sh\ncase $1 in -sm) echo Linux riscv64;; *) echo 5.10;; esac\n")
        os.chmod(os.path.join(fake, "uname"), 0o755)
        os.chmod(self.d.dir, 0o755)
        host = Sshd(env={"PATH": fake + ":/usr/bin:/bin"}, test=self)
        self.broken(60, "platform", "Linux riscv64", host.config)

    # ---- the server ----

    def test_server(self):
        host = Sshd(test=self)
        os.mkdir(os.path.join(host.home, ".towline-server"))
        if host.root:
            os.chown(os.path.join(host.home, ".towline-server"), host.uid, -1)
        open(os.path.join(host.home, ".towline-server", "bin"), "w").close()
        self.choose(host)
        self.broken(61, "server", "cannot install", host.config)

    def test_what_sshd_forbids_is_a_note(self):
        host = Sshd(extra="AllowTcpForwarding no\nPermitTTY no\nMaxSessions 2", test=self)
        code, out = self.visit(host.config)
        self.assertEqual((code, self.states(out)["sshd"]), (0, "note"))
        self.assertEqual(self.text(out, "sshd"), "allows no TCP forwarding, no terminals")

    def test_a_good_host(self):
        host = Sshd(test=self)
        code, out = self.visit(host.config)
        self.assertEqual(code, 0, out)
        self.assertEqual([s["step"] for s in out["steps"]],
                         ["configuration", "name", "route", "port", "banner", "host key", "login", "shell", "platform", "home",
                          "sshd", "server", "link"])
        self.assertEqual({s["state"] for s in out["steps"]}, {"ok"})
        with open(host.log) as f:
            self.assertEqual(f.read().count("Accepted publickey"), 1)
        # nothing of the walk itself stays
        left = [x for x in os.listdir(host.home) if x != ".towline-server"]
        self.assertEqual([x for x in left if "towline" in x], [])
        self.assertEqual([x for x in os.listdir(self.d.runtime_dir)], [])

    def test_jump_host(self):
        host = Sshd(test=self)
        with open(host.config) as f:
            text = f.read()
        with open(host.config, "w") as f:
            f.write(text + "\n" + text.replace("Host demo", "Host inner\n    ProxyJump demo"))
        code, out = self.visit(host.config, host="inner")
        self.assertEqual(code, 0, out)
        self.assertIn("by way of demo", self.text(out, "configuration"))
        with open(host.config, "a") as f:
            f.write(f"Host dead\n  HostName 127.0.0.1\n  Port {free_port()}\n  ProxyJump demo\n")
        code, out = self.visit(host.config, host="dead")
        self.assertNotEqual(code, 0)
        self.assertIn(out["broken"], ("port", "banner"), out)
        self.assertRegex(out["steps"][-1]["text"], "refused|closed")


class Words(unittest.TestCase):
    def test_for_people(self):
        d = Daemon(Sshd(test=self), test=self)
        r = d.towline("doctor", "demo")
        self.assertRegex(r.stdout, r"(?m)^ok    login          as \S+; key \S+ ED25519( \S+)?: accepted$")
        self.assertRegex(r.stdout, r"(?m)^ok    link           answers in [\d.]+ ms$")
        self.assertIsNone(d.pid())
        self.assertEqual(d.towline("doctor", check=False).returncode, 2)


if __name__ == "__main__":
    unittest.main()
