# parallel: ok
"""Other people's clients on our file service: OpenSSH's sftp, sshfs with git in it (D1 J1)."""
import os
import shutil
import socket
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import ASAN, STAGE, run, scratch, spawn, wait_for  # noqa: E402
from harness.proc import end, sanitizer_env  # noqa: E402

HOST = os.path.join(STAGE, "lib/towline/host/towline-host-x86_64")


def tree(top):
    os.makedirs(os.path.join(top, "a/b c/ü"))
    os.mkdir(os.path.join(top, "empty"))
    for i in range(120):
        with open(os.path.join(top, f"a/f{i}"), "wb") as f:
            f.write(os.urandom(i * 97))
    with open(os.path.join(top, "big"), "wb") as f:
        f.write(os.urandom(5_000_003))
    with open(os.path.join(top, "a/b c/ü/run"), "w") as f:
        f.write("#!/bin/sh\n")
    os.chmod(os.path.join(top, "a/b c/ü/run"), 0o755)


class Sftp(unittest.TestCase):
    def setUp(self):
        self.dir = scratch("tlc-")
        self.far, self.near = os.path.join(self.dir, "far"), os.path.join(self.dir, "near")
        os.mkdir(self.far)
        os.mkdir(self.near)

    def sftp(self, *lines, check=True):
        """Runs a batch; a line that begins with - may fail."""
        env = {**os.environ, **sanitizer_env(), "HOME": self.far}
        return run(["sftp", "-D", f"{HOST} sftp-server", "-b", "-"], input="\n".join(lines) + "\n", cwd=self.near, env=env,
                   check=check)

    def test_whole_trees_both_ways(self):
        tree(os.path.join(self.near, "src"))
        self.sftp("put -pr src up", "get -pr up down")
        for d in (os.path.join(self.far, "up"), os.path.join(self.near, "down")):
            run(["diff", "-r", os.path.join(self.near, "src"), d])
            self.assertTrue(os.stat(os.path.join(d, "a/b c/ü/run")).st_mode & 0o100)
            for name in ("big", "a/f7"):
                self.assertEqual(int(os.stat(os.path.join(d, name)).st_mtime), int(os.stat(os.path.join(self.near, "src", name)).st_mtime))

    def test_every_command(self):
        with open(os.path.join(self.near, "f"), "wb") as f:
            f.write(b"0123456789" * 100)
        r = self.sftp("pwd", "put f", "mkdir d", "rename f d/g", "ln d/g hard", "ln -s d/g soft", "symlink d dl", "chmod 600 hard",
                      "cp d/g copy", "df", "df -h", "ls -l", "ls -la d", "cd dl", "pwd", "cd ..", "ls -1 c*", "get soft back",
                      "rm hard", "-rm nothing", "-rmdir d", "rm d/g", "rm soft", "rm dl", "rmdir d", "ls", "lls", "version")
        self.assertIn("Remote working directory: " + self.far, r.stdout)
        self.assertIn("SFTP protocol version 3", r.stdout)
        self.assertIn("Size", r.stdout)
        self.assertEqual(os.listdir(self.far), ["copy"])
        with open(os.path.join(self.near, "back"), "rb") as f:
            self.assertEqual(f.read(), b"0123456789" * 100)
        self.assertRegex(r.stdout, r"lrwxrwxrwx +\? \S+ +\S+ +3 .* soft|lrwxrwxrwx .* soft")

    def test_go_on_with_half_a_file(self):
        data = os.urandom(3_000_000)
        with open(os.path.join(self.far, "f"), "wb") as f:
            f.write(data)
        with open(os.path.join(self.near, "f"), "wb") as f:
            f.write(data[:1_000_000])
        self.sftp("reget f")
        with open(os.path.join(self.near, "f"), "rb") as f:
            self.assertEqual(f.read() == data, True)
        os.truncate(os.path.join(self.far, "f"), 777_777)
        self.sftp("reput f")
        with open(os.path.join(self.far, "f"), "rb") as f:
            self.assertEqual(f.read() == data, True)

    def test_errors_are_told(self):
        r = self.sftp("get nothing", check=False)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("not found", r.stderr)
        r = self.sftp("cd nothing", check=False)
        self.assertNotEqual(r.returncode, 0)
        r = self.sftp("mkdir d", "mkdir d", check=False)
        self.assertNotEqual(r.returncode, 0)


@unittest.skipUnless(os.path.exists("/dev/fuse") and os.getuid() == 0, "needs /dev/fuse")
class Sshfs(unittest.TestCase):
    def setUp(self):
        self.dir = scratch("tlm-")
        self.far, self.mount = os.path.join(self.dir, "far"), os.path.join(self.dir, "mnt")
        os.mkdir(self.far)
        os.mkdir(self.mount)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.server = spawn([HOST, "sftp-server"], stdin=ours, stdout=ours, env={**os.environ, **sanitizer_env(), "HOME": self.far})
            self.sshfs = spawn(["sshfs", "-f", "-o", "passive", f":{self.far}", self.mount], stdin=theirs, stdout=theirs,
                               stderr=subprocess.PIPE)
        self.addCleanup(end, self.server)
        self.addCleanup(end, self.sshfs)
        self.addCleanup(lambda: subprocess.run(["fusermount", "-u", "-z", self.mount], capture_output=True))
        wait_for(lambda: os.path.ismount(self.mount) or self.sshfs.poll() is not None, 60, "the mount")
        self.assertIsNone(self.sshfs.poll())

    def m(self, *p):
        return os.path.join(self.mount, *p)

    def test_a_tree_copied_in_and_out(self):
        src = os.path.join(self.dir, "src")
        tree(src)
        os.symlink("big", os.path.join(src, "link"))
        # sshfs sets owners and times through links: a link copied before its target would fail with any server
        run(["cp", "-dR", "--preserve=mode", src, self.m("t")])
        run(["diff", "-r", src, os.path.join(self.far, "t")])
        run(["diff", "-r", src, self.m("t")])
        self.assertEqual(os.readlink(self.m("t/link")), "big")
        run(["cp", "-a", self.m("t"), os.path.join(self.dir, "back")])
        run(["diff", "-r", src, os.path.join(self.dir, "back")])
        shutil.rmtree(self.m("t"))
        self.assertEqual(os.listdir(self.far), [])

    def test_git_works_in_it(self):
        env = {**os.environ, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
               "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        git = ["git", "-c", "safe.directory=*", "-C", self.m()]
        run([*git, "init", "-q"], env=env)
        tree(self.m("t"))
        run([*git, "add", "."], env=env)
        run([*git, "commit", "-q", "-m", "one"], env=env)
        run([*git, "mv", "t/big", "t/bigger"], env=env)
        run([*git, "commit", "-q", "-am", "two"], env=env)
        run([*git, "gc", "-q"], env=env)
        run([*git, "fsck", "--strict"], env=env)
        self.assertEqual(run([*git, "status", "--porcelain"], env=env).stdout, "")
        run(["git", "-c", "safe.directory=*", "-C", self.far, "fsck", "--strict"], env=env)

    def test_a_large_file(self):
        mb = 64 if ASAN else 1024
        run(["dd", "if=/dev/zero", f"of={self.m('big')}", "bs=1M", f"count={mb}", "conv=fsync"], timeout=300)
        self.assertEqual(os.stat(os.path.join(self.far, "big")).st_size, mb << 20)
        run(["cmp", "-n", str(mb << 20), "/dev/zero", self.m("big")], timeout=300)
        with open(self.m("big"), "r+b") as f:
            f.seek((mb << 20) - 3)
            f.write(b"end and more")
        with open(os.path.join(self.far, "big"), "rb") as f:
            f.seek((mb << 20) - 3)
            self.assertEqual(f.read(), b"end and more")

    def test_names_modes_and_links(self):
        with open(self.m("f"), "w") as f:
            f.write("x")
        os.chmod(self.m("f"), 0o640)
        os.link(self.m("f"), self.m("g"))
        os.rename(self.m("f"), self.m("h"))
        os.utime(self.m("h"), (1, 2))
        st = os.stat(os.path.join(self.far, "h"))
        self.assertEqual((stat.S_IMODE(st.st_mode), st.st_nlink, st.st_mtime), (0o640, 2, 2))
        self.assertGreater(os.statvfs(self.m()).f_blocks, 0)
        with self.assertRaises(FileNotFoundError):
            os.stat(self.m("none"))
        with self.assertRaises(OSError):
            os.rmdir(self.m("h"))


if __name__ == "__main__":
    unittest.main()
