"""Reaching hosts and installing the server there: real OpenSSH and dropbear servers, real shells and file systems."""
# deadline: 600
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from dialing import ECHO, SERVER, Dial, dial, installed, server_folder, tmpfs
from harness import Dropbear, Sshd, dropbear_missing, find_processes, kill_marked, run, scratch, wait_for


class Base(unittest.TestCase):
    def up(self, d, uploads):
        self.assertTrue(d.is_up, d.events)
        self.assertEqual("".join(e["text"] for e in d.all("data")), "hello")
        self.assertEqual(len(d.uploads), uploads, d.events)

    def failed(self, d, error, *parts):
        self.assertFalse(d.is_up, d.events)
        (e,) = d.all("failed")
        self.assertEqual(e["error"], error, e)
        for p in parts:
            self.assertIn(p, e["text"])
        return e

    def clean(self, home, programs=1):
        """Nothing but whole programs in the install folder."""
        found = installed(home)
        files = [f for f in found if not f.endswith("/")]
        self.assertEqual(len(files), programs, found)
        for f in files:
            self.assertRegex(f, r"^bin/[0-9.]+-[0-9a-f]{12}/towline-host$")
        if not programs:
            self.assertEqual(found, [])


class Shells(Base):
    def shell(self, name, files=()):
        host = Sshd(shell=name, test=self)
        for f, text in files:
            path = os.path.join(host.home, f)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as out:
                out.write(text)
        b = server_folder(self)
        self.up(dial(self, host, bin=b), 1)
        self.up(dial(self, host, bin=b), 0)
        self.clean(host.home)

    def test_bash(self):
        self.shell("bash", [(".bashrc", "echo noise\necho more >&2\n")])

    def test_sh(self):
        self.shell("sh")

    def test_dash(self):
        self.shell("dash")

    def test_csh(self):
        self.shell("csh", [(".cshrc", "echo 'a csh speaks!'\n")])

    def test_tcsh(self):
        self.shell("tcsh", [(".tcshrc", "echo noise\n")])

    def test_fish(self):
        self.shell("fish", [(".config/fish/config.fish", "echo fish noise\n")])

    def test_busybox_ash(self):
        folder = scratch("tlash-")
        self.addCleanup(shutil.rmtree, folder, True)
        shutil.copy("/bin/busybox", os.path.join(folder, "ash"))
        self.shell(os.path.join(folder, "ash"))

    def test_profile_that_prints_ten_kilobytes(self):
        self.shell("bash", [(".bashrc", "printf '%0100d\\n' $(seq 100)\nprintf 'NUL \\000towline \\000'\n")])

    def test_start_up_file_that_ends_the_session(self):
        host = Sshd(shell="bash", test=self)
        with open(os.path.join(host.home, ".bashrc"), "w") as f:
            f.write("echo you may not\nexit 7\n")
        self.failed(dial(self, host), "NOSHELL", "status 7", "you may not")

    def test_noise_that_is_not_text(self):
        """What a host prints may be quoted, but moves no cursor and breaks no JSON."""
        host = Sshd(shell="bash", test=self)
        with open(os.path.join(host.home, ".bashrc"), "w") as f:
            f.write("printf '\\033]0;owned\\007 \\377\\376 no\\n'; printf '\\033[2J\\377\\n' >&2; exit 3\n")
        d = dial(self, host)
        self.failed(d, "NOSHELL", "]0;owned  ?? no")
        self.assertNotRegex(repr(d.events), r"\\x1b|\\x9b")

    def test_endless_noise(self):
        host = Sshd(shell="bash", test=self)
        with open(os.path.join(host.home, ".bashrc"), "w") as f:
            f.write("yes chatter\n")
        self.failed(dial(self, host), "NOSHELL", "65536 bytes", "chatter")

    def test_start_up_file_that_waits(self):
        host = Sshd(shell="bash", test=self)
        with open(os.path.join(host.home, ".bashrc"), "w") as f:
            f.write("echo press a key\nexec sleep 1000\n")
        self.failed(dial(self, host, "--ms", 2500), "NOSHELL", "press a key", "may wait for input")

    @unittest.skipIf(dropbear_missing(), dropbear_missing())
    def test_dropbear_with_nothing_but_busybox(self):
        host = Dropbear(test=self)
        b = server_folder(self)
        self.up(dial(self, host, bin=b), 1)
        self.up(dial(self, host, bin=b), 0)
        self.clean(host.outside_home)

    def test_without_ssh(self):
        home = scratch("tlhome-")
        self.addCleanup(shutil.rmtree, home, True)
        b = server_folder(self)
        for uploads in (1, 0):
            self.up(Dial(self, "local:", bin=b, env={"HOME": home}).finish(), uploads)
        self.clean(home)


class Servers(Base):
    """sshd forbids what it can; one session and its standard streams are enough."""

    def server(self, extra):
        host = Sshd(extra=extra, test=self)
        self.up(dial(self, host), 1)

    def test_no_forwarding(self):
        self.server("AllowTcpForwarding no\nAllowStreamLocalForwarding no\nAllowAgentForwarding no\nPermitTTY no")

    def test_one_session(self):
        self.server("MaxSessions 1")

    def test_sftp_only(self):
        host = Sshd(extra="ForceCommand internal-sftp", test=self)
        self.failed(dial(self, host, "--ms", 4000), "NOSHELL")

    def test_forced_command(self):
        host = Sshd(extra="ForceCommand echo this account takes backups only", test=self)
        self.failed(dial(self, host), "NOSHELL", "backups only")

    def test_no_login_account(self):
        host = Sshd(shell="/usr/sbin/nologin", test=self)
        self.failed(dial(self, host), "NOSHELL", "not available")

    def test_locale_of_the_login_stays(self):
        b = server_folder(self, ECHO.replace("exec cat", "printf 'L=%s U=%s\\n' \"$LC_ALL\" \"$(umask)\"; exec cat"))
        host = Sshd(extra="AcceptEnv LANG LC_*", client_extra="SendEnv LANG LC_*", test=self)
        d = dial(self, host, bin=b, env={"LC_ALL": "C.UTF-8"})
        text = "".join(e["early"] for e in d.all("up")) + "".join(e["text"] for e in d.all("data"))
        self.assertIn("L=C.UTF-8 U=0022", text)


class Install(Base):
    def setUp(self):
        self.home = scratch("tlhome-")
        self.addCleanup(shutil.rmtree, self.home, True)
        self.bin = server_folder(self)

    def local(self, *args, **kw):
        env = dict(kw.pop("env", {}), HOME=self.home)
        return Dial(self, *args, "local:", bin=kw.pop("bin", self.bin), env=env, **kw)

    def chosen(self):
        """The folder of every home, but as if the user had named it: no other one will do."""
        return os.path.join(self.home, SERVER)

    def fake(self, **programs):
        """A folder for the front of PATH with these sh scripts."""
        d = scratch("tlpath-")
        self.addCleanup(shutil.rmtree, d, True)
        for name, text in programs.items():
            with open(os.path.join(d, name), "w") as f:
                f.write("#!/bin/sh\n" + text + "\n")
            os.chmod(os.path.join(d, name), 0o755)
        return f"{d}:{os.environ['PATH']}"

    def only(self, *names):
        """A PATH with these programs only."""
        d = scratch("tlpath-")
        self.addCleanup(shutil.rmtree, d, True)
        for n in names:
            os.symlink(shutil.which(n), os.path.join(d, n))
        return d

    NEEDED = ("sh", "uname", "mkdir", "ln", "rm", "rmdir", "mv", "tr", "wc", "cat", "chmod")

    def test_damaged_program_repairs_itself(self):
        self.up(self.local().finish(), 1)
        (name,) = [f for f in installed(self.home) if not f.endswith("/")]
        path = os.path.join(self.home, SERVER, name)
        with open(path, "r+b") as f:
            f.seek(1000)
            f.write(b"damage")
        self.up(self.local().finish(), 1)
        os.truncate(path, 100)
        self.up(self.local().finish(), 1)
        os.chmod(path, 0o600)
        self.up(self.local().finish(), 1)
        self.up(self.local().finish(), 0)
        self.clean(self.home)

    def test_new_version_goes_beside_the_old_one(self):
        self.up(self.local().finish(), 1)
        self.up(self.local(bin=server_folder(self, ECHO + "# two\n")).finish(), 1)
        self.up(self.local().finish(), 0)
        self.clean(self.home, 2)

    def test_other_folder(self):
        for where, folder in (("~/a b/it's", os.path.join(self.home, "a b/it's")),
                              (os.path.join(self.home, "abs"), os.path.join(self.home, "abs"))):
            b = server_folder(self, ECHO.replace("exec cat", "printf '%s\\n' \"$TOWLINE_SERVER_DIR\"; exec cat"))
            d = self.local("--install", where, bin=b).finish()
            text = "".join(e["early"] for e in d.all("up")) + "".join(e["text"] for e in d.all("data"))
            self.assertIn(folder + "\n", text)
            self.assertTrue(os.path.isdir(os.path.join(folder, "bin")))
        self.failed(self.local("--install", "rel/ative").finish(), "INVAL", "rel/ative")

    def test_without_gzip(self):
        path = self.only(*self.NEEDED, "sha256sum", "head", "df", "readlink", "sleep")
        self.up(self.local(env={"PATH": path}).finish(), 1)
        self.clean(self.home)

    def test_without_any_helper(self):
        path = self.only(*self.NEEDED, "dd")
        for _ in range(2):  # nothing there can say what is installed
            self.up(self.local(env={"PATH": path}, bin=server_folder(self, size=3000)).finish(), 1)
        self.clean(self.home)

    def test_cksum_in_place_of_sha256sum(self):
        path = self.only(*self.NEEDED, "cksum", "head", "gzip", "df", "readlink", "sleep")
        self.up(self.local(env={"PATH": path}).finish(), 1)
        self.up(self.local(env={"PATH": path}).finish(), 0)
        (name,) = [f for f in installed(self.home) if not f.endswith("/")]
        with open(os.path.join(self.home, SERVER, name), "r+b") as f:
            f.seek(1000)
            f.write(b"damage")
        self.up(self.local(env={"PATH": path}).finish(), 1)

    def test_unsupported_platform(self):
        for says, part in (("Linux mips", "Linux mips"), ("Darwin arm64", "Darwin arm64"), ("Linux armv6l", "armv6l")):
            path = self.fake(uname=f'case $1 in -sm) echo {says};; *) exec /bin/uname "$@";; esac')
            self.failed(self.local(env={"PATH": path}).finish(), "NOARCH", part)
        self.clean(self.home, 0)

    def test_platform_without_a_program_here(self):
        path = self.fake(uname='case $1 in -sm) echo Linux aarch64;; *) exec /bin/uname "$@";; esac')
        self.failed(self.local(env={"PATH": path}).finish(), "NOARCH", "none for aarch64")
        self.clean(self.home, 0)

    def test_program_of_another_platform(self):
        b = server_folder(self, "\x7fELF no such format\n")
        self.failed(self.local(bin=b).finish(), "NOARCH")
        self.clean(self.home, 0)

    def test_program_that_fails(self):
        b = server_folder(self, "#!/bin/sh\necho kernel too old >&2\nexit 3\n")
        self.failed(self.local(bin=b).finish(), "AGENT", "kernel too old")
        self.clean(self.home, 0)

    def test_bridge_that_fails(self):
        b = server_folder(self, "#!/bin/sh\n[ $1 != bridge ] || { echo no socket possible >&2; exit 64; }\n")
        self.failed(self.local(bin=b).finish(), "AGENT", "no socket possible", "status 64")
        self.clean(self.home)

    def test_full_disk(self):
        for size, part in (("128k", "kB left"), ("400k", "")):
            tmpfs(self, self.home, f"size={size},mode=755")
            # the second one only finds out while it writes, as with a quota
            path = self.fake(df="exit 1") if not part else os.environ["PATH"]
            self.failed(self.local("--install", self.chosen(), env={"PATH": path}, bin=server_folder(self, size=500000)).finish(),
                        "NOSPACE", part)
            self.clean(self.home, 0)
            run(["umount", self.home])

    def test_noexec(self):
        tmpfs(self, self.home, "size=8m,noexec,mode=755")
        e = self.failed(self.local("--install", self.chosen()).finish(), "NOEXEC")
        self.assertIn("serverInstallPath", e["message"])
        self.clean(self.home, 0)

    def test_read_only(self):
        tmpfs(self, self.home, "size=8m,mode=755")
        run(["mount", "-o", "remount,ro", self.home])
        self.failed(self.local("--install", self.chosen()).finish(), "ROFS", self.home)

    def elsewhere(self, *reasons):
        """The program goes to the first other folder, closed to others, with a notice; there it is found again."""
        run_dir = scratch("tlxdg-")
        self.addCleanup(shutil.rmtree, run_dir, True)
        there = os.path.join(run_dir, f".towline-server-{os.geteuid()}")
        for uploads in (1, 0):
            d = self.local(env={"XDG_RUNTIME_DIR": run_dir}).finish()
            self.up(d, uploads)
            (notice,) = d.all("progress", step="notice")
            self.assertIn(there, notice["text"])
            for r in reasons if uploads else ():
                self.assertIn(r, notice["text"])
            self.assertEqual(os.stat(there).st_mode & 0o7777, 0o700)
            (version,) = os.listdir(os.path.join(there, "bin"))
            self.assertEqual(os.listdir(os.path.join(there, "bin", version)), ["towline-host"])
        self.clean(self.home, 0)

    def test_full_home_goes_elsewhere(self):
        tmpfs(self, self.home, "size=128k,mode=755")
        self.elsewhere("No space left", self.home)

    def test_noexec_home_goes_elsewhere(self):
        tmpfs(self, self.home, "size=8m,noexec,mode=755")
        self.elsewhere("is mounted noexec")

    def test_read_only_home_goes_elsewhere(self):
        tmpfs(self, self.home, "size=8m,mode=755")
        run(["mount", "-o", "remount,ro", self.home])
        self.elsewhere("Read-only")

    def test_another_folder_must_be_ours(self):
        tmpfs(self, self.home, "size=8m,noexec,mode=755")
        run_dir = scratch("tlxdg-")
        self.addCleanup(shutil.rmtree, run_dir, True)
        trap = os.path.join(run_dir, f".towline-server-{os.geteuid()}")
        elsewhere = scratch("tltrap-")
        self.addCleanup(shutil.rmtree, elsewhere, True)
        for make in (lambda: os.mkdir(trap, 0o777), lambda: os.symlink(elsewhere, trap)):
            make()
            if not os.path.islink(trap):
                os.chmod(trap, 0o777)
            d = self.local(env={"XDG_RUNTIME_DIR": run_dir}).finish()
            self.assertNotIn(run_dir, d.all("progress", step="notice")[0]["text"])
            self.assertEqual(os.listdir(trap), [])
            os.unlink(trap) if os.path.islink(trap) else os.rmdir(trap)
        for place in ("/dev/shm", "/var/tmp", "/tmp"):
            shutil.rmtree(os.path.join(place, f".towline-server-{os.geteuid()}"), True)

    def test_read_only_after_installation(self):
        tmpfs(self, self.home, "size=8m,mode=755")
        self.up(self.local().finish(), 1)
        run(["mount", "-o", "remount,ro", self.home])
        self.up(self.local().finish(), 0)

    def test_home_of_someone_else(self):
        host = Sshd(test=self)
        if not host.root:
            self.skipTest("needs a second user")
        os.chown(host.home, 0, 0)
        self.failed(dial(self, host, "--install", host.home + "/.towline-server"), "ACCES", host.home)

    def test_no_program_at_all(self):
        d = scratch("tlbin-")
        self.addCleanup(shutil.rmtree, d, True)
        self.failed(self.local(bin=d).finish(), "INSTALL", d)


class Interrupted(Base):
    """Whatever moment it happens in: the next connection works and nothing is left behind."""

    def setUp(self):
        self.host = Sshd(wire=True, test=self)
        self.bin = server_folder(self, size=6000000, compressed=False)

    def again(self):
        wait_for(lambda: not [p for p in find_processes(self.host.mark, argv0="sh")], 60, "the start-up line to end")
        self.clean(self.host.home, 0)
        self.up(dial(self, self.host, bin=self.bin), 1)
        self.clean(self.host.home)

    def start(self):
        self.host.wire.rate = 2000000
        return Dial(self, "-F", self.host.config, self.host.alias, bin=self.bin)

    def middle(self, d):
        d.wait("progress", step="install")
        wait_for(lambda: any(".new." in f for f in installed(self.host.home)), 60, "the upload to begin")

    def test_client_killed(self):
        d = self.start()
        self.middle(d)
        d.process.kill()
        self.host.wire.rate = 0
        self.host.wire.drop()
        self.again()

    def test_network_cut(self):
        d = self.start()
        self.middle(d)
        self.host.wire.cut()
        self.failed(d.finish(), "SSH")
        self.host.wire.heal()
        self.host.wire.rate = 0
        self.again()

    def test_server_side_killed(self):
        d = self.start()
        self.middle(d)
        self.host.drop_connections()
        d.finish()
        self.assertFalse(d.is_up)
        self.host.wire.rate = 0
        self.again()

    def test_installer_killed_hard(self):
        """kill -9 leaves its files; the next connection takes them away and does not wait for its lock."""
        d = self.start()
        self.middle(d)
        kill_marked(self.host.mark, argv0="sh")
        d.finish()
        self.host.wire.rate = 0
        self.assertTrue([f for f in installed(self.host.home) if ".new." in f])
        self.up(dial(self, self.host, bin=self.bin), 1)
        self.clean(self.host.home)

    def test_killed_while_the_program_is_tried(self):
        """The last step before the move into place."""
        slow = server_folder(self, ECHO.replace("--version)", "--version) sleep 1000;"))
        d = Dial(self, "-F", self.host.config, self.host.alias, bin=slow)
        d.wait("progress", step="start")
        wait_for(lambda: find_processes(self.host.mark, argv0="sleep"), 60, "the try")
        for name in ("sh", "sleep"):
            kill_marked(self.host.mark, argv0=name)
        d.finish()
        self.assertFalse(d.is_up)
        self.up(dial(self, self.host, bin=self.bin), 1)
        self.clean(self.host.home)

    def test_killed_while_it_waits_for_the_client(self):
        d = self.start()
        d.wait("progress", step="probe")
        d.process.kill()
        self.host.wire.drop()
        self.host.wire.rate = 0
        self.again()

    def test_damaged_on_the_way(self):
        path = os.path.join(self.bin, "towline-host-x86_64")
        with open(path, "r+b") as f:
            f.seek(3000000)
            f.write(b"damage")
        self.failed(dial(self, self.host, bin=self.bin), "DIGEST")
        self.clean(self.host.home, 0)


class Slow(Base):
    def test_upload_that_takes_longer_than_the_deadline(self):
        host = Sshd(wire=True, test=self)
        host.wire.rate = 1000000
        self.up(dial(self, host, "--ms", 1500, bin=server_folder(self, size=4000000, compressed=False)), 1)


class AtOnce(Base):
    def test_two_clients_install_once(self):
        host = Sshd(test=self)
        b = server_folder(self, size=4000000)
        two = [Dial(self, "-F", host.config, host.alias, bin=b) for _ in range(3)]
        for d in two:
            d.finish()
            self.assertTrue(d.is_up, d.events)
        self.assertEqual(sum(len(d.uploads) for d in two), 1)
        self.clean(host.home)

    def test_lock_of_a_dead_process(self):
        home = scratch("tlhome-")
        self.addCleanup(shutil.rmtree, home, True)
        folder = os.path.join(home, SERVER, "bin")
        os.makedirs(folder)
        name = f"{os.uname().nodename}.4194300"  # above what Linux gives out
        os.symlink(name, os.path.join(folder, ".lock"))
        open(os.path.join(folder, ".new." + name), "w").close()
        self.up(Dial(self, "local:", env={"HOME": home}).finish(), 1)
        self.clean(home)

    def test_lock_that_stands_still(self):
        """Held by a machine we cannot ask (a shared home): passed by after ten seconds without a byte."""
        home = scratch("tlhome-")
        self.addCleanup(shutil.rmtree, home, True)
        os.makedirs(os.path.join(home, SERVER, "bin"))
        os.symlink("elsewhere.1", os.path.join(home, SERVER, "bin", ".lock"))
        d = Dial(self, "local:", env={"HOME": home}).finish()
        self.up(d, 1)
        self.assertTrue(any("another connection" in e["text"] for e in d.all("progress")))


if __name__ == "__main__":
    unittest.main()
