"""Agent and bridge through real SSH servers: OpenSSH and dropbear, connections that break, noisy profiles.
# parallel: ok
"""
import hashlib
import os
import shutil
import struct
import subprocess
import unittest

from harness import ROOT, Dropbear, Sshd, dropbear_missing, spawn
from harness.link import Link, host_program
from harness.proc import sanitizer_env
from harness.sftp import SftpClient

ATTACH, DATA = 1, 66


class Remote:
    """What Link wants of a host, through ssh."""

    def __init__(self, server, program):
        self.server, self.program, self.links = server, program, []

    def bridge(self, *more, nonce="n1"):
        # the server's fixture kills what is left, also in the middle of a leak check: test_agent.py looks for leaks
        options = sanitizer_env()["ASAN_OPTIONS"] + ":detect_leaks=0"
        return spawn(["ssh", "-T", "-F", self.server.config, "-o", "BatchMode=yes", self.server.alias,
                      " ".join(["exec env", f"ASAN_OPTIONS={options}", self.program, "bridge", nonce, *more])], stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)


class Case(unittest.TestCase):
    def remote(self, **kw):
        server = Sshd(test=self, **kw)
        program = shutil.copy(host_program(), os.path.join(server.dir, "towline-host"))
        os.chmod(program, 0o755)
        return server, Remote(server, program)

    def link(self, remote, auto=False):
        lk = Link(remote, auto=auto)
        self.addCleanup(lk.cut)
        return lk.connect()

    def sftp(self, lk):
        f = lk.file(lk.open("sftp"))
        return SftpClient(f, f), f


class OpenSsh(Case):
    def test_ssh_ends_with_the_link_and_the_agent_stays(self):
        server, remote = self.remote()
        lk = self.link(remote)
        pid = lk.rpc().call("host/info")["pid"]
        lk.bye()
        self.assertEqual(lk.bridge_exit()[0], 0)
        lk = self.link(remote)
        info = lk.rpc().call("host/info")
        self.assertEqual(info["pid"], pid)
        self.assertEqual((info["user"], info["home"], info["uid"]), (server.user, server.home, server.uid))

    def test_exit_status_of_a_dead_agent_reaches_the_client(self):
        server, remote = self.remote()
        lk = self.link(remote)
        os.kill(lk.rpc().call("host/info")["pid"], 9)
        status, text = lk.bridge_exit()
        self.assertEqual(status, 64)
        self.assertIn("the agent ended unexpectedly", text)

    def test_noisy_profile(self):
        server, remote = self.remote(shell="bash")
        with open(os.path.join(server.home, ".bashrc"), "w") as f:
            f.write("echo welcome to the machine; head -c 10000 /dev/zero | tr '\\0' n; echo towline n1\n")
        lk = self.link(remote)
        self.assertIn(b"welcome", lk.noise)
        self.assertGreater(len(lk.noise), 10000)
        self.assertTrue(lk.rpc().call("host/info"))

    def test_read_of_a_large_file_over_breaking_connections(self):
        server, remote = self.remote(wire=True)
        path = os.path.join(server.home, "big")
        data = os.urandom(1 << 20) * 24
        with open(path, "wb") as f:
            f.write(data)
        lk = self.link(remote, auto=True)
        sftp, f = self.sftp(lk)
        marks = [(i + 1) * 4000000 for i in range(5)]

        def cut(total):
            if marks and total > marks[0]:
                marks.pop(0)
                server.wire.drop()
        f.on_bytes = cut
        _etag, size, got = sftp.read_file(path)
        self.assertEqual(size, len(data))
        self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(data).digest())
        self.assertGreaterEqual(lk.resumes, 5)

    def test_save_over_breaking_connections_happens_once(self):
        server, remote = self.remote(wire=True)
        lk = self.link(remote, auto=True)
        sftp, f = self.sftp(lk)
        data = os.urandom(1 << 20) * 6
        path = os.path.join(server.home, "saved")
        answers = []

        def cut(total):
            answers.append(total)
            if len(answers) % 12 == 0:
                server.wire.drop()
        f.on_bytes = cut
        sftp.save(path, data)
        with open(path, "rb") as got:
            self.assertEqual(got.read(), data)
        self.assertGreater(lk.resumes, 2)
        self.assertEqual([n for n in os.listdir(server.home) if not n.startswith(".towline-server")], ["saved"])

    def test_terminal_over_killed_connections(self):
        server, remote = self.remote()
        lk = self.link(remote, auto=True)
        rpc = lk.rpc()
        term = rpc.call("term/create", shell="/bin/sh", command="i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done")
        s = lk.open("term", id=term["id"])
        s.write(struct.pack(">IQII", ATTACH << 24 | 16, 0, 0, 0))
        log, cuts = bytearray(), 0
        while b"\n29999\r" not in log:
            word, = struct.unpack(">I", s.read(4))
            body = s.read(word & 0xffffff)
            if word >> 24 == DATA:
                log += body
            if len(log) > (cuts + 1) * 30000:
                cuts += 1
                server.drop_connections()
        self.assertEqual(bytes(log).split(b"\r\n")[:30000], [b"%d" % i for i in range(30000)])
        self.assertGreater(cuts, 3)

    def test_restricted_server(self):
        _server, remote = self.remote(extra="AllowTcpForwarding no\nAllowStreamLocalForwarding no\nMaxSessions 1\nPermitTTY no")
        lk = self.link(remote)
        rpc = lk.rpc()
        for service in ("rpc", "sftp", "watch"):
            lk.open(service)
        self.assertTrue(rpc.call("term/create", shell="/bin/sh")["id"])

    def test_shells(self):
        for shell in ("dash", "tcsh", "fish"):
            with self.subTest(shell=shell):
                if not shutil.which(shell):
                    self.skipTest(f"no {shell}")
                _server, remote = self.remote(shell=shell)
                self.assertTrue(self.link(remote).rpc().call("host/info")["pid"])


class BusyBox(Case):
    """A host with nothing but dropbear and busybox, all static: the released build runs there."""

    def setUp(self):
        why = dropbear_missing()
        if why:
            self.skipTest(why)
        program = os.path.join(ROOT, "build/stage/lib/towline/host/towline-host-" + os.uname().machine)
        if not os.path.exists(program):
            self.skipTest("no released build for this machine")
        self.server = Dropbear(test=self, wire=True)
        shutil.copy(program, os.path.join(self.server.root, "bin/towline-host"))
        self.remote = Remote(self.server, "/bin/towline-host")

    def test_everything_works_and_survives(self):
        lk = self.link(self.remote, auto=True)
        rpc = lk.rpc()
        info = rpc.call("host/info")
        self.assertEqual((info["home"], info["user"], info["shell"]), ("/root", "root", "/bin/sh"))
        term = rpc.call("term/create")
        sftp, _f = self.sftp(lk)
        sftp.save("/root/x", b"hello" * 100000)
        self.server.wire.drop()
        self.assertEqual(sftp.read_file("/root/x")[2], b"hello" * 100000)
        self.assertEqual(rpc.call("term/list")["terminals"][0]["id"], term["id"])
        self.assertEqual(lk.resumes, 1)
        self.assertEqual(rpc.call("path/resolve", path="~/x")["size"], 500000)
        lk.bye()
        again = self.link(self.remote)
        self.assertEqual(again.rpc().call("host/info")["pid"], info["pid"])


if __name__ == "__main__":
    unittest.main()
