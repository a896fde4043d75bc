# parallel: ok
"""The same random requests to OpenSSH's sftp-server and to ours, in two equal trees: the same answers, the same trees (D1).

TOWLINE_SEED=n replays one; TOWLINE_ROUNDS=n makes more of them."""
import os
import random
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import STAGE, scratch  # noqa: E402
from harness.sftp import (ATTRS, CLOSE, DATA, EXTENDED, EXTENDED_REPLY, FSETSTAT, FSTAT, HANDLE, LSTAT, MKDIR, NAME,  # noqa: E402
                          OPEN, OPENDIR, READ, READDIR, READLINK, REALPATH, REMOVE, RENAME, RMDIR, SETSTAT, STAT, STATUS,
                          SYMLINK, WRITE, Reader, SftpClient, string, u32, u64)

OURS = os.path.join(STAGE, "lib/towline/host/towline-host-x86_64")
THEIRS = "/usr/lib/openssh/sftp-server"
PATHS = ["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/f", "l", "m", "broken", "a/x", "./d/../a", "none/x", "", ".", "d/",
         "x" * 300, "d/e/../b", "l/x"]
STEPS, ROUNDS = 400, int(os.environ.get("TOWLINE_ROUNDS", "6"))


def build(top):
    os.makedirs(os.path.join(top, "d/e"))
    for name, size in (("a", 1000), ("b", 0), ("d/a", 70000), ("d/e/f", 5)):
        with open(os.path.join(top, name), "wb") as f:
            f.write(bytes(i * 7 % 251 for i in range(size)))
    os.symlink("a", os.path.join(top, "l"))
    os.symlink("d", os.path.join(top, "m"))
    os.symlink("nowhere", os.path.join(top, "broken"))
    for root, dirs, files in os.walk(top):
        for n in dirs + files:
            os.utime(os.path.join(root, n), (1_500_000_000, 1_400_000_000), follow_symlinks=False)


def attrs(rnd, masks=(0, 0, 4, 8, 12, 1, 5)):
    m = rnd.choice(masks)
    out = u32(m)
    if m & 1:
        out += u64(rnd.choice((0, 10, 5000)))
    if m & 4:
        out += u32(rnd.choice((0o644, 0o600, 0o755, 0o700, 0o4755, 0o777)))
    if m & 8:
        out += u32(rnd.randrange(1 << 31)) + u32(rnd.randrange(1 << 31))
    return out


class Pair:
    """Both servers, their handles side by side."""

    def __init__(self, case):
        self.tops = [scratch("tlo-"), scratch("tlo-")]
        for top in self.tops:
            build(top)
        self.c = [SftpClient.spawn([THEIRS], cwd=self.tops[0]), SftpClient.spawn([OURS, "sftp-server"], cwd=self.tops[1])]
        for c in self.c:
            case.addCleanup(c.kill)
        self.handles = []  # (theirs, ours, is folder)

    def ask(self, type_, body):
        return [c.raw(type_, b) for c, b in zip(self.c, body if isinstance(body, tuple) else (body, body))]

    def differs(self, what, p, q):
        """Where we answer otherwise on purpose: RENAME never replaces anything, not even a broken link, and no name is made up
        behind a broken link or for `..` of what is no folder."""
        at = os.path.join(self.tops[0], p)
        if what == "rename":
            to = os.path.join(self.tops[0], q)
            plain = os.path.isfile(at) and not os.path.islink(at)
            return os.path.lexists(to) and (not plain or os.path.realpath(at) == os.path.realpath(to) or "/" in (p[-1:], q[-1:]))
        if what in ("realpath", "expand-path"):
            return ".." in p or p.startswith("~") or (not os.path.exists(at) and (os.path.lexists(at.rstrip("/")) or p.endswith("/")))
        return False

    def with_handle(self, i, rest=b"", before=b""):
        if i is None:
            return before + string(b"\0\0\xff\xff") + rest
        h = self.handles[i]
        return before + string(h[0]) + rest, before + string(h[1]) + rest


def step(rnd, pair):
    """One request: (what it is, type, body)."""
    p, q = rnd.choice(PATHS), rnd.choice(PATHS)
    while True:
        what, t, body = one_step(rnd, pair, p, q)
        if not pair.differs(what, p, q):
            return what, t, body


def one_step(rnd, pair, p, q):
    files = [i for i, h in enumerate(pair.handles) if not h[2]]
    folders = [i for i, h in enumerate(pair.handles) if h[2]]
    h = rnd.choice(files) if files and rnd.random() < .95 else None
    d = rnd.choice(folders) if folders and rnd.random() < .9 else None
    off, n = rnd.choice((0, 1, 999, 5000, 69999, 70000)), rnd.choice((1, 10, 4096, 70000))
    choices = [
        (3, "open", OPEN, string(p) + u32(rnd.choice((1, 2, 3, 10, 26, 58, 11, 14, 42))) + attrs(rnd, (0, 4))),
        (2, "close", CLOSE, pair.with_handle(h)),
        (3, "read", READ, pair.with_handle(h, u64(off) + u32(n))),
        (3, "write", WRITE, pair.with_handle(h, u64(off) + string(rnd.randbytes(rnd.choice((0, 1, 500)))))),
        (1, "fstat", FSTAT, pair.with_handle(h)),
        (1, "fsetstat", FSETSTAT, pair.with_handle(h, attrs(rnd))),
        (2, "stat", STAT, string(p)),
        (2, "lstat", LSTAT, string(p)),
        (2, "setstat", SETSTAT, string(p) + attrs(rnd)),
        (2, "opendir", OPENDIR, string(p)),
        (2, "closedir", CLOSE, pair.with_handle(d)),
        (2, "remove", REMOVE, string(p)),
        (2, "mkdir", MKDIR, string(p) + attrs(rnd, (0, 4))),
        (2, "rmdir", RMDIR, string(p)),
        (2, "realpath", REALPATH, string(p)),
        (2, "rename", RENAME, string(p) + string(q)),
        (2, "readlink", READLINK, string(p)),
        (1, "symlink", SYMLINK, string(q) + string(p)),
        (2, "posix-rename", EXTENDED, string("posix-rename@openssh.com") + string(p) + string(q)),
        (2, "hardlink", EXTENDED, string("hardlink@openssh.com") + string(p) + string(q)),
        (1, "fsync", EXTENDED, pair.with_handle(h, before=string("fsync@openssh.com"))),
        (1, "lsetstat", EXTENDED, string("lsetstat@openssh.com") + string(p) + attrs(rnd, (0, 8))),
        (1, "expand-path", EXTENDED, string("expand-path@openssh.com") + string(p)),
        (1, "unknown", EXTENDED, string("no-such@openssh.com") + string(p)),
    ]
    return rnd.choices([c[1:] for c in choices], [c[0] for c in choices])[0]


class Same(unittest.TestCase):
    maxDiff = None

    def comparable(self, pair, i, what, reply):
        """What must be equal of an answer."""
        t, body = reply
        r = Reader(body)
        top = pair.tops[i]
        if t == STATUS:
            return "status", r.u32()
        if t == HANDLE:
            return "handle",
        if t == DATA:
            return "data", r.string()
        if t == ATTRS:
            return "attrs", self.attrs_of(r.attrs())
        if t == NAME:
            return "name", r.u32(), r.string().replace(top.encode(), b"TOP")
        self.assertEqual(t, EXTENDED_REPLY)
        return "reply", len(body)

    @staticmethod
    def attrs_of(a):
        # sizes of folders and times that were not set are the machine's business
        if a["mode"] & 0o170000 == 0o040000:
            a.pop("size")
        if a["mode"] & 0o170000 == 0o120000:
            a["atime"] = 0  # our own look at the tree changes it
        for k in ("atime", "mtime"):
            if a[k] > 1_700_000_000 and a[k] < 1 << 31:
                a[k] = "now"
        return sorted(a.items())

    def tree(self, top):
        out = {}
        for root, dirs, files in os.walk(top):
            for n in dirs + files:
                path = os.path.join(root, n)
                st = os.lstat(path)
                content = None
                if os.path.islink(path):
                    content = os.readlink(path)
                elif os.path.isfile(path):
                    with open(path, "rb") as f:
                        content = f.read()
                out[path[len(top):]] = (oct(st.st_mode), st.st_nlink, content)
        return out

    def listing(self, pair, rnd):
        """A whole folder through both: the same names, attributes and lines in any order."""
        p = rnd.choice(("", "d", "d/e", "m"))
        got = []
        for c in pair.c:
            try:
                got.append(sorted((n, line[:10] if n == ".." else line.split()[0], self.attrs_of(a)) for n, line, a in c.readdir(p or ".")
                                  if n != ".."))
            except Exception as e:
                got.append(type(e).__name__ + str(getattr(e, "code", "")))
        self.assertEqual(got[0], got[1])

    def run_seed(self, seed):
        rnd = random.Random(seed)
        pair = Pair(self)
        log = []
        for n in range(STEPS):
            what, t, body = step(rnd, pair)
            log.append((what, body if not isinstance(body, tuple) else body[1]))
            got = pair.ask(t, body)
            same = [self.comparable(pair, i, what, g) for i, g in enumerate(got)]
            self.assertEqual(same[0], same[1], f"seed {seed}, step {n}: {what} {log[-1][1]!r}\nours said {got[1]!r}\nbefore: {log[-6:-1]}")
            if got[0][0] == HANDLE:
                pair.handles.append((Reader(got[0][1]).string(), Reader(got[1][1]).string(), t == OPENDIR))
            elif t == CLOSE and isinstance(body, tuple):
                pair.handles = [h for h in pair.handles if string(h[1]) != body[1]]
            if n % 50 == 49:
                self.listing(pair, rnd)
                self.assertEqual(self.tree(pair.tops[0]), self.tree(pair.tops[1]), f"seed {seed}, step {n}")
        for c in pair.c:
            c.close()

    def test_random_requests(self):
        only = os.environ.get("TOWLINE_SEED")
        for seed in [int(only)] if only else range(1, 1 + ROUNDS):
            with self.subTest(seed=seed):
                self.run_seed(seed)

    def test_long_lines_are_the_same(self):
        pair = Pair(self)
        for c in pair.c:
            c.mkdir("dd")
        for p in ("d", ".", "d/e"):
            theirs, ours = ({n: line for n, line, _ in c.readdir(p) if n not in ("..", "dd", ".")} for c in pair.c)
            self.assertEqual(theirs, ours)

    def test_greeting_and_limits(self):
        pair = Pair(self)
        for name, version in pair.c[0].extensions.items():
            self.assertEqual(pair.c[1].extensions.get(name), version, name)
        got = pair.ask(EXTENDED, string("limits@openssh.com"))
        self.assertEqual([g[0] for g in got], [EXTENDED_REPLY] * 2)
        self.assertEqual(got[0][1][:24], got[1][1][:24])
        for name in ("statvfs@openssh.com",):
            for path in (".", "none"):
                got = pair.ask(EXTENDED, string(name) + string(path))
                self.assertEqual(got[0][0], got[1][0])
        for path in ("~", "~/d", "~root", "~no-such-user/x", "a"):
            got = pair.ask(EXTENDED, string("expand-path@openssh.com") + string(path))
            same = [self.comparable(pair, i, "", g) for i, g in enumerate(got)]
            if path not in ("~", "~/d"):  # OpenSSH takes the password file's home, we $HOME
                self.assertEqual(same[0], same[1], path)
        for user in ("", "root"):  # of others OpenSSH 9.2 answers our own
            got = pair.ask(EXTENDED, string("home-directory") + string(user))
            if user:
                self.assertEqual(self.comparable(pair, 0, "", got[0]), self.comparable(pair, 1, "", got[1]), user)
        got = pair.ask(EXTENDED, string("users-groups-by-id@openssh.com") + string(u32(0) + u32(77777) + u32(65534)) + string(u32(0)))
        self.assertEqual(got[0], got[1])

    def test_copy_data(self):
        pair = Pair(self)
        for a_off, n, b_off in ((0, 0, 0), (10, 100, 5), (0, 1 << 40, 3), (100000, 0, 0), (0, 500, 60000)):
            handles = []
            for name, flags in (("d/a", 1), ("copy", 2 | 8), ("d/a", 2)):
                got = pair.ask(OPEN, string(name) + u32(flags) + u32(0))
                handles.append([Reader(g[1]).string() for g in got])
            for to in (1, 2):
                got = pair.ask(EXTENDED, tuple(string("copy-data") + string(handles[0][i]) + u64(a_off) + u64(n) +
                                               string(handles[to][i]) + u64(b_off) for i in (0, 1)))
                self.assertEqual(Reader(got[0][1]).u32(), Reader(got[1][1]).u32(), (a_off, n, b_off, to))
            for h in handles:
                pair.ask(CLOSE, tuple(string(x) for x in h))
            self.assertEqual(self.tree(pair.tops[0]), self.tree(pair.tops[1]))


if __name__ == "__main__":
    unittest.main()
