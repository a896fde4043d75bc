"""Copies of files and trees: towline upload and download over libtowline, against a real sshd (rows A8 A11)."""
# parallel: ok
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import unittest

from harness import ROOT, Daemon, Dropbear, Sshd, dropbear_missing, find_processes, kill_marked, run, wait_for

ODD = ["plain", "with space", "-dash", "new\nline", "quote'\"$x", ".hidden", "ünï", "*star", "tab\there", "~", os.fsdecode(b"latin\xe9\xff"),
       "x" * 255]


def tree(top, owner=None):
    """Everything that can be in a tree."""
    os.makedirs(os.path.join(top, "sub/deeper/deepest"))
    os.makedirs(os.path.join(top, "empty folder"))
    os.makedirs(os.path.join(top, ".dot folder"))
    for i, name in enumerate(ODD):
        with open(os.path.join(top, name), "wb") as f:
            f.write(bytes([i]) * (i * 4099))
    for i in range(300):
        with open(os.path.join(top, "sub/deeper", f"n{i}"), "wb") as f:
            f.write(os.urandom(i * 31))
    with open(os.path.join(top, "sub/big"), "wb") as f:
        f.write(os.urandom(3 << 20))
    with open(os.path.join(top, "sparse"), "wb") as f:
        f.write(b"begin")
        f.seek(40 << 20)
        f.write(b"middle")
        f.truncate(90 << 20)
    os.symlink("plain", os.path.join(top, "link"))
    os.symlink("nowhere/at all", os.path.join(top, "broken"))
    os.symlink("sub", os.path.join(top, "folder link"))
    os.chmod(os.path.join(top, "plain"), 0o751)
    os.chmod(os.path.join(top, "sub/big"), 0o440)
    os.chmod(os.path.join(top, "empty folder"), 0o711)
    for base, folders, files in os.walk(top, topdown=False):
        for n in files + folders:
            p = os.path.join(base, n)
            if not os.path.islink(p):
                os.utime(p, (1_500_000_000, 1_400_000_000 + len(n)))
    os.utime(top, (1_500_000_000, 1_400_000_000))
    if owner is not None:
        own(top, owner)


def own(top, uid):
    for base, folders, files in os.walk(top):
        for p in [base] + [os.path.join(base, n) for n in folders + files]:
            os.lchown(p, uid, -1)


def look(top, exact=False):
    """{relative name: what it is}"""
    out = {}
    for base, folders, files in os.walk(top):
        for n in folders + files:
            p = os.path.join(base, n)
            st = os.lstat(p)
            if stat.S_ISLNK(st.st_mode):
                out[os.path.relpath(p, top)] = ("link", os.readlink(p))
                continue
            what = ["folder"]
            if stat.S_ISREG(st.st_mode):
                with open(p, "rb") as f:
                    what = ["file", st.st_size, hashlib.sha256(f.read()).hexdigest()]
            if exact:
                what += [oct(stat.S_IMODE(st.st_mode)), int(st.st_mtime)]
            out[os.path.relpath(p, top)] = tuple(what)
    return out


class Copy(unittest.TestCase):
    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        cls.host = Sshd()
        cls.addClassCleanup(cls.host.stop)
        cls.local = Daemon(cls.host)
        cls.addClassCleanup(cls.local.stop)
        cls.local.towline("connect", "demo")

    def setUp(self):
        self.here = os.path.join(self.local.home, self.id().split(".")[-1])
        self.there = os.path.join(self.host.home, self.id().split(".")[-1])
        self.name = os.path.basename(self.there)
        os.mkdir(self.here)
        os.mkdir(self.there)
        os.chown(self.there, self.host.uid, -1)

    def tearDown(self):
        for top in (self.here, self.there):
            shutil.rmtree(top, ignore_errors=True)

    def up(self, *args, **kw):
        return self.local.towline("upload", *args, cwd=self.here, **kw)

    def down(self, *args, **kw):
        return self.local.towline("download", *args, cwd=self.here, **kw)

    def write(self, where, name, data=b"content"):
        path = os.path.join(where, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
        if where.startswith(self.there):
            os.chown(path, self.host.uid, -1)
        return path

    def left_over(self):
        return [n for top in (self.here, self.there) for _, folders, files in os.walk(top) for n in folders + files if n.endswith((".towline", ".towline-part"))]

    def fails(self, r, status, *words):
        self.assertEqual(r.returncode, status, r.stderr)
        for w in words:
            self.assertIn(w, r.stderr)
        self.assertEqual(self.left_over(), [])


class Trees(Copy):
    def test_upload_a_tree_as_it_is(self):
        tree(os.path.join(self.here, "t"))
        self.up("-t", "demo", "t", self.name)
        self.assertEqual(look(os.path.join(self.there, "t"), True), look(os.path.join(self.here, "t"), True))
        self.assertEqual(int(os.stat(os.path.join(self.there, "t")).st_mtime), 1_400_000_000)
        self.assertEqual(self.left_over(), [])

    def test_download_a_tree_as_it_is(self):
        tree(os.path.join(self.there, "t"), self.host.uid)
        self.down("-t", "demo", f"{self.name}/t", ".")
        self.assertEqual(look(os.path.join(self.here, "t"), True), look(os.path.join(self.there, "t"), True))
        self.assertEqual(int(os.stat(os.path.join(self.here, "t")).st_mtime), 1_400_000_000)
        self.assertEqual(self.left_over(), [])

    def test_holes_stay_holes(self):
        with open(os.path.join(self.here, "s"), "wb") as f:
            f.truncate(5 << 30)
            f.seek((4 << 30) + 12345)
            f.write(b"far away")
        self.up("demo", "s", self.name)
        self.down("demo", f"{self.name}/s", "back")
        for p in (os.path.join(self.there, "s"), os.path.join(self.here, "back")):
            st = os.stat(p)
            self.assertEqual(st.st_size, 5 << 30)
            self.assertLess(st.st_blocks * 512, 1 << 20)
            with open(p, "rb") as f:
                f.seek((4 << 30) + 12345)
                self.assertEqual(f.read(8), b"far away")

    def test_again_over_what_is_there(self):
        tree(os.path.join(self.here, "t"))
        os.chmod(os.path.join(self.here, "t/sub/big"), 0o640)  # what may not be written is not replaced
        for _ in range(2):
            self.up("demo", "t", self.name)
        for _ in range(2):
            self.down("demo", f"{self.name}/t", "back/")
        self.assertEqual(look(os.path.join(self.here, "back/t")), look(os.path.join(self.here, "t")))

    def test_follow_links(self):
        for top in (self.here, self.there):
            self.write(top, "t/a/f", b"behind")
            os.symlink("a", os.path.join(top, "t/l"))
            os.symlink("a/f", os.path.join(top, "t/g"))
            os.symlink("..", os.path.join(top, "t/a/back"))
        own(self.there, self.host.uid)
        up = self.up("-L", "demo", "t", f"{self.name}/new", check=False)
        down = self.down("-L", "demo", f"{self.name}/t", "new", check=False)
        for r, top in ((up, self.there), (down, self.here)):
            self.fails(r, 92, "leads back")
            got = look(os.path.join(top, "new"))
            self.assertEqual(got["l/f"], got["a/f"])
            self.assertEqual(got["g"], got["a/f"])

    def test_a_tree_without_times_follows_the_umask(self):
        self.write(self.here, "t/f")
        os.chmod(os.path.join(self.here, "t/f"), 0o777)
        os.chmod(os.path.join(self.here, "t"), 0o777)
        self.up("demo", "t", self.name)
        self.down("demo", f"{self.name}/t", "back")
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.here, "back/f")).st_mode) & 0o022, 0)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.here, "back")).st_mode) & 0o022, 0)

    def test_verify(self):
        tree(os.path.join(self.here, "t"))
        self.up("--verify", "demo", "t", self.name)
        self.down("--verify", "demo", f"{self.name}/t", "back")
        self.assertEqual(look(os.path.join(self.here, "back")), look(os.path.join(self.here, "t")))


class Places(Copy):
    def test_onto_a_name_into_a_folder_and_home(self):
        self.write(self.here, "f", b"1")
        self.up("demo", "f", f"{self.name}/g")
        self.up("demo", "f", self.name)
        self.up("demo", "f", f"{self.name}/made/of/it/")
        self.up("demo", "f", f"~/{self.name}/h")
        self.assertEqual(sorted(look(self.there)), ["f", "g", "h", "made", "made/of", "made/of/it", "made/of/it/f"])
        self.down("demo", f"{self.name}/g", "x")
        self.down("demo", f"{self.name}/g", f"~/{self.name}/h", "y")
        self.down("demo", f"{self.name}/g", "z/z/")
        self.assertEqual(sorted(look(self.here)), ["f", "x", "y", "y/g", "y/h", "z", "z/z", "z/z/g"])

    def test_a_folder_becomes_a_new_name(self):
        self.write(self.here, "t/f")
        self.up("demo", "t", f"{self.name}/new")
        self.up("demo", "t/", f"{self.name}/new")
        self.assertEqual(sorted(look(self.there)), ["new", "new/f", "new/t", "new/t/f"])
        self.down("demo", f"{self.name}/new/t/", "back")
        self.assertEqual(sorted(look(os.path.join(self.here, "back"))), ["f"])

    def test_the_content_of_this_folder(self):
        self.write(self.here, "a")
        self.write(self.here, ".b")
        self.up("demo", ".", self.name)
        self.assertEqual(sorted(look(self.there)), [".b", "a"])

    def test_wildcards_are_of_the_host(self):
        for n in ("a1.txt", "a2.txt", "b.txt", "[x]", "with space.txt"):
            self.write(self.there, n, n.encode())
        self.down("demo", f"~/{self.name}/*.txt", "got")
        self.assertEqual(sorted(look(os.path.join(self.here, "got"))), ["a1.txt", "a2.txt", "b.txt", "with space.txt"])
        self.down("demo", f"{self.name}/[x]", "literal")
        with open(os.path.join(self.here, "literal"), "rb") as f:
            self.assertEqual(f.read(), b"[x]")
        self.fails(self.down("demo", f"{self.name}/*.none", ".", check=False), 20, "nothing matches")

    def test_no_overwrite(self):
        for top, other in ((self.here, b"here"), (self.there, b"there")):
            self.write(top, "t/old", other)
        self.write(self.here, "t/new1")
        self.write(self.there, "t/new2")
        own(self.there, self.host.uid)
        self.up("-n", "demo", "t", self.name)
        self.down("-n", "demo", f"{self.name}/t", ".")
        self.assertEqual(sorted(look(self.there)), ["t", "t/new1", "t/new2", "t/old"])
        self.assertEqual(sorted(look(self.here)), ["t", "t/new1", "t/new2", "t/old"])
        for top, other in ((self.here, b"here"), (self.there, b"there")):
            with open(os.path.join(top, "t/old"), "rb") as f:
                self.assertEqual(f.read(), other)

    def test_what_is_replaced_keeps_its_mode(self):
        self.write(self.here, "f", b"new")
        os.chmod(self.write(self.there, "f", b"old"), 0o600)
        self.up("demo", "f", self.name)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.there, "f")).st_mode), 0o600)
        os.chmod(self.write(self.here, "f", b"old"), 0o640)
        self.down("demo", f"{self.name}/f", ".")
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.here, "f")).st_mode), 0o640)


class Problems(Copy):
    def test_missing_source(self):
        self.fails(self.up("demo", "nothing", self.name, check=False), 20, "nothing", "No such file")
        self.fails(self.down("demo", f"{self.name}/nothing", ".", check=False), 20, f"{self.name}/nothing", "No such file")

    def test_a_file_where_a_folder_is_needed(self):
        self.write(self.here, "f")
        self.write(self.here, "g")
        self.write(self.there, "f")
        self.write(self.there, "g")
        self.fails(self.up("demo", "f", "g", f"{self.name}/f", check=False), 23, "no folder")
        self.fails(self.up("demo", "f", f"{self.name}/f/", check=False), 23, "older")
        self.fails(self.down("demo", f"{self.name}/f", f"{self.name}/g", "f", check=False), 23, "no folder")
        self.fails(self.down("demo", f"{self.name}/f", "none/f", check=False), 20, "none")

    def test_one_bad_file_of_a_tree(self):
        for top in (self.here, self.there):
            for n in ("a", "bad", "c"):
                self.write(top, f"t/{n}")
            os.mkfifo(os.path.join(top, "t/fifo"))
        own(self.there, self.host.uid)
        os.chmod(os.path.join(self.there, "t/bad"), 0)
        r = self.down("demo", f"{self.name}/t", "got", check=False)
        self.fails(r, 92, "t/bad", "Permission denied", "t/fifo", "no regular file")
        self.assertEqual(sorted(look(os.path.join(self.here, "got"))), ["a", "c"])
        r = self.up("demo", "t", f"{self.name}/got", check=False)
        self.fails(r, 92, "t/fifo", "no regular file")
        self.assertEqual(sorted(look(os.path.join(self.there, "got"))), ["a", "bad", "c"])
        r = self.down("--json", "demo", f"{self.name}/t", "json", check=False)
        lines = [json.loads(x) for x in r.stdout.splitlines()]
        self.assertEqual({x["name"] for x in lines if "problem" in x}, {"no_permission", "unsupported"})
        self.assertEqual([x["problems"] for x in lines if "problems" in x], [2])

    def test_a_folder_that_cannot_be_made_is_told_once(self):
        for i in range(50):
            self.write(self.here, f"t/sub/{i}")
            self.write(self.there, f"t/sub/{i}")
        own(self.there, self.host.uid)
        self.write(self.there, "up/sub", b"a file")
        own(self.there, self.host.uid)
        os.mkdir(os.path.join(self.here, "down"))
        self.write(self.here, "down/sub", b"a file")
        os.rename(os.path.join(self.here, "t"), os.path.join(self.here, "up"))
        os.rename(os.path.join(self.there, "t"), os.path.join(self.there, "down"))
        # the only failure, and nothing was copied besides it: then it is the failure itself
        for r, status in ((self.up("demo", "up", self.name, check=False), 92),
                          (self.down("demo", f"{self.name}/down", ".", check=False), 23)):
            self.assertEqual(r.returncode, status, r.stderr)
            self.assertLessEqual(r.stderr.count("towline:"), 2, r.stderr)

    def test_no_permission_there(self):
        self.write(self.here, "f")
        os.chown(self.there, 0, -1)
        os.chmod(self.there, 0o755)
        self.fails(self.up("demo", "f", self.name, check=False), 21, "Permission denied")

    def test_a_full_disk_leaves_nothing(self):
        self.write(self.here, "f", os.urandom(3 << 20))
        self.write(self.there, "f", os.urandom(3 << 20))
        for top in (self.here, self.there):
            os.mkdir(os.path.join(top, "small"))
            r = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "none", os.path.join(top, "small")], capture_output=True)
            if r.returncode:
                self.skipTest("no right to mount here")
            self.addCleanup(subprocess.run, ["umount", os.path.join(top, "small")])
        self.fails(self.up("demo", "f", f"{self.name}/small/", check=False), 26, "No space")
        self.fails(self.down("demo", f"{self.name}/f", "small/", check=False), 26, "No space")
        for top in (self.here, self.there):
            self.assertEqual(os.listdir(os.path.join(top, "small")), [])

    def test_wrong_words(self):
        for c in ("upload", "download"):
            for args, word in (((), "HOST"), (("demo",), "SRC"), (("demo", "x"), "DEST"), (("--bogus", "demo", "x", "y"), "--bogus")):
                r = self.local.towline(c, *args, check=False)
                self.assertEqual(r.returncode, 2)
                self.assertIn(word, r.stderr)


class Ends(Copy):
    SIZE = 300 << 20

    def big(self, top):
        with open(os.path.join(top, "big"), "wb") as f:
            for i in range(self.SIZE >> 20):
                f.write(os.urandom(1024) * 1024)
        os.chown(os.path.join(top, "big"), self.host.uid, -1)

    def running(self, *args, seen):
        """Started, and some of it has been copied."""
        p = self.local.start(*args, cwd=self.here)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        wait_for(lambda: p.poll() is not None or seen(), 60, "the copy to move")
        if p.poll() is not None:
            self.fail(f"it ended early: {p.communicate()}")
        return p

    def begun(self, top):
        """A file that is being written there, also one without a name."""
        def look():
            for pid in find_processes(self.local.mark) + self.host.processes():
                try:
                    for fd in os.listdir(f"/proc/{pid}/fd"):
                        name = os.readlink(f"/proc/{pid}/fd/{fd}")
                        if name.startswith(top + "/") and not name.endswith("/big") and os.stat(f"/proc/{pid}/fd/{fd}").st_size > 1 << 20:
                            return True
                except OSError:
                    continue
            return False
        return look

    def test_ctrl_c_leaves_nothing(self):
        self.big(self.here)
        p = self.running("upload", "demo", "big", f"{self.name}/copy", seen=self.begun(self.there))
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130)
        wait_for(lambda: os.listdir(self.there) == [], 60, "the rest to go")
        os.rename(os.path.join(self.here, "big"), os.path.join(self.there, "big"))
        p = self.running("download", "demo", f"{self.name}/big", "copy", seen=self.begun(self.here))
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130)
        self.assertEqual(os.listdir(self.here), [])

    def test_resume(self):
        self.big(self.here)
        p = self.running("upload", "--resume", "demo", "big", f"{self.name}/copy", seen=self.begun(self.there))
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=60)
        part = os.path.join(self.there, ".copy.towline-part")
        before = os.stat(part)
        self.assertGreater(before.st_size, 0)
        self.assertLess(before.st_size, self.SIZE)
        wait_for(lambda: self.up("--resume", "--verify", "demo", "big", f"{self.name}/copy", check=False).returncode == 0, 60, "the copy")
        self.assertEqual(os.listdir(self.there), ["copy"])
        self.assertEqual(os.stat(os.path.join(self.there, "copy")).st_ino, before.st_ino)
        self.assertEqual(look(self.there)["copy"], look(self.here)["big"])
        # and back
        p = self.running("download", "--resume", "demo", f"{self.name}/copy", "back", seen=self.begun(self.here))
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=60)
        before = os.stat(os.path.join(self.here, ".back.towline-part"))
        self.assertGreater(before.st_size, 0)
        self.down("--resume", "demo", f"{self.name}/copy", "back")
        self.assertEqual(os.stat(os.path.join(self.here, "back")).st_ino, before.st_ino)
        self.assertEqual(look(self.here)["back"], look(self.here)["big"])
        self.assertEqual(self.left_over(), [])
        # what is there is not sent again
        again = json.loads(self.up("--resume", "--json", "demo", "big", f"{self.name}/copy").stdout)
        self.assertEqual((again["files"], again["bytes"]), (1, 0))

    def test_a_lost_connection_is_told_and_resumed(self):
        self.big(self.here)
        p = self.running("upload", "--resume", "demo", "big", f"{self.name}/copy", seen=self.begun(self.there))
        kill_marked(self.host.mark, argv0="towline-host")
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 75, err)
        self.assertIn(b"resume goes on", err)
        self.assertGreater(os.stat(os.path.join(self.there, ".copy.towline-part")).st_size, 0)
        self.local.towline("close", "demo")
        self.local.towline("connect", "demo")
        self.up("--resume", "--verify", "demo", "big", f"{self.name}/copy")
        self.assertEqual(look(self.there)["copy"], look(self.here)["big"])

    def test_a_part_of_another_file_does_not_count(self):
        self.write(self.here, "f", os.urandom(4 << 20))
        self.write(self.there, ".g.towline-part", os.urandom(1 << 20))
        self.up("--resume", "demo", "f", f"{self.name}/g")
        self.assertEqual(look(self.there)["g"], look(self.here)["f"])
        self.write(self.here, ".h.towline-part", os.urandom(1 << 20))
        self.down("--resume", "demo", f"{self.name}/g", "h")
        self.assertEqual(look(self.here)["h"], look(self.here)["f"])
        self.assertEqual(self.left_over(), [])


class Calls(Copy):
    def test_the_calls_of_a_program(self):
        big = self.write(self.here, "big", os.urandom(20 << 20))
        program = os.path.join(ROOT, "build/tests/api/copy_calls")
        r = run([program, "demo", self.host.config, big, self.name], check=False, env=self.local.env, cwd=self.here)
        self.assertEqual((r.returncode, r.stdout), (0, "ok\n"), r.stderr)
        self.assertEqual(look(self.there), look(self.here))


class Alone(unittest.TestCase):
    """Without a daemon: a login of its own, and nothing stays on the host."""

    def both_ways(self, host, home, **kw):
        local = Daemon(host, test=self, **kw)
        before = os.listdir(home)
        tree(os.path.join(local.home, "t"))
        local.towline("upload", "-t", "demo", "t", ".")
        local.towline("download", "-t", "--verify", "demo", "~/t", "back")
        self.assertEqual(look(os.path.join(local.home, "back"), True), look(os.path.join(local.home, "t"), True))
        self.assertIsNone(local.pid())
        self.assertEqual([n for n in os.listdir(home) if n != "t" and n not in before], [])

    def test_openssh(self):
        host = Sshd(test=self)
        self.both_ways(host, host.home)

    def test_dropbear(self):
        missing = dropbear_missing()
        if missing:
            self.skipTest(missing)
        host = Dropbear(test=self)
        # the sanitizer build of the host program needs a libc that is not there
        self.both_ways(host, host.outside_home, stage=os.path.join(ROOT, "build", "stage"))


if __name__ == "__main__":
    unittest.main()
