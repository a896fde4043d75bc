"""JupyterLab's own client (@jupyterlab/services under Node) against a gateway: tests/jupyter/client.mjs."""
# parallel: ok
# needs: full build
# deadline: 600
import json
import os
import subprocess
import unittest

from harness import ROOT, Daemon, Sshd, run, spawn, wait_for

SLOW = 120
FOLDER = os.path.join(ROOT, "tests/jupyter")


class Lab(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Sshd()
        cls.local = Daemon(cls.host)
        gateway = json.loads(cls.local.towline("gateway", "--json", "demo", timeout=SLOW).stdout)
        node = run([os.path.join(ROOT, "tools/node")]).stdout.strip()
        cls.env = dict(os.environ, URL=gateway["url"], TOKEN=gateway["token"], PATH=node + ":" + os.environ["PATH"])

    @classmethod
    def tearDownClass(cls):
        try:
            cls.local.stop()
        finally:
            cls.host.stop()

    def begin(self, case, **env):
        return spawn(["node", "client.mjs", case], cwd=FOLDER, env=dict(self.env, **env), text=True,
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def until(self, p, word):
        """What it says up to that line."""
        said = []
        for line in p.stdout:
            said.append(line)
            if line.strip() == word:
                return
        self.fail("".join(said))

    def end(self, p):
        out, _ = p.communicate(timeout=SLOW)
        self.assertEqual((p.returncode, out.splitlines()[-1:]), (0, ["done"]), out)

    def case(self, name, **env):
        self.end(self.begin(name, **env))

    def remove(self, *names):
        for name in names:
            path = os.path.join(self.host.home, name)
            if os.path.exists(path):
                os.unlink(path)

    def test_execute_python(self):
        self.case("execute")

    def test_execute_r(self):
        self.case("execute", KERNEL="ir")

    def test_execute_in_the_older_framing(self):
        self.case("execute", FRAMING="old")

    def test_binary_buffers_in_both_framings(self):
        self.case("buffers")
        self.case("buffers", FRAMING="old")

    def test_restart_and_death_are_told(self):
        self.case("restart")
        self.case("dead")

    def test_interrupt(self):
        self.case("interrupt")

    def test_input_is_asked_for(self):
        self.case("input")

    def test_two_clients_of_one_kernel(self):
        self.case("two")

    def test_sessions_by_path(self):
        self.case("sessions")

    def test_kernelspecs_and_logos(self):
        self.case("specs")

    def test_terminals(self):
        self.case("terminals")

    def test_a_client_that_comes_back_gets_what_it_missed(self):
        for framing in ("new", "old"):
            self.remove("cut", "printed")
            p = self.begin("reconnect", FRAMING=framing)
            self.until(p, "cut")
            self.host.remote("touch ~/cut")
            wait_for(lambda: os.path.exists(os.path.join(self.host.home, "printed")), SLOW, "the kernel to print all")
            p.stdin.write("\n")
            p.stdin.flush()
            self.end(p)

    def test_websockets_stay_open_though_the_agent_is_killed(self):
        self.remove("gate")
        p = self.begin("survive")
        self.until(p, "begun")
        self.host.kill_agent()
        self.host.drop_connections()
        self.host.remote("touch ~/gate")
        self.end(p)
