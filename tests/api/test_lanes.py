"""Large files of a session with a login of its own go over channels of ssh of their own (rows A8 A11 K1)."""
# parallel: ok
import hashlib
import os
import re
import signal
import unittest

from harness import Daemon, Sshd, find_processes, wait_for

SIZE = 48 << 20


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class Lanes(unittest.TestCase):
    def begin(self, **kw):
        self.host = Sshd(test=self, **kw)
        self.local = Daemon(self.host, test=self)
        self.big = self.make(os.path.join(self.local.home, "big"))

    def make(self, path, size=SIZE):
        with open(path, "wb") as f:
            while size:
                size -= f.write(os.urandom(1 << 20))
        return path

    def copy(self, *args, check=True):
        """The channels that were used, 0 for none, and the result."""
        r = self.local.towline(*args, check=check, errors="replace")
        found = re.search(r"copy: .* over (\d) channel", r.stderr)
        return int(found[1]) if found else 0, r

    def both_ways(self):
        up, r = self.copy("upload", "-vvv", "-t", "demo", "big", "copy")
        self.assertEqual(digest(os.path.join(self.host.home, "copy")), digest(self.big), r.stderr)
        down, r = self.copy("download", "-vvv", "-t", "--verify", "demo", "copy", "back")
        self.assertEqual(digest(os.path.join(self.local.home, "back")), digest(self.big), r.stderr)
        for name in (os.path.join(self.host.home, "copy"), os.path.join(self.local.home, "back")):
            self.assertEqual((int(os.stat(name).st_mtime), os.stat(name).st_mode), (int(os.stat(self.big).st_mtime), os.stat(self.big).st_mode))
        self.nothing_left("copy")
        return up, down

    def nothing_left(self, *there):
        wait_for(lambda: self.host.processes(argv0="towline-host") == [], 60, "the host's programs to end")
        self.assertEqual([n for n in os.listdir(self.host.home) if "towline" in n], [])
        self.assertEqual(sorted(n for n in os.listdir(self.host.home) if not n.startswith(".")), sorted(there))
        self.assertEqual([n for n in os.listdir(self.local.home) if "towline" in n], [])
        wait_for(lambda: find_processes(self.local.mark) == [], 60, "ssh to end")
        # ssh-ciphers is what ssh said of itself, kept for the next start where this machine has AES
        left = os.listdir(os.path.join(self.local.env["XDG_RUNTIME_DIR"], "towline"))
        self.assertEqual([n for n in left if n != "ssh-ciphers"], [])

    def test_a_large_file(self):
        self.begin()
        up, down = self.both_ways()
        self.assertGreater(up, 0)
        self.assertGreater(down, 0)

    def test_several_where_the_window_limits(self):
        self.begin(wire=True)
        self.host.wire.delay = 0.1
        self.assertEqual(self.both_ways(), (7, 7))

    def test_into_a_tree_with_odd_names_and_over_what_is_there(self):
        self.begin()
        for name in ("it's\n\"odd\" $x", os.fsdecode(b"latin\xe9"), "x" * 250):
            top = os.path.join(self.local.home, "t", name[:100])
            os.makedirs(top)
            self.make(os.path.join(top, name), 34 << 20)
        with open(os.path.join(self.local.home, "t", "sparse"), "wb") as f:
            f.truncate(64 << 20)
        self.local.towline("upload", "demo", "t", ".")
        self.local.towline("upload", "demo", "t", ".")
        used, _ = self.copy("download", "-vvv", "demo", "t", "back")
        self.assertGreater(used, 0)
        for base, _, files in os.walk(os.path.join(self.local.home, "t")):
            for n in files:
                for other in (os.path.join(self.host.home, "t"), os.path.join(self.local.home, "back")):
                    path = os.path.join(other, os.path.relpath(os.path.join(base, n), os.path.join(self.local.home, "t")))
                    self.assertEqual(digest(path), digest(os.path.join(base, n)), path)
        self.assertLess(os.stat(os.path.join(self.local.home, "back", "sparse")).st_blocks, 1024)

    def test_a_server_with_one_channel(self):
        self.begin(extra="MaxSessions 1")
        self.assertEqual(self.both_ways(), (0, 0))

    def test_the_masters_of_the_user_are_left_alone(self):
        self.begin(client_extra="ControlPath none")
        self.assertEqual(self.both_ways(), (0, 0))

    def test_a_login_shell_that_prints(self):
        self.begin()
        with open(os.path.join(self.host.home, ".bashrc"), "w") as f:
            f.write("echo welcome\n")
        self.assertEqual(self.both_ways(), (0, 0))

    def test_a_login_shell_that_prints_only_later(self):
        """Its words are among the bytes of a channel: noticed, and copied again the ordinary way."""
        self.begin()
        with open(os.path.join(self.host.home, ".bashrc"), "w") as f:
            f.write("if [ -e ~/.seen ]; then echo welcome; fi; : >~/.seen\n")
        self.copy("upload", "-vvv", "demo", "big", "copy")
        os.unlink(os.path.join(self.host.home, ".seen"))
        self.copy("download", "-vvv", "demo", "copy", "back")
        self.assertEqual(digest(os.path.join(self.host.home, "copy")), digest(self.big))
        self.assertEqual(digest(os.path.join(self.local.home, "back")), digest(self.big))
        self.nothing_left("copy")

    def started(self, *args, way):
        """Started, and much of it has passed the wire."""
        p = self.local.start(*args)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        wait_for(lambda: p.poll() is not None or self.host.wire.passed[way] > 8 << 20, 60, "the copy to move")
        self.assertIsNone(p.poll())
        return p

    def test_ctrl_c_leaves_nothing(self):
        self.begin(wire=True)
        self.host.wire.rate = 8 << 20
        for way, args in ((0, ("upload", "demo", "big", "copy")), (1, ("download", "demo", "there", "back"))):
            if way:
                os.rename(self.big, os.path.join(self.host.home, "there"))
                os.chown(os.path.join(self.host.home, "there"), self.host.uid, -1)
            p = self.started(*args, way=way)
            p.send_signal(signal.SIGINT)
            p.communicate(timeout=60)
            self.assertEqual(p.returncode, 130)
            self.nothing_left(*(["there"] if way else []))

    def test_a_lost_connection_leaves_nothing(self):
        self.begin(wire=True)
        self.host.wire.rate = 8 << 20
        p = self.started("upload", "demo", "big", "copy", way=0)
        self.host.wire.cut()
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 75, err)
        self.nothing_left()


if __name__ == "__main__":
    unittest.main()
