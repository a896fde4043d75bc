"""Questions of ssh on the user's terminal: what is asked, echo, Ctrl-C, signals, and no terminal at all."""
# parallel: ok

import os
import signal
import subprocess
import termios
import unittest

from harness import Daemon, Sshd, wait_for

ECHO = termios.ECHO


class Prompts(unittest.TestCase):
    def setUp(self):
        self.host = Sshd(passphrase="open sesame", test=self)
        self.d = Daemon(self.host, test=self)

    def start(self, *args):
        t = self.d.terminal(*(args or ("connect", "demo")))
        self.addCleanup(t.close)
        self.before = termios.tcgetattr(t.fd)
        return t

    def flags(self, t):
        return termios.tcgetattr(t.fd)[3]

    def asks(self, t, start=0):
        at = t.expect("assphrase", 60, start)
        wait_for(lambda: not self.flags(t) & ECHO, what="echo to be off")
        return at

    def restored(self, t):
        self.assertEqual(termios.tcgetattr(t.fd), self.before)

    def test_answer(self):
        t = self.start()
        self.asks(t)
        self.assertIn(self.host.key, t.text)
        t.send("open sesame\n")
        self.assertEqual(t.wait(60), 0, t.text)
        self.restored(t)
        self.assertNotIn("sesame", t.text)
        self.assertIn("connected: demo", t.text)

    def test_second_try(self):
        t = self.start()
        at = self.asks(t)
        t.send("wrong\n")
        t.expect("assphrase", 60, at)
        t.send("open sesame\n")
        self.assertEqual(t.wait(60), 0, t.text)

    def test_ctrl_c(self):
        t = self.start()
        self.asks(t)
        t.send("half an ans\x03")
        self.assertEqual(t.wait(60), 130, t.text)
        self.restored(t)
        self.assertIn("cancel", t.text)
        self.assertNotIn("half an ans", t.text)
        # the daemon is well and asks again
        t = self.start()
        self.asks(t)
        t.send("open sesame\n")
        self.assertEqual(t.wait(60), 0, t.text)

    def test_end_of_file(self):
        t = self.start()
        self.asks(t)
        t.send("\x04")
        self.assertEqual(t.wait(60), 130, t.text)
        self.restored(t)

    def test_signals(self):
        for sig in (signal.SIGTERM, signal.SIGHUP):
            t = self.start()
            self.asks(t)
            os.kill(t.process.pid, sig)
            self.assertEqual(t.wait(60), -sig, t.text)
            self.restored(t)

    def test_killed_while_it_asks(self):
        t = self.start()
        self.asks(t)
        t.process.kill()
        t.wait(60)
        t = self.start()
        self.asks(t)
        t.send("open sesame\n")
        self.assertEqual(t.wait(60), 0, t.text)

    def test_standard_input_is_for_data(self):
        """The question goes to the terminal even where standard input and output do not."""
        t = self.start("cat", "demo:.profile")
        self.asks(t)
        t.send("open sesame\n")
        t.wait(60)
        r = subprocess.run(["sh", "-c", 'exec "$@" <&- >/dev/null', "sh", *self.d.argv("close", "demo")], env=self.d.env)
        self.assertEqual(r.returncode, 0)
        t = self.d.terminal("status")
        t.wait(60)
        t.close()

    def test_too_long_an_answer(self):
        t = self.start()
        self.asks(t)
        for _ in range(3):
            t.send("x" * 4000)
        t.send("\n")
        # the terminal itself cuts a line at 4095 bytes: what is left is nobody's passphrase
        self.assertEqual(t.wait(60), 130, t.text)
        self.restored(t)

    def test_no_terminal(self):
        p = self.d.start("connect", "demo", text=True)
        out, err = p.communicate("open sesame\n", timeout=120)
        self.assertIn(p.returncode, (130, 43), err)
        self.assertTrue(err.startswith("towline: "), err)
        self.assertEqual(out, "")

    def test_two_commands_one_question(self):
        a = self.start()
        self.asks(a)
        b = self.d.start("connect", "demo", text=True)
        a.send("open sesame\n")
        self.assertEqual(a.wait(60), 0, a.text)
        out, err = b.communicate(timeout=60)
        self.assertEqual((b.returncode, err), (0, ""))


class HostKey(unittest.TestCase):
    def test_shown_and_echoed(self):
        host = Sshd(known=False, test=self)
        d = Daemon(host, test=self)
        t = d.terminal("connect", "demo")
        self.addCleanup(t.close)
        t.expect("yes/no", 60)
        self.assertIn(host.fingerprint(), t.text)
        self.assertTrue(termios.tcgetattr(t.fd)[3] & ECHO)
        t.send("yes\n")
        self.assertEqual(t.wait(60), 0, t.text)
        self.assertIn("yes\r\n", t.text)


if __name__ == "__main__":
    unittest.main()
