"""towline exec and info, with and without a daemon (rows A4 A5 A6 A11)."""
# parallel: ok
import json
import os
import signal
import unittest

from harness import Daemon, Sshd, wait_for


class Exec:
    connected = False  # through towlined

    @classmethod
    def setUpClass(cls):
        cls.host = Sshd()
        cls.addClassCleanup(cls.host.stop)
        cls.local = Daemon(cls.host)
        cls.addClassCleanup(cls.local.stop)
        if cls.connected:
            cls.local.towline("connect", "demo")

    def run_it(self, *args, **kw):
        kw.setdefault("input", "")
        return self.local.towline("exec", *args, check=False, **kw)

    def test_a_program_with_its_arguments_as_they_stand(self):
        r = self.run_it("demo", "printf", "%s|", "a b", "$HOME", "-x", "*")
        self.assertEqual((r.stdout, r.stderr, r.returncode), ("a b|$HOME|-x|*|", "", 0))

    def test_a_line_is_for_the_shell(self):
        self.assertEqual(self.run_it("demo", "echo a | tr a b").stdout, "b\n")
        self.assertEqual(self.run_it("demo", "-c", "echo $((1+2))").stdout, "3\n")

    def test_several_commands_are_one_script(self):
        r = self.run_it("demo", "-c", "cd /", "-c", "x=5", "-c", "pwd; echo $x; exit 7")
        self.assertEqual((r.stdout, r.returncode), ("/\n5\n", 7))

    def test_outputs_stay_apart(self):
        r = self.run_it("demo", "-c", "echo out; echo err >&2; exit 3")
        self.assertEqual((r.stdout, r.stderr, r.returncode), ("out\n", "err\n", 3))

    def test_standard_input_and_its_end(self):
        blob = bytes(range(256)) * 4000
        r = self.run_it("demo", "cat", input=blob, text=False)
        self.assertEqual(r.stdout, blob)
        self.assertEqual(self.run_it("-n", "demo", "cat", input="x").stdout, "")

    def test_a_script_with_windows_line_ends(self):
        path = os.path.join(self.local.dir, "s.sh")
        with open(path, "wb") as f:
            f.write(b"if true; then\r\n  echo yes\r\nfi\r\nexit 4\r\n")
        r = self.run_it("demo", "--script", path)
        self.assertEqual((r.stdout, r.returncode), ("yes\n", 4))
        r = self.run_it("demo", "--script", "-", input="echo from stdin\n")
        self.assertEqual(r.stdout, "from stdin\n")

    def test_a_signal_is_128_and_its_number(self):
        self.assertEqual(self.run_it("demo", "-c", "kill -TERM $$").returncode, 128 + 15)

    def test_environment_and_folder(self):
        r = self.run_it("-e", "A_B=x y", "-e", "EMPTY=", "--cwd", "/usr", "demo", "-c", 'echo "$A_B,$EMPTY,$(pwd)"')
        self.assertEqual(r.stdout, "x y,,/usr\n")

    def test_captured(self):
        r = self.run_it("--capture", "demo", "-c", "echo out; echo err >&2; exit 3")
        self.assertEqual((r.stdout, r.stderr, r.returncode), ("out\n", "err\n", 3))

    def test_json(self):
        r = self.run_it("--json", "demo", "-c", "echo ä; echo err >&2; exit 3")
        self.assertEqual(json.loads(r.stdout), {"status": 3, "stdout": "ä\n", "stderr": "err\n"})
        self.assertEqual(r.returncode, 3)
        r = self.run_it("--json", "demo", "printf", r"\377\0")
        self.assertEqual(json.loads(r.stdout), {"status": 0, "stdout_base64": "/wA=", "stderr": ""})
        r = self.run_it("--json", "demo", "-c", "kill -9 $$")
        self.assertEqual(json.loads(r.stdout)["signal"], 9)

    def test_a_time_out_ends_it_there(self):
        r = self.run_it("--timeout", "0.5", "demo", "sleep", "5432")
        self.assertEqual(r.returncode, 10)
        wait_for(lambda: not self.sleepers("5432"), 60, "the command to end")

    def test_ctrl_c_ends_it_there(self):
        p = self.local.start("exec", "demo", "-c", "echo ready; sleep 6544", text=True)
        self.assertEqual(p.stdout.readline(), "ready\n")
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(60), 130)
        p.communicate()
        wait_for(lambda: not self.sleepers("6544"), 60, "the command to end")

    def sleepers(self, seconds):
        out = []
        for pid in self.host.processes(argv0="sleep"):
            try:
                with open(f"/proc/{pid}/cmdline") as f:
                    out += [pid] if f.read().split("\0")[1] == seconds else []
            except OSError:
                pass
        return out

    def test_a_terminal(self):
        t = self.local.terminal("exec", "-t", "demo", "-c", "tty; stty size; read x; echo got=$x")
        self.addCleanup(t.close)
        wait_for(lambda: t.pump() and "24 80" in t.text, 60, "the size of the terminal")
        os.write(t.fd, b"hello\r")
        wait_for(lambda: not t.pump() or "got=hello" in t.text, 60, "the answer")
        self.assertIn("/dev/pts/", t.text)
        self.assertIn("got=hello", t.text)

    def test_a_terminal_follows_the_size_of_ours(self):
        t = self.local.terminal("exec", "-t", "demo", "-c", "trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.1; done")
        t.expect("up")
        t.resize(31, 97)
        t.expect("31 97", 60)
        self.assertEqual(t.wait(60), 0)

    def test_programs_that_are_not_there(self):
        r = self.run_it("demo", "no-such-program")
        self.assertEqual(r.returncode, 20)
        self.assertIn("no-such-program", r.stderr)
        r = self.run_it("--cwd", "/no/such", "demo", "true")
        self.assertEqual(r.returncode, 20)
        self.assertIn("/no/such", r.stderr)

    def test_a_reader_that_had_enough(self):
        p = self.local.start("exec", "-n", "demo", "yes")
        self.assertEqual(p.stdout.read(2), b"y\n")
        p.stdout.close()
        self.assertEqual(p.wait(60), 128 + 13)
        p.stderr.read()

    def test_info(self):
        i = json.loads(self.local.towline("info", "demo", "--json").stdout)
        self.assertEqual(i["user"], self.host.user)
        self.assertEqual(i["port"], self.host.port)
        self.assertEqual(i["via"], "daemon" if self.connected else "direct")
        self.assertTrue(i["connected"])
        text = self.local.towline("info", "demo").stdout
        self.assertIn(self.host.user, text)
        if not self.connected:
            self.assertTrue(i["fingerprint_sha256"].startswith("SHA256:"))
            self.assertEqual(i["auth_method"], "publickey")


class Own(Exec, unittest.TestCase):
    pass


class ThroughTheDaemon(Exec, unittest.TestCase):
    connected = True


class Wrong(unittest.TestCase):
    def test_bad_words(self):
        local = Daemon(test=self)
        for args, what in (((), "HOST is missing"), (("demo",), "what to run is missing"), (("demo", "-c", "a", "b"), "“b” is too much"),
                           (("demo", "--timeout", "x", "a"), "not a number of seconds"), (("demo", "-c"), "needs a value"),
                           (("demo", "--script", "/no/such"), "/no/such")):
            r = local.towline("exec", *args, check=False)
            self.assertIn(r.returncode, (2, 20))
            self.assertIn(what, r.stderr)


if __name__ == "__main__":
    unittest.main()
