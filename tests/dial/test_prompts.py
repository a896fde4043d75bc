"""ssh's questions and failures: real servers, keys and passwords; a fake ssh where the real one needs hardware."""
# deadline: 600
import os
import re
import shutil
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from dialing import Dial, dial, server_folder
from harness import Sshd, find_processes, free_port, run, scratch, wait_for


class Base(unittest.TestCase):
    def up(self, d):
        self.assertTrue(d.is_up, d.events)
        return d

    def failed(self, d, error, *parts):
        self.assertFalse(d.is_up, d.events)
        (e,) = d.all("failed")
        self.assertEqual(e["error"], error, d.events)
        for p in parts:
            self.assertIn(p, e["text"])
        return e

    def kinds(self, d):
        return [(e["kind"], e["attempt"]) for e in d.all("prompt")]

    def no_secret(self, d, secret):
        self.assertNotIn(secret, str(d.events))


class Login(Base):
    def test_key_asks_nothing(self):
        d = self.up(dial(self, Sshd(test=self)))
        self.assertEqual(d.all("prompt"), [])

    def test_password(self):
        host = Sshd(password="s3cret word", test=self)
        if not host.root:
            self.skipTest("needs a user with a password")
        d = self.up(dial(self, host, "--answer", "s3cret word"))
        self.assertEqual(self.kinds(d), [("password", 1)])
        self.assertIn(host.user, d.all("prompt")[0]["text"])
        self.assertFalse(d.all("prompt")[0]["echo"])
        self.no_secret(d, "s3cret")

    def test_password_right_at_the_second_try(self):
        host = Sshd(password="right", test=self)
        if not host.root:
            self.skipTest("needs a user with a password")
        d = self.up(dial(self, host, "--answer", "wrong", "--answer", "right"))
        self.assertEqual(self.kinds(d), [("password", 1), ("password", 2)])

    def test_password_wrong_three_times(self):
        host = Sshd(password="right", test=self)
        if not host.root:
            self.skipTest("needs a user with a password")
        d = dial(self, host, "--answer", "wr0ng")
        self.assertEqual(self.kinds(d), [("password", 1), ("password", 2), ("password", 3)])
        self.failed(d, "AUTH", "cannot log in to demo", "the host takes password", "Permission denied")
        self.no_secret(d, "wr0ng")

    def test_passphrase(self):
        host = Sshd(passphrase="open sesame", test=self)
        d = self.up(dial(self, host, "--answer", "no", "--answer", "open sesame"))
        self.assertEqual(self.kinds(d), [("passphrase", 1), ("passphrase", 2)])
        self.assertIn(host.key, d.all("prompt")[0]["text"])

    def test_no_accepted_key(self):
        host = Sshd(test=self)
        with open(os.path.join(host.dir, "authorized_keys"), "w"):
            pass
        self.failed(dial(self, host), "AUTH", "the host takes publickey")

    def test_keyboard_interactive(self):
        host = Sshd(password="pam word", test=self, extra="UsePAM yes\nKbdInteractiveAuthentication yes\n"
                    "PasswordAuthentication no", client_extra="PreferredAuthentications keyboard-interactive")
        if not host.root or not os.path.exists("/etc/pam.d/sshd"):
            self.skipTest("needs PAM and a user with a password")
        d = self.up(dial(self, host, "--answer", "pam word"))
        self.assertEqual(self.kinds(d), [("password", 1)])
        self.assertTrue(d.all("prompt")[0]["text"].startswith(f"({host.user}@127.0.0.1)"))

    def test_cancel(self):
        host = Sshd(password="x", test=self)
        self.failed(dial(self, host, "--cancel"), "CANCELED", "demo")
        host = Sshd(known=False, test=self)
        self.failed(dial(self, host, "--cancel"), "CANCELED", "demo")

    def test_deadline_stands_still_while_a_person_thinks(self):
        host = Sshd(password="x", test=self)
        d = Dial(self, "-F", host.config, "--ms", 1500, "--answer", "wait", host.alias, send="")
        self.assertTrue(d.wait("prompt"))
        # three deadlines later the question is still open
        with self.assertRaises(AssertionError):
            d._next(4.5)
        host.drop_connections()

    def test_two_hosts_in_a_row_each_with_a_password(self):
        first, second = Sshd(password="one", alias="first", test=self), Sshd(password="two", alias="second", test=self)
        if not first.root:
            self.skipTest("needs a user with a password")
        config = os.path.join(first.dir, "both")
        with open(config, "w") as f:
            f.write(open(first.config).read() + open(second.config).read() + "    ProxyJump first\n")
        run(["sed", "-i", f"s|ProxyJump first|ProxyCommand ssh -F {config} -W %h:%p first|", config])
        d = self.up(Dial(self, "-F", config, "--answer", "one", "--answer", "two", "second").finish())
        self.assertEqual(self.kinds(d), [("password", 1), ("password", 1)])
        wait_for(lambda: not first.connections() and not second.connections(), 60, "both connections to end")


class HostKeys(Base):
    def test_unknown_key_accepted(self):
        host = Sshd(known=False, test=self)
        d = self.up(dial(self, host, "--answer", "yes"))
        self.assertEqual(self.kinds(d), [("hostkey", 1)])
        self.assertIn(host.fingerprint(), d.all("prompt")[0]["text"])
        self.assertTrue(d.all("prompt")[0]["echo"])
        d = self.up(dial(self, host))
        self.assertEqual(d.all("prompt"), [])

    def test_unknown_key_by_fingerprint(self):
        host = Sshd(known=False, test=self)
        d = self.up(dial(self, host, "--answer", "SHA256:" + "A" * 43, "--answer", host.fingerprint()))
        self.assertEqual([k for k, _ in self.kinds(d)], ["hostkey", "hostkey"])

    def test_unknown_key_refused(self):
        host = Sshd(known=False, test=self)
        self.failed(dial(self, host, "--answer", "no"), "HOSTKEY_UNKNOWN", "not confirmed")

    def test_unknown_key_where_ssh_may_not_ask(self):
        host = Sshd(known=False, client_extra="StrictHostKeyChecking yes", test=self)
        self.failed(dial(self, host), "HOSTKEY_UNKNOWN", "No ED25519 host key is known")

    def test_unknown_key_when_reconnecting(self):
        host = Sshd(known=False, test=self)
        d = dial(self, host, "--reconnect", "--answer", "yes")
        self.failed(d, "HOSTKEY_UNKNOWN", "cannot reconnect")
        self.assertEqual(d.all("prompt"), [])

    def test_changed_key(self):
        host = Sshd(test=self)
        self.up(dial(self, host))
        host.new_host_key()
        for option in ("ask", "yes", "accept-new", "no", "off"):
            d = dial(self, host, "-o", f"StrictHostKeyChecking={option}", "--answer", "yes")
            self.failed(d, "HOSTKEY", f"{host.known_hosts}:1")
            self.assertEqual(d.all("prompt"), [])

    def test_changed_key_gets_no_password(self):
        host = Sshd(password="x", test=self)
        host.new_host_key()
        d = dial(self, host, "-o", "StrictHostKeyChecking=no", "--answer", "x")
        self.failed(d, "HOSTKEY")
        self.assertEqual(d.all("prompt"), [])

    def test_revoked_key(self):
        host = Sshd(test=self)
        with open(host.known_hosts) as f:
            line = f.read()
        with open(host.known_hosts, "a") as f:
            f.write("@revoked " + line)
        self.failed(dial(self, host), "HOSTKEY", "revoked")


class Unreachable(Base):
    def ssh(self, *args, **kw):
        return Dial(self, "-F", "/dev/null", "-o", "BatchMode=yes", *args, **kw).finish()

    def test_refused(self):
        port = free_port()
        self.failed(self.ssh(f"127.0.0.1:{port}"), "REFUSED", f"port {port} of 127.0.0.1 refuses connections")

    def test_unknown_name(self):
        self.failed(self.ssh("no-such-host.invalid"), "RESOLVE", "no-such-host.invalid")

    def test_no_answer(self):
        host = Sshd(wire=True, test=self)
        host.wire.stall()
        self.failed(dial(self, host, "--ms", 1500), "TIMEOUT", "2 s")

    def test_closed_at_once(self):
        host = Sshd(wire=True, test=self)
        host.wire.cut()
        self.failed(dial(self, host), "SSH", "demo")

    def test_jump_host_refuses(self):
        port = free_port()
        self.failed(self.ssh("-o", f"ProxyCommand=ssh -F /dev/null -W %h:%p -p {port} 127.0.0.1", "demo"), "REFUSED",
                    str(port))

    def test_two_jump_hosts_that_lead_to_each_other(self):
        """OpenSSH makes thousands of processes of this; the deadline ends every one of them."""
        d = scratch("tlc-")
        self.addCleanup(shutil.rmtree, d, True)
        config = os.path.join(d, "config")
        with open(config, "w") as f:
            f.write("Host a\n ProxyJump b\nHost b\n ProxyJump a\n")
        env = {"TOWLINE_TEST": "loop" + os.path.basename(d)}
        self.failed(Dial(self, "-F", config, "--ms", 700, "a", env=env).finish(), "TIMEOUT")
        wait_for(lambda: not find_processes(env["TOWLINE_TEST"], argv0="ssh"), 60, "every ssh to end")

    def test_bad_configuration(self):
        d = scratch("tlc-")
        self.addCleanup(shutil.rmtree, d, True)
        config = os.path.join(d, "config")
        for text, part in (("Host a\nHostnam b\n", "hostnam"), ("Host a\nPort many\n", "line 2")):
            with open(config, "w") as f:
                f.write(text)
            self.failed(Dial(self, "-F", config, "a").finish(), "SSHCONFIG", config, part)
        self.failed(Dial(self, "-F", config + "x", "a").finish(), "SSHCONFIG", config + "x")
        self.failed(Dial(self, "-F", "/dev/null", "-o", "Nonsense=1", "a").finish(), "SSHCONFIG", "nonsense")

    def test_no_ssh(self):
        e = self.failed(Dial(self, "--ssh", "/nothing/ssh", "a").finish(), "NOSSH", "/nothing/ssh")
        self.assertIn("remote.SSH.path", e["message"])

    def test_names_that_are_none(self):
        for name in ("-oProxyCommand=touch /tmp/x", "a b", "me@-x"):
            self.failed(Dial(self, "--", name).finish() if name[0] != "-" else Dial(self, name).finish(), "INVAL",
                        "cannot connect")


FAKE = """#!/bin/sh
# an ssh that asks what only hardware can make the real one ask
for last; do :; done
%s
exec sh -c "$last"
"""


class Fake(Base):
    def ssh(self, text, *args, **kw):
        d = scratch("tlf-")
        self.addCleanup(shutil.rmtree, d, True)
        path = os.path.join(d, "ssh")
        with open(path, "w") as f:
            f.write(FAKE % text)
        os.chmod(path, 0o755)
        return Dial(self, "--ssh", path, *args, "demo", env={"HOME": d}, **kw)

    def test_touch(self):
        d = self.ssh('SSH_ASKPASS_PROMPT=none "$SSH_ASKPASS" "Confirm user presence for key ED25519-SK" & p=$!\n'
                     'trap : USR1\necho touch me >&2\nwait $p && exit 9\nkill $p; wait $p', "--answer", "wait")
        d.wait("prompt", kind="touch")
        # the key is touched: ssh takes its question back
        pid = int(run(["pgrep", "-P", str(d.process.pid)]).stdout.split()[0])
        os.kill(pid, signal.SIGUSR1)
        self.up(d.finish())
        self.assertTrue(d.all("gone"))

    def test_codes_and_pin(self):
        d = self.ssh('a=$("$SSH_ASKPASS" "(me@h) Verification code: ") || exit 255\n'
                     'b=$("$SSH_ASKPASS" "Enter PIN for \'token\': ") || exit 255\n'
                     '[ "$a:$b" = "123 456:été \\$x" ] || exit 255',
                     "--answer", "123 456", "--answer", "été $x").finish()
        self.up(d)
        self.assertEqual(self.kinds(d), [("question", 1), ("pin", 1)])

    def test_confirmation(self):
        ask = 'SSH_ASKPASS_PROMPT=confirm "$SSH_ASKPASS" "Allow use of key x?" >/dev/null || { echo refused >&2; exit 255; }'
        self.up(self.ssh(ask, "--answer", "yes").finish())
        self.failed(self.ssh(ask, "--answer", "no").finish(), "SSH", "refused")

    def test_no_secret_in_the_environment_or_arguments(self):
        d = self.ssh('tr "\\0" "\\n" </proc/$$/environ >&2; tr "\\0" " " </proc/$$/cmdline >&2; echo >&2').finish()
        self.up(d)
        lines = [e["line"] for e in d.all("log")]
        ours = [x for x in lines if x.startswith(("SSH_ASKPASS", "TOWLINE_ASKPASS_SOCKET"))]
        self.assertEqual(len(ours), 3, lines)
        command = lines[-1]
        self.assertRegex(command, r"-T -e none -o RemoteCommand=none .* -o LogLevel=INFO -- demo exec sh -c 'n=[a-z2-7]+;d=.*IFS= read -r l; eval \"\$l\"'")

    def test_strangers_at_the_prompt_socket(self):
        """Nonsense on the socket closes that connection and nothing else."""
        d = self.ssh('python3 - <<"EOF"\nimport os, socket\n'
                     'for junk in (b"", b"x", b"- 99999999\\n", b"-\\n", b"- -1\\nx", b"- 5\\nabcdefgh", b"A" * 100000):\n'
                     '    s = socket.socket(socket.AF_UNIX)\n    s.connect(os.environ["TOWLINE_ASKPASS_SOCKET"])\n'
                     '    try:\n        s.sendall(junk)\n        s.shutdown(1)\n        s.recv(10)\n'
                     '    except OSError:\n        pass\n    s.close()\nEOF\n', "--answer", "x").finish()
        self.up(d)

    def test_socket_is_private_and_removed(self):
        d = self.ssh('stat -c "%a" "$TOWLINE_ASKPASS_SOCKET" >&2').finish()
        self.up(d)
        self.assertIn("600", [e["line"] for e in d.all("log")])
        self.assertEqual(os.listdir(d.run_dir), [])

    def test_sockets_of_a_killed_daemon_are_removed(self):
        d = self.ssh('"$SSH_ASKPASS" "Code: "', "--answer", "wait")
        d.wait("prompt")
        d.process.kill()
        (left,) = os.listdir(d.run_dir)
        again = self.ssh('ls "$(dirname "$TOWLINE_ASKPASS_SOCKET")" >&2', "--run", d.run_dir).finish()
        self.up(again)
        self.assertNotIn(left, [e["line"] for e in again.all("log")])
        self.assertEqual(os.listdir(d.run_dir), [])

    def test_ended_by_a_signal(self):
        self.failed(self.ssh("kill -9 $$").finish(), "SSH", "signal 9")

    def test_helper_alone(self):
        from dialing import ASKPASS
        env = {k: v for k, v in os.environ.items() if k != "TOWLINE_ASKPASS_SOCKET"}
        r = run([ASKPASS, "x"], check=False, env=env)
        self.assertEqual(r.returncode, 1)
        self.assertIn("TOWLINE_ASKPASS_SOCKET is not set", r.stderr)


class AfterUp(Base):
    def test_connection_cut_later(self):
        host = Sshd(wire=True, test=self)
        d = Dial(self, "-F", host.config, "--stay", host.alias)
        d.wait("data")
        host.wire.cut()
        d.finish()
        (e,) = d.all("down")
        self.assertEqual(e["error"], "CLOSED", e)

    def test_server_program_ends_later(self):
        host = Sshd(test=self)
        b = server_folder(self, "#!/bin/sh\n[ $1 != bridge ] || { printf '\\000towline %s\\n' $2; echo gone wrong >&2; exit 64; }\n")
        d = Dial(self, "-F", host.config, "--stay", host.alias, bin=b, send="").finish()
        (e,) = d.all("down")
        self.assertEqual(e["error"], "AGENT", e)
        self.assertIn("gone wrong", e["text"])

    def test_users_own_master_connection(self):
        """It is used, saves a login and outlives us; a reconnection does not trust it."""
        host = Sshd(password="x", test=self, client_extra="ControlMaster auto\nControlPath /tmp/tlcm-%C\nControlPersist 60")
        if not host.root:
            self.skipTest("needs a user with a password")
        ask = os.path.join(host.dir, "ask")
        with open(ask, "w") as f:
            f.write("#!/bin/sh\necho x\n")
        os.chmod(ask, 0o755)
        # no master, and none is made by us
        self.assertEqual(len(self.up(dial(self, host, "--answer", "x")).all("prompt")), 1)
        self.assertNotEqual(run(["ssh", "-F", host.config, "-O", "check", host.alias], check=False).returncode, 0)
        run(["ssh", "-F", host.config, host.alias, "true"], env=dict(os.environ, SSH_ASKPASS=ask, SSH_ASKPASS_REQUIRE="force"))
        try:
            self.assertEqual(self.up(dial(self, host)).all("prompt"), [])
            run(["ssh", "-F", host.config, "-O", "check", host.alias])
            self.assertEqual(len(self.up(dial(self, host, "--reconnect", "--answer", "x")).all("prompt")), 1)
        finally:
            run(["ssh", "-F", host.config, "-O", "exit", host.alias], check=False)

    def test_configuration_meant_for_a_terminal(self):
        host = Sshd(test=self, client_extra="RemoteCommand echo mine\nRequestTTY force\nPermitLocalCommand yes\n"
                    "LocalCommand touch /tmp/tl-never\nLogLevel QUIET\nEscapeChar ~")
        self.up(dial(self, host))
        self.assertFalse(os.path.exists("/tmp/tl-never"))
        host.shut()
        self.failed(dial(self, host), "REFUSED")

    def test_ssh_that_does_not_want_to_end(self):
        mark = "stubborn" + str(os.getpid())
        d = scratch("tlf-")
        self.addCleanup(shutil.rmtree, d, True)
        path = os.path.join(d, "ssh")
        with open(path, "w") as f:
            f.write("#!/bin/sh\ntrap '' TERM HUP\nwhile :; do sleep 1000; done\n")
        os.chmod(path, 0o755)
        self.failed(Dial(self, "--ssh", path, "--ms", 300, "demo", env={"TOWLINE_TEST": mark}).finish(), "TIMEOUT")
        # only the driver's own end tells that everything was freed
        wait_for(lambda: not find_processes(mark), 60, "all of it to end")

    def test_nothing_left_of_ssh(self):
        host = Sshd(test=self)
        mark = "left" + str(os.getpid())
        self.up(Dial(self, "-F", host.config, host.alias, env={"TOWLINE_TEST": mark}).finish())
        wait_for(lambda: not find_processes(mark, argv0="ssh"), 60, "ssh to end")


class Config(Base):
    def test_hosts(self):
        host = Sshd(test=self)
        d = Dial(self, "--hosts", "-F", host.config, send="").finish()
        self.assertEqual([e["name"] for e in d.all("host")], ["demo"])
        d = Dial(self, "--hosts", "-F", "/nothing", send="").finish()
        self.failed(d, "NOENT", "/nothing")


if __name__ == "__main__":
    unittest.main()
