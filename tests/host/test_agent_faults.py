"""What the agent does when the host does not play along: homes, limits, processes, full disks.
# parallel: ok
"""
import os
import resource
import shutil
import signal
import stat
import struct
import subprocess
import unittest

from harness import ASAN, wait_for
from harness.link import DEADLINE, Bye, Gone, Host, Refused, RpcFailed

ROOT_USER = os.geteuid() == 0
BASE_UID = 61000 + os.getpid() % 4000


@unittest.skipUnless(ROOT_USER, "needs root to act as other users")
class Homes(unittest.TestCase):
    def setUp(self):
        self.uid = BASE_UID
        self.tmp = f"/tmp/towline-server-{self.uid}"
        self.addCleanup(shutil.rmtree, self.tmp, True)
        # the test build may lie where another user cannot look
        import tempfile
        self.dir = tempfile.mkdtemp(prefix="tlf-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.dir, True)
        os.chmod(self.dir, 0o755)
        from harness.link import host_program
        self.program = shutil.copy(host_program(), self.dir)

    def make(self, **kw):
        kw.setdefault("uid", self.uid)
        return Host(test=self, program=self.program, **kw)

    def fail_text(self, host, status):
        b = host.bridge()
        out, err = b.communicate(timeout=DEADLINE)
        self.assertEqual(out, b"")
        self.assertEqual(b.returncode, status, err)
        text = err.decode()
        self.assertNotIn("ERROR: AddressSanitizer", text)
        return text

    def test_unwritable_home(self):
        host = self.make(run_dir=False)
        os.chown(host.home, 0, 0)
        rpc = host.link().rpc()
        info = rpc.call("host/info")
        self.assertEqual(info["runDir"], self.tmp)
        self.assertEqual(stat.S_IMODE(os.stat(self.tmp).st_mode), 0o700)
        with open(f"{self.tmp}/agent.log") as f:
            self.assertIn("listens on", f.read())
        term = rpc.call("term/create", shell="/bin/sh")
        self.assertEqual(rpc.call("term/list")["terminals"][0]["id"], term["id"])

    def test_home_that_becomes_writable_again_hides_nothing(self):
        host = self.make(run_dir=False)
        os.chown(host.home, 0, 0)
        first = host.link()
        term = first.rpc().call("term/create", shell="/bin/sh")
        pid = host.agent_pid()
        os.chown(host.home, self.uid, self.uid)
        # the same agent is found, in its second-best folder
        self.assertEqual(host.link().rpc().call("host/info")["pid"], pid)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not host.processes("agent"), what="the agent to die")
        rpc = host.link().rpc()
        self.assertTrue(rpc.call("host/info")["runDir"].startswith(host.home))
        self.assertEqual(rpc.call("term/list")["terminals"][0]["id"], term["id"])
        rpc.call("term/kill", id=term["id"])

    def test_home_without_sockets(self):
        """A home on a file system without room for one more inode."""
        home = os.path.join(self.dir, "full")
        os.mkdir(home)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"nr_inodes=4,uid={self.uid},mode=700", "none", home],
                          capture_output=True).returncode:
            self.skipTest("cannot mount")
        self.addCleanup(subprocess.run, ["umount", "-l", home])
        host = self.make(home=home, run_dir=False)
        self.assertEqual(host.link().rpc().call("host/info")["runDir"], self.tmp)

    def test_run_folder_of_somebody_else(self):
        host = self.make(run_dir=False)
        os.chown(host.home, 0, 0)
        os.mkdir(self.tmp)
        text = self.fail_text(host, 21)
        self.assertIn(f"{self.tmp} is not a folder of this user", text)
        self.assertIn("no folder for sockets", text)

    def test_run_folder_is_a_link(self):
        host = self.make(run_dir=False)
        os.chown(host.home, 0, 0)
        os.symlink(self.dir, self.tmp)
        self.addCleanup(os.unlink, self.tmp)
        self.assertIn("not a folder of this user", self.fail_text(host, 21))

    def test_read_only_run_folder(self):
        host = self.make()
        os.mkdir(host.run, 0o700)
        self.assertIn(host.run, self.fail_text(host, 21))

    def test_run_folder_open_to_others_is_closed(self):
        host = self.make()
        os.mkdir(host.run)
        os.chown(host.run, self.uid, self.uid)
        os.chmod(host.run, 0o777)
        host.link()
        self.assertEqual(stat.S_IMODE(os.stat(host.run).st_mode), 0o700)

    def test_other_user_is_refused(self):
        import socket
        host = self.make()
        host.link()
        # root may pass the 0700 folder; the agent still looks at who it is
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        s.settimeout(DEADLINE)
        s.connect(host.run + "/agent-v1.sock")
        self.assertEqual(s.recv(100), b"")

    def test_agent_of_somebody_else_is_not_used(self):
        host = self.make()
        os.makedirs(host.run, 0o700, exist_ok=True)
        os.chown(host.run, self.uid, self.uid)
        import socket
        fake = socket.socket(socket.AF_UNIX)
        self.addCleanup(fake.close)
        fake.bind(host.run + "/agent-v1.sock")
        os.chown(host.run + "/agent-v1.sock", self.uid, self.uid)
        fake.listen()
        self.assertIn("runs as user 0", self.fail_text(host, 21))

    def test_no_more_processes(self):
        host = self.make()
        lk = host.link()
        rpc = lk.rpc()
        pid = host.agent_pid()

        def processes(n):
            # as the agent's user: another one may not
            subprocess.run(["prlimit", f"--pid={pid}", f"--nproc={n}:"], check=True,
                           user=self.uid, group=self.uid, extra_groups=[])
        processes(0)
        for service in ("sftp", "watch"):
            with self.assertRaises(Refused) as e:
                lk.open(service)
            self.assertIn("cannot start", e.exception.error["message"])
        for method, params in (("path/resolve", {"path": "/"}), ("term/create", {})):
            with self.assertRaises(RpcFailed):
                rpc.call(method, **params)
        processes(4000)
        lk.open("sftp")
        self.assertTrue(rpc.call("path/resolve", path="/"))

    def test_agent_cannot_be_started(self):
        host = self.make()

        def poor():
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        # the leak checker needs a process of its own
        env = {**host.env, "ASAN_OPTIONS": host.env["ASAN_OPTIONS"] + ":detect_leaks=0"}
        b = host.bridge(preexec_fn=poor, env=env)
        out, err = b.communicate(timeout=DEADLINE)
        self.assertEqual(out, b"")
        self.assertNotEqual(b.returncode, 0)
        self.assertIn("cannot start", err.decode())
        host.link()


class Limits(unittest.TestCase):
    def setUp(self):
        self.host = Host(test=self)
        self.lk = self.host.link()
        self.rpc = self.lk.rpc()
        self.pid = self.host.agent_pid()

    def test_no_more_descriptors(self):
        used = len(os.listdir(f"/proc/{self.pid}/fd"))
        old = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (used + 5, old[1]))
        opened, refused = [], 0
        for _ in range(12):
            try:
                opened.append(self.lk.open("sftp"))
            except Refused as e:
                self.assertIn("cannot", e.error["message"])
                refused += 1
        self.assertTrue(refused)
        with self.assertRaises(RpcFailed):
            self.rpc.call("path/resolve", path="/")
        # a client that comes now waits or is told; it must work when there is room again
        late = self.host.bridge()
        for s in opened:
            s.finish()
            s.read_all()
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, old)
        self.assertTrue(self.rpc.call("path/resolve", path="/"))
        self.assertTrue(self.host.link().rpc().call("host/info"))
        late.kill()

    def test_not_one_descriptor_left(self):
        old = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{self.pid}/fd")), old[1]))
        b = self.host.bridge()
        out, err = b.communicate(timeout=DEADLINE)
        self.assertEqual((out, b.returncode), (b"", 64))
        self.assertIn("cannot talk to the running agent: the connection was closed", err.decode())
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, old)
        self.assertTrue(self.host.link().rpc().call("host/info"))
        self.assertTrue(self.rpc.call("host/info"))

    def test_stopped_agent_is_told(self):
        os.kill(self.pid, signal.SIGSTOP)
        b = self.host.bridge()
        out, err = b.communicate(timeout=DEADLINE + 30)
        os.kill(self.pid, signal.SIGCONT)
        self.assertEqual((out, b.returncode), (b"", 64))
        self.assertIn("cannot talk to the running agent", err.decode())
        self.assertTrue(self.rpc.call("host/info"))

    def test_many_links(self):
        """The 65th client takes the place of the one that is away longest."""
        links = [self.lk]
        for _ in range(63):
            lk = self.host.link()
            lk.cut()
            links.append(lk)
        self.assertEqual(self.rpc.call("host/info")["links"], 64)
        self.host.link()
        self.assertEqual(self.rpc.call("host/info")["links"], 64)
        with self.assertRaises(Bye):
            links[1].connect()
        links[2].connect()

    @unittest.skipIf(ASAN, "sanitizers need their own memory")
    def test_idle_memory(self):
        self.assertLess(self.rpc.call("host/info")["rssBytes"], 3 << 20)


class Memory(unittest.TestCase):
    """The released build, where it is there."""

    def setUp(self):
        from harness import ROOT
        self.program = os.environ.get("TOWLINE_STATIC_HOST") or os.path.join(
            ROOT, "build/stage/lib/towline/host/towline-host-" + os.uname().machine)
        if not os.path.exists(self.program):
            self.skipTest("no released build for this machine")
        self.host = Host(test=self, program=self.program)

    def test_idle_below_3_mb_also_after_work(self):
        lk = self.host.link()
        rpc = lk.rpc()
        self.assertLess(rpc.call("host/info")["rssBytes"], 1 << 20)
        term = rpc.call("term/create", shell="/bin/sh", command="head -c 20000000 /dev/zero")
        s = lk.open("term", id=term["id"])
        s.write(struct.pack(">IQII", 1 << 24 | 16, 0, 0, 0))
        got = 0
        while got < 3000000:
            got += len(s.read(65536))
        s.abort()
        rpc.call("term/kill", id=term["id"])
        wait_for(lambda: rpc.call("host/info")["rssBytes"] < 3 << 20, what="memory to be given back")

    def test_idle_agent_sleeps(self):
        """Without a transport nothing wakes it up: no timer is armed but the far ones."""
        lk = self.host.link()
        lk.rpc().call("host/info")
        lk.cut()
        pid = self.host.agent_pid()

        def switches():
            with open(f"/proc/{pid}/status") as f:
                return [line for line in f if "ctxt_switches" in line]
        last = []

        def quiet():
            last.append(switches())
            return len(last) > 30 and last[-1] == last[-30]
        wait_for(quiet, deadline=60, what="the agent to sleep")


if __name__ == "__main__":
    unittest.main()
