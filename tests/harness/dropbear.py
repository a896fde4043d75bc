"""A host that has nothing: a chroot with static busybox and dropbear, no sftp, no forwarding, musl only."""
import os
import shutil
import subprocess

from .proc import ROOT, Fixture, end, free_port, kill_marked, run, scratch, spawn, wait_port
from .wire import Wire

BUILT = os.path.join(ROOT, "build", "tests", "dropbear")
BUSYBOX = next((p for p in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(p)), "/bin/busybox")
APPLETS = ("sh ash cat ls mkdir rm mv cp chmod uname id head tail wc dd gzip gunzip zcat sha256sum sleep true false "
           "echo test [ env stty tty ps kill df mount umount touch ln readlink find grep sed awk sort printf date stat "
           "mktemp setsid nohup which tr cut od").split()


def dropbear_missing():
    """Why the fixture cannot run here, or None: @unittest.skipIf(dropbear_missing(), dropbear_missing())."""
    if os.geteuid() != 0:
        return "the busybox host needs root (chroot)"
    if not os.path.exists(os.path.join(BUILT, "dropbear")):
        return "build/tests/dropbear is missing: make test-dropbear"
    if not os.path.exists(BUSYBOX):
        return "busybox-static is missing: tools/setup"
    if run(["unshare", "-m", "-p", "-f", "true"], check=False).returncode != 0:
        return "this machine does not allow mount namespaces"
    return None


class Dropbear(Fixture):
    """
    Attributes as Sshd: alias, port, config, known_hosts, key, dir, wire; root: the chroot; home: /root as seen inside,
    outside_home: the same folder as we see it.
    forwarding   allow port forwarding
    Debian's busybox shell runs its own applets without looking at PATH, so applets cannot be taken away.
    """

    def __init__(self, alias="demo", forwarding=False, wire=False, test=None):
        self._begin(test)
        why = dropbear_missing()
        if why:
            raise AssertionError(why)
        self.alias, self.user = alias, "root"
        self.dir = scratch("tlb-")
        self.root = os.path.join(self.dir, "root")
        self.home, self.outside_home = "/root", os.path.join(self.root, "root")
        self.key = os.path.join(self.dir, "id_ed25519")
        self.known_hosts = os.path.join(self.dir, "known_hosts")
        self.config = os.path.join(self.dir, "ssh_config")
        self._make_root()
        self.port = free_port()
        self.wire = Wire(self.port) if wire else None
        self.client_port = self.wire.port if wire else self.port
        self._start(forwarding)
        self._write_client()

    def _make_root(self):
        r = self.root
        for d in ("bin", "dev/pts", "proc", "tmp", "etc/dropbear", "root/.ssh", "run"):
            os.makedirs(os.path.join(r, d))
        os.chmod(os.path.join(r, "tmp"), 0o1777)
        os.chmod(os.path.join(r, "root"), 0o700)
        os.chmod(os.path.join(r, "root/.ssh"), 0o700)
        shutil.copy(BUSYBOX, os.path.join(r, "bin/busybox"))
        shutil.copy(os.path.join(BUILT, "dropbear"), os.path.join(r, "bin/dropbear"))
        for a in APPLETS:
            os.symlink("busybox", os.path.join(r, "bin", a))
        for name, text in (("passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("group", "root:x:0:\n"), ("shells", "/bin/sh\n"),
                           ("hosts", "127.0.0.1 localhost\n")):
            with open(os.path.join(r, "etc", name), "w") as f:
                f.write(text)
        run([os.path.join(BUILT, "dropbearkey"), "-t", "ed25519", "-f", os.path.join(r, "etc/dropbear/k")])
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "towline test", "-f", self.key])
        shutil.copy(self.key + ".pub", os.path.join(r, "root/.ssh/authorized_keys"))
        os.chmod(os.path.join(r, "root/.ssh/authorized_keys"), 0o600)

    def _start(self, forwarding):
        inside = f"""set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 dev {self.root}/dev
mkdir {self.root}/dev/pts
for n in null zero urandom random tty; do : >{self.root}/dev/$n; mount --bind /dev/$n {self.root}/dev/$n; done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts {self.root}/dev/pts
ln -s pts/ptmx {self.root}/dev/ptmx
mount -t proc proc {self.root}/proc
exec chroot {self.root} /bin/busybox env -i PATH=/bin HOME=/root TOWLINE_TEST={self.mark} /bin/dropbear -F -r /etc/dropbear/k \
 -p 127.0.0.1:{self.port} {'' if forwarding else '-j -k'} -P /run/dropbear.pid
"""
        self.log = os.path.join(self.dir, "dropbear.log")
        with open(self.log, "wb") as log:
            self.process = spawn(["unshare", "-m", "-p", "-f", "--kill-child", "sh", "-c", inside], stdout=log, stderr=log,
                                 stdin=subprocess.DEVNULL)
        try:
            wait_port(self.port, 20, lambda: self.process.poll() is None)
        except AssertionError as e:
            with open(self.log, errors="replace") as f:
                raise AssertionError(f"dropbear did not start: {e}\n{f.read()}") from None

    def _write_client(self):
        out = run([os.path.join(BUILT, "dropbearkey"), "-y", "-f", os.path.join(self.root, "etc/dropbear/k")]).stdout
        kind, key = next(x for x in out.splitlines() if x.startswith("ssh-ed25519")).split()[:2]
        with open(self.known_hosts, "w") as f:
            f.write(f"[127.0.0.1]:{self.client_port} {kind} {key}\n")
        with open(self.config, "w") as f:
            f.write(f"""Host {self.alias}
    HostName 127.0.0.1
    Port {self.client_port}
    User root
    IdentityFile {self.key}
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {self.known_hosts}
    GlobalKnownHostsFile /dev/null
    CheckHostIP no
""")

    def remote(self, command, check=True, **kw):
        """Runs a command on the host by plain ssh (not by Towline)."""
        return run(["ssh", "-F", self.config, "-o", "BatchMode=yes", self.alias, command], check=check, **kw)

    def _end(self):
        # the first process of the pid namespace takes all others with it
        end(self.process)
        if self.wire:
            self.wire.stop()
        kill_marked(self.mark)
        shutil.rmtree(self.dir, ignore_errors=True)
