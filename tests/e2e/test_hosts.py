"""The whole path by the commands, on hosts of several kinds (rows B3 C1 C2 C5 C6 C7 D1 D6 K1).

One list of things that must work, run on: OpenSSH as it comes, OpenSSH with forwarding forbidden and one session a connection,
a profile that prints 10 kB, csh and fish as login shell, and dropbear with busybox and musl only."""
# parallel: ok
import json
import os
import re
import subprocess
import unittest

from harness import ROOT, Daemon, Dropbear, Sshd, dropbear_missing


class Works:
    """Mixed into a TestCase whose setUp made self.host and self.local."""

    def far(self, name):
        return "%s:%s" % (self.host.alias, name)

    def towline(self, *argv, **kw):
        return self.local.towline(*argv, **kw)

    def test_files_travel_both_ways_unchanged(self):
        blob = os.urandom(700_001)
        near = os.path.join(self.local.dir, "blob.bin")
        with open(near, "wb") as f:
            f.write(blob)
        self.towline("put", near, self.far("up name.bin"))
        back = os.path.join(self.local.dir, "back.bin")
        self.towline("get", self.far("up name.bin"), back)
        with open(back, "rb") as f:
            self.assertEqual(f.read(), blob)
        out = subprocess.run(self.local.argv("cat", self.far("up name.bin")), env=self.local.env, capture_output=True, timeout=60)
        self.assertEqual(out.stdout, blob)
        names = [e["name"] for e in json.loads(self.towline("ls", "--json", self.far("")).stdout)["entries"]]
        self.assertIn("up name.bin", names)
        self.towline("rm", self.far("up name.bin"))
        self.assertNotEqual(self.towline("ls", self.far("up name.bin"), check=False).returncode, 0)

    def test_shell_runs_a_command_and_gives_its_status(self):
        r = self.towline("shell", self.host.alias, "--", "sh", "-c", "echo far; exit 7", check=False, errors="replace")
        self.assertIn("far", r.stdout)
        self.assertEqual(r.returncode, 7, r.stderr)

    def test_open_prints_one_address(self):
        r = self.towline("open", "--no-browser", self.far("."))
        lines = r.stdout.splitlines()
        self.assertEqual(len(lines), 1, r.stdout)
        self.assertRegex(lines[0], r"^window: http://localhost:\d+/\?host=%s&folder=/\S*#token=[0-9a-f]{32}$" % re.escape(self.host.alias))

    def test_second_connection_reuses_the_agent(self):
        self.towline("connect", self.host.alias)
        first = self.info()
        self.towline("close", self.host.alias)
        self.towline("connect", self.host.alias)
        self.assertEqual(self.info()["pid"], first["pid"])

    def info(self):
        hosts = json.loads(self.towline("status", "--json").stdout)["hosts"]
        return [h for h in hosts if h["host"] == self.host.alias][0]["info"]


class OpenSSH(Works, unittest.TestCase):
    def setUp(self):
        self.host = Sshd(test=self)
        self.local = Daemon(self.host, test=self)

    def test_sockets_are_private(self):
        self.towline("connect", self.host.alias)
        run = self.info()["runDir"]
        self.assertEqual(os.stat(run).st_mode & 0o777, 0o700)
        for name in os.listdir(run):
            if name.endswith(".sock"):
                self.assertEqual(os.stat(os.path.join(run, name)).st_mode & 0o777, 0o600, name)

    def test_nothing_listens_on_tcp(self):
        self.towline("connect", self.host.alias)
        pids = {str(p) for p in self.host.processes(argv0="towline-host")}
        self.assertTrue(pids)
        listening = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(table) as f:
                listening |= {line.split()[9] for line in f.readlines()[1:] if line.split()[3] == "0A"}
        for pid in pids:
            for fd in os.listdir("/proc/%s/fd" % pid):
                try:
                    link = os.readlink("/proc/%s/fd/%s" % (pid, fd))
                except OSError:
                    continue
                if link.startswith("socket:["):
                    self.assertNotIn(link[8:-1], listening)


class ForwardingForbidden(Works, unittest.TestCase):
    def setUp(self):
        self.host = Sshd(extra="AllowTcpForwarding no\nAllowStreamLocalForwarding no\nMaxSessions 1\nPermitTTY no", test=self)
        self.local = Daemon(self.host, test=self)


class NoisyProfile(Works, unittest.TestCase):
    def setUp(self):
        self.host = Sshd(test=self)
        for name in (".bashrc", ".bash_profile", ".profile"):
            with open(os.path.join(self.host.home, name), "w") as f:
                f.write("i=0; while [ $i -lt 128 ]; do echo 'Welcome to this machine, which says a lot: towline 0123456789 0123456789 01234567'; i=$((i+1)); done\n"
                        "printf '\\000\\001binary\\377\\n'\n")
        self.local = Daemon(self.host, test=self)


class Csh(Works, unittest.TestCase):
    def setUp(self):
        self.host = Sshd(shell="tcsh", test=self)
        self.local = Daemon(self.host, test=self)


class Fish(Works, unittest.TestCase):
    def setUp(self):
        self.host = Sshd(shell="fish", test=self)
        self.local = Daemon(self.host, test=self)


class Dash(Works, unittest.TestCase):
    def setUp(self):
        self.host = Sshd(shell="dash", test=self)
        self.local = Daemon(self.host, test=self)


@unittest.skipIf(dropbear_missing(), "dropbear for musl is not built: %s" % dropbear_missing())
class BusyboxAndDropbear(Works, unittest.TestCase):
    """Nothing on the host but a static busybox and dropbear: no bash, no tar, no sftp, no libc.
    The released programs are used: the sanitizer build of towline-host needs a libc that is not there."""

    def setUp(self):
        self.host = Dropbear(test=self)
        self.local = Daemon(self.host, stage=os.path.join(ROOT, "build", "stage"), test=self)


if __name__ == "__main__":
    unittest.main()
