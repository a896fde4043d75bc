"""Hosts that cannot run our program: plain ssh behind the same calls (rows A5 A8 A9 C9).

deadline: 600
"""
# parallel: ok
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import Program
from test_copy import look, own, tree
from harness import Daemon, Dropbear, Sshd, dropbear_missing, find_processes, run, wait_for
from harness.proc import spawn, wait_port


class Mac(Sshd):
    """A host whose `uname` says that it is none of ours."""

    def __init__(self, **kw):
        super().__init__(**kw)
        os.makedirs(os.path.join(self.home, "bin"))
        self.put("bin/uname", "#!/bin/sh\n[ \"$*\" = -sm ] && echo Darwin arm64 || exec /bin/uname \"$@\"\n", 0o755)
        self.put(".bashrc", "PATH=$HOME/bin:$PATH\n")

    def put(self, name, text, mode=0o644):
        path = os.path.join(self.home, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)

    def logins(self):
        with open(self.log, errors="replace") as f:
            return f.read().count("Accepted publickey for ")


class NoExec(Sshd):
    """Every place where our program could lie is mounted noexec."""

    def start(self):
        places = " ".join(sorted({"/dev/shm", "/var/tmp", "/run", os.path.dirname(self.dir)}))
        inside = (f"mount --make-rprivate /; for d in {places}; do mount --bind $d $d && mount -o remount,bind,noexec $d; done; "
                  f"exec /usr/sbin/sshd -D -e -f {self.dir}/sshd_config")
        os.makedirs("/run/sshd", exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = spawn(["unshare", "-m", "sh", "-ec", inside], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_port(self.port, 60, lambda: self.process.poll() is None)


def leftovers(daemon):
    folder = os.path.join(daemon.runtime_dir, "towline")
    return [n for n in os.listdir(folder) if n.startswith("lib-")] if os.path.isdir(folder) else []


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Mac()
        cls.addClassCleanup(cls.host.stop)
        cls.local = Daemon(cls.host)
        cls.addClassCleanup(cls.local.stop)

    def drive(self, *args, **kw):
        return Program(self, self.host, self.local).drive(*args, **kw)

    def test_one_login_and_nothing_left(self):
        logins, home = self.host.logins(), sorted(os.listdir(self.host.home))
        i = self.drive("info", check=0).one("info")
        self.assertEqual((i["via"], i["platform"], i["home"]), ("plain", "Darwin arm64", self.host.home))
        self.assertIn("its platform is Darwin arm64", i["plain_why"])
        self.assertEqual(i["sha256"], self.host.fingerprint())
        self.assertEqual(self.host.logins(), logins + 1)
        self.assertEqual(sorted(os.listdir(self.host.home)), home)
        self.assertEqual(leftovers(self.local), [])
        wait_for(lambda: not self.host.connections(), 60, "the login to end")

    def test_outputs_status_and_signal(self):
        r = self.drive("capture", "echo out; echo err >&2; exit 7", check=1)
        self.assertEqual({k: r.one("output")[k] for k in ("out", "err")}, {"out": "out\n", "err": "err\n"})
        self.assertEqual((r.one("exit")["status"], r.one("error")["name"]), (7, "status"))
        self.assertEqual(self.drive("run", "kill -9 $$", check=0).one("exit"), {"event": "exit", "status": 0, "signal": 9})
        self.assertEqual(self.drive("run", "exit 255", check=0).one("exit")["status"], 255)

    def test_script_keeps_its_state(self):
        r = self.drive("capture", "x=1", "cd /", "echo $x \"it's\" \\$ `pwd` !", check=0)
        self.assertEqual(r.one("output")["out"], "1 it's $ / !\n")

    def test_long_scripts_and_those_that_are_too_long(self):
        r = self.drive("capture", ": " + "x" * 9000, "echo end", check=0)
        self.assertEqual(r.one("output")["out"], "end\n")
        r = self.drive("run", *[": " + "x" * 120000], check=None)
        if r.status:
            self.assertIn("plain ssh", r.one("error")["message"])

    def test_arguments_environment_folder(self):
        odd = ["", "a b", "it's", '"', "$x", "\\", "!", "ü", "new\nline", "*"]
        r = self.drive("argv", "printf", "<%s>", *odd, check=0)
        self.assertEqual(r.one("output")["out"].encode("latin-1").decode(), "".join(f"<{x}>" for x in odd))
        r = self.drive("special", "pwd; echo \"$TL_A\"; echo \"${HOME-none}\"", check=0)
        self.assertEqual(r.one("output")["out"], "/usr\na b\nnone\n")
        self.assertEqual(self.drive("argv", "/no/such", check=1).one("error")["name"], "not_found")

    def test_standard_input_and_terminal(self):
        self.assertEqual(self.drive("stdin", "hello", "tr a-z A-Z", check=0).one("output")["out"], "HELLO")
        r = self.drive("pty", "tty; stty size", check=0).one("output")["out"]
        self.assertIn("17 91", r)
        self.assertIn("/dev/", r)
        t = self.local.terminal("exec", "-t", "demo", "-c", "trap 'stty size; exit 5' WINCH; echo up; while :; do sleep 0.1; done")
        t.expect("up", 60)
        t.resize(31, 97)
        t.expect("31 97", 60)
        self.assertEqual(t.wait(60), 5)

    def test_bytes_both_ways(self):
        path = os.path.join(self.local.home, "bytes")
        data = os.urandom(5 << 20)
        with open(path, "wb") as f:
            f.write(data)
        with open(path, "rb") as f:
            r = subprocess.run([*self.local.argv("exec", "demo", "cat")], stdin=f, stdout=subprocess.PIPE, env=self.local.env, timeout=120)
        self.assertEqual((r.returncode, r.stdout == data), (0, True))

    def test_cancel_and_time_out_end_it_there(self):
        for action in (("cancel", "echo x; exec sleep 4816"), ("stop", "echo x; exec sleep 4816"), ("timeout", 3000, "echo x; sleep 4816")):
            with self.subTest(action=action[0]):
                r = self.drive(*action, check=1)
                self.assertEqual(r.one("error")["name"], "timeout" if action[0] == "timeout" else "canceled")
                wait_for(lambda: not find_processes(uid=self.host.uid, argv0="sleep"), 60, "the command to end")

    def test_noise_of_the_shell_is_no_output(self):
        self.host.put(".bashrc", "PATH=$HOME/bin:$PATH\necho Welcome; echo to the host >&2\n")
        self.addCleanup(self.host.put, ".bashrc", "PATH=$HOME/bin:$PATH\n")
        self.assertEqual(self.drive("capture", "echo far", check=0).one("output")["out"], "far\n")

    def test_forty_commands_at_once(self):
        self.assertEqual(self.drive("many", 40, "echo $N", timeout=300).one("many")["good"], 40)

    def test_sudo_recipe(self):
        r = self.drive("stdin", "mypassword!\n", "read -r p; [ \"$p\" = 'mypassword!' ] && echo right", check=0)
        self.assertEqual(r.one("output")["out"], "right\n")

    def test_what_needs_our_program_says_so(self):
        r = self.local.towline("tunnel", "-R", "demo", "~/x:localhost:1", check=False)
        self.assertIn("plain ssh", r.stderr)
        self.assertIn("absolute path", r.stderr)

    def test_info_command(self):
        out = self.local.towline("info", "demo").stdout
        self.assertIn("plain", out)
        self.assertIn("Darwin arm64", out)


class Losses(unittest.TestCase):
    def test_connection_lost_under_a_command(self):
        host = Mac(test=self)
        p = Program(self, host).start("lost", "echo up; exec sleep 4817")
        while '"data"' not in p.stdout.readline():
            self.assertIsNone(p.poll())
        host.drop_connections()
        out, err = p.communicate(timeout=90)
        self.assertIn('"connection_lost"', out)
        self.assertIn('"connected", "yes": 0', out)
        self.assertNotIn("Sanitizer", err)

    def test_host_of_a_user_with_masters_of_his_own(self):
        host = Mac(test=self, client_extra="ControlPath /tmp/none-%C")
        r = Program(self, host).drive("capture", "echo far", check=0)
        self.assertEqual(r.one("output")["out"], "far\n")
        self.assertEqual(host.logins(), 2)


class Tunnels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Mac()
        cls.addClassCleanup(cls.host.stop)
        cls.local = Daemon(cls.host)
        cls.addClassCleanup(cls.local.stop)

    def setUp(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(60)
        self.addCleanup(self.server.close)
        self.target = f"localhost:{self.server.getsockname()[1]}"

    def tunnel(self, *args):
        p = self.local.start("tunnel", *args, text=True)

        def end():
            if p.poll() is None:
                p.send_signal(signal.SIGINT)
            self.assertNotIn("Sanitizer", p.communicate(timeout=60)[1])
        self.addCleanup(end)
        p.line = p.stdout.readline()
        if not p.line:
            raise AssertionError("the tunnel ended: " + p.stderr.read())
        return p

    def talk(self, address, family=socket.AF_INET, server=None):
        with socket.socket(family) as s:
            s.settimeout(60)
            s.connect(address)
            s.sendall(b"question")
            a, _ = (server or self.server).accept()
            with a:
                a.settimeout(60)
                self.assertEqual(a.recv(8, socket.MSG_WAITALL), b"question")
                a.sendall(b"answer")
                self.assertEqual(s.recv(6, socket.MSG_WAITALL), b"answer")
                s.shutdown(socket.SHUT_WR)
                self.assertEqual(a.recv(1), b"")

    def test_from_here(self):
        p = self.tunnel("demo", f"0:{self.target}")
        for _ in range(3):
            self.talk(("127.0.0.1", int(p.line.split()[1])))

    def test_from_there(self):
        p = self.tunnel("-R", "demo", f"0:{self.target}")
        for _ in range(2):
            self.talk(("127.0.0.1", int(p.line.split()[2])))
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(60), 0)

    def test_unix_sockets(self):
        path = os.path.join(self.host.home, "app.s")
        with socket.socket(socket.AF_UNIX) as u:
            u.bind(path)
            os.chmod(path, 0o777)
            u.listen()
            u.settimeout(60)
            p = self.tunnel("demo", f"0:{path}")
            self.talk(("127.0.0.1", int(p.line.split()[1])), server=u)
        there = os.path.join(self.host.home, "listen.s")
        self.tunnel("-R", "demo", f"{there}:{self.target}")
        self.assertEqual(stat.S_IMODE(os.stat(there).st_mode) & 0o077, 0)
        self.talk(there, socket.AF_UNIX)

    def test_ports_that_are_taken(self):
        r = self.local.towline("tunnel", "-R", "demo", f"{self.target.split(':')[1]}:localhost:1", check=False)
        self.assertIn("the place is taken", r.stderr)


class Files:
    """The same for every kind of host."""

    def make(self):
        raise NotImplementedError

    def setUp(self):
        self.host = self.make()
        self.addCleanup(self.host.stop)
        self.local = Daemon(self.host, test=self)
        self.here = os.path.join(self.local.home, "w")
        os.mkdir(self.here)
        self.root = getattr(self, "top", None) or self.host.home

    def run_(self, *args, **kw):
        return self.local.towline(*args, cwd=self.here, timeout=200, **kw)

    def test_everything_there_and_back(self):
        tree(os.path.join(self.here, "t"))
        self.run_("upload", "-t", "demo", "t", "up")
        there = os.path.join(self.root, "up")
        self.assertEqual(look(there, True), look(os.path.join(self.here, "t"), True))
        own(there, self.host.uid)
        self.run_("download", "-t", "demo", "up", "back")
        self.assertEqual(look(os.path.join(self.here, "back"), True), look(os.path.join(self.here, "t"), True))
        self.assertLess(os.stat(os.path.join(there, "sparse")).st_size, 91 << 20)
        self.assertEqual(leftovers(self.local), [])

    def test_places_names_and_patterns(self):
        for n in ("a.txt", "b.txt", ".c.txt", "d"):
            with open(os.path.join(self.here, n), "w") as f:
                f.write(n)
        self.run_("upload", "demo", "a.txt", "b.txt", ".c.txt", "d", "deep/er/")
        self.assertEqual(sorted(os.listdir(os.path.join(self.root, "deep/er"))), [".c.txt", "a.txt", "b.txt", "d"])
        os.mkdir(os.path.join(self.here, "got"))
        self.run_("download", "demo", "~/deep/er/*.txt", "got")
        self.assertEqual(sorted(os.listdir(os.path.join(self.here, "got"))), ["a.txt", "b.txt"])
        self.run_("upload", "--verify", "demo", "a.txt", "deep/er/d")
        self.run_("download", "--verify", "demo", "deep/er/d", "one")
        with open(os.path.join(self.here, "one")) as f:
            self.assertEqual(f.read(), "a.txt")

    def test_problems_are_told(self):
        r = self.run_("download", "demo", "nowhere", ".", check=False)
        self.assertEqual((r.returncode, "nowhere" in r.stderr), (20, True), r.stderr)
        self.run_("upload", "demo", self.local.env["XDG_STATE_HOME"], "folder")
        with open(os.path.join(self.here, "f"), "w") as f:
            f.write("x")
        r = self.run_("upload", "demo", "f", "nowhere/f", check=False)
        self.assertNotEqual(r.returncode, 0)
        for i in range(2):
            os.mkfifo(os.path.join(self.here, f"fifo{i}"))
        os.mkdir(os.path.join(self.here, "part"))
        os.rename(os.path.join(self.here, "fifo0"), os.path.join(self.here, "part/fifo"))
        os.rename(os.path.join(self.here, "f"), os.path.join(self.here, "part/f"))
        r = self.run_("upload", "demo", "part", "part", check=False)
        self.assertEqual((r.returncode, os.listdir(os.path.join(self.root, "part"))), (92, ["f"]), r.stderr)

    def test_ended_in_the_middle(self):
        os.mkdir(os.path.join(self.root, "in"))
        os.chown(os.path.join(self.root, "in"), self.host.uid, -1)
        with open(os.path.join(self.here, "solid"), "wb") as f:
            for _ in range(96):
                f.write(os.urandom(1 << 20))
        p = self.local.start("upload", "demo", "solid", "in/solid", cwd=self.here)
        wait_for(lambda: os.listdir(os.path.join(self.root, "in")) or p.poll() is not None, 90, "the upload to begin")
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=90)
        if p.returncode:  # it was in time
            self.assertEqual(os.listdir(os.path.join(self.root, "in")), [])


class OfAnUnknownMachine(Files, unittest.TestCase):
    def make(self):
        return Mac()


class OfAMachineThatExecutesNothing(Files, unittest.TestCase):
    def make(self):
        return NoExec()

    def test_it_is_said(self):
        self.assertIn("noexec", self.local.towline("info", "demo").stdout)


class WithoutSftp(Mac):
    """Nothing but a shell and tar."""
    subsystems = ()


class OfAShellWithTar(Files, unittest.TestCase):
    def make(self):
        return WithoutSftp()

    def test_hard_links_and_odd_places(self):
        os.mkdir(os.path.join(self.root, "t"))
        for n in ("one", "*", " a'b\"c\n$x"):
            with open(os.path.join(self.root, "t", n), "w") as f:
                f.write(n)
        os.link(os.path.join(self.root, "t/one"), os.path.join(self.root, "t/two"))
        os.mkdir(os.path.join(self.root, "t", long := "d" * 120))
        with open(os.path.join(self.root, "t", long, "f" * 120), "w") as f:
            f.write("deep")
        self.run_("download", "--verify", "demo", "t", ".")
        self.assertEqual(look(os.path.join(self.here, "t")), look(os.path.join(self.root, "t")))
        own(os.path.join(self.root, "t"), self.host.uid)
        self.run_("upload", "--verify", "demo", "t", "u")
        self.assertEqual(look(os.path.join(self.here, "t")), look(os.path.join(self.root, "u")))
        # one name with a star, which is no pattern where nothing fits it better
        self.run_("download", "demo", "t/" + " a'b\"c\n$x", "-q", "odd")
        with open(os.path.join(self.here, "odd")) as f:
            self.assertEqual(f.read(), " a'b\"c\n$x")

    def test_what_is_there_already(self):
        for n in ("a", "b", "sub/c", "sub/d"):
            for top, text in ((self.here, "new"), (self.root, "old")):
                os.makedirs(os.path.dirname(os.path.join(top, "t", n)), exist_ok=True)
                with open(os.path.join(top, "t", n), "w") as f:
                    f.write(text)
        os.unlink(os.path.join(self.root, "t/sub/d"))
        os.mkdir(os.path.join(self.root, "t/sub/d"))
        own(os.path.join(self.root), self.host.uid)
        r = self.run_("upload", "demo", "t", ".", check=False)
        self.assertEqual(r.returncode, 92, r.stderr)
        self.assertIn("t/sub/d", r.stderr)
        self.assertEqual({n: v[1] for n, v in look(os.path.join(self.root, "t")).items() if v[0] == "file"}, {"a": 3, "b": 3, "sub/c": 3})
        with open(os.path.join(self.root, "t/sub/c")) as f:
            self.assertEqual(f.read(), "new")
        self.assertEqual([n for n in os.listdir(self.root) if n.startswith(".towline")], [])

    def test_unreadable_there_and_no_room(self):
        os.mkdir(os.path.join(self.root, "t"))
        for n in ("good", "bad"):
            with open(os.path.join(self.root, "t", n), "w") as f:
                f.write(n)
        os.chmod(os.path.join(self.root, "t/bad"), 0)
        r = self.run_("download", "demo", "t", ".", check=False)
        self.assertEqual((r.returncode, os.listdir(os.path.join(self.here, "t"))), (92, ["good"]), r.stderr)
        self.assertIn("bad", r.stderr)
        full = os.path.join(self.root, "full")
        os.mkdir(full)
        if run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "none", full], check=False).returncode:
            self.skipTest("this machine does not allow mounts")
        self.addCleanup(run, ["umount", "-l", full], check=False)
        with open(os.path.join(self.here, "large"), "wb") as f:
            f.write(os.urandom(8 << 20))
        r = self.run_("upload", "demo", "large", "full/", check=False)
        self.assertEqual(r.returncode, 26, r.stderr)
        self.assertEqual(os.listdir(full), [])


@unittest.skipIf(dropbear_missing(), dropbear_missing())
class OfABusyboxWithTar(Files, unittest.TestCase):
    """Neither SFTP nor a C library in which the sanitizer build of our program runs."""

    def make(self):
        host = Dropbear()
        host.uid, self.top = 0, host.outside_home
        return host


class OfAnSftpServer(Files, unittest.TestCase):
    def make(self):
        return Sshd(extra="ForceCommand internal-sftp")

    def test_commands_say_why(self):
        r = self.local.towline("exec", "demo", "true", check=False)
        self.assertEqual(r.returncode, 66)
        self.assertIn("allows files only (SFTP)", r.stderr)
        self.assertIn("SFTP", self.local.towline("info", "demo").stdout)


class OfAChrootedSftpServer(Files, unittest.TestCase):
    def make(self):
        self.top = os.path.join(jail := tempfile.mkdtemp(prefix="tl-jail-", dir="/run"), "data")
        self.addCleanup(shutil.rmtree, jail, True)
        os.chmod(jail, 0o755)
        os.mkdir(self.top)
        host = Sshd(extra=f"ForceCommand internal-sftp -d /data\nChrootDirectory {jail}")
        os.chown(self.top, host.uid, -1)
        return host


class WithoutAWord(unittest.TestCase):
    def test_a_forced_sftp_server_that_waits_for_its_hello(self):
        """Other servers do not complain: they wait, and so would we until the deadline."""
        host = Sshd(test=self, extra="ForceCommand /usr/lib/openssh/sftp-server")
        local = Daemon(host, test=self)
        r = local.towline("exec", "demo", "true", check=False, timeout=100)
        self.assertIn("allows files only (SFTP)", r.stderr)
        with open(os.path.join(local.home, "f"), "w") as f:
            f.write("x")
        local.towline("upload", "demo", os.path.join(local.home, "f"), "g")
        with open(os.path.join(host.home, "g")) as f:
            self.assertEqual(f.read(), "x")


if __name__ == "__main__":
    unittest.main()
