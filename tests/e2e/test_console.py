"""towline console on a terminal and on a pipe; connection files on this machine with Jupyter's own console."""
# parallel: ok
# deadline: 600
import json
import os
import re
import signal
import stat
import subprocess
import unittest

from harness import Daemon, Sshd, spawn, wait_for

SLOW = 120


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Sshd()
        cls.local = Daemon(cls.host)

    @classmethod
    def tearDownClass(cls):
        try:
            cls.local.stop()
        finally:
            cls.host.stop()

    def sessions(self):
        return json.loads(self.local.towline("sessions", "--json", "demo", timeout=SLOW).stdout)["kernels"]

    def kept(self, name, kernel="python3"):
        r = self.local.towline("run-code", "demo", "--kernel", kernel, "--keep", "--name", name, "-c", "x = 20", timeout=SLOW)
        self.addCleanup(self.local.towline, "sessions", "--end", name, "demo", check=False, timeout=SLOW)
        return r.stderr.split()[-1]


class Pipe(Base):
    def test_python(self):
        code = ("import os\nx = 20\nx + 1\n\ndef f(a):\n    return a * 2\n\nf(x)\nfor i in range(3):\n    print(i)\n\n"
                "print('hi', input('name? '))\nBob\n[1,\n 2]\n1/0\nprint('last')")
        r = self.local.towline("console", "demo", "python", input=code, timeout=SLOW)
        self.assertEqual(r.stdout, "21\n40\n0\n1\n2\nhi Bob\n[1, 2]\nlast\n")
        self.assertIn("ZeroDivisionError: division by zero", r.stderr)
        self.assertNotIn("In [1]: ", r.stdout + r.stderr)
        self.assertEqual(self.sessions(), [])

    def test_r(self):
        r = self.local.towline("console", "demo", "r", input="x <- 2\nx + 1\nf <- function(a) {\n a * 2\n}\nf(4)\n", timeout=SLOW)
        self.assertEqual(r.stdout, "[1] 3\n[1] 8\n")

    def test_exit_keep_and_session(self):
        r = self.local.towline("console", "--keep", "--name", "kept", "demo:/usr/lib", "python3",
                               input="import os\nos.getcwd()\ny = 1\n", timeout=SLOW)
        self.assertEqual(r.stdout, "'/usr/lib'\n")
        self.assertIn("the session goes on: towline console --session ", r.stderr)
        r = self.local.towline("console", "--session", "kept", "demo", input="y + 1\n", timeout=SLOW)
        self.assertEqual(r.stdout, "2\n")
        self.assertEqual([k["name"] for k in self.sessions()], ["kept"])
        r = self.local.towline("console", "--session", "kept", "demo", input="exit()\nprint('not this')\n", timeout=SLOW)
        self.assertEqual((r.stdout, r.stderr), ("", ""))
        self.assertEqual(self.sessions(), [])

    def test_pictures_are_named_and_written_on_request(self):
        folder = os.path.join(self.local.home, "pictures")
        code = ("from IPython.display import Image, display\nimport base64\n"
                "display(Image(base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==')))\n")
        r = self.local.towline("console", "--images", folder, "demo", "python", input=code, timeout=SLOW)
        self.assertIn(f"[image/png, 1 kB: {folder}/001.png]\n", r.stdout)
        with open(os.path.join(folder, "001.png"), "rb") as f:
            self.assertEqual(f.read(8), b"\x89PNG\r\n\x1a\n")
        r = self.local.towline("console", "demo", "python", input=code, timeout=SLOW)
        self.assertIn("[image/png, 1 kB]\n", r.stdout)

    def test_wrong_input(self):
        for status, text, args in ((70, "there is no session “gone”", ("--session", "gone", "demo")),
                                   (70, "nonsense", ("demo", "nonsense")), (2, "joins a session as it is", ("--session", "a", "--keep", "demo"))):
            r = self.local.towline("console", *args, check=False, input="", timeout=SLOW)
            self.assertEqual(r.returncode, status, r.stderr)
            self.assertIn(text, r.stderr)


class Terminal(Base):
    def open(self, *args):
        t = self.local.terminal("console", *args)
        self.addCleanup(t.close)
        return t

    def test_a_day_at_the_console(self):
        t = self.open("--keep", "--name", "day", "demo", "python")
        self.addCleanup(self.local.towline, "sessions", "--end", "day", "demo", check=False, timeout=SLOW)
        at = t.expect("In [1]: ", SLOW)
        self.assertIn("IPython", t.text)
        t.send("import os\r")
        at = t.expect("In [2]: ", SLOW, at)
        # Tab: the kernel knows two names that begin so
        t.send("os.getc\t")
        at = t.expect("getcwdb", SLOW, at)
        at = t.expect("os.getcwd", SLOW, at)
        t.send("()\r")
        at = t.expect(f"Out[2]: '{self.host.home}'", SLOW, at)
        at = t.expect("In [3]: ", SLOW, at)
        # several lines, indented by the kernel, ended by an empty one
        t.send("for i in range(2):\r")
        at = t.expect("...:     ", SLOW, at)
        t.send("print('row', i)\r")
        at = t.expect("...:     ", SLOW, at)
        t.send("\r")
        at = t.expect("row 0\r\nrow 1\r\n", SLOW, at)
        at = t.expect("In [4]: ", SLOW, at)
        # Ctrl-C at the prompt drops the line, while code runs it interrupts
        t.send("nonsense(")
        at = t.expect("nonsense(", SLOW, at)
        t.send("\x03")
        at = t.expect("^C", SLOW, at)
        at = t.expect("In [4]: ", SLOW, at)
        t.send("print('beg' + 'un', flush=True); exec('while True: pass')\r")
        at = t.expect("begun", SLOW, at)
        t.send("\x03")
        at = t.expect("KeyboardInterrupt", SLOW, at)
        at = t.expect("In [5]: ", SLOW, at)
        t.send("input('who? ') + '!'\r")
        at = t.expect("who? ", SLOW, t.expect("'who? '", SLOW, at))
        t.send("Bob\r")
        at = t.expect("'Bob!'", SLOW, at)
        at = t.expect("In [6]: ", SLOW, at)
        # the line before the last one, from history
        t.send("\x1b[A")
        at = t.expect("input('who? ')", SLOW, at)
        t.send("\x03")
        at = t.expect("In [6]: ", SLOW, at)
        # what somebody else runs shows up
        self.local.towline("run-code", "demo", "--kernel", "day", "-c", "print('from elsewhere')", timeout=SLOW)
        at = t.expect("from elsewhere", SLOW, t.expect("[other client] ", SLOW, at))
        at = t.expect("In [6]: ", SLOW, at)
        t.send("\x04")
        t.expect("the session goes on", SLOW, at)
        self.assertEqual(t.wait(SLOW), 0)
        self.assertEqual([k["name"] for k in self.sessions()], ["day"])

    def test_a_closed_terminal_and_a_console_that_joins(self):
        t = self.open("demo", "python")
        at = t.expect("In [1]: ", SLOW)
        t.send("import os, time\r")
        at = t.expect("In [2]: ", SLOW, at)
        t.send("while not os.path.exists(os.path.expanduser('~/go')): time.sleep(0.05)\r")
        wait_for(lambda: [k["state"] for k in self.sessions()] == ["busy"], SLOW, "the loop to run")
        t.process.send_signal(signal.SIGHUP)
        t.wait(SLOW)
        (session,) = self.sessions()
        self.addCleanup(self.local.towline, "sessions", "--end", session["id"], "demo", check=False, timeout=SLOW)
        joined = self.open("--session", session["id"], "demo")
        joined.expect("[it runs: ", SLOW)
        self.host.remote("touch ~/go")
        at = joined.expect("In [3]: ", SLOW)
        joined.send("exit(keep_kernel=True)\r")
        self.assertEqual(joined.wait(SLOW), 0)
        self.assertEqual(len(self.sessions()), 1)

    def test_nothing_is_lost_when_daemon_and_agent_are_killed(self):
        t = self.open("demo", "r")
        at = t.expect("> ", SLOW)
        t.send("x <- 6 * 7\r")
        at = t.expect("> ", SLOW, at)
        os.kill(self.local.pid(), signal.SIGKILL)
        self.host.kill_agent()
        t.send("x + 1\r")
        at = t.expect("[1] 43", SLOW, at)
        t.expect("> ", SLOW, at)
        t.send("\x04")
        self.assertEqual(t.wait(SLOW), 0)


class ConnectionFile(Base):
    def serve(self, *args):
        p = self.local.start("sessions", "--connection-file", *args, text=True)
        self.addCleanup(p.kill)
        path = p.stdout.readline().strip()
        self.assertTrue(path, p.poll())
        return p, path

    def use(self, path):
        """Debian's jupyter_client runs code over it."""
        code = ("import sys\nfrom jupyter_client import BlockingKernelClient\n"
                "c = BlockingKernelClient(connection_file=sys.argv[1])\nc.load_connection_file()\nc.start_channels()\n"
                "c.wait_for_ready(timeout=60)\n"
                "c.execute_interactive('print(x * 2); print(input())', allow_stdin=True, timeout=60,"
                " stdin_hook=lambda m: c.input('said'))\n")
        r = subprocess.run(["/usr/bin/python3", "-W", "ignore", "-c", code, path], capture_output=True, text=True, timeout=SLOW, env=self.local.env)
        self.assertEqual((r.returncode, r.stdout), (0, "40\nsaid\n"), r.stderr)

    def test_unix_sockets_here_and_there(self):
        self.kept("plain")
        p, path = self.serve("plain", "demo")
        with open(path) as f:
            got = json.load(f)
        self.assertEqual(got["transport"], "ipc")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode), 0o700)
        self.use(path)
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(SLOW), 0)
        self.assertFalse(os.path.exists(os.path.dirname(path)))
        self.assertEqual(json.loads(self.local.towline("forward", "--json", "demo", timeout=SLOW).stdout or "{}").get("forwards", []), [])

    def test_ports_here(self):
        self.kept("ports")
        p, path = self.serve("ports", "--tcp", "demo")
        with open(path) as f:
            self.assertEqual(json.load(f)["transport"], "tcp")
        self.use(path)
        # the session ends: so does this
        self.local.towline("sessions", "--end", "ports", "demo", timeout=SLOW)
        self.assertEqual(p.wait(SLOW), 70)

    def test_jupyter_console_on_this_machine(self):
        self.kept("console")
        p, path = self.serve("console", "demo")
        env = dict(self.local.env, JUPYTER_CONFIG_DIR=os.path.join(self.local.dir, "jupyter"), PYTHONWARNINGS="ignore")
        q = spawn(["/usr/bin/jupyter-console", "--simple-prompt", "--existing", path], env=env, cwd=self.local.home,
                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        out, _ = q.communicate("print('x is', x)\n", timeout=SLOW)
        self.assertTrue(re.search(r"x is 20\n", out), out)
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(SLOW), 0)
