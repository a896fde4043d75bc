# parallel: ok
"""towline ls, cat, get, put and rm through a real connection (D11): like ls, scp and rm in feel, whole files or none."""
import json
import os
import re
import signal
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import Daemon, Sshd, run, wait_for  # noqa: E402

NOT_FOUND, NO_PERMISSION, IS_A_FOLDER, NOT_A_FOLDER, INVALID, CANCELED = 20, 21, 24, 23, 2, 130


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Sshd()
        cls.local = Daemon(cls.host)
        cls.addClassCleanup(cls.host.stop)
        cls.addClassCleanup(cls.local.stop)

    def setUp(self):
        name = self.id().rsplit(".", 1)[1]
        self.far = os.path.join(self.host.dir, name)
        self.near = os.path.join(self.local.dir, name)
        for d in (self.far, self.near):
            os.mkdir(d)
            os.chmod(d, 0o777)

    def tearDown(self):
        for top in (self.far, self.near):
            left = [n for _, _, names in os.walk(top) for n in names if n.endswith(".towline")]
            self.assertEqual(left, [], "temporary files were left behind")

    def t(self, *args, status=0, **kw):
        kw.setdefault("cwd", self.near)
        r = self.local.towline(*args, check=False, **kw)
        self.assertEqual(r.returncode, status, f"{args}: {r.stdout} {r.stderr}")
        return r

    def demo(self, *p):
        return "demo:" + os.path.join(self.far, *p)

    @staticmethod
    def write(*path, data=b"", mode=None):
        with open(os.path.join(*path), "wb") as f:
            f.write(data)
        if mode:
            os.chmod(os.path.join(*path), mode)

    @staticmethod
    def read(*path):
        with open(os.path.join(*path), "rb") as f:
            return f.read()

    def tree(self, top):
        os.makedirs(os.path.join(top, "a/b c/ü"))
        os.mkdir(os.path.join(top, "empty"))
        for i in range(150):
            self.write(top, f"a/f{i}", data=os.urandom(i * 100))
        self.write(top, "big", data=os.urandom(2_500_000))
        self.write(top, "a/run", data=b"#!", mode=0o755)
        os.symlink("../big", os.path.join(top, "a/link"))
        os.symlink("nowhere", os.path.join(top, "broken"))
        os.symlink("/etc", os.path.join(top, "out"))

    def test_ls(self):
        self.write(self.far, "b")
        self.write(self.far, ".hidden")
        self.write(self.far, "a\nname")
        os.mkdir(os.path.join(self.far, "c"))
        os.symlink("c", os.path.join(self.far, "link"))
        self.assertEqual(self.t("ls", self.demo()).stdout.split("\n"), ["a", "name", "b", "c", "link", ""])
        self.assertIn(".hidden", self.t("ls", "-a", self.demo()).stdout)
        lines = self.t("ls", "-la", self.demo()).stdout
        self.assertRegex(lines, r"(?m)^drwx\S+ +\S+ +\S+ +\d+ \w{3} [ \d]\d +\d\d:\d\d +c$")
        self.assertRegex(lines, r"(?m)^l.* link -> c$")
        self.assertRegex(self.t("ls", "-l", self.demo("b")).stdout, r"^-rw\S+ +\S+ +\S+ +0 .*/b\n$")
        self.assertEqual(self.t("ls", self.demo("b")).stdout.strip(), os.path.join(self.far, "b"))
        got = json.loads(self.t("ls", "--json", "-a", self.demo()).stdout)
        self.assertEqual({e["name"]: e["type"] for e in got["entries"]},
                         {".hidden": "file", "a\nname": "file", "b": "file", "c": "folder", "link": "link"})
        r = self.t("ls", self.demo("nothing"), status=NOT_FOUND)
        self.assertRegex(r.stderr, r"^towline: cannot list .*nothing: No such file or directory\. .*\.\n$")
        err = json.loads(self.t("ls", "--json", self.demo("nothing"), status=NOT_FOUND).stdout)
        self.assertEqual(err["error"]["name"], "not_found")
        self.t("ls", self.far, status=INVALID)
        self.t("ls", "-x", self.demo(), status=INVALID)
        self.t("ls", status=INVALID)

    def test_home(self):
        self.write(self.host.home, "in-home", data=b"hello")
        os.chmod(os.path.join(self.host.home, "in-home"), 0o644)
        for at in ("demo", "demo:", "demo:~", "demo:.", "demo:~/"):
            self.assertIn("in-home", self.t("ls", at).stdout.split(), at)
        for at in ("demo:in-home", "demo:~/in-home", "demo:./in-home"):
            self.assertEqual(self.t("cat", at).stdout, "hello")

    def test_cat(self):
        data = os.urandom(300_000)
        self.write(self.far, "f", data=data)
        self.write(self.far, "g", data=b"second")
        self.assertEqual(self.t("cat", self.demo("f"), self.demo("g"), text=False).stdout == data + b"second", True)
        self.assertIn("Name:", self.t("cat", "demo:/proc/self/status").stdout)
        r = self.t("cat", self.demo("none"), self.demo("g"), status=NOT_FOUND)
        self.assertEqual(r.stdout, "second")
        self.t("cat", self.demo(), status=IS_A_FOLDER)
        self.write(self.far, "large", data=bytes(30_000_000))
        cmd = " ".join(f"'{a}'" for a in self.local.argv("cat", self.demo("large")))
        r = run(["bash", "-c", f"set -o pipefail; {cmd} | head -c 5"], check=False, env=self.local.env)
        self.assertEqual((r.returncode, r.stderr), (128 + signal.SIGPIPE, ""))
        with open("/dev/full", "wb") as full:
            r = self.local.towline("cat", self.demo("g"), check=False, capture_output=False, stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(r.returncode, 26)

    def test_trees_there_and_back(self):
        self.tree(os.path.join(self.near, "src"))
        self.t("put", "-r", "-t", "src", self.demo("copy"))
        self.t("get", "-r", "-t", self.demo("copy"), "back")
        for d in (os.path.join(self.far, "copy"), os.path.join(self.near, "back")):
            run(["diff", "-r", "--no-dereference", os.path.join(self.near, "src"), d])
            for n in ("big", "a/run", "a"):
                here, there = os.stat(os.path.join(self.near, "src", n)), os.stat(os.path.join(d, n))
                self.assertEqual((int(here.st_mtime), stat.S_IMODE(here.st_mode)), (int(there.st_mtime), stat.S_IMODE(there.st_mode)), n)
        # again, over what is there; and into a folder
        self.t("put", "-r", "src", self.demo())
        counts = json.loads(self.t("put", "--json", "-r", "src", self.demo()).stdout)
        self.assertEqual((counts["files"], counts["folders"]), (155, 5))
        run(["diff", "-r", "--no-dereference", os.path.join(self.near, "src"), os.path.join(self.far, "src")])
        os.mkdir(os.path.join(self.near, "into"))
        self.t("get", "-r", self.demo("src"), self.demo("copy"), "into")
        self.t("get", "-r", self.demo("src"), "into")
        run(["diff", "-r", "--no-dereference", "src", "into/src"], cwd=self.near)
        run(["diff", "-r", "--no-dereference", "src", "into/copy"], cwd=self.near)

    def test_where_things_go(self):
        self.write(self.near, "f", data=b"one", mode=0o640)
        self.t("put", "f", self.demo("new"))
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.far, "new")).st_mode), 0o640)
        self.t("put", "f", self.demo())
        self.write(self.near, "g", data=b"two")
        self.t("put", "f", "g", self.demo())
        self.assertEqual(sorted(os.listdir(self.far)), ["f", "g", "new"])
        self.t("put", "f", "g", self.demo("new"), status=NOT_A_FOLDER)
        self.t("put", "f", self.demo("none/"), status=NOT_FOUND)
        self.t("put", "f", self.demo("none/f"), status=NOT_FOUND)
        self.t("put", "none", self.demo(), status=NOT_FOUND)
        self.t("put", ".", self.demo(), status=IS_A_FOLDER)
        self.t("put", "-", self.demo("typed"), input="from a pipe")
        self.assertEqual(self.read(self.far, "typed"), b"from a pipe")
        self.t("put", "-", self.demo(), status=IS_A_FOLDER, input="")
        self.t("get", self.demo("new"), ".")
        self.t("get", self.demo("new"), "renamed")
        self.assertEqual(self.read(self.near, "renamed"), b"one")
        self.write(self.near, "kept", data=b"old", mode=0o600)
        os.symlink("kept", os.path.join(self.near, "l"))
        self.t("get", self.demo("g"), "l")
        self.assertEqual((self.read(self.near, "kept"), stat.S_IMODE(os.stat(os.path.join(self.near, "kept")).st_mode)), (b"two", 0o600))
        self.assertTrue(os.path.islink(os.path.join(self.near, "l")))
        self.t("get", self.demo("f"), self.demo("g"), "kept", status=NOT_A_FOLDER)
        self.t("get", self.demo("f"), "none/f", status=NOT_FOUND)
        self.t("get", self.demo("none"), "x", status=NOT_FOUND)
        self.t("get", self.demo(), "x", status=IS_A_FOLDER)
        self.assertFalse(os.path.exists(os.path.join(self.near, "x")))
        r = self.t("get", self.demo("f"), self.demo("none"), self.demo("none2"), self.demo("g"), ".", status=NOT_FOUND)
        self.assertEqual(len(re.findall("No such file", r.stderr)), 2)
        self.assertEqual(self.read(self.near, "g"), b"two")

    def test_what_is_forbidden_does_not_stop_the_rest(self):
        os.makedirs(os.path.join(self.far, "d/closed"), 0o700)
        os.chmod(os.path.join(self.far, "d"), 0o755)
        self.write(self.far, "d/secret", mode=0o600)
        self.write(self.far, "d/open", data=b"x", mode=0o644)
        if os.getuid() == 0:
            r = self.t("get", "-r", self.demo("d"), "d", status=NO_PERMISSION)
            self.assertEqual(r.stderr.count("Permission denied"), 2)
            self.assertEqual(self.read(self.near, "d/open"), b"x")
            r = self.t("rm", "-r", self.demo("d"), status=NO_PERMISSION)

    def test_rm(self):
        self.tree(os.path.join(self.far, "t"))
        run(["chmod", "-R", "a+rwX", self.far])
        if os.getuid() == 0:
            run(["chown", "-R", str(self.host.uid), self.far])
        self.write(self.far, "f")
        self.t("rm", self.demo("f"))
        self.t("rm", self.demo("f"), status=NOT_FOUND)
        self.t("rm", "-f", self.demo("f"))
        r = self.t("rm", self.demo("t"), status=IS_A_FOLDER)
        self.assertIn("-r", r.stderr)
        self.t("rm", self.demo("t/out"))
        self.t("rm", "-rf", self.demo("t"), self.demo("none"))
        self.assertEqual(os.listdir(self.far), [])
        for path in ("demo:", "demo", "demo:/", "demo:.", "demo:~"):
            self.t("rm", "-rf", path, status=INVALID)
        self.assertTrue(os.path.isdir(self.host.home))

    def test_ctrl_c_leaves_nothing_half_written(self):
        with open(os.path.join(self.far, "huge"), "wb") as f:
            f.truncate(1 << 40)
        self.write(self.near, "here", data=b"old")
        p = self.local.start("get", self.demo("huge"), "here", cwd=self.near)
        wait_for(lambda: [n for n in os.listdir(self.near) if n.endswith(".towline") and os.stat(os.path.join(self.near, n)).st_size],
                 30, "the first bytes")
        os.kill(p.pid, signal.SIGINT)
        self.assertEqual(p.wait(20), CANCELED)
        self.assertEqual((os.listdir(self.near), self.read(self.near, "here")), (["here"], b"old"))
        # the other way: a program that never ends its output is read before anything is sent, so a sparse file
        with open(os.path.join(self.near, "huge"), "wb") as f:
            f.truncate(1 << 40)
        self.write(self.far, "there", data=b"old", mode=0o666)

        def open_fds():
            """Somebody has an unnamed file of our folder open: the save is under way."""
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    for fd in os.listdir(f"/proc/{pid}/fd"):
                        if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(self.far + "/"):
                            return True
                except OSError:
                    continue
            return False
        p = self.local.start("put", "huge", self.demo("there"), cwd=self.near)
        wait_for(open_fds, 60, "the save to begin")
        os.kill(p.pid, signal.SIGINT)
        self.assertEqual(p.wait(20), CANCELED)
        wait_for(lambda: not open_fds(), 60, "the host to give it up")
        self.assertEqual((sorted(os.listdir(self.far)), self.read(self.far, "there")), (["huge", "there"], b"old"))

    def test_the_progress_line(self):
        with open(os.path.join(self.far, "f"), "wb") as f:
            f.truncate(1 << 40)  # long enough to be seen; it is interrupted
        os.chmod(os.path.join(self.far, "f"), 0o644)
        t = self.local.terminal("get", self.demo("f"), os.path.join(self.near, "f"))
        self.addCleanup(t.close)
        t.expect("MB/s", 60)
        t.send("\x03")
        self.assertEqual(t.wait(), CANCELED)
        self.assertRegex(t.text, r"f +\d+%  \S+ [kMG]?B  \S+ [kMG]?B/s")
        self.assertIn("interrupted", t.text)
        os.truncate(os.path.join(self.far, "f"), 100_000)
        self.assertEqual(self.t("get", self.demo("f"), "g").stderr, "")


if __name__ == "__main__":
    unittest.main()
