"""A server that runs for one connection only: nothing of it is left on the host, however the connection ends."""
# deadline: 300
import glob
import os
import shutil
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from dialing import Dial, dial, installed, server_folder, tmpfs
from harness import STAGE, Dropbear, Sshd, dropbear_missing, run, scratch, wait_for
from harness.link import Host, Link, Refused

REAL = os.path.join(STAGE, "lib/towline/host")
# the private server's part: its own file goes, the marker, then everything comes back
ECHO = r"""#!/bin/sh
case $1 in
--version) echo towline-host for tests ;;
serve) [ "$3" = --unlink ] && rm -f "$4"; printf '\000towline %s\n' "$2"; exec cat ;;
esac
exit 0
"""
PLACES = ("/tmp", "/dev/shm", "/var/tmp", "/run/user/*")


def owner(path):
    try:
        return os.lstat(path).st_uid
    except FileNotFoundError:
        return None


def left(host):
    """What the remote user owns in the usual places, and everything in the home."""
    out = [f for p in PLACES for f in glob.glob(p + "/.towline-" + 20 * "[a-z2-7]") if owner(f) == host.uid]
    for d, dirs, files in os.walk(host.home):
        out += [os.path.join(d, f) for f in dirs + files]
    if getattr(host, "root", False):
        for p in PLACES:
            r = run(["find", *(glob.glob(p) or ["/nonexistent"]), "-xdev", "-user", host.user], check=False)
            out += [f for f in r.stdout.split() if not f.startswith(host.dir)]
    return out


class Private(unittest.TestCase):
    def up(self, d, uploads=1):
        self.assertTrue(d.is_up, d.events)
        self.assertEqual("".join(e["text"] for e in d.all("data")), "hello")
        self.assertEqual(len(d.uploads), uploads, d.events)

    def stay(self, host):
        d = Dial(self, "-F", host.config, "--private", "--stay", host.alias, bin=REAL, send=None)
        self.assertIsNotNone(d.wait("up"), d.events)
        self.assertTrue(self.servers(host))
        return d

    def servers(self, host):
        out = []
        for pid in host.processes():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    if f.read().split(b"\0")[1:2] == [b"serve"]:
                        out.append(pid)
            except OSError:
                pass
        return out

    def gone(self, host):
        wait_for(lambda: not self.servers(host), 60, "the end of the server")
        self.assertEqual(left(host), [])

    def test_shells(self):
        b = server_folder(self, text=ECHO)
        for shell in ("bash", "dash", "tcsh", "fish"):
            with self.subTest(shell=shell):
                host = Sshd(shell=shell, test=self)
                before = left(host)
                self.up(dial(self, host, "--private", bin=b))
                self.assertEqual([f for f in left(host) if f not in before and "/.config" not in f
                                  and "/.local" not in f and "/.cache" not in f], [])

    @unittest.skipIf(dropbear_missing(), dropbear_missing())
    def test_dropbear_with_nothing_but_busybox(self):
        host = Dropbear(test=self)
        self.up(dial(self, host, "--private", bin=server_folder(self, text=ECHO)))
        self.assertEqual(installed(host.outside_home), [])
        self.assertEqual(os.listdir(os.path.join(host.root, "tmp")), [])

    def test_installed_program_is_used(self):
        host = Sshd(test=self)
        b = server_folder(self, text=ECHO.replace("serve)", "bridge|serve)"))
        self.up(dial(self, host, bin=b))
        self.up(dial(self, host, "--private", bin=b), 0)

    def test_nothing_while_up_and_after_the_end(self):
        host = Sshd(test=self)
        d = self.stay(host)
        self.assertEqual(left(host), [])
        d.process.send_signal(signal.SIGTERM)
        self.gone(host)

    def test_killed_ssh(self):
        host = Sshd(test=self)
        d = self.stay(host)
        ssh = [int(p) for p in run(["pgrep", "-P", str(d.process.pid), "ssh"]).stdout.split()]
        os.kill(ssh[0], signal.SIGKILL)
        self.gone(host)
        self.assertIsNotNone(d.wait("down"))

    def test_broken_line_during_the_upload(self):
        host = Sshd(wire=True, test=self)
        host.wire.rate = 400000
        d = Dial(self, "-F", host.config, "--private", host.alias,
                 bin=server_folder(self, text=ECHO, size=4000000, compressed=False))
        self.assertIsNotNone(d.wait("progress", step="install"))
        wait_for(lambda: left(host), 60, "the beginning of the upload")
        host.drop_connections()
        wait_for(lambda: not left(host), 60, "the end of the file")

    def test_folder_where_nothing_runs(self):
        folder, home = scratch("tlnx-"), scratch("tlhome-")
        self.addCleanup(shutil.rmtree, home, True)
        self.addCleanup(shutil.rmtree, folder, True)
        tmpfs(self, folder, "noexec")
        d = Dial(self, "local:", "--private", bin=server_folder(self, text=ECHO),
                 env={"HOME": home, "XDG_RUNTIME_DIR": folder}).finish()
        self.up(d)
        self.assertEqual(os.listdir(folder) + os.listdir(home), [])

    def test_damaged_on_the_way(self):
        b = server_folder(self, text=ECHO)
        os.unlink(os.path.join(b, "towline-host-x86_64.gz"))
        with open(os.path.join(b, "towline-host-x86_64"), "r+b") as f:
            f.seek(3000)
            f.write(b"damage")
        host = Sshd(test=self)
        d = dial(self, host, "--private", bin=b)
        self.assertEqual([e["error"] for e in d.all("failed")], ["DIGEST"], d.events)
        self.assertEqual(left(host), [])


class PrivateHost(Host):
    """A server on pipes instead of a bridge and an agent."""

    def argv(self, *more, nonce="n1"):
        return [self.program, "serve", nonce, *more]


class Serve(unittest.TestCase):
    def setUp(self):
        self.host = PrivateHost(test=self, run_dir=False)
        self.link = self.host.link()

    def over(self):
        wait_for(lambda: not self.host.processes(), 60, "the end of all processes")
        self.assertEqual(os.listdir(self.host.home), [])

    def test_facts_and_no_terminals(self):
        rpc = self.link.rpc()
        self.assertEqual(rpc.call("host/info")["home"], self.host.home)
        for method in ("term/create", "term/list", "agent/stop"):
            with self.assertRaises(Refused) as e:
                rpc.call(method)
            self.assertEqual(e.exception.name, "unsupported")
        with self.assertRaises(Refused) as e:
            self.link.open("term", id="abc")
        self.assertEqual(e.exception.name, "unsupported")
        self.link.cut()
        self.over()

    def test_children_end_with_the_transport(self):
        self.link.open("exec", command="trap '' HUP; echo $$; sleep 1000 & wait")
        self.link.open("sftp")
        wait_for(lambda: len(self.host.processes()) >= 4, 60, "the command")
        self.link.bridge.stdin.close()
        self.over()

    def test_bye(self):
        self.link.open("exec", command="sleep 1000")
        self.link.bye()
        self.assertEqual(self.link.bridge.wait(20), 0)
        self.over()

    def test_killed(self):
        self.link.open("exec", command="sleep 1000")
        self.link.bridge.kill()
        self.over()

    def test_signal(self):
        self.link.bridge.terminate()
        self.assertEqual(self.link.bridge.wait(20), 0)
        self.over()

    def test_wrong_use(self):
        for words in ([], ["a", "b"], ["--what"], ["n", "--unlink"], ["two words"]):
            r = run([self.host.program, "serve", *words], check=False)
            self.assertEqual(r.returncode, 2, words)
            self.assertIn("towline-host serve: ", r.stderr)


if __name__ == "__main__":
    unittest.main()
