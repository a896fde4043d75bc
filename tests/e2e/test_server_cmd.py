"""towline server: what is installed and runs on a host, connected or not, and the end of it (row C1)."""
# parallel: ok
import json
import os
import shutil
import signal
import time
import unittest

from harness import Daemon, RpcError, Sshd, wait_for


class Server(unittest.TestCase):
    def setUp(self):
        self.host = Sshd(test=self)
        self.d = Daemon(self.host, test=self)
        self.dir = os.path.join(self.host.home, ".towline-server")

    def status(self):
        return json.loads(self.d.towline("--json", "server", "status", "demo").stdout)

    def faces(self):
        return sorted(p["face"] for p in self.status()["processes"])

    def running(self):
        return self.host.processes("towline-host")

    def shell(self):
        return self.d.towline("shell", "demo", "--detach", "--", "sleep 1000").stdout.strip()

    def test_looking_installs_and_starts_nothing(self):
        r = self.status()
        self.assertEqual((r["installed"], r["versions"], r["processes"], r["connected"]), (False, [], [], False))
        for verb in ("kill", "uninstall", "log"):
            self.d.towline("server", verb, "demo")
        self.assertEqual(self.d.towline("server", "status", "demo").stdout, "demo: no server is installed\n")
        self.assertFalse(os.path.exists(self.dir))
        self.assertEqual(self.running(), [])
        self.assertEqual([h["phase"] for h in self.d.client().call("host/list")["hosts"]], ["disconnected"])

    def test_connected_and_not_say_the_same(self):
        out = self.d.towline("server", "start", "demo").stdout
        self.assertRegex(out, r"demo: \S+/\.towline-server, connected\n  version \S+  \d+ kB, running\n")
        self.shell()
        here = self.status()
        self.assertEqual(sorted({p["face"] for p in here["processes"]} & {"agent", "hold", "bridge"}), ["agent", "bridge", "hold"])
        self.d.towline("close", "demo")
        wait_for(lambda: self.faces() == ["agent", "hold"], 60, "the bridge to leave")
        there = self.status()
        self.assertEqual((here["connected"], there["connected"]), (True, False))
        for k in ("dir", "installed", "versions"):
            self.assertEqual(here[k], there[k], k)

    def test_kill_connected(self):
        self.d.towline("connect", "demo")
        self.shell()
        self.d.towline("server", "kill", "demo")
        wait_for(lambda: not self.running(), 60, "every process to end")
        state = self.d.client().call("host/list")["hosts"][0]
        self.assertEqual(state["phase"], "disconnected")
        self.assertTrue(os.path.isdir(os.path.join(self.dir, "bin")))
        self.d.towline("connect", "demo")

    def test_kill_what_does_not_answer(self):
        self.d.towline("connect", "demo")
        self.shell()
        self.d.towline("close", "demo")
        wait_for(lambda: self.faces() == ["agent", "hold"], 60, "the bridge to leave")
        for pid in self.running():
            os.kill(pid, signal.SIGSTOP)
        self.assertEqual(json.loads(self.d.towline("--json", "server", "kill", "demo").stdout)["ended"], 2)
        wait_for(lambda: not self.running(), 60, "every process to end")

    def test_kill_a_version_that_cannot_run_any_more(self):
        self.d.towline("connect", "demo")
        self.d.towline("close", "demo")
        (version,) = os.listdir(os.path.join(self.dir, "bin"))
        program = os.path.join(self.dir, "bin", version, "towline-host")
        os.rename(program, program + ".old")
        with open(program, "w") as f:
            f.write("#!/bin/sh\nexit 9\n")
        os.chmod(program, 0o755)
        self.d.towline("server", "kill", "demo")
        wait_for(lambda: not self.running(), 60, "the agent to end")
        self.d.towline("server", "uninstall", "demo")
        self.assertFalse(os.path.exists(self.dir))

    def test_uninstall_connected_and_not(self):
        for connected in (True, False):
            self.d.towline("connect", "demo")
            self.shell()
            if not connected:
                self.d.towline("close", "demo")
            self.d.towline("server", "uninstall", "demo")
            wait_for(lambda: not self.running() and not os.path.exists(self.dir), 60, "everything to go")

    def test_uninstall_leaves_what_is_not_ours(self):
        self.d.towline("connect", "demo")
        self.d.towline("close", "demo")
        with open(os.path.join(self.dir, "mine"), "w") as f:
            f.write("x")
        out = self.d.towline("server", "uninstall", "demo").stdout
        self.assertIn("holds something else and stays", out)
        self.assertEqual(os.listdir(self.dir), ["mine"])

    def test_old_versions_go_and_used_ones_stay(self):
        self.d.towline("connect", "demo")
        bin = os.path.join(self.dir, "bin")
        (ours,) = os.listdir(bin)
        for name in ("old", "young"):
            shutil.copytree(os.path.join(bin, ours), os.path.join(bin, name))
            if self.host.root:
                os.chown(os.path.join(bin, name), self.host.uid, -1)
                os.chown(os.path.join(bin, name, "towline-host"), self.host.uid, -1)
        month = time.time() - 40 * 86400
        for name in ("old", ours):
            os.utime(os.path.join(bin, name), (month, month))
        self.host.remote(f"~/.towline-server/bin/{ours}/towline-host server prune")
        self.assertEqual(sorted(os.listdir(bin)), sorted([ours, "young"]))
        # what is in use counts as used now, for other machines that share the home
        self.assertGreater(os.stat(os.path.join(bin, ours)).st_mtime, month + 86400)

    def test_a_home_that_cannot_hold_it(self):
        if not self.host.root:
            self.skipTest("needs a home of somebody else")
        os.chmod(self.host.home, 0o555)
        r = self.d.towline("connect", "demo")
        there = f".towline-server-{self.host.uid}"
        self.assertRegex(r.stderr, rf"cannot hold the server \(.*Permission denied\): it is in \S*/{there}")
        self.assertIn(there, self.d.client().call("host/list")["hosts"][0]["notice"])
        self.assertTrue(self.status()["versions"])
        self.d.towline("server", "uninstall", "demo")
        wait_for(lambda: not self.running(), 60, "every process to end")
        for place in ("/dev/shm", "/var/tmp", "/tmp"):
            wait_for(lambda: not os.path.exists(os.path.join(place, there)), 60, "the folder to go")

    def test_log(self):
        self.d.towline("connect", "demo")
        connected = self.d.towline("server", "log", "-n", "5", "demo").stdout
        self.assertTrue(connected.strip())
        self.assertLessEqual(len(connected.splitlines()), 5)
        self.d.towline("close", "demo")
        self.assertTrue(self.d.towline("server", "log", "demo").stdout.strip())

    def test_a_folder_of_the_settings(self):
        folder = os.path.join(self.d.config_home, "towline", "User")
        os.makedirs(folder)
        with open(os.path.join(folder, "settings.json"), "w") as f:
            json.dump({"remote.SSH.serverInstallPath": {"demo": "~/a b/tools"}}, f)
        self.d.towline("connect", "demo")
        self.d.towline("close", "demo")
        self.assertEqual(self.status()["dir"], os.path.join(self.host.home, "a b", "tools"))
        self.d.towline("server", "uninstall", "demo")
        self.assertFalse(os.path.exists(os.path.join(self.host.home, "a b", "tools")))

    def test_one_errand_at_a_time_and_a_client_that_leaves(self):
        self.d.towline("status")
        self.host.freeze()
        self.host.process.send_signal(signal.SIGSTOP)
        a, b = self.d.client(), self.d.client()
        a._send({"id": 1, "method": "server/status", "params": {"host": "demo", "options": {"configFile": self.host.config}}})
        wait_for(lambda: a.call("host/list")["hosts"], 60, "the first to begin")
        with self.assertRaises(RpcError) as e:
            b.call("server/status", host="demo", options={"configFile": self.host.config})
        self.assertEqual(e.exception.name, "again")
        a.close()
        self.host.process.send_signal(signal.SIGCONT)

        def free():
            try:
                return b.call("server/status", host="demo", options={"configFile": self.host.config})
            except RpcError as e:
                self.assertEqual(e.name, "again")
        self.assertFalse(wait_for(free, 60, "the place to be free")["installed"])

    def test_wrong_command_lines(self):
        for args in ((), ("status",), ("what", "demo"), ("status", "demo", "more"), ("log", "-n", "x", "demo")):
            self.assertEqual(self.d.towline("server", *args, check=False).returncode, 2, args)
        self.assertEqual(self.d.towline("server", "status", "nowhere.invalid", check=False).returncode, 40)


class Password(unittest.TestCase):
    def test_questions_of_an_errand_are_asked_here(self):
        host = Sshd(password="secret", test=self)
        d = Daemon(host, test=self)
        d.towline("status")
        asked = []

        def answer(p):
            asked.append((p["kind"], p["attempt"]))
            return "secret" if len(asked) == 2 else "wrong"
        c = d.client(answers=answer)
        c2 = d.client()
        r = c.call("server/status", host="demo", options={"configFile": host.config})
        self.assertFalse(r["installed"])
        self.assertEqual(asked, [("password", 1), ("password", 2)])
        self.assertEqual(c2.prompts, [])


if __name__ == "__main__":
    unittest.main()
