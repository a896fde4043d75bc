"""End-to-end tests of `towline-host watch` on real trees."""
# parallel: ok

import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from watch_peer import ADDED, DELETED, UPDATED, Failed, Watcher


def write(path, text="x"):
    with open(path, "w") as f:
        f.write(text)


def user_limits_work():
    """May this user have a namespace with inotify limits of its own?"""
    return subprocess.run(["unshare", "-U", "-r", "test", "-w", "/proc/sys/user/max_inotify_watches"],
                          stderr=subprocess.DEVNULL).returncode == 0


class Base(unittest.TestCase):
    def setUp(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="tlwatch"))
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.root = os.path.join(self.dir, "root")
        os.mkdir(self.root)

    def path(self, *names):
        return os.path.join(self.root, *names)

    def watcher(self, *prefix):
        w = Watcher(prefix)
        self.addCleanup(w.__exit__)
        return w

    def sync(self, w, id=1):
        return w.sync(self.root, id)


class Changes(Base):
    def test_files_and_folders_of_a_tree(self):
        os.makedirs(self.path("a", "b"))
        w = self.watcher()
        self.assertEqual(w.add(self.root, recursive=True), {"mode": "inotify", "folders": 3})
        write(self.path("a", "b", "f"))
        self.assertEqual(self.sync(w), [(ADDED, self.path("a", "b", "f"))])
        write(self.path("a", "b", "f"), "more")
        self.assertEqual(self.sync(w), [(UPDATED, self.path("a", "b", "f"))])
        os.chmod(self.path("a", "b", "f"), 0o600)
        self.assertEqual(self.sync(w), [(UPDATED, self.path("a", "b", "f"))])
        os.unlink(self.path("a", "b", "f"))
        self.assertEqual(self.sync(w), [(DELETED, self.path("a", "b", "f"))])

    def test_add_and_delete_at_once_is_nothing(self):
        w = self.watcher()
        w.add(self.root)
        for _ in range(50):
            write(self.path("f"))
            os.unlink(self.path("f"))
        for kind, path in self.sync(w):
            self.assertEqual(path, self.path("f"))

    def test_atomic_save(self):
        """vim and others write a new file and rename it over the old one."""
        write(self.path("doc"))
        w = self.watcher()
        w.add(self.root, recursive=True)
        write(self.path(".doc.swp"))
        os.rename(self.path(".doc.swp"), self.path("doc"))
        changes = self.sync(w)
        self.assertIn(changes[-1][0], (ADDED, UPDATED))
        self.assertEqual([p for k, p in changes if k != DELETED and p != self.path(".doc.swp")],
                         [self.path("doc")])

    def test_rename_of_a_folder(self):
        os.makedirs(self.path("old", "sub"))
        write(self.path("old", "sub", "f"))
        w = self.watcher()
        w.add(self.root, recursive=True)
        os.rename(self.path("old"), self.path("new"))
        changes = self.sync(w)
        self.assertEqual(set(changes), {(DELETED, self.path("old")), (ADDED, self.path("new")),
                                        (ADDED, self.path("new", "sub")),
                                        (ADDED, self.path("new", "sub", "f"))})
        write(self.path("new", "sub", "f"), "later")
        self.assertEqual(self.sync(w), [(UPDATED, self.path("new", "sub", "f"))])

    def test_tree_moved_in_and_out(self):
        outside = os.path.join(self.dir, "outside")
        os.makedirs(os.path.join(outside, "x", "y"))
        write(os.path.join(outside, "x", "y", "f"))
        w = self.watcher()
        w.add(self.root, recursive=True)
        os.rename(outside, self.path("in"))
        self.assertEqual({p for _, p in self.sync(w)}, {
            self.path("in"), self.path("in", "x"), self.path("in", "x", "y"),
            self.path("in", "x", "y", "f")})
        os.rename(self.path("in"), outside)
        self.assertEqual(self.sync(w), [(DELETED, self.path("in"))])
        write(os.path.join(outside, "x", "y", "g"))
        os.mkdir(self.path("in"))
        write(self.path("in", "h"))
        self.assertEqual(set(self.sync(w)),
                         {(ADDED, self.path("in")), (ADDED, self.path("in", "h"))})

    def test_folders_made_faster_than_they_can_be_watched(self):
        w = self.watcher()
        w.add(self.root, recursive=True)
        want = set()
        for i in range(300):
            deep = self.path("d%d" % i, "e", "f", "g")
            os.makedirs(deep)
            write(os.path.join(deep, "file"))
            want.add(os.path.join(deep, "file"))
        w.until("every file", lambda: want <= {p for k, p in w.changes.get(1, []) if k == ADDED})
        w.take()
        for path in want:
            write(path, "changed")
        w.until("every change", lambda: want <= {p for _, p in w.changes.get(1, [])})

    def test_ten_thousand_files_at_once(self):
        w = self.watcher()
        w.add(self.root, recursive=True)
        for i in range(10000):
            write(self.path("f%05d" % i), "")
        want = {self.path("f%05d" % i) for i in range(10000)}

        def seen():
            return (any(s.get("overflow") for s in w.states) or
                    want <= {p for _, p in w.changes.get(1, [])})
        w.until("all files, or an overflow told", seen)

    def test_remove_a_tree(self):
        for i in range(50):
            os.makedirs(self.path("t", "d%d" % i, "e"))
            write(self.path("t", "d%d" % i, "e", "f"))
        w = self.watcher()
        self.assertEqual(w.add(self.root, recursive=True)["folders"], 102)
        shutil.rmtree(self.path("t"))
        changes = self.sync(w)
        self.assertIn((DELETED, self.path("t")), changes)
        self.assertEqual({k for k, _ in changes}, {DELETED})
        os.makedirs(self.path("t", "again"))
        self.assertEqual(set(self.sync(w)),
                         {(ADDED, self.path("t")), (ADDED, self.path("t", "again"))})

    @unittest.skipUnless(shutil.which("git"), "git is not installed")
    def test_git_checkout(self):
        env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")

        def git(*args):
            subprocess.run(["git", "-C", self.root, "-c", "user.name=t", "-c", "user.email=t@t",
                            *args], check=True, env=env, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        git("init", "-b", "one")
        for i in range(100):
            os.makedirs(self.path("src%d" % (i % 10)), exist_ok=True)
            write(self.path("src%d" % (i % 10), "f%d.c" % i), "one")
        git("add", ".")
        git("commit", "-m", "one")
        git("checkout", "-b", "two")
        for i in range(50):
            write(self.path("src%d" % (i % 10), "f%d.c" % i), "two, and longer")
        os.mkdir(self.path("only-two"))
        write(self.path("only-two", "x"))
        git("add", ".")
        git("commit", "-m", "two")
        w = self.watcher()
        w.add(self.root, recursive=True, excludes=["**/.git/objects/**", "**/*.lock"])
        git("checkout", "one")
        paths = {}
        for kind, path in self.sync(w):
            paths[path] = kind
        for i in range(50):
            self.assertIn(self.path("src%d" % (i % 10), "f%d.c" % i), paths)
        self.assertEqual(paths[self.path("only-two")], DELETED)
        self.assertIn(self.path(".git", "HEAD"), paths)
        self.assertFalse([p for p in paths if "/.git/objects/" in p or p.endswith(".lock")])

    def test_not_recursive(self):
        os.mkdir(self.path("sub"))
        w = self.watcher()
        self.assertEqual(w.add(self.root)["folders"], 1)
        write(self.path("sub", "f"))
        write(self.path("g"))
        os.mkdir(self.path("sub2"))
        write(self.path("sub2", "f"))
        self.assertEqual(self.sync(w), [(ADDED, self.path("g")), (ADDED, self.path("sub2"))])

    def test_excludes(self):
        for name in ("node_modules/deep/er", "keep/node_modules/x", "out"):
            os.makedirs(self.path(name))
        w = self.watcher()
        answer = w.add(self.root, recursive=True,
                       excludes=["**/node_modules/**", "*.{log,tmp}", self.path("out") + "/**"])
        self.assertEqual(answer["folders"], 2)
        for name in ("node_modules/f", "node_modules/deep/er/f", "keep/node_modules/x/f", "a.log",
                     "b.tmp", "out/f"):
            write(self.path(name))
        os.makedirs(self.path("new", "node_modules", "y"))
        write(self.path("keep", "c.log"))
        self.assertEqual(set(self.sync(w)), {(ADDED, self.path("new")),
                                             (ADDED, self.path("keep", "c.log"))})

    def test_two_watches_of_one_folder(self):
        os.mkdir(self.path("sub"))
        w = self.watcher()
        w.add(self.root, id=1, recursive=True)
        w.add(self.path("sub"), id=2)
        w.add(self.path("sub", "f"), id=3)
        write(self.path("sub", "f"))
        for id in (1, 2, 3):
            w.until_change(ADDED, self.path("sub", "f"), id)
        w.call("watch/remove", id=2)
        write(self.path("sub", "f"), "more")
        for id in (1, 3):
            w.until_change(UPDATED, self.path("sub", "f"), id)
        self.assertEqual([k for k, _ in w.take(2)], [ADDED])

    def test_one_file(self):
        f = self.path("settings.json")
        write(f)
        w = self.watcher()
        self.assertEqual(w.add(f), {"mode": "inotify", "folders": 1})
        write(f, "2")
        w.until_change(UPDATED, f)
        write(f + ".new")
        os.rename(f + ".new", f)
        w.until_change(ADDED, f)
        w.take()
        os.unlink(f)
        w.until_change(DELETED, f)
        write(f)
        w.until_change(ADDED, f)
        self.assertEqual({p for _, p in w.take()}, {f})

    def test_names_that_are_not_utf8(self):
        w = self.watcher()
        w.add(self.root)
        with open(os.path.join(os.fsencode(self.root), b"bad\xff\"\n"), "w"):
            pass
        w.until_change(ADDED, self.path("bad\ufffd\"\n"))

    def test_link_to_a_folder_is_not_followed(self):
        outside = os.path.join(self.dir, "outside")
        os.mkdir(outside)
        os.symlink(outside, self.path("link"))
        os.symlink(".", self.path("loop"))
        w = self.watcher()
        self.assertEqual(w.add(self.root, recursive=True)["folders"], 1)
        w.add(self.path("link"), id=2, recursive=True)
        write(os.path.join(outside, "f"))
        w.until_change(ADDED, self.path("link", "f"), 2)
        self.assertEqual(self.sync(w), [])

    def test_a_reader_that_does_not_read(self):
        """Nothing grows without bound, and in the end the newest state is known."""
        w = self.watcher()
        w.add(self.root, recursive=True)
        for i in range(3000):
            write(self.path("a-rather-long-name-to-fill-the-pipe-%d" % i), "")
        for i in range(2999):
            os.unlink(self.path("a-rather-long-name-to-fill-the-pipe-%d" % i))
        write(self.path("last"))
        w.until_change(ADDED, self.path("last"))
        state = {}
        for kind, path in w.take():
            state[path] = kind
        left = {p for p, k in state.items() if k != DELETED}
        self.assertEqual(left, {self.path("last"),
                                self.path("a-rather-long-name-to-fill-the-pipe-2999")})


class Roots(Base):
    def test_root_deleted_and_back(self):
        os.makedirs(self.path("sub"))
        w = self.watcher()
        w.add(self.root, recursive=True)
        shutil.rmtree(self.root)
        w.until_state(mode="gone")
        self.assertIn((DELETED, self.root), w.take())
        os.makedirs(self.path("sub2"))
        write(self.path("sub2", "f"))
        w.until_change(ADDED, self.root)
        w.until_change(ADDED, self.path("sub2", "f"))
        w.until_state(mode="inotify", folders=2)
        w.take()
        write(self.path("sub2", "f"), "more")
        w.until_change(UPDATED, self.path("sub2", "f"))

    def test_root_renamed_and_back(self):
        w = self.watcher()
        w.add(self.root, recursive=True)
        os.rename(self.root, self.root + "2")
        w.until_state(mode="gone")
        write(self.root + "2/unseen")
        os.rename(self.root + "2", self.root)
        w.until_state(mode="inotify")
        w.until_change(ADDED, self.path("unseen"))

    def test_root_replaced(self):
        other = os.path.join(self.dir, "other")
        os.mkdir(other)
        write(os.path.join(other, "f"))
        w = self.watcher()
        w.add(self.root, recursive=True)
        os.rename(self.root, self.root + "-old")
        os.rename(other, self.root)
        w.until_change(ADDED, self.path("f"))
        write(self.path("g"))
        w.until_change(ADDED, self.path("g"))

    def test_not_there_yet(self):
        deep = self.path("x", "y", "z")
        w = self.watcher()
        answer = w.add(deep, recursive=True)
        self.assertEqual((answer["mode"], answer["folders"]), ("inotify", 0))
        self.assertIn("no such", answer["reason"])
        w.until_state(mode="gone")
        os.mkdir(self.path("x"))
        os.mkdir(self.path("x", "y"))
        shutil.rmtree(self.path("x"))
        os.makedirs(deep)
        write(os.path.join(deep, "f"))
        w.until_change(ADDED, os.path.join(deep, "f"))
        w.until_state(mode="inotify", folders=1)

    def test_file_that_is_not_there_yet(self):
        f = self.path(".vscode", "settings.json")
        w = self.watcher()
        w.add(f)
        w.until_state(mode="gone")
        os.mkdir(self.path(".vscode"))
        write(f)
        w.until_change(ADDED, f)
        write(f, "2")
        w.until_change(UPDATED, f)
        shutil.rmtree(self.path(".vscode"))
        w.until_change(DELETED, f)

    def test_file_becomes_a_folder(self):
        f = self.path("x")
        write(f)
        w = self.watcher()
        w.add(f, recursive=True)
        os.unlink(f)
        os.mkdir(f)
        write(os.path.join(f, "inside"))
        w.until_change(ADDED, os.path.join(f, "inside"))


class Limits(Base):
    def few_watches(self, n, what="max_inotify_watches"):
        if not user_limits_work():
            self.skipTest("no user namespaces with limits here")
        return self.watcher("unshare", "-U", "-r", "sh", "-c",
                            'echo %d >/proc/sys/user/%s; exec "$0" "$@"' % (n, what))

    def test_watches_used_up_at_once(self):
        for i in range(20):
            os.mkdir(self.path("d%d" % i))
        w = self.few_watches(10)
        answer = w.add(self.root, recursive=True)
        self.assertEqual((answer["mode"], answer["folders"]), ("polling", 21))
        self.assertIn("max_user_watches", answer["reason"])
        write(self.path("d7", "f"))
        w.until_change(ADDED, self.path("d7", "f"))
        write(self.path("d7", "f"), "longer")
        w.until_change(UPDATED, self.path("d7", "f"))
        os.rename(self.path("d7"), self.path("d7b"))
        w.until_change(DELETED, self.path("d7"))
        w.until_change(ADDED, self.path("d7b", "f"))
        # another watch, which fits, still uses inotify
        self.assertEqual(w.add(self.path("d3"), id=2)["mode"], "inotify")

    def test_watches_used_up_later(self):
        w = self.few_watches(10)
        self.assertEqual(w.add(self.root, recursive=True)["mode"], "inotify")
        for i in range(20):
            os.mkdir(self.path("d%d" % i))
        state = w.until_state(mode="polling")
        self.assertIn("max_user_watches", state["reason"])
        self.assertTrue(any(s.get("overflow") for s in w.states))
        write(self.path("d19", "f"))
        w.until_change(ADDED, self.path("d19", "f"))

    def test_no_inotify_instance(self):
        w = self.few_watches(0, "max_inotify_instances")
        answer = w.add(self.root, recursive=True)
        self.assertEqual(answer["mode"], "polling")
        self.assertIn("inotify is not available", answer["reason"])
        os.makedirs(self.path("a", "b"))
        write(self.path("a", "b", "f"))
        w.until_change(ADDED, self.path("a", "b", "f"))
        shutil.rmtree(self.root)
        w.until_state(mode="gone")
        os.makedirs(self.path("c"))
        w.until_state(mode="polling", folders=2)
        w.until_change(ADDED, self.path("c"))

    def test_polled_file(self):
        f = self.path("f")
        write(f)
        w = self.few_watches(0, "max_inotify_instances")
        self.assertEqual(w.add(f)["mode"], "polling")
        write(f, "longer")
        w.until_change(UPDATED, f)
        os.unlink(f)
        w.until_change(DELETED, f)

    @unittest.skipUnless(shutil.which("sshfs") and os.access("/dev/fuse", os.W_OK), "no sshfs here")
    def test_network_file_system_is_polled(self):
        """A real FUSE mount, whose files change behind its back."""
        mount = os.path.join(self.dir, "mount")
        os.mkdir(mount)
        server = next((p for p in ("/usr/lib/openssh/sftp-server", "/usr/lib/ssh/sftp-server",
                                   "/usr/libexec/openssh/sftp-server") if os.path.exists(p)), None)
        if not server or subprocess.run(
                ["sshfs", "x:" + self.root, mount, "-o", "ssh_command=sh -c " + server,
                 "-o", "dir_cache=no", "-o", "cache=no"], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("cannot mount")
        self.addCleanup(subprocess.run, ["fusermount", "-uz", mount])
        w = self.watcher()
        answer = w.add(mount, recursive=True)
        self.assertEqual(answer["mode"], "polling")
        self.assertIn("FUSE", answer["reason"])
        os.mkdir(self.path("behind"))
        write(self.path("behind", "f"))
        w.until_change(ADDED, os.path.join(mount, "behind", "f"))

    def test_twenty_thousand_folders(self):
        for i in range(100):
            for j in range(200):
                os.makedirs(self.path("d%d" % i, "e%d" % j))
        w = self.watcher()
        answer = w.add(self.root, recursive=True)
        if answer["mode"] == "polling":
            self.skipTest(answer["reason"])
        self.assertEqual(answer["folders"], 20101)
        write(self.path("d99", "e199", "f"))
        w.until_change(ADDED, self.path("d99", "e199", "f"))

    def test_kernel_queue_overflow(self):
        """Stopped while too much happens: the client is told to look at everything again."""
        w = self.watcher()
        w.add(self.root, recursive=True)
        w.proc.send_signal(19)
        os.makedirs(self.path("made", "meanwhile"))
        for i in range(9000):
            write(self.path("f"), str(i))
            os.unlink(self.path("f"))
        w.proc.send_signal(18)
        w.until_state(overflow=True, mode="inotify")
        write(self.path("made", "meanwhile", "after"))
        w.until_change(ADDED, self.path("made", "meanwhile", "after"))

    def test_idle_watcher_sleeps(self):
        os.mkdir(self.path("sub"))
        w = self.watcher()
        w.add(self.root, recursive=True)
        w.add(self.path("missing", "file"), id=2)
        w.until_state(id=2, mode="gone")
        self.sync(w)

        def switches():
            with open("/proc/%d/status" % w.proc.pid) as f:
                return sum(int(x.split()[1]) for x in f if "voluntary_ctxt" in x)
        before, end = switches(), time.monotonic() + 60
        while time.monotonic() < end:  # until it has settled
            subprocess.run(["sleep", "0.3"])
            now = switches()
            if now == before:
                break
            before = now
        subprocess.run(["sleep", "1"])
        self.assertEqual(switches(), before)


class Protocol(Base):
    def test_wrong_requests(self):
        w = self.watcher()
        w.add(self.root, id=5)
        for method, params, name in (
                ("watch/add", {"id": 1}, "invalid"),
                ("watch/add", {"path": self.root}, "invalid"),
                ("watch/add", {"id": "1", "path": self.root}, "invalid"),
                ("watch/add", {"id": 1, "path": "relative"}, "invalid"),
                ("watch/add", {"id": 1, "path": "/a\0b"}, "invalid"),
                ("watch/add", {"id": 1, "path": "/" + "x" * 5000}, "invalid"),
                ("watch/add", {"id": 1, "path": self.root, "excludes": "x"}, "invalid"),
                ("watch/add", {"id": 1, "path": self.root, "excludes": ["{a"]}, "invalid"),
                ("watch/add", {"id": 1, "path": self.root, "excludes": [1]}, "invalid"),
                ("watch/add", {"id": 5, "path": self.root}, "exists"),
                ("watch/remove", {"id": 99}, "not_found"),
                ("watch/remove", {}, "invalid"),
                ("watch/nonsense", {}, "no_method")):
            with self.assertRaises(Failed, msg=str(params)) as e:
                w.call(method, **params)
            self.assertEqual(e.exception.error["data"]["name"], name, params)
        w.call("watch/remove", id=5)
        w.add(self.root, id=5)

    def test_garbage_ends_it(self):
        for junk in (b"GET / HTTP/1.1\r\n\r\n", b"Content-Length: 99999999999\r\n\r\n",
                     b"x" * 5000):
            w = self.watcher()
            w.send_raw(junk)
            with self.assertRaises(EOFError):
                w.step()
            self.assertEqual(w.close(), 0)

    def test_bad_json_is_answered(self):
        w = self.watcher()
        w.send_raw(b"Content-Length: 3\r\n\r\n{x}")
        w.until("an answer", lambda: None in w.answers)
        self.assertIn("error", w.answers[None])
        w.add(self.root)

    def test_end_of_input_ends_it(self):
        w = self.watcher()
        w.add(self.root, recursive=True)
        self.assertEqual(w.close(), 0)


if __name__ == "__main__":
    unittest.main()
