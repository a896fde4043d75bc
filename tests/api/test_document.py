"""Every example of the document of R's package ssh, in C and in the shell (rows A1-A9); R and Python have theirs in
tests/bindings. Against OpenSSH with our program on the host, and as plain ssh where it cannot run."""
# parallel: ok
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import Program
from test_plain import Mac
from harness import ROOT, Daemon, Sshd, run

C = os.path.join(ROOT, "build", "tests", "api", "document")


def md5(path):
    with open(path, "rb") as f:
        return hashlib.md5(f.read()).hexdigest()


class Examples:
    def make(self):
        return Sshd()

    def setUp(self):
        self.host = self.make()
        self.addCleanup(self.host.stop)
        self.local = Daemon(self.host, test=self)
        self.env = Program(self, self.host, self.local).env

    def c(self, *args, check=True):
        return run([C, self.host.config, "demo", *args], env=self.env, check=check, cwd=self.local.home, timeout=120).stdout

    def sh(self, *args, check=True, **kw):
        return self.local.towline(*args, check=check, cwd=self.local.home, **kw)

    def sha1(self):
        out = run(["ssh-keygen", "-lf", self.host.host_key + ".pub", "-E", "md5"]).stdout
        self.assertTrue(out)
        with open(self.host.host_key + ".pub") as f:
            import base64
            h = hashlib.sha1(base64.b64decode(f.read().split()[1])).hexdigest()
        return ":".join(h[i:i + 2] for i in range(0, 40, 2))

    def test_connecting(self):
        self.assertEqual(self.c("connect"), f"<ssh session> (connected)\nserver: {self.sha1()}\n")
        self.assertIn(self.sha1(), self.sh("info", "demo").stdout)
        self.assertIn("Server accepts key", self.c("verbose"))
        self.assertIn("Server accepts key", self.sh("-v", "exec", "demo", "true").stderr)

    def test_commands_and_scripts(self):
        self.assertEqual(self.c("whoami"), f"{self.host.user}\n[1] 0\n")
        self.assertEqual(self.sh("exec", "demo", "whoami", input="").stdout, f"{self.host.user}\n")
        self.assertRegex(self.c("script"), r"^6\n\[1\] [12]\n$")
        r = self.sh("exec", "demo", "-c", "printf %s packed >file.tar", "-c", "wc -c <file.tar", "-c", "rm -f file.tar", input="")
        self.assertEqual(r.stdout.strip(), "6")

    def test_captured_output_and_its_error(self):
        command = "R --vanilla -s -e 'x <- rnorm(10); length(x)'"
        self.assertEqual(self.c("capture", command), "[1] 0\n[1] 10\n")
        self.assertEqual(self.sh("exec", "--capture", "demo", "-c", command, input="").stdout, "[1] 10\n")
        r = run([C, self.host.config, "demo", "capture", "exit 3"], env=self.env, check=False)
        self.assertEqual((r.returncode, "failed with status 3" in r.stderr), (1, True))

    def test_a_password_on_standard_input(self):
        command = "IFS= read -r p; [ \"$p\" = 'mypassword!' ] && echo right"
        self.assertEqual(self.c("sudo", "mypassword!\n", command), "right\n")
        self.assertEqual(self.sh("exec", "demo", "-c", command, input="mypassword!\n").stdout, "right\n")

    def test_upload_and_download(self):
        path = os.path.join(self.local.home, "COPYING")
        with open(path, "wb") as f:
            f.write(os.urandom(18092))
        for way in ("c", "sh"):
            folder = os.path.join(self.local.home, way)
            os.mkdir(folder)
            if way == "c":
                self.c("copy", path, "COPYING", folder)
            else:
                self.sh("upload", "demo", "COPYING", ".")
                self.sh("download", "demo", "COPYING", folder)
            self.assertEqual(md5(os.path.join(folder, "COPYING")), md5(path))
            os.unlink(os.path.join(self.host.home, "COPYING"))

    def talk(self, p, port):
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.settimeout(60)
            s.sendall(b"hello")
            self.assertEqual(s.recv(5, socket.MSG_WAITALL), b"HELLO")
        self.assertEqual(p.wait(60), 0)

    def test_tunnel_for_one_connection(self):
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        target = f"127.0.0.1:{server.getsockname()[1]}"

        def serve():
            for _ in range(2):
                c, _ = server.accept()
                with c:
                    c.sendall(c.recv(100).upper())
        threading.Thread(target=serve, daemon=True).start()
        p = subprocess.Popen([C, self.host.config, "demo", "tunnel", "0", target], env=self.env, stdout=subprocess.PIPE, text=True)
        self.addCleanup(p.stdout.close)
        self.talk(p, int(p.stdout.readline()))
        p = self.local.start("tunnel", "--once", "demo", f"0:{target}", text=True)
        self.talk(p, int(p.stdout.readline().split()[1]))
        p.communicate(timeout=60)

    def test_interrupt_ends_the_tunnel(self):
        p = self.local.start("tunnel", "demo", "0:localhost:1", text=True)
        self.assertTrue(p.stdout.readline())
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(60), 0)
        p.communicate()


class WithOurProgram(Examples, unittest.TestCase):
    pass


class ByPlainSsh(Examples, unittest.TestCase):
    def make(self):
        return Mac()


if __name__ == "__main__":
    unittest.main()
