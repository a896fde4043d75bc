"""`towline shell`: a terminal of the host in the user's own, through a real ssh."""
# parallel: ok
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import termios
import unittest

from harness import Daemon, Sshd, wait_for


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Sshd(wire=True)
        cls.local = Daemon(cls.host)
        cls.local.towline("connect", "demo")

    @classmethod
    def tearDownClass(cls):
        cls.local.stop()
        cls.host.stop()

    def shell(self, *args, **kw):
        t = self.local.terminal("shell", *args, **kw)
        t.at = 0
        self.addCleanup(t.close)
        return t

    def expect(self, t, text):
        t.at = t.expect(text, 60, t.at)

    def list(self):
        return json.loads(self.local.towline("shell", "demo", "--list", "--json").stdout)["terminals"]

    def kill(self, id):
        t = self.shell("demo", "--attach", id)
        self.expect(t, "")
        c = self.local.client()
        c.call("host/call", host="demo", method="term/kill", params={"id": id})


class Interactive(Base):
    def test_size_resize_and_status(self):
        t = self.shell("demo", rows=31, cols=97)
        t.send("stty size; echo $TERM-$((1+1))\r")
        self.expect(t, "31 97\r\n")
        self.expect(t, "-2\r\n")
        fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        # the size travels as a signal, then a frame: ask until it is there
        t.send("until [ \"`stty size`\" = '40 120' ]; do :; done; echo resi''zed\r")
        self.expect(t, "resized")
        t.send("exit 9\r")
        self.assertEqual(t.wait(), 9)

    def test_keys_go_to_the_host(self):
        t = self.shell("demo")
        t.send("sh -c 'echo rea''dy; read never'\r")
        self.expect(t, "ready")
        t.send("\x03")
        self.expect(t, "^C")
        self.expect(t, "$ ")
        t.send("echo st-$?\r")
        self.expect(t, "st-130")
        t.send("exit\r")
        t.wait()

    def test_own_terminal_is_given_back(self):
        t = self.shell("demo")
        before = termios.tcgetattr(t.fd)
        t.send("echo up-$((2+3))\r")
        self.expect(t, "up-5")
        self.assertFalse(termios.tcgetattr(t.fd)[3] & termios.ECHO)
        t.send("exit\r")
        t.wait()
        # the slave is closed by now; a new look at the pair still tells its modes
        self.assertEqual(bool(before[3] & termios.ICANON), True)

    def test_detach_list_and_attach(self):
        t = self.shell("demo", "--name", "my-work")
        t.send("v=kept-$((40+2)); echo se''t\r")
        self.expect(t, "set\r\n")
        t.send("~d")
        self.assertEqual(t.wait(), 0)
        id = re.search(r"--attach (\w+)\]", t.text).group(1)
        mine = [x for x in self.list() if x["id"] == id]
        self.assertEqual((mine[0]["name"], mine[0]["viewers"]), ("my-work", 0))
        text = self.local.towline("shell", "demo", "--list").stdout
        self.assertRegex(text, id + r" .*my-work")
        t = self.shell("demo", "--attach", id)
        self.expect(t, "set\r\n")  # what was on the screen
        t.send("echo $v.\r")
        self.expect(t, "kept-42.")
        t.send("exit 3\r")
        self.assertEqual(t.wait(), 3)
        self.assertEqual([x for x in self.list() if x["id"] == id], [])

    def test_escapes(self):
        t = self.shell("demo")
        t.send("~?")
        self.expect(t, "detach: the terminal goes on")
        t.send("~~x=1\x15")
        t.send("echo a~.b-$((1+1))\r")
        self.expect(t, "a~.b-2")
        t.send("~.")
        self.assertEqual(t.wait(), 0)
        self.kill(re.search(r"--attach (\w+)\]", t.text).group(1))

    def test_hang_up_detaches(self):
        t = self.shell("demo", "--name", "hung-up")
        t.send("echo here-$((3+3))\r")
        self.expect(t, "here-6")
        t.process.send_signal(signal.SIGHUP)
        self.assertEqual(t.wait(), 0)
        left = [x for x in self.list() if x["name"] == "hung-up"]
        self.assertEqual(len(left), 1)
        self.kill(left[0]["id"])

    def test_full_screen_program_is_drawn_again(self):
        t = self.shell("demo", "--", "printf '\\033[?1049hFULL'; trap 'echo DRAWN' WINCH; "
                       "while :; do sleep 0.1; done")
        self.expect(t, "FULL")
        t.send("~d")
        t.wait()
        self.assertIn("\x1b[?1049l", t.text)
        id = re.search(r"--attach (\w+)\]", t.text).group(1)
        t = self.shell("demo", "--attach", id)
        self.expect(t, "DRAWN")
        self.kill(id)


class Commands(Base):
    def run_shell(self, *args, **kw):
        return self.local.towline("shell", *args, check=False, **kw)

    def test_status_and_output(self):
        r = self.run_shell("demo", "--", "echo out; exit 41", stdin=subprocess.DEVNULL)
        self.assertEqual((r.returncode, r.stdout), (41, "out\n".replace("\n", "\r\n") if "\r" in r.stdout else "out\n"))

    def test_signal(self):
        self.assertEqual(self.run_shell("demo", "--", "kill -TERM $$").returncode, 128 + 15)

    def test_words_are_passed_exactly(self):
        r = self.run_shell("demo", "--", "printf", "[%s]", "a  b", "$HOME", "it's", "", "*")
        self.assertIn("[a  b][$HOME][it's][][*]", r.stdout)

    def test_folder(self):
        self.assertIn("/usr/lib", self.run_shell("demo:/usr/lib", "--", "pwd").stdout)

    def test_standard_input_from_a_pipe(self):
        r = self.run_shell("demo", "--", "stty -echo; cat >got; wc -c <got", input="line one\nline two")
        self.assertEqual(r.returncode, 0)
        self.assertIn("17", r.stdout)

    def test_much_output(self):
        r = self.run_shell("demo", "--", "seq 1 200000")
        self.assertEqual(r.stdout.split(), [str(i) for i in range(1, 200001)])

    def test_detach_prints_the_id(self):
        r = self.local.towline("shell", "demo", "--detach", "--name", "bg", "--", "sleep 1000")
        id = r.stdout.strip()
        self.assertIn(id, [x["id"] for x in self.list()])
        self.kill(id)
        r = self.local.towline("shell", "demo", "--detach", "--json", "--", "sleep 1000")
        self.kill(json.loads(r.stdout)["id"])

    def test_interrupted_command_leaves_nothing(self):
        p = self.local.start("shell", "demo", "--", "echo started; trap '' INT; sleep 4321; sleep 4322",
                             stdin=subprocess.DEVNULL)
        while b"started" not in p.stdout.readline():
            pass
        p.send_signal(signal.SIGTERM)
        self.assertGreater(p.wait(60), 128)
        wait_for(lambda: "4321" not in self.host.remote("ps ax").stdout, 60, "the command's end")

    def test_wrong_use(self):
        for args, status, word in ((("demo", "--attach", "no-such"), 2, "not the id"),
                                   (("demo", "--attach", "zzzzzz"), 70, "zzzzzz"),
                                   (("demo", "--list", "--detach"), 2, "--list"),
                                   (("demo", "--attach"), 2, "--attach"),
                                   ((), 2, "HOST"), (("/local/path",), 2, "not a host"),
                                   (("demo", "--nonsense"), 2, "--nonsense")):
            r = self.run_shell(*args)
            self.assertEqual(r.returncode, status, (args, r.stderr))
            self.assertIn(word, r.stderr)


class Losses(unittest.TestCase):
    def setUp(self):
        self.host = Sshd(wire=True, test=self)
        self.local = Daemon(self.host, test=self)

    def shell(self, *args):
        t = self.local.terminal("shell", *args)
        t.at = 0
        self.addCleanup(t.close)
        return t

    def expect(self, t, text):
        t.at = t.expect(text, 90, t.at)

    def kill_agent(self):
        for p in self.host.processes("towline-host"):
            with open("/proc/%d/cmdline" % p) as f:
                if "agent" in f.read().split("\0"):
                    os.kill(p, signal.SIGKILL)

    def test_loss_is_shown_and_taken_away(self):
        t = self.shell("demo")
        t.send("n=7; echo up-$((2+2))\r")
        self.expect(t, "up-4")
        self.host.wire.cut()
        self.expect(t, "towline: no connection to demo")
        t.send("echo late-$((n+1))\r")
        away = t.at
        self.host.wire.heal()
        self.expect(t, "late-8")
        t.expect("\x1b[1;1H\x1b[2K", 90, away)  # before or after what was waiting
        t.send("exit 4\r")
        self.assertEqual(t.wait(), 4)

    def test_daemon_restarts(self):
        t = self.shell("demo")
        t.send("n=7; echo up-$((2+2))\r")
        self.expect(t, "up-4")
        os.kill(self.local.pid(), signal.SIGKILL)
        # at once: the stream may not even be known to be dead
        t.send("echo again-$((n+1))\r")
        self.expect(t, "again-8")
        self.assertEqual(t.text.count("up-4"), 1)  # nothing printed twice
        t.send("exit 4\r")
        self.assertEqual(t.wait(), 4)

    def test_agent_crashes(self):
        t = self.shell("demo")
        t.send("n=7; echo up-$((2+2))\r")
        self.expect(t, "up-4")
        self.kill_agent()
        t.send("echo again-$((n+1))\r")
        self.expect(t, "again-8")
        t.send("exit 4\r")
        self.assertEqual(t.wait(), 4)

    def test_ended_meanwhile(self):
        t = self.shell("demo", "--", "echo pid-$$-; exec sleep 1000")
        self.expect(t, "pid-")
        self.expect(t, "-\r\n")
        pid = re.search(r"pid-(\d+)-", t.text).group(1)
        self.host.wire.cut()
        os.kill(int(pid), signal.SIGTERM)
        self.host.wire.heal()
        self.assertEqual(t.wait(90), 128 + 15)

    def type_through(self, *incidents):
        """Types numbered lines, some with Ctrl-C and the like in them, while things happen; every line must arrive
        once and in order."""
        t = self.shell("demo", "--", "stty raw -echo; echo rea''dy; exec cat >typed")
        self.expect(t, "ready")
        lines = ["%06d%s\n" % (i, "\x03\x1a\x04"[i % 4:]) for i in range(400 * (len(incidents) + 1))]
        for i, line in enumerate(lines):
            if i % 400 == 200 and i // 400 < len(incidents):
                incidents[i // 400]()
            t.send(line)
        want = "".join(lines).encode()
        wait_for(lambda: len(self.read_typed()) >= len(want), 90, "what was typed")
        t.send("~.")
        self.assertEqual(t.wait(), 0)
        self.assertEqual(self.read_typed(), want)

    def read_typed(self):
        try:
            with open(os.path.join(self.host.home, "typed"), "rb") as f:
                return f.read()
        except FileNotFoundError:
            return b""

    def kill_daemon(self):
        os.kill(self.local.pid(), signal.SIGKILL)

    def test_typed_while_the_daemon_is_killed(self):
        self.type_through(self.kill_daemon)

    def test_typed_while_the_agent_is_killed(self):
        self.type_through(self.kill_agent)

    def test_typed_while_the_link_is_cut(self):
        self.type_through(self.host.wire.cut, self.host.wire.heal)

    def test_typed_just_before_leaving(self):
        t = self.shell("demo", "--", "stty raw -echo; echo rea''dy; exec cat >typed")
        self.expect(t, "ready")
        t.send("last words\r~.")
        self.assertEqual(t.wait(), 0)
        self.assertNotIn("may not have arrived", t.text)
        # the hold has it; the program may still be writing it down
        wait_for(lambda: self.read_typed() == b"last words\r", 60, "the words")


if __name__ == "__main__":
    unittest.main()
