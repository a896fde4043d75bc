"""The harness itself: a fixture that lies makes every other test worthless.
# parallel: ok
"""
import os
import subprocess
import unittest

from harness import Dropbear, Sshd, Wire, dropbear_missing, find_processes, run, wait_for


class OpenSsh(unittest.TestCase):
    def test_shells_keys_home(self):
        for shell in ("sh", "bash", "dash", "tcsh", "fish"):
            with self.subTest(shell=shell):
                host = Sshd(shell=shell, test=self)
                self.assertEqual(host.remote("pwd").stdout.strip(), host.home)
                self.assertIn(shell, host.remote("echo $SHELL").stdout)
                home, mark = host.dir, host.mark
                sleeper = subprocess.Popen(["ssh", "-F", host.config, "demo", "sleep 1000"], stdin=subprocess.DEVNULL)
                wait_for(lambda: find_processes(mark), 60, "the remote program")
                host.stop()
                sleeper.wait(20)
                self.assertEqual(find_processes(mark), [])
                self.assertFalse(os.path.exists(home))

    def test_unknown_and_changed_host_key(self):
        host = Sshd(known=False, test=self)
        r = host.remote("true", check=False)
        self.assertEqual(r.returncode, 255)
        self.assertIn("verification failed", r.stderr)
        host.learn_host_key()
        host.remote("true")
        host.new_host_key()
        self.assertIn("HOST IDENTIFICATION HAS CHANGED", host.remote("true", check=False).stderr)

    def test_password(self):
        host = Sshd(password="correct horse", test=self)
        ask = os.path.join(host.dir, "ask")
        with open(ask, "w") as f:
            f.write("#!/bin/sh\necho 'correct horse'\n")
        os.chmod(ask, 0o755)
        env = dict(os.environ, SSH_ASKPASS=ask, SSH_ASKPASS_REQUIRE="force")
        r = run(["ssh", "-F", host.config, "demo", "echo in"], env=env)
        self.assertEqual(r.stdout, "in\n")

    def test_extra_lines_and_connections(self):
        host = Sshd(extra="AllowTcpForwarding no\nForceCommand internal-sftp", wire=True, test=self)
        self.assertNotEqual(host.remote("echo x", check=False).stdout, "x\n")
        wait_for(lambda: not host.connections(), 60, "the connection to end")
        self.assertGreater(host.wire.passed[0], 0)

    def test_drop(self):
        host = Sshd(test=self)
        p = subprocess.Popen(["ssh", "-F", host.config, "demo", "echo up; cat"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stdin.close)
        self.assertEqual(p.stdout.readline(), b"up\n")
        self.assertGreater(host.drop_connections(), 0)
        self.assertEqual(p.wait(20), 255)
        host.remote("true")


class TheWire(unittest.TestCase):
    def test_stall_cut_heal(self):
        host = Sshd(wire=True, test=self)
        wire = host.wire
        self.assertIsInstance(wire, Wire)
        p = subprocess.Popen(["ssh", "-F", host.config, "demo", "echo up; cat"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stdin.close)
        self.assertEqual(p.stdout.readline(), b"up\n")
        wire.stall()
        p.stdin.write(b"late\n")
        wire.heal()
        self.assertEqual(p.stdout.readline(), b"late\n")
        wire.cut()
        self.assertEqual(p.wait(20), 255)
        self.assertEqual(host.remote("true", check=False).returncode, 255)
        wire.heal()
        host.remote("true")


@unittest.skipIf(dropbear_missing(), dropbear_missing())
class Busybox(unittest.TestCase):
    def test_bare_host(self):
        host = Dropbear(test=self)
        self.assertEqual(host.remote("echo $HOME; id -u").stdout, "/root\n0\n")
        self.assertNotEqual(host.remote("ls /usr", check=False).returncode, 0)
        r = run(["sftp", "-F", host.config, "-b", "/dev/null", "demo"], check=False)
        self.assertNotEqual(r.returncode, 0)
        tty = run(["ssh", "-F", host.config, "-tt", "demo", "tty"], stdin=subprocess.DEVNULL)
        self.assertIn("/dev/pts/", tty.stdout)
        mark = host.mark
        host.stop()
        self.assertEqual(find_processes(mark), [])


if __name__ == "__main__":
    unittest.main()
