"""The Python module: every example of the document, values of all kinds, interruption, forgotten sessions."""
# deadline: 300
import ctypes
import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import unittest
import warnings

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import ROOT, Sshd, free_port, run, scratch, spawn, wait_for
from harness.proc import end

PREFIX = os.path.join(ROOT, "build", "stage")
BINDING = os.path.join(ROOT, "bindings", "python")
LIBRARY = os.path.join(PREFIX, "lib", "libtowline.so")
PRIVATE = scratch("tlpy-")
ENV = {"TOWLINE_LIBRARY": LIBRARY, "TOWLINE_PREFIX": PREFIX, "XDG_RUNTIME_DIR": PRIVATE, "XDG_STATE_HOME": PRIVATE,
       "PYTHONPATH": BINDING}
os.environ.update(ENV)
sys.path.insert(0, BINDING)
HAVE = os.path.exists(LIBRARY)
if HAVE:
    import towline
    from towline import _native


def tearDownModule():
    shutil.rmtree(PRIVATE, True)


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


@unittest.skipUnless(HAVE, "build/stage/lib/libtowline.so is missing: make lib")
class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not HAVE:
            raise unittest.SkipTest("no library")
        cls.host = Sshd()
        cls.session = towline.Session(cls.host.alias, config_file=cls.host.config)
        cls.dir = scratch("tlpyt-")

    @classmethod
    def tearDownClass(cls):
        cls.session.close()
        cls.host.stop()
        shutil.rmtree(cls.dir, True)

    def script(self, text, **kw):
        """A program of a user, in a process of its own."""
        head = (f"import towline\ns = towline.Session({self.host.alias!r}, config_file={self.host.config!r})\n")
        p = spawn([sys.executable, "-W", "always", "-c", head + text], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                  stderr=subprocess.PIPE, text=True, env=dict(os.environ, **ENV), **kw)
        self.addCleanup(end, p)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stderr.close)
        return p


class Document(Base):
    """The examples of the R package's document, in its order."""

    def test_connect_and_print(self):
        with towline.Session(self.host.alias, config_file=self.host.config) as s:
            self.assertTrue(s.connected)
            self.assertEqual(repr(s), "<towline.Session demo (connected)>")
            i = s.info()
            self.assertEqual((i.user, i.port, i.connected), (self.host.user, self.host.port, True))
            self.assertEqual(i.fingerprint_sha256, self.host.fingerprint())
            self.assertRegex(i.fingerprint_sha1, r"^([0-9a-f]{2}:){19}[0-9a-f]{2}$")
            self.assertIn("OpenSSH", i.server_version)
        self.assertFalse(s.connected)
        self.assertEqual(repr(s), "<towline.Session demo (disconnected)>")

    def test_verbose(self):
        lines = []
        with towline.Session(self.host.alias, config_file=self.host.config, verbosity=2, log=lambda level, line: lines.append(line)):
            pass
        self.assertTrue(any("publickey" in x for x in lines), lines)

    def test_whoami(self):
        out = io.StringIO()
        self.assertEqual(self.session.exec("whoami", stdout=out), towline.Exit(0))
        self.assertEqual(out.getvalue(), self.host.user + "\n")

    def test_script_of_several_commands(self):
        out = self.session.capture("cd /tmp", "x=carried", 'echo "$PWD $x"')
        self.assertEqual(out.text, "/tmp carried\n")

    def test_capture_and_its_error(self):
        out = self.session.capture("echo out; echo err >&2; printf 'a\\000b'")
        self.assertEqual((out.stdout, out.stderr, out.status), (b"out\na\0b", b"err\n", 0))
        with self.assertRaises(towline.CommandError) as e:
            self.session.capture("echo why >&2; exit 3")
        self.assertEqual((e.exception.name, e.exception.number, e.exception.output.stderr), ("status", -90, b"why\n"))
        self.assertIn("exit 3", e.exception.message)
        self.assertTrue(e.exception.todo)
        self.assertEqual(self.session.capture("exit 3", check=False).status, 3)

    def test_password_on_standard_input(self):
        """The recipe `echo password | sudo -S` without the password in the command."""
        out = self.session.capture("read -r p; [ \"$p\" = 'mypassword!' ] && echo accepted", stdin="mypassword!\n")
        self.assertEqual(out.text, "accepted\n")

    def test_upload_and_download(self):
        path = os.path.join(self.dir, "COPYING")
        with open(path, "wb") as f:
            f.write(os.urandom(300000))
        seen = []
        self.session.upload(path, progress=lambda p: seen.append(p.done))
        self.assertEqual(sha256(os.path.join(self.host.home, "COPYING")), sha256(path))
        back = os.path.join(self.dir, "back")
        os.mkdir(back)
        self.session.download("COPYING", back, verify=True)
        self.assertEqual(sha256(os.path.join(back, "COPYING")), sha256(path))
        self.assertTrue(seen)

    def test_folder(self):
        top = os.path.join(self.dir, "tree")
        os.makedirs(os.path.join(top, "sub", "empty"))
        for name in (".hidden", "with space", "-dash", "sub/ü"):
            with open(os.path.join(top, name), "w") as f:
                f.write(name)
        self.session.upload([top], "~")
        back = os.path.join(self.dir, "tree-back")
        os.mkdir(back)
        self.session.download("~/tre*", back)
        r = run(["diff", "-r", top, os.path.join(back, "tree")], check=False)
        self.assertEqual(r.returncode, 0, r.stdout)

    def test_tunnel(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]

            def serve():
                c, _ = server.accept()
                with c:
                    c.sendall(c.recv(100).upper())
            threading.Thread(target=serve, daemon=True).start()
            listen = free_port()
            with self.session.tunnel(listen, f"127.0.0.1:{port}", once=True) as t:
                self.assertEqual(t.port, listen)
                with socket.create_connection(("127.0.0.1", listen)) as c:
                    c.sendall(b"hello")
                    self.assertEqual(c.recv(100), b"HELLO")
                t.wait()

    def test_disconnect(self):
        s = towline.Session(self.host.alias, config_file=self.host.config)
        s.close()
        s.close()
        with self.assertRaises(towline.Error) as e:
            s.capture("true")
        self.assertEqual(e.exception.name, "closed")


class Values(Base):
    def test_sizes_of_the_structures(self):
        names = sorted(_native.STRUCTS)
        source = os.path.join(self.dir, "sizes.c")
        with open(source, "w") as f:
            f.write('#include <stdio.h>\n#include "towline.h"\nint main(void){' +
                    "".join(f'printf("%zu\\n", sizeof(struct {n}));' for n in names) + "}\n")
        run(["cc", "-I", os.path.join(ROOT, "include"), "-o", source[:-2], source])
        sizes = [int(x) for x in run([source[:-2]]).stdout.split()]
        self.assertEqual(dict(zip(names, sizes)), {n: ctypes.sizeof(_native.STRUCTS[n]) for n in names})

    def test_every_function_of_the_header(self):
        import re
        with open(os.path.join(ROOT, "include", "towline.h")) as f:
            declared = set(re.findall(r"^TL_API .*?\b(tl_\w+)\(", f.read(), re.M))
        self.assertEqual(declared - set(_native.FUNCTIONS), {"tl_run"})

    def test_outputs(self):
        got = []
        self.session.exec("echo one; echo two >&2", stdout=got.append, stderr=subprocess.DEVNULL)
        self.assertEqual(b"".join(got), b"one\n")
        path = os.path.join(self.dir, "out")
        self.session.exec("echo file", stdout=path)
        with open(path) as f:
            self.assertEqual(f.read(), "file\n")
        with open(path, "w+") as f:
            self.session.exec("echo 1; echo 2 >&2", stdout=f, stderr=f)
            f.seek(0)
            self.assertEqual(sorted(f.read().split()), ["1", "2"])
        b = io.BytesIO()
        self.session.exec(argv=["printf", "%s", "$HOME *"], stdout=b)
        self.assertEqual(b.getvalue(), b"$HOME *")

    def test_input_places_and_terminal(self):
        path = os.path.join(self.dir, "in")
        with open(path, "w") as f:
            f.write("from a file")
        with open(path) as f:
            self.assertEqual(self.session.capture("cat", stdin=f).text, "from a file")
        self.assertEqual(self.session.capture("cat", stdin=io.BytesIO(b"x" * 70000)).stdout, b"x" * 70000)
        self.assertEqual(self.session.capture("cat").stdout, b"")
        out = self.session.capture('pwd; echo "$A [$HOME]"', cwd="/usr", env={"A": "ä", "HOME": None})
        self.assertEqual(out.text, "/usr\nä []\n")
        self.assertIn("33 101", self.session.capture("stty size", pty=(101, 33)).text)

    def test_signal_and_limits(self):
        self.assertEqual(self.session.exec("kill -9 $$").signal, 9)
        with self.assertRaises(towline.Timeout):
            self.session.exec("sleep 100", timeout=0.3)
        with self.assertRaises(towline.Error) as e:
            self.session.capture("yes", max_bytes=100000)
        self.assertEqual(e.exception.name, "limit")

    def test_wrong_use(self):
        for f in (lambda: self.session.exec(), lambda: self.session.exec("a", argv=["b"]), lambda: self.session.exec("a\0b"),
                  lambda: towline.Session("x", via="magic")):
            with self.assertRaises(ValueError):
                f()
        with self.assertRaises(towline.Error) as e:
            self.session.upload("/no/such/file")
        self.assertEqual(e.exception.name, "not_found")
        self.assertIn("/no/such/file", str(e.exception))

    def test_exception_of_a_function(self):
        def broken(data):
            raise KeyError("mine")
        with self.assertRaisesRegex(KeyError, "mine"):
            self.session.exec("echo x; sleep 100", stdout=broken)
        self.assertTrue(self.session.connected)

    def test_cancel_token(self):
        token = towline.Cancel()
        with self.assertRaises(towline.Canceled):
            self.session.exec("echo go; exec sleep 1234", stdout=lambda b: token.cancel(), cancel=token)
        token.reset()
        self.assertTrue(self.session.exec("true", cancel=token).ok)

    def test_threads(self):
        out = []
        threads = [threading.Thread(target=lambda i=i: out.append(self.session.capture(f"echo {i}").text)) for i in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(sorted(map(int, out)), list(range(20)))

    def test_close_while_in_use(self):
        s = towline.Session(self.host.alias, config_file=self.host.config)
        started, seen = threading.Event(), []

        def work():
            try:
                s.exec("echo go; sleep 1000", stdout=lambda b: started.set())
            except towline.Error as e:
                seen.append(e.name)
        t = threading.Thread(target=work)
        t.start()
        started.wait(30)
        tunnel = s.tunnel(0, "127.0.0.1:1")
        s.close()
        t.join(30)
        self.assertEqual(seen, ["canceled"])
        with self.assertRaises(towline.Error):
            tunnel.wait()
        tunnel.close()
        s = towline.Session(self.host.alias, config_file=self.host.config)
        with self.assertRaises(towline.Canceled):
            s.exec("echo go; sleep 1000", stdout=lambda b: s.close())
        self.assertFalse(s.connected)

    def test_reverse_tunnel_leaves_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            with towline.Session(self.host.alias, config_file=self.host.config, via="direct") as s:
                with s.tunnel(0, f"127.0.0.1:{server.getsockname()[1]}", reverse=True) as t:
                    with socket.create_connection(("127.0.0.1", t.port)) as c:
                        peer = server.accept()[0]
                        c.sendall(b"x")
                        self.assertEqual(peer.recv(1), b"x")
                        peer.close()
                self.assertEqual(s.info().via, "direct")
        self.assertFalse(os.path.exists(os.path.join(self.host.home, ".towline-server")))

    def test_dial(self):
        with self.session.dial(f"127.0.0.1:{self.host.port}") as c:
            self.assertTrue(c.recv(100).startswith(b"SSH-2.0-"))

    def test_keys(self):
        path = os.path.join(self.dir, "id_new")
        towline.key_new(path, comment="a test", passphrase="very secret")
        (k,) = [k for k in towline.keys(self.dir) if k.path == path]
        self.assertEqual((k.comment, k.encrypted, k.bits), ("a test", True, 256))
        with self.assertRaises(towline.Error):
            towline.key_new(path)
        self.assertTrue(self.session.copy_key(path))
        self.assertFalse(self.session.copy_key(path))


class Questions(Base):
    def test_password(self):
        host = Sshd(password="s3cret word", test=self)
        asked = []

        def answer(kind, text, attempt):
            asked.append((kind, attempt))
            return "wrong" if attempt == 1 else "s3cret word"
        with towline.Session(host.alias, config_file=host.config, prompt=answer) as s:
            self.assertEqual(s.capture("echo in").text, "in\n")
        self.assertEqual(asked, [("password", 1), ("password", 2)])
        with towline.Session(host.alias, config_file=host.config, prompt="s3cret word") as s:
            self.assertTrue(s.connected)
        with self.assertRaises(towline.Error) as e:
            towline.Session(host.alias, config_file=host.config, prompt="wrong")
        self.assertIn(e.exception.name, ("authentication_failed", "canceled"))

    def test_unknown_and_changed_host_key(self):
        host = Sshd(known=False, test=self)
        with self.assertRaises(towline.HostKeyError):
            towline.Session(host.alias, config_file=host.config, prompt=lambda kind, text, attempt: "no")
        with towline.Session(host.alias, config_file=host.config, prompt=lambda kind, text, attempt: "yes"):
            pass
        host.new_host_key()
        with self.assertRaises(towline.HostKeyError) as e:
            towline.Session(host.alias, config_file=host.config, prompt=lambda kind, text, attempt: self.fail("asked"))
        self.assertEqual(e.exception.name, "host_key_changed")

    def test_nobody_there(self):
        with self.assertRaises(towline.ConnectionError) as e:
            towline.Session(f"127.0.0.1:{free_port()}", config_file="/dev/null", prompt=None)
        self.assertEqual(e.exception.name, "connection_refused")


class Interrupted(Base):
    def remote(self, mark):
        return [p for p in self.host.processes() if mark in open(f"/proc/{p}/cmdline", errors="replace").read()]

    def test_ctrl_c_ends_the_remote_command(self):
        p = self.script("import sys\n"
                        "try:\n    s.exec('exec sleep 4321')\n"
                        "except KeyboardInterrupt:\n    print('interrupted', s.capture('echo still').text)\n"
                        "s.close()\n")
        wait_for(lambda: self.remote("4321"), 60, "the remote command")
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual((out.split(), p.returncode, err), (["interrupted", "still"], 0, ""))
        wait_for(lambda: not self.remote("4321"), 60, "the end of the remote command")

    def test_ctrl_c_while_connecting(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            p = spawn([sys.executable, "-c", f"import towline; towline.Session('127.0.0.1:{silent.getsockname()[1]}')"],
                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                      env=dict(os.environ, **ENV))
            self.addCleanup(end, p)
            peer = silent.accept()[0]  # it is connecting now
            self.addCleanup(peer.close)
            p.send_signal(signal.SIGINT)
            _, err = p.communicate(timeout=60)
            self.assertIn("KeyboardInterrupt", err)

    def test_forgotten(self):
        p = self.script("del s\nprint('on')\n")
        out, err = p.communicate(timeout=60)
        self.assertEqual((out, p.returncode), ("on\n", 0), err)
        self.assertIn("ResourceWarning: the session to demo was forgotten", err)

    def test_forgotten_at_exit(self):
        p = self.script("print('on')\n")
        out, err = p.communicate(timeout=60)
        self.assertEqual((out, p.returncode), ("on\n", 0), err)
        self.assertIn("ResourceWarning: the session to demo was forgotten", err)

    def test_closed_says_nothing(self):
        p = self.script("s.close()\n")
        self.assertEqual((p.communicate(timeout=60), p.returncode), (("", ""), 0))

    def test_warning_can_be_an_error(self):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            towline.Session(self.host.alias, config_file=self.host.config)
        self.assertTrue(any(issubclass(w.category, ResourceWarning) for w in seen), seen)


if __name__ == "__main__":
    unittest.main()
