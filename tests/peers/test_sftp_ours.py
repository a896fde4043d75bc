# parallel: ok
"""Our extensions of SFTP (docs/protocol.md 4), asked of `towline-host sftp-server` (D1 D2 D11)."""
import fcntl
import hashlib
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import STAGE, run, scratch  # noqa: E402
from harness.sftp import (EXTENDED, NO_FILE, OP_UNSUPPORTED, SAVE, STATUS, Reader, SftpClient, SftpError,  # noqa: E402
                          string, u32, u64)

HOST = os.path.join(STAGE, "lib/towline/host/towline-host-x86_64")
FILE, FOLDER, LINK_FILE, LINK_FOLDER, LINK_BROKEN, OTHER = range(1, 7)
NEW = SAVE.CREATE | SAVE.OVERWRITE


class Case(unittest.TestCase):
    user = None
    before = None  # called in the server's process

    def setUp(self):
        self.dir = scratch("tls-")
        if self.user:
            shutil.chown(self.dir, self.user)
        self.c = self.server()

    def server(self):
        argv = [HOST, "sftp-server"]
        if self.user:
            argv = ["setpriv", f"--reuid={self.user}", "--clear-groups", *argv]
        c = SftpClient.spawn(argv, cwd=self.dir, **({"preexec_fn": self.before} if self.before else {}))
        self.addCleanup(c.kill)
        return c

    def tearDown(self):
        self.assertEqual(self.c.close(), 0)
        left = [n for _, _, names in os.walk(self.dir) for n in names if n.endswith(".towline")]
        self.assertEqual(left, [], "temporary files were left behind")

    def p(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, data=b"", mode=None):
        with open(self.p(name), "wb") as f:
            f.write(data)
        if mode is not None:
            os.chmod(self.p(name), mode)
        return self.p(name)

    def read(self, name):
        with open(self.p(name), "rb") as f:
            return f.read()

    def fails(self, word, fn, *args, **kw):
        with self.assertRaises(SftpError) as e:
            fn(*args, **kw)
        self.assertEqual(e.exception.word, word, str(e.exception))
        return e.exception


class Looking(Case):
    def test_list_tells_types_and_attributes(self):
        self.write("file", b"abc")
        os.mkdir(self.p("folder"))
        os.symlink("file", self.p("to-file"))
        os.symlink("folder", self.p("to-folder"))
        os.symlink("nothing", self.p("to-nothing"))
        os.mkfifo(self.p("fifo"))
        got = self.c.list(self.dir)
        self.assertEqual({n: e[0] for n, e in got.items()},
                         {"file": FILE, "folder": FOLDER, "to-file": LINK_FILE, "to-folder": LINK_FOLDER,
                          "to-nothing": LINK_BROKEN, "fifo": OTHER})
        for name, (_, size, mtime, mode) in got.items():
            st = os.lstat(self.p(name))
            self.assertEqual((size, mtime, mode), (st.st_size, st.st_mtime_ns // 1000000, st.st_mode), name)
        follow = self.c.list(self.dir, 1)
        self.assertEqual(follow["to-file"][1], 3)
        self.assertEqual(follow["to-nothing"][1], len("nothing"))
        names = self.c.list(self.dir, 2)
        self.assertEqual({n: e[0] for n, e in names.items()}, {n: e[0] for n, e in got.items()})
        self.assertEqual(names["file"][1:], (0, 0, 0))

    def test_names_that_are_not_text(self):
        for name in (b"\xff\xfe", b"a\nb", b"x" * 255, b" ", "ü".encode()):
            with open(os.path.join(self.dir.encode(), name), "w"):
                pass
        self.assertEqual(sorted(map(os.fsencode, self.c.list("."))), sorted(os.listdir(self.dir.encode())))

    def test_a_large_folder(self):
        os.mkdir(self.p("many"))
        for i in range(20000):
            os.mknod(self.p("many", f"an-entry-of-usual-length-{i}"))
        self.assertEqual(len(self.c.list("many")), 20000)
        self.assertEqual(len(self.c.readdir("many")), 20002)

    def test_empty_and_missing(self):
        os.mkdir(self.p("empty"))
        self.write("file")
        self.assertEqual(self.c.list("empty"), {})
        self.fails("not_found", self.c.list, "nothing")
        self.fails("not_a_folder", self.c.list, "file")
        self.fails("not_found", self.c.stat, "nothing")

    def test_stat(self):
        self.write("file", b"abc", 0o640)
        os.symlink("file", self.p("link"))
        st = os.stat(self.p("file"))
        etag = struct.pack(">QQQ", st.st_mtime_ns, 3, st.st_ino)
        for name, type_ in (("file", FILE), ("link", LINK_FILE)):
            got = self.c.stat(name)
            self.assertEqual((got["type"], got["size"], got["mtime"], got["ctime"], got["mode"], got["etag"]),
                             (type_, 3, st.st_mtime_ns // 1000000, st.st_ctime_ns // 1000000, st.st_mode, etag))
            self.assertEqual(got["access"] & 3, 3)
        os.symlink("gone", self.p("broken"))
        self.assertEqual(self.c.stat("broken")["type"], LINK_BROKEN)
        self.assertEqual(self.c.stat("broken")["etag"], NO_FILE)


class Reading(Case):
    def test_all_sizes_and_ranges(self):
        rnd = random.Random(1)
        for size in (0, 1, 32767, 32768, 32769, 262143, 262144, 262145, 1_000_003):
            data = rnd.randbytes(size)
            self.write("f", data)
            etag, told, got = self.c.read_file("f")
            self.assertEqual((told, got == data, etag), (size, True, self.c.stat("f")["etag"]))
            for off, n in ((0, 10), (5, 0), (size, 0), (size + 5, 3), (size // 2, size)):
                self.assertEqual(self.c.read_file("f", off, n)[2], data[off:off + n if n else None], (size, off, n))

    def test_without_a_size(self):
        self.assertIn(b"Name:", self.c.read_file("/proc/self/status")[2])
        self.assertEqual(self.c.read_file("/dev/null")[2], b"")

    def test_not_files(self):
        os.mkdir(self.p("d"))
        self.fails("is_a_folder", self.c.read_file, "d")
        self.fails("not_found", self.c.read_file, "nothing")
        os.mkfifo(self.p("fifo"))
        self.assertEqual(self.c.read_file("fifo")[2], b"")  # nobody writes: it must not hang

    def test_sparse_and_huge_offsets(self):
        with open(self.p("sparse"), "wb") as f:
            f.truncate(1 << 40)
        self.assertEqual(self.c.read_file("sparse", (1 << 40) - 5)[2], bytes(5))
        self.assertEqual(self.c.read_file("sparse", (1 << 64) - 1, (1 << 64) - 1)[2], b"")

    def test_digest(self):
        data = os.urandom(300_000)
        self.write("f", data)
        self.assertEqual(self.c.digest("f"), (hashlib.sha256(data).digest(), len(data)))
        self.assertEqual(self.c.digest("f", 1000, 5000), (hashlib.sha256(data[1000:6000]).digest(), 5000))
        self.fails("unsupported", self.c.digest, "f", algorithm="md5")
        self.fails("is_a_folder", self.c.digest, ".")


class Saving(Case):
    def test_new_replace_and_conditions(self):
        e1 = self.c.save("f", b"one")
        self.assertEqual(e1, self.c.stat("f")["etag"])
        e2 = self.c.save("f", b"two", NEW | SAVE.COMPARE | SAVE.FSYNC | SAVE.ATOMIC, etag=e1)
        self.assertEqual(self.read("f"), b"two")
        self.fails("conflict", self.c.save, "f", b"three", NEW | SAVE.COMPARE, etag=e1)
        self.fails("conflict", self.c.save, "f", b"three", NEW | SAVE.COMPARE, etag=NO_FILE)
        self.fails("conflict", self.c.save, "g", b"three", NEW | SAVE.COMPARE, etag=e2)
        self.fails("exists", self.c.save, "f", b"three", SAVE.CREATE)
        self.fails("not_found", self.c.save, "g", b"three", SAVE.OVERWRITE)
        self.fails("not_found", self.c.save, "no/g", b"three")
        self.c.save("g", b"new", SAVE.CREATE | SAVE.COMPARE, etag=NO_FILE)
        os.mkdir(self.p("d"))
        self.fails("is_a_folder", self.c.save, "d", b"x")
        self.fails("is_a_folder", self.c.save, "/", b"x")
        os.mkfifo(self.p("fifo"))
        self.fails("invalid", self.c.save, "fifo", b"x")
        self.assertEqual((self.read("f"), self.read("g")), (b"two", b"new"))

    def test_large_in_pieces(self):
        data = os.urandom(3_000_001)
        self.c.save("big", b"old")
        etag = self.c.save("big", data, NEW | SAVE.COMPARE, etag=self.c.stat("big")["etag"])
        self.assertEqual(self.read("big") == data, True)
        self.assertEqual(etag, self.c.stat("big")["etag"])

    def test_pieces_out_of_order_and_given_up(self):
        self.write("f", b"old")
        self.c.save_piece("f", NEW, 0, NO_FILE, 100, 0, b"x" * 50)
        self.fails("invalid", self.c.save_piece, "f", NEW, 0, NO_FILE, 100, 60, b"x" * 40)
        self.fails("canceled", self.c.save_piece, "f", NEW, 0, NO_FILE, 100, 50, b"x" * 50)
        self.fails("invalid", self.c.save_piece, "f", NEW, 0, NO_FILE, 10, 0, b"x" * 11)
        self.c.save_piece("f", NEW, 0, NO_FILE, 100, 0, b"x" * 50)
        self.c.save_piece("f", NEW, 0, NO_FILE, 100, 0, b"y" * 50)  # begun again
        self.c.save_piece("f", NEW, 0, NO_FILE, 100, 50, b"y" * 50)
        self.assertEqual(self.read("f"), b"y" * 100)
        self.c.save_piece("g", NEW, 0, NO_FILE, 100, 0, b"x" * 50)  # never ended: tearDown looks
        for i in range(15):
            self.c.save_piece(f"many{i}", NEW, 0, NO_FILE, 100, 0, b"x" * 50)
        self.fails("limit", self.c.save_piece, "many16", NEW, 0, NO_FILE, 100, 0, b"x" * 50)

    def test_nothing_is_left_when_the_server_is_killed(self):
        c = self.server()
        c.save_piece("g", NEW, 0, NO_FILE, 100, 0, b"x" * 50)
        c.process.kill()
        c.process.wait()
        self.assertEqual(os.listdir(self.dir), [])

    def test_a_conflict_that_comes_while_a_large_file_is_sent(self):
        self.write("f", b"old")
        etag = self.c.stat("f")["etag"]
        self.c.save_piece("f", NEW | SAVE.COMPARE, 0, etag, 10, 0, b"12345")
        self.write("f", b"theirs")
        self.fails("conflict", self.c.save_piece, "f", NEW | SAVE.COMPARE, 0, etag, 10, 5, b"67890")
        self.assertEqual(self.read("f"), b"theirs")
        self.c.save_piece("n", SAVE.CREATE, 0, NO_FILE, 10, 0, b"12345")
        self.write("n", b"theirs")
        self.fails("exists", self.c.save_piece, "n", SAVE.CREATE, 0, NO_FILE, 10, 5, b"67890")
        self.assertEqual(self.read("n"), b"theirs")

    def test_mode_owner_and_attributes_stay(self):
        f = self.write("f", b"old", 0o4751)
        if os.getuid() == 0:
            os.chown(f, 12345, 54321)
            os.chmod(f, 0o4751)
        os.setxattr(f, "user.note", b"keep me")
        has_acl = subprocess.run(["setfacl", "-m", "u:daemon:r", f], capture_output=True).returncode == 0 \
            if shutil.which("setfacl") else False
        before = os.stat(f)
        self.c.save("f", b"new content")
        after = os.stat(f)
        self.assertEqual((before.st_mode, before.st_uid, before.st_gid), (after.st_mode, after.st_uid, after.st_gid))
        self.assertEqual(os.getxattr(f, "user.note"), b"keep me")
        if has_acl:
            self.assertIn("user:daemon:r", run(["getfacl", f]).stdout)
        self.assertEqual(self.read("f"), b"new content")

    def test_new_files_get_the_umask_or_the_mode(self):
        self.c.save("plain", b"x")
        mask = os.umask(0)
        os.umask(mask)
        self.assertEqual(stat.S_IMODE(os.stat(self.p("plain")).st_mode), 0o666 & ~mask)
        self.c.save("exact", b"x", mode=0o705)
        self.assertEqual(stat.S_IMODE(os.stat(self.p("exact")).st_mode), 0o705)

    def test_links_are_written_through(self):
        os.mkdir(self.p("real"))
        self.write("real/f", b"old")
        os.symlink("real/f", self.p("l1"))
        os.symlink(self.p("l1"), self.p("l2"))
        self.c.save("l2", b"new")
        self.assertEqual(self.read("real/f"), b"new")
        self.assertTrue(os.path.islink(self.p("l1")) and os.path.islink(self.p("l2")))
        os.symlink("real/later", self.p("dangling"))
        self.c.save("dangling", b"made", SAVE.CREATE)
        self.assertEqual(self.read("real/later"), b"made")
        os.symlink("loop", self.p("loop"))
        with self.assertRaises(SftpError):
            self.c.save("loop", b"x")

    def test_other_names_of_a_file_stay_the_same_file(self):
        self.write("f", b"old and longer")
        os.link(self.p("f"), self.p("g"))
        inode = os.stat(self.p("f")).st_ino
        etag = self.c.save("f", b"new")
        self.assertEqual((self.read("g"), os.stat(self.p("f")).st_ino), (b"new", inode))
        self.assertEqual(etag, self.c.stat("g")["etag"])

    def test_a_full_disk_loses_nothing(self):
        if os.getuid() != 0:
            self.skipTest("needs a file system of its own")
        disk = self.p("disk")
        os.mkdir(disk)
        run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk])
        self.addCleanup(run, ["umount", disk])
        old = os.urandom(1_200_000)
        self.write("disk/f", old)
        self.write("disk/linked", old[:300_000])
        os.link(self.p("disk/linked"), self.p("disk/other"))
        self.fails("no_space", self.c.save, "disk/f", os.urandom(1_500_000))
        self.fails("no_space", self.c.save, "disk/linked", os.urandom(700_000))
        self.assertEqual((self.read("disk/f") == old, self.read("disk/linked") == old[:300_000]), (True, True))
        self.assertEqual(sorted(os.listdir(disk)), ["f", "linked", "other"])
        self.c.save("disk/linked", b"short")
        self.assertEqual(self.read("disk/other"), b"short")

    def test_read_only_places(self):
        if os.getuid() != 0:
            self.skipTest("needs a file system of its own")
        disk = self.p("disk")
        os.mkdir(disk)
        run(["mount", "-t", "tmpfs", "tmpfs", disk])
        self.addCleanup(run, ["umount", disk])
        self.write("disk/f", b"old")
        run(["mount", "-o", "remount,ro", disk])
        self.fails("read_only", self.c.save, "disk/f", b"new")
        self.fails("read_only", self.c.save, "disk/g", b"new")
        self.assertEqual(self.c.stat("disk/f")["access"], 1)
        self.c.mkdirs("disk")
        self.fails("read_only", self.c.mkdirs, "disk/x")


@unittest.skipUnless(os.getuid() == 0, "needs another user")
class Strangers(Case):
    """As somebody who does not own everything."""
    user = "nobody"

    def test_a_folder_that_cannot_be_written(self):
        os.mkdir(self.p("d"))
        self.write("d/f", b"old content", 0o666)
        self.c.save("d/f", b"new")
        self.assertEqual(self.read("d/f"), b"new")
        self.fails("no_permission", self.c.save, "d/g", b"new")
        self.fails("no_permission", self.c.save, "d/g", b"x" * 200_000)
        self.write("d/locked", b"old", 0o644)
        self.fails("no_permission", self.c.save, "d/locked", b"new")
        self.assertEqual(sorted(os.listdir(self.p("d"))), ["f", "locked"])

    def test_the_owner_of_a_shared_file_stays(self):
        self.write("f", b"old", 0o666)
        self.c.save("f", b"new")
        self.assertEqual((self.read("f"), os.stat(self.p("f")).st_uid), (b"new", 0))

    def test_a_sticky_folder(self):
        os.mkdir(self.p("tmp"))
        os.chmod(self.p("tmp"), 0o1777)
        self.write("tmp/f", b"old", 0o666)
        self.c.save("tmp/f", b"new")
        self.assertEqual(self.read("tmp/f"), b"new")

    def test_rights(self):
        self.write("secret", b"x", 0o600)
        os.mkdir(self.p("closed"), 0o700)
        self.assertEqual(self.c.stat("secret")["access"], 0)
        self.fails("no_permission", self.c.read_file, "secret")
        self.fails("no_permission", self.c.list, "closed")
        self.fails("no_permission", self.c.stat, "closed/x")
        self.fails("no_permission", self.c.remove_tree, "/etc/passwd")
        os.mkdir(self.p("seen"), 0o744)
        self.write("seen/f", b"x")
        self.assertEqual(self.c.list("seen"), {"f": (FILE, 0, 0, 0)})  # may be listed, not entered

    def test_remove_tree_stops_at_what_is_forbidden(self):
        os.makedirs(self.p("t/a"))
        self.write("t/a/keep", b"x")
        shutil.chown(self.p("t"), "nobody")
        e = self.fails("no_permission", self.c.remove_tree, "t")
        self.assertIn("a/keep", e.text)
        self.assertEqual(self.read("t/a/keep"), b"x")


class Trees(Case):
    def tree(self, top):
        os.makedirs(self.p(top, "a/b/c"))
        os.makedirs(self.p(top, "empty"), mode=0o500)
        for i in range(200):
            self.write(f"{top}/a/f{i}", bytes([i]) * i)
        self.write(f"{top}/a/b/run", b"#!", 0o755)
        os.symlink("../f1", self.p(top, "a/b/l"))
        os.symlink("/etc", self.p(top, "out"))

    def same(self, a, b):
        run(["diff", "-r", "--no-dereference", self.p(a), self.p(b)])
        for root, dirs, files in os.walk(self.p(a)):
            for n in dirs + files:
                x = os.path.join(root, n)
                y = self.p(b) + x[len(self.p(a)):]
                self.assertEqual(os.lstat(x).st_mode, os.lstat(y).st_mode, x)

    def test_copy(self):
        self.tree("from")
        self.c.copy_tree("from", "to")
        self.same("from", "to")
        self.fails("exists", self.c.copy_tree, "from", "to")
        self.write("to/more")
        self.c.copy_tree("from", "to", 1)
        self.same("from", "to")
        self.c.copy_tree("from/a/f7", "to/a/f8", 1)
        self.assertEqual(self.read("to/a/f8"), b"\7" * 7)
        self.c.copy_tree("from/out", "link")
        self.assertEqual(os.readlink(self.p("link")), "/etc")
        self.c.copy_tree("from", "to/a/f9", 1)  # a folder instead of a file
        self.same("from", "to/a/f9")
        self.c.copy_tree("from/a/f9", "to/a", 1)  # and the other way
        self.assertEqual(self.read("to/a"), b"\11" * 9)

    def test_copy_into_itself(self):
        os.makedirs(self.p("d/e"))
        os.symlink("d/e", self.p("l"))
        for to in ("d/x", "d", "d/e/f", "l/f", "./d/../d/x"):
            self.fails("invalid", self.c.copy_tree, "d", to)
        self.fails("invalid", self.c.copy_tree, "d/e", "d", 1)
        self.c.copy_tree("d", "d2")
        self.fails("not_found", self.c.copy_tree, "nothing", "x")
        self.fails("not_found", self.c.copy_tree, "d", "no/x")

    def test_remove(self):
        self.tree("t")
        outside = self.write("precious", b"x")
        os.symlink(self.dir, self.p("t/up"))
        self.c.remove_tree("t/up")
        self.assertTrue(os.path.exists(outside))
        os.symlink(self.dir, self.p("t/up"))
        self.c.remove_tree("t")
        self.assertEqual(os.listdir(self.dir), ["precious"])
        self.fails("not_found", self.c.remove_tree, "t")
        for path in ("/", ".", "..", "x/..", ""):
            with self.assertRaises(SftpError):
                self.c.remove_tree(path)
        self.assertTrue(os.path.exists(outside))

    def test_remove_deep(self):
        fd = os.open(self.dir, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("d", dir_fd=fd)
            n = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = n
        os.close(fd)
        self.fails("limit", self.c.copy_tree, "d", "e")
        self.c.remove_tree("d")
        self.assertEqual(os.listdir(self.dir), [])

    def test_mkdirs(self):
        self.c.mkdirs("a/b/c")
        self.c.mkdirs(self.p("a/b/c"))
        self.c.mkdirs("a/b/d/", 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(self.p("a/b/d")).st_mode), 0o700)
        self.write("f")
        self.fails("not_a_folder", self.c.mkdirs, "f/x")
        self.fails("not_a_folder", self.c.mkdirs, "f")


def old_kernel():
    """From here on this process has the system calls of Linux 3.2 (those we would use): a seccomp filter for x86_64."""
    import ctypes
    allow, eisdir, enosys = 0x7fff0000, 0x00050000 | 21, 0x00050000 | 38
    newer = [316, 326, 332, 437, 439, 452]  # renameat2 copy_file_range statx openat2 faccessat2 fchmodat2
    load, jeq, jset, ret = 0x20, 0x15, 0x45, 0x06
    code = [(load, 0, 0, 0)]
    n = len(newer)
    for i, nr in enumerate(newer):
        code.append((jeq, n - i + 4, 0, nr))
    code += [(jeq, 0, 2, 257), (load, 0, 0, 16 + 2 * 8), (jset, 1, 0, 0x400000),  # openat with O_TMPFILE
             (ret, 0, 0, allow), (ret, 0, 0, eisdir), (ret, 0, 0, enosys)]
    raw = b"".join(struct.pack("=HBBI", *c) for c in code)
    buf = ctypes.create_string_buffer(raw, len(raw))
    prog = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buf))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, prog, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot filter system calls")


@unittest.skipUnless(os.uname().machine == "x86_64", "the filter knows one architecture")
class SavingOnAnOldKernel(Saving):
    before = staticmethod(old_kernel)
    test_nothing_is_left_when_the_server_is_killed = None  # that needs files without names

    def test_the_filter_works(self):
        self.c.save_piece("f", NEW, 0, NO_FILE, 10, 0, b"12345")
        self.assertEqual(len([n for n in os.listdir(self.dir) if n.endswith(".towline")]), 1)


@unittest.skipUnless(os.uname().machine == "x86_64", "the filter knows one architecture")
class TreesOnAnOldKernel(Trees):
    before = staticmethod(old_kernel)


class Wire(Case):
    def test_what_is_not_understood_ends_nothing(self):
        def status(t, body):
            got, reply = self.c.raw(t, body)
            self.assertEqual(got, STATUS)
            return Reader(reply).u32()
        self.assertEqual(status(EXTENDED, string("nothing@towline")), OP_UNSUPPORTED)
        self.assertEqual(status(77, b""), OP_UNSUPPORTED)
        for name in set(self.c.extensions) - {"limits@openssh.com", "users-groups-by-id@openssh.com"}:  # these take anything
            status(EXTENDED, string(name))
            status(EXTENDED, string(name) + u32(0xffffffff))
            status(EXTENDED, string(name) + string("a\0b") + u64(1) * 20)
            status(EXTENDED, string(name) + string("x" * 5000) + u64(1) * 20)
        for t in range(3, 21):
            status(t, b"")
            status(t, u32(100))
        self.assertEqual(self.c.list("."), {})

    def test_pipelined_requests_are_answered_in_order(self):
        data = os.urandom(400_000)
        self.write("f", data)
        ids = [self.c.send(EXTENDED, string("read-file@towline") + string("f") + u64(0) + u64(0)) for _ in range(5)]
        for id_ in ids:
            got, first = [], True
            more = 1
            while more:
                _, reply = self.c.recv(id_)
                r = Reader(reply)
                more = r.u8()
                if first:
                    r.take(32)
                first = False
                got.append(r.string())
            self.assertEqual(b"".join(got) == data, True)

    def test_a_stream_that_makes_no_sense_ends_with_an_error(self):
        for junk in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"SSH-2.0-x\r\n", u32(5) + b"\x05" + u32(1)):
            c = SftpClient.spawn([HOST, "sftp-server"], cwd=self.dir, greet=False, stderr=subprocess.PIPE)
            self.addCleanup(c.kill)
            c.w.write(junk)
            c.w.flush()
            self.assertEqual(c.r.read(), b"")
            self.assertNotIn(c.process.wait(20), (0, 99))

    def test_many_handles(self):
        self.write("f", b"x")
        handles = [self.c.open("f", 1) for _ in range(256)]
        self.fails("limit", self.c.open, "f", 1)
        self.c.close_handle(handles[7])
        fresh = self.c.open("f", 1)
        with self.assertRaises(SftpError):  # a closed one is not the new one
            self.c.read(handles[7], 0, 1)
        self.assertEqual(self.c.read(fresh, 0, 1), b"x")

    def test_non_blocking_descriptors(self):
        data = os.urandom(2_000_000)
        self.write("f", data)
        r, w = os.pipe()
        r2, w2 = os.pipe()
        for fd in (r, w2):
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
        p = subprocess.Popen([HOST, "sftp-server"], stdin=r, stdout=w2, cwd=self.dir, env={"HOME": self.dir})
        self.addCleanup(p.kill)
        os.close(r)
        os.close(w2)
        c = SftpClient(os.fdopen(r2, "rb"), os.fdopen(w, "wb"))
        self.assertEqual(c.read_file("f")[2] == data, True)
        c.close()
        self.assertEqual(p.wait(20), 0)


class Confined(Case):
    """The daemon's own files: nothing leads out of the folder."""

    def setUp(self):
        self.dir = scratch("tls-")
        os.makedirs(self.p("root/d"))
        self.write("outside", b"secret")
        self.write("root/f", b"inside")
        towlined = os.path.join(STAGE, "bin/towlined")
        self.c = SftpClient.spawn([towlined, "--userdata-server", self.p("root")], cwd=self.dir)
        self.addCleanup(self.c.kill)

    def test_slash_is_the_folder(self):
        self.assertEqual(set(self.c.list("/")), {"f", "d"})
        self.assertEqual(self.c.realpath("/d/../f"), "/f")
        self.assertEqual(self.c.realpath("."), "/")
        self.assertEqual(self.c.read_file("/f")[2], b"inside")
        self.c.save("/d/new", b"x")
        self.assertEqual(self.read("root/d/new"), b"x")
        self.c.mkdirs("/a/b/c")
        self.c.copy_tree("/d", "/d2")
        self.c.remove_tree("/d")
        self.assertEqual(set(self.c.list("/")), {"f", "d2", "a"})
        self.fails("invalid", self.c.remove_tree, "/")

    def test_nothing_leads_out(self):
        os.symlink("../outside", self.p("root/up"))
        os.symlink(self.p("outside"), self.p("root/abs"))
        os.symlink("/", self.p("root/slash"))
        os.symlink("d/../../../../../../etc", self.p("root/far"))
        os.symlink("f", self.p("root/near"))
        for path in ("/../outside", "../outside", "/d/../../outside"):
            self.fails("not_found", self.c.read_file, path)
        self.fails("not_found", self.c.read_file, "/up")  # above the root is the root
        for path in ("/abs", "/slash/etc/passwd", "/slash" + self.p("outside")):
            self.fails("no_permission", self.c.read_file, path)
            self.fails("no_permission", self.c.save, path, b"x")
            self.fails("no_permission", self.c.open, path, 2 | 8)
        self.fails("not_found", self.c.list, "/far")
        self.fails("no_permission", self.c.list, "/slash/")
        self.assertEqual(self.c.read_file("/near")[2], b"inside")
        types = {n: e[0] for n, e in self.c.list("/").items()}
        self.assertEqual(types, {"f": FILE, "d": FOLDER, "near": LINK_FILE, "slash": LINK_BROKEN, "abs": LINK_BROKEN,
                                 "up": LINK_BROKEN, "far": LINK_BROKEN})
        self.c.save("/near", b"through")
        self.assertEqual(self.read("root/f"), b"through")
        self.assertEqual(self.read("outside"), b"secret")
        self.c.remove_tree("/abs")
        self.assertEqual(self.read("outside"), b"secret")


if __name__ == "__main__":
    unittest.main()
