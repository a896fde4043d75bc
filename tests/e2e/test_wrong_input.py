"""Whatever goes wrong ends in one message that says what failed, why and what to do, with an exit status of its own; nothing
half-installed remains (rows B7 C4 and the list of wrong input of the first issue)."""
# parallel: ok
import os
import socket
import unittest

from harness import Daemon, Sshd, run, wait_for


def leftovers(home):
    """Everything below ~/.towline-server that looks like the middle of something."""
    out = []
    for top, dirs, files in os.walk(os.path.join(home, ".towline-server")):
        out += [os.path.join(top, n) for n in dirs + files if "tmp" in n or "part" in n or n.endswith(".lock.d") or n == "lock"]
    return out


class Wrong(unittest.TestCase):
    def fails(self, local, status, *argv, says=(), **kw):
        r = local.towline(*argv, check=False, **kw)
        self.assertEqual(r.returncode, status, "%s\n%s" % (r.stdout, r.stderr))
        self.assertEqual(r.stdout, "")
        lines = [x for x in r.stderr.splitlines() if x.startswith("towline: ")]
        self.assertEqual(len(lines), 1, r.stderr)
        for text in says:
            self.assertIn(text, r.stderr)
        return r

    def test_unknown_host(self):
        local = Daemon(test=self)
        self.fails(local, 40, "open", "--no-browser", "no-such-host.invalid:/tmp", says=["no-such-host.invalid"])

    def test_refused_port(self):
        host = Sshd(test=self)
        host.shut()
        self.fails(Daemon(host, test=self), 41, "open", "--no-browser", "demo:/tmp", says=["demo", "refused"])

    def test_changed_host_key_is_refused_without_a_question(self):
        host = Sshd(password="right", test=self)
        host.new_host_key()
        r = self.fails(Daemon(host, test=self), 44, "open", "--no-browser", "demo:/tmp", says=["known_hosts"])
        self.assertNotIn("(yes/no", r.stderr)
        with open(host.log, errors="replace") as f:
            self.assertNotIn("password for", f.read())  # nothing secret was tried

    def test_no_such_folder(self):
        host = Sshd(test=self)
        self.fails(Daemon(host, test=self), 20, "open", "--no-browser", "demo:/no/such/folder", says=["/no/such/folder"])

    def test_folder_without_permission(self):
        host = Sshd(test=self)
        if not host.root:
            self.skipTest("needs a second user")
        closed = os.path.join(host.dir, "closed")
        os.mkdir(closed, 0o700)
        self.fails(Daemon(host, test=self), 21, "open", "--no-browser", "demo:" + closed, says=[closed, "permission"])

    def test_unsupported_architecture(self):
        host = Sshd(test=self)
        bin_dir = os.path.join(host.dir, "bin")
        os.mkdir(bin_dir)
        fake = os.path.join(bin_dir, "uname")
        with open(fake, "w") as f:
            f.write('#!/bin/sh\n/bin/uname "$@" | sed s/x86_64/mips64/\n')
        os.chmod(fake, 0o755)
        os.chmod(bin_dir, 0o755)
        for name in (".bashrc", ".bash_profile"):
            with open(os.path.join(host.home, name), "w") as f:
                f.write("PATH=%s:$PATH\n" % bin_dir)
        local = Daemon(host, test=self)
        self.assertTrue(local.towline("open", "--no-browser", "demo:/tmp").stdout.startswith("window: "))
        self.assertIn("mips64", local.towline("status").stdout)
        self.assertEqual(leftovers(host.home), [])

    def test_full_disk_then_space_again(self):
        host = Sshd(test=self)
        if not host.root:
            self.skipTest("needs to mount")
        run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=755,uid=%d" % host.uid, "tmpfs", host.home])
        self.addCleanup(run, ["umount", "-l", host.home], check=False)
        local = Daemon(host, test=self)
        # the server goes to another place, and that is said
        r = local.towline("open", "--no-browser", "demo:/tmp")
        self.assertTrue(r.stdout.startswith("window: "))
        self.assertRegex(r.stderr, "kB left|No space left")
        self.assertRegex(local.towline("status").stdout, "kB left|No space left")
        self.assertEqual(leftovers(host.home), [])
        local.towline("close", "demo")
        run(["mount", "-o", "remount,size=256m", host.home])
        self.assertTrue(local.towline("open", "--no-browser", "demo:/tmp").stdout.startswith("window: "))
        self.assertEqual(leftovers(host.home), [])

    def test_port_of_the_daemon_taken(self):
        host = Sshd(test=self)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            local = Daemon(host, env={"TOWLINE_PORT": str(s.getsockname()[1])}, test=self)
            self.fails(local, 81, "open", "--no-browser", "demo:/tmp", says=[str(s.getsockname()[1])])

    def test_last_times_port_taken_is_no_failure(self):
        host = Sshd(test=self)
        local = Daemon(host, test=self)
        url = local.towline("open", "--no-browser", "demo:/tmp").stdout
        port = int(url.split("localhost:")[1].split("/")[0])
        local.towline("stop")
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            wait_for(lambda: self.can_bind(s, port), what="the port to be free")
            s.listen()
            again = local.towline("open", "--no-browser", "demo:/tmp").stdout
        self.assertNotIn(":%d/" % port, again)

    @staticmethod
    def can_bind(s, port):
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False

    def test_host_that_looks_like_an_option(self):
        self.fails(Daemon(test=self), 2, "open", "--no-browser", "--", "-oProxyCommand=touch /tmp/owned:/")

    def test_no_ssh_program(self):
        host = Sshd(test=self)
        local = Daemon(host, env={"TOWLINE_SSH": "/no/such/ssh"}, test=self)
        self.fails(local, 47, "open", "--no-browser", "demo:/tmp", says=["/no/such/ssh"])

    def test_bad_line_in_the_ssh_config(self):
        host = Sshd(test=self)
        with open(host.config, "a") as f:
            f.write("    NoSuchKeyword yes\n")
        self.fails(Daemon(host, test=self), 48, "open", "--no-browser", "demo:/tmp", says=["nosuchkeyword"])


class Prompts(unittest.TestCase):
    """The same with a person at a terminal."""

    def talk(self, local, argv, answers):
        """Runs towline on a terminal; answers: (text to wait for, what to type). Returns (status, everything shown)."""
        t = local.terminal(*argv)
        at = 0
        for text, answer in answers:
            at = t.expect(text, 60, at)
            t.send(answer + "\n")
        status = t.wait(60)
        shown = t.text
        t.close()
        return status, shown

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("password logins need a second user")

    def test_right_password_is_asked_once(self):
        host = Sshd(password="correct horse", test=self)
        local = Daemon(host, test=self)
        status, seen = self.talk(local, ("open", "--no-browser", "demo:/tmp"), [("assword", "correct horse")])
        self.assertEqual(status, 0, seen)
        self.assertIn("window: http://localhost:", seen)
        self.assertNotIn("correct horse", seen)
        self.assertEqual(seen.count("assword:"), 1, seen)
        # whatever is opened later asks nothing
        self.assertEqual(local.towline("ls", "demo:/").returncode, 0)

    def test_wrong_password_thrice(self):
        host = Sshd(password="correct horse", test=self)
        local = Daemon(host, test=self)
        status, seen = self.talk(local, ("open", "--no-browser", "demo:/tmp"),
                                 [("assword", "wrong1"), ("assword", "wrong2"), ("assword", "wrong3")])
        self.assertEqual(status, 43, seen)
        self.assertIn("towline: ", seen)
        with open(host.log, errors="replace") as f:
            self.assertEqual(f.read().count("Failed password"), 3)

    def test_unknown_host_key_accepted_and_rejected(self):
        host = Sshd(known=False, test=self)
        local = Daemon(host, test=self)
        status, seen = self.talk(local, ("open", "--no-browser", "demo:/tmp"), [("yes/no", "no")])
        self.assertEqual(status, 45, seen)
        self.assertIn(host.fingerprint(), seen)
        status, seen = self.talk(local, ("open", "--no-browser", "demo:/tmp"), [("yes/no", "yes")])
        self.assertEqual(status, 0, seen)
        self.assertGreater(os.path.getsize(host.known_hosts), 0)

    def test_passphrase_of_a_key(self):
        host = Sshd(passphrase="open sesame", test=self)
        local = Daemon(host, test=self)
        status, seen = self.talk(local, ("connect", "demo"), [("assphrase", "open sesame")])
        self.assertEqual(status, 0, seen)


if __name__ == "__main__":
    unittest.main()
