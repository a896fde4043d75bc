"""Commands of libtowline against a real sshd: outputs, input, script, environment, terminal, ends of every kind.

deadline: 600
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import Program
from harness import Sshd, find_processes, run, wait_for

WAYS = ("direct", "daemon")


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Sshd()

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def setUp(self):
        self.program = Program(self, self.host)

    def drive(self, *args, **kw):
        return self.program.drive(*args, **kw)

    def output(self, *args, **kw):
        r = self.drive(*args, check=0, **kw)
        o, e = r.one("output"), r.one("exit")
        return o["out"], o["err"], e["status"], e["signal"]


class Outputs(Base):
    def test_both_streams_and_the_status(self):
        for way in WAYS:
            r = self.drive("--via", way, "run", "echo out; echo err >&2; exit 3", check=0)
            self.assertEqual((r.other, r.err), (["out"], "err\n"))
            self.assertEqual(r.one("exit")["status"], 3)

    def test_script_keeps_its_state(self):
        out, err, status, _ = self.output("argv", "sh", "-c", "true")
        self.assertEqual((out, err, status), ("", "", 0))
        out, _, status, _ = self.output("capture", "cd /usr", "x=5", "false", "pwd; echo $x")
        self.assertEqual((out, status), ("/usr\n5\n", 0))

    def test_carriage_returns_at_line_ends_go(self):
        self.assertEqual(self.output("capture", "cd /usr\r", "printf 'a\rb'\r\npwd\r")[0], "a\rb/usr\n")

    def test_long_script(self):
        lines = [f"n=$((n+{i}))" for i in range(3000)]
        self.assertEqual(self.output("capture", *lines, "echo $n")[0], f"{sum(range(3000))}\n")

    def test_bytes_are_bytes(self):
        self.assertEqual(self.output("capture", r"printf 'a\000\377\001b'")[0], "a\0\u00ff\u0001b")

    def test_non_utf8_command(self):
        p = self.program
        r = run([*p.argv("capture"), "printf %s '\udcff\udcfe' | od -An -tx1"], check=False, env=p.env, cwd=p.daemon.home)
        self.assertIn("ff fe", r.stdout)

    def test_argv_needs_no_quotes(self):
        self.assertEqual(self.output("argv", "printf", "<%s>", "a b", "$HOME", "*", "'", "")[0], "<a b><$HOME><*><'><>")

    def test_much_output(self):
        r = self.drive("run", "head -c 50000000 /dev/zero | tr '\\0' x; echo", check=0)
        self.assertEqual([len(x) for x in r.other], [50000000])

    def test_limit(self):
        e = self.drive("limit", 1000, "head -c 5000 /dev/zero", check=1).one("error")
        self.assertEqual(e["name"], "limit")
        self.assertIn("more than 1000 bytes", e["message"])

    def test_failure_is_an_error_by_request(self):
        r = self.drive("capture", "echo partial; exit 9", check=1)
        self.assertEqual(r.one("output")["out"], "partial\n")
        e = r.one("error")
        self.assertEqual(e["name"], "status")
        self.assertIn("failed with status 9", e["message"])

    def test_reader_that_goes_away(self):
        """An error, not SIGPIPE: nobody asked for the end of the program."""
        e = self.drive("nobody-reads", "yes", check=1).one("error")
        self.assertEqual((e["name"], e["errno"]), ("io", 32))
        wait_for(lambda: not find_processes(uid=self.host.uid, argv0="yes"), 60, "the command to end")


class Ends(Base):
    def test_signal_is_told_from_status(self):
        r = self.drive("capture", "kill -9 $$", check=1)
        self.assertEqual(r.one("exit"), {"event": "exit", "status": 0, "signal": 9})
        self.assertEqual(r.one("error")["name"], "signaled")

    def test_missing_program_and_folder(self):
        self.assertEqual(self.drive("argv", "/no/such/program", check=1).one("error")["name"], "not_found")
        self.assertEqual(self.output("argv", "sh", "-c", "no-such-program-4711")[2], 127)

    def sleepers(self):
        return [p for p in find_processes(uid=self.host.uid, argv0="sleep")]

    def test_every_cancel_ends_the_group(self):
        for way in WAYS:
            for how in ("cancel", "signal", "stop"):
                with self.subTest(way=way, how=how):
                    r = self.drive("--via", way, how, "sleep 4711 & sleep 4712 & echo up; sleep 4713", check=1)
                    self.assertEqual(r.one("error")["name"], "canceled")
                    self.assertEqual(r.one("connected")["yes"], 1)
                    wait_for(lambda: not self.sleepers(), 60, "the processes to end")

    def test_stubborn_command_is_killed(self):
        self.drive("cancel", "trap '' TERM HUP INT; echo up; while :; do sleep 1; done", check=1)
        wait_for(lambda: not self.sleepers(), 60, "the processes to end")

    def test_timeout(self):
        e = self.drive("timeout", 300, "sleep 4711", check=1).one("error")
        self.assertEqual(e["name"], "timeout")
        wait_for(lambda: not self.sleepers(), 60, "the command to end")

    def test_lost_connection_is_no_status(self):
        p = self.program.start("--via", "direct", "lost", "echo up; sleep 4711")
        while '"data"' not in p.stdout.readline():
            self.assertIsNone(p.poll())
        self.host.drop_connections()
        out = p.stdout.read()
        self.assertIn('"connection_lost"', out)
        self.assertIn('"connected", "yes": 0', out)
        self.assertEqual(p.wait(30), 1)


class Inputs(Base):
    def test_text(self):
        for way in WAYS:
            self.assertEqual(self.output("--via", way, "stdin", "a\nb", "wc -c; cat")[0].split(), ["3"])

    def test_no_input_ends_at_once(self):
        self.assertEqual(self.output("capture", "cat; echo done")[0], "done\n")

    def test_file_of_any_size(self):
        path = os.path.join(self.program.daemon.dir, "blob")
        data = os.urandom(3_000_000)
        with open(path, "wb") as f:
            f.write(data)
        p = self.program
        r = run(p.argv("cat", path), env=p.env, cwd=p.daemon.home, text=False, check=False)
        self.assertEqual(r.stdout[:len(data)], data)

    def test_command_that_does_not_read(self):
        self.assertEqual(self.output("stdin", "x" * 100000, "exec <&-; echo deaf")[0], "deaf\n")

    def test_sudo_reads_its_password(self):
        if not os.path.exists("/usr/bin/sudo"):
            self.skipTest("sudo is missing")
        host = Sshd(test=self)
        if not host.root:
            self.skipTest("needs a user with a password")
        run(["chpasswd", "-c", "SHA256"], input=f"{host.user}:mypassword!\n")
        rule = f"/etc/sudoers.d/towline-{host.user}"
        with open(rule, "w") as f:
            f.write(f"{host.user} ALL=(ALL) PASSWD: ALL\nDefaults:{host.user} !lecture\n")
        self.addCleanup(os.unlink, rule)
        os.chmod(rule, 0o440)
        p = Program(self, host)
        r = p.drive("capture", 'echo "mypassword!" | sudo -S -p "" id -u', check=0)  # the document's recipe
        self.assertEqual(r.one("output")["out"], "0\n")
        r = p.drive("stdin", "mypassword!\n", "sudo -S -p '' id -u", check=0)
        self.assertEqual(r.one("output")["out"], "0\n")
        r = p.drive("capture", 'echo wrong | sudo -S -p "" id -u', check=1)
        self.assertEqual(r.one("error")["name"], "status")


class Surroundings(Base):
    def test_folder_and_environment(self):
        out = self.output("special", 'pwd; echo "[$TL_A] [$HOME]"')[0]
        self.assertEqual(out, "/usr\n[a b] []\n")

    def test_login_shell_and_home(self):
        out = self.output("capture", "pwd; echo $USER; [ -n \"$BASH_VERSION\" ] && echo bash")[0]
        self.assertEqual(out.splitlines(), [self.host.home, self.host.user, "bash"])

    def test_terminal(self):
        out = self.output("pty", "tty >/dev/null && stty size; echo err >&2")[0]
        self.assertEqual(out, "17 91\r\nerr\r\n")


if __name__ == "__main__":
    unittest.main()
