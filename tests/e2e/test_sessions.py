"""towline sessions and run-code: through towlined and a real SSH host to real kernels."""
# parallel: ok
import json
import os
import signal
import unittest

from harness import Daemon, Sshd

SLOW = 120


class Sessions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Sshd()
        cls.local = Daemon(cls.host)
        done = cls.code("python3", "import os; x = 20; os.getcwd()", "--keep", "--name", "work", host="demo:/usr/lib")
        assert done.returncode == 0 and done.stdout == "'/usr/lib'\n", (done.stdout, done.stderr)
        cls.sid = done.stderr.split()[-1]

    @classmethod
    def tearDownClass(cls):
        try:
            cls.local.towline("sessions", "--end", "work", "demo", timeout=SLOW)
        finally:
            cls.local.stop()
            cls.host.stop()

    @classmethod
    def code(cls, kernel, code, *more, host="demo", **kw):
        return cls.local.towline("run-code", host, "--kernel", kernel, *more, "-c", code, check=False, timeout=SLOW, **kw)

    def sessions(self):
        return json.loads(self.local.towline("sessions", "--json", "demo", timeout=SLOW).stdout)["kernels"]

    def test_code_in_a_running_session_by_name_and_id(self):
        self.assertEqual(self.code("work", "x + 1").stdout, "21\n")
        self.assertEqual(self.code(self.sid, "x + 2").stdout, "22\n")

    def test_streams_status_and_plain_traceback(self):
        r = self.code("work", "import sys\nprint('out')\nprint('err', file=sys.stderr)\n1/0")
        self.assertEqual((r.returncode, r.stdout), (1, "out\n"))
        self.assertTrue(r.stderr.startswith("err\n"))
        self.assertIn("ZeroDivisionError: division by zero", r.stderr)
        self.assertNotIn("\x1b", r.stderr)

    def test_json(self):
        r = self.code("work", "print('a'); 6*7", "--json")
        got = json.loads(r.stdout)
        self.assertEqual((got["status"], got["stdout"], got["results"]), ("ok", "a\n", [{"text/plain": "42"}]))
        r = self.code("work", "nothing", "--json")
        got = json.loads(r.stdout)
        self.assertEqual((r.returncode, got["status"], got["error"]["ename"]), (1, "error", "NameError"))

    def test_file_standard_input_and_questions(self):
        path = os.path.join(self.local.home, "script.py")
        with open(path, "w") as f:
            f.write("for i in range(3):\n    print(i)\n")
        r = self.local.towline("run-code", "demo", "--kernel", "work", path, timeout=SLOW)
        self.assertEqual(r.stdout, "0\n1\n2\n")
        r = self.local.towline("run-code", "demo", "--kernel", "work", "-", input="print('from stdin')\n", timeout=SLOW)
        self.assertEqual(r.stdout, "from stdin\n")
        r = self.code("work", "print('got', input('name? '))", input="Bob\n")
        self.assertEqual((r.stdout, r.stderr), ("got Bob\n", "name? "))
        r = self.code("work", "input()", input="")
        self.assertIn("EOFError", r.stderr)

    def test_a_session_of_its_own_leaves_nothing(self):
        before = {k["id"] for k in self.sessions()}
        r = self.code("ir", "cat('R', 1 + 1, '\\n')")
        self.assertEqual(r.stdout, "R 2 \n")
        self.assertEqual({k["id"] for k in self.sessions()}, before)

    def test_ctrl_c_interrupts_the_code(self):
        p = self.local.start("run-code", "demo", "--kernel", "work", "-c", "print('begun', flush=True)\nwhile True: pass",
                             text=True)
        self.assertEqual(p.stdout.readline(), "begun\n")
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=SLOW)
        self.assertEqual(p.returncode, 1)
        self.assertIn("KeyboardInterrupt", err)
        self.assertEqual(self.code("work", "x").stdout, "20\n")

    def test_nothing_is_lost_though_agent_and_daemon_are_killed(self):
        p = self.local.start("run-code", "demo", "--kernel", "work", "-c",
                             "import os, time\nprint('begun', flush=True)\n"
                             "while not os.path.exists(os.path.expanduser('~/gate')): time.sleep(0.05)\n"
                             "for i in range(2000): print('line', i)", text=True)
        self.assertEqual(p.stdout.readline(), "begun\n")
        os.kill(self.local.pid(), signal.SIGKILL)
        self.host.kill_agent()
        self.host.remote("touch ~/gate")
        out, err = p.communicate(timeout=SLOW)
        self.assertEqual((p.returncode, err), (0, ""))
        self.assertEqual(out, "".join("line %d\n" % i for i in range(2000)))

    def test_list_for_people_and_orders(self):
        text = self.local.towline("sessions", "demo", timeout=SLOW).stdout
        self.assertRegex(text, rf"(?m)^{self.sid} +idle .* work, Python 3 .*, /usr/lib$")
        kernels = self.local.towline("sessions", "--kernels", "demo", timeout=SLOW).stdout
        self.assertIn("python3  Python 3 (ipykernel)\n", kernels)
        self.assertIn("ir  R\n", kernels)
        r = self.code("python3", "1", "--keep", "--name", "other")
        self.assertEqual(r.stdout, "1\n")
        self.local.towline("sessions", "--restart", "other", "demo", timeout=SLOW)
        (other,) = [k for k in self.sessions() if k["name"] == "other"]
        self.assertEqual((other["restarts"], other["executions"]), (1, 1))
        self.local.towline("sessions", "--interrupt", "other", "demo", timeout=SLOW)
        self.local.towline("sessions", "--end", other["id"], "demo", timeout=SLOW)
        self.assertNotIn("other", [k["name"] for k in self.sessions()])

    def test_wrong_input(self):
        def fails(status, text, *args):
            r = self.local.towline(*args, check=False, timeout=SLOW)
            self.assertEqual(r.returncode, status, r.stderr)
            self.assertIn(text, r.stderr)
        fails(2, "--kernel NAME is missing", "run-code", "demo", "-c", "1")
        fails(2, "there is no code", "run-code", "demo", "--kernel", "work")
        fails(2, "one order at a time", "sessions", "--end", "a", "--restart", "b", "demo")
        fails(70, "no kernelspec “nonsense”", "run-code", "demo", "--kernel", "nonsense", "-c", "1")
        fails(70, "there is no session “gone”", "sessions", "--end", "gone", "demo")
        fails(20, "cannot read the code", "run-code", "demo", "--kernel", "work", "/no/such/file")


if __name__ == "__main__":
    unittest.main()
