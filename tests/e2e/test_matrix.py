"""Every kind of host and restriction, and what becomes of a connection there (rows C6 C7 C9).

Each row is a real OpenSSH or dropbear of its own. What is seen is the table of docs/hosts.md; a case fails where they differ.
    PYTHONPATH=tests python3 tests/e2e/test_matrix.py --write      measures everything and writes the table

deadline: 600
"""
import atexit
import concurrent.futures
import glob
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "api"))

from harness import ROOT, Daemon, Dropbear, Sshd, dropbear_missing, find_processes, run, wait_for
from harness.control import RpcError
from harness.proc import scratch, spawn, wait_port

DOC = os.path.join(ROOT, "docs", "hosts.md")
BEGIN, END = "<!-- matrix: tests/e2e/test_matrix.py --write -->", "<!-- end of matrix -->"
COLUMNS = ("host", "two at once, first", "again", "interrupted, again", "damaged, again", "files", "terminal", "forward")
AT_ONCE = 3  # rows


# ---- hosts

class Home(Sshd):
    """Start-up files by name."""

    def __init__(self, files=None, **kw):
        super().__init__(**kw)
        for name, text in (files or {}).items():
            path = os.path.join(self.home, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(text)
            os.chmod(path, 0o755 if name.startswith("bin/") else 0o644)
        group = pwd.getpwnam(self.user).pw_gid
        for top, dirs, names in os.walk(self.home):
            for n in [top] + [os.path.join(top, x) for x in dirs + names]:
                os.chown(n, self.uid, group)


def platform(text, **kw):
    return Home(files={"bin/uname": f"#!/bin/sh\n[ \"$*\" = -sm ] && echo {text} || exec /bin/uname \"$@\"\n",
                       ".bashrc": "PATH=$HOME/bin:$PATH\n"}, **kw)


class Mounted(Sshd):
    """sshd in a mount namespace of its own: what is mounted is seen by nobody else."""
    inside = ""

    def start(self):
        os.makedirs("/run/sshd", exist_ok=True)
        script = (f"mount --make-rprivate /; {self.inside.format(home=self.home, uid=self.uid, places=self.places())}; "
                  f"exec /usr/sbin/sshd -D -e -f {self.dir}/sshd_config")
        with open(self.log, "ab") as log:
            self.process = spawn(["unshare", "-m", "sh", "-ec", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_port(self.port, 60, lambda: self.process.poll() is None)

    def places(self):
        return " ".join(sorted({"/dev/shm", "/var/tmp", "/run", os.path.dirname(self.dir)}))


def mounted(text):
    return type("MountedHere", (Mounted,), {"inside": text})


class Foreign(Home):
    """`uname` and, by binfmt_misc, the kernel say that this is another machine: our program for it runs under qemu."""
    MAGIC = {"aarch64": ("\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00", "/usr/bin/qemu-aarch64-static"),
             "armv7l": ("\\x7fELF\\x01\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x28\\x00", "/usr/bin/qemu-arm-static")}
    MASK = "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff"
    PLACE = "/proc/sys/fs/binfmt_misc"

    def __init__(self, machine, **kw):
        magic, qemu = self.MAGIC[machine]
        if not os.path.exists(f"{self.PLACE}/register"):
            run(["mount", "-t", "binfmt_misc", "binfmt_misc", self.PLACE])
            atexit.register(run, ["umount", self.PLACE], check=False)
        self.entry = f"towline-test-{os.getpid()}-{machine}"
        with open(f"{self.PLACE}/register", "w") as f:
            f.write(f":{self.entry}:M::{magic}:{self.MASK}:{qemu}:F")
        super().__init__(files={"bin/uname": f"#!/bin/sh\n[ \"$*\" = -sm ] && echo Linux {machine} || exec /bin/uname \"$@\"\n",
                                ".bashrc": "PATH=$HOME/bin:$PATH\n"}, **kw)

    def _end(self):
        super()._end()
        with open(f"{self.PLACE}/{self.entry}", "w") as f:
            f.write("-1")


def foreign_missing(arch):
    if not os.path.exists("/proc/sys/fs/binfmt_misc"):
        return "this kernel has no binfmt_misc"
    if not os.path.exists(os.path.join(ROOT, "build", "stage", "lib", "towline", "host", f"towline-host-{arch}")):
        return f"there is no program for {arch}: make host"
    return None


def jump(host):
    """Two hops: through the host itself, as another name."""
    with open(host.config) as f:
        text = f.read()
    with open(host.config, "w") as f:
        f.write(text + text.replace("Host demo", "Host hop1") + text.replace("Host demo", "Host hop2\n    ProxyJump hop1")
                + text.replace("Host demo", "Host far\n    ProxyJump hop2"))
    host.alias = "far"
    return host


def proxy(host):
    with open(host.config) as f:
        text = f.read()
    with open(host.config, "w") as f:
        f.write(text.replace("Host demo", "Host hop") +
                text.replace("Host demo", f"Host demo\n    ProxyCommand ssh -F {host.config} -W %h:%p hop"))
    return host


def six(host):
    with open(host.config) as f:
        text = f.read()
    with open(host.config, "w") as f:
        f.write(text.replace("HostName 127.0.0.1", f"HostName ::1\n    HostKeyAlias [127.0.0.1]:{host.port}"))
    return host


def included(host):
    inner = os.path.join(host.dir, "inner")
    os.rename(host.config, inner)
    with open(inner) as f:
        text = f.read()
    with open(inner, "w") as f:
        f.write(text.replace("Host demo", "Match originalhost demo exec \"true\""))
    with open(host.config, "w") as f:
        f.write(f"Include {inner}\nHost *\n    ServerAliveInterval 30\n")
    return host


def certified(host):
    ca = os.path.join(host.dir, "ca")
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ca])
    run(["ssh-keygen", "-q", "-s", ca, "-I", "towline", "-n", host.user, host.key + ".pub"])
    open(os.path.join(host.dir, "authorized_keys"), "w").close()
    host.shut()
    host.extra += f"\nTrustedUserCAKeys {ca}.pub"
    host._write_server_config()
    host.start()
    return host


NO_TCP, NO_UNIX, ONE, NO_TTY = "AllowTcpForwarding no", "AllowStreamLocalForwarding no", "MaxSessions 1", "PermitTTY no"
NOISE = "i=0; while [ $i -lt 128 ]; do echo 'motd motd motd motd motd motd motd motd motd motd motd motd motd motd mo'; i=$((i+1)); done\n"
BIND = "mount --bind {home} {home}; mount -o remount,bind,%s {home}"
EVERY = "for d in {places}; do mount --bind $d $d; mount -o remount,bind,noexec $d; done"

# name, how it is made, why it cannot be here (a function, or None)
ROWS = [
    ("x86_64, OpenSSH, bash", lambda: Sshd(), None),
    ("musl and busybox only, dropbear", lambda: Dropbear(), dropbear_missing),
    ("aarch64 (program under qemu)", lambda: Foreign("aarch64"), lambda: foreign_missing("aarch64")),
    ("armv7 (program under qemu)", lambda: Foreign("armv7l"), lambda: foreign_missing("armv7")),
    *[(f"login shell {s}", lambda s=s: Sshd(shell=s), None) for s in ("sh", "dash", "csh", "tcsh", "zsh", "fish")],
    ("login shell busybox ash", lambda: Sshd(shell=ash()), None),
    ("profile prints 10 kB", lambda: Home(files={".bashrc": NOISE}), None),
    ("profile takes 10 s", lambda: Home(files={".bashrc": "sleep 10\n"}), None),
    ("`exec fish` in .bash_profile", lambda: Home(files={".bash_profile": "exec fish\n"}), None),
    ("`exit` in .bashrc", lambda: Home(files={".bashrc": "exit 0\n"}), None),
    ("AllowTcpForwarding no", lambda: Sshd(extra=NO_TCP), None),
    ("AllowStreamLocalForwarding no", lambda: Sshd(extra=NO_UNIX), None),
    ("MaxSessions 1", lambda: Sshd(extra=ONE), None),
    ("PermitTTY no", lambda: Sshd(extra=NO_TTY), None),
    ("these four together", lambda: Sshd(extra="\n".join((NO_TCP, NO_UNIX, ONE, NO_TTY))), None),
    ("home read-only", lambda: mounted(BIND % "ro")(), None),
    ("home noexec", lambda: mounted(BIND % "noexec")(), None),
    ("home full", lambda: mounted("mount -t tmpfs -o size=64k,mode=755,uid={uid} tmpfs {home}")(), None),
    ("noexec everywhere", lambda: mounted(EVERY)(), None),
    ("ForceCommand internal-sftp", lambda: Sshd(extra="ForceCommand internal-sftp"), None),
    ("ForceCommand internal-sftp, MaxSessions 1", lambda: Sshd(extra="ForceCommand internal-sftp\nMaxSessions 1"), None),
    ("ForceCommand internal-sftp, AllowTcpForwarding no", lambda: Sshd(extra=f"ForceCommand internal-sftp\n{NO_TCP}"), None),
    ("nologin, no SFTP", lambda: type("Nothing", (Sshd,), {"subsystems": ()})(shell="/usr/sbin/nologin"), None),
    ("macOS (uname: Darwin arm64)", lambda: platform("Darwin arm64"), None),
    ("riscv64 (no program of ours)", lambda: platform("Linux riscv64"), None),
    ("riscv64, PermitTTY no, no forwarding", lambda: platform("Linux riscv64", extra=f"{NO_TCP}\n{NO_TTY}"), None),
    ("ProxyJump, two hops", lambda: jump(Sshd()), None),
    ("ProxyCommand ssh -W", lambda: proxy(Sshd()), None),
    ("IPv6", lambda: six(Sshd(extra="ListenAddress ::1")), None),
    ("Include, Match originalhost and exec", lambda: included(Sshd()), None),
    ("user certificate", lambda: certified(Sshd()), None),
]


def ash():
    """busybox as a login shell needs the name."""
    folder = scratch("tla-")
    atexit.register(shutil.rmtree, folder, True)
    os.chmod(folder, 0o755)
    path = os.path.join(folder, "ash")
    with open(path, "w") as f:
        f.write('#!/bin/sh\nexec busybox ash "$@"\n')
    os.chmod(path, 0o755)
    return path


# ---- what is done on one

class Row:
    def __init__(self, host):
        self.host = host
        # the product: programs of other machines have no sanitizers, and the daemon's is in every other test
        stage = os.path.join(ROOT, "build", "stage") if isinstance(host, (Foreign, Dropbear)) else None
        kw = {"stage": stage} if stage else {}
        self.local, self.other = Daemon(host, **kw), Daemon(host, **kw)
        self.home = getattr(host, "outside_home", host.home)

    def close(self):
        self.local.stop()
        self.other.stop()
        self.host.stop()

    def connect(self, local):
        r = local.towline("connect", self.host.alias, check=False, timeout=300)
        if r.returncode:
            return f"error {self.error(local)}"
        states = json.loads(local.towline("status", "--json").stdout)["hosts"]
        state = [s for s in states if s["host"] == self.host.alias][0]
        if state["info"].get("plain"):
            return f"no server: {state['info']['plain']['error']}"
        return "server, with a notice" if state.get("notice") else "server"

    def error(self, local):
        for s in json.loads(local.towline("status", "--json").stdout)["hosts"]:
            if s["host"] == self.host.alias and s.get("error"):
                return s["error"]["name"]
        return "unknown"

    def first(self):
        """Both daemons at once, where there is nothing yet."""
        with concurrent.futures.ThreadPoolExecutor(2) as two:
            a, b = two.map(self.connect, (self.local, self.other))
        self.other.towline("close", self.host.alias, check=False)
        return a if a == b else f"{a} / {b}"

    def again(self):
        self.local.towline("close", self.host.alias, check=False)
        return self.connect(self.local)

    def programs(self):
        return glob.glob(os.path.join(self.home, ".towline-server", "bin", "*", "towline-host"))

    def stop_server(self):
        self.local.towline("close", self.host.alias, check=False)
        for pid in find_processes(self.host.mark):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    ours = b"towline-host" in f.read()
                if ours:
                    os.kill(pid, signal.SIGKILL)
            except (OSError, ProcessLookupError):
                pass

    def interrupted(self):
        """Everything of ours gone, and ssh killed while the program travels."""
        self.stop_server()
        shutil.rmtree(os.path.join(self.home, ".towline-server"), ignore_errors=True)
        client = self.local.client()
        done = client.start("host/connect", host=self.host.alias, options={"configFile": self.host.config})
        client.note("host/progress", match=lambda p: p["step"] in ("install", "start"))
        for pid in find_processes(self.local.mark, argv0="ssh"):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        done.get(timeout=120)
        client.close()
        return self.connect(self.local)

    def damaged(self):
        self.stop_server()
        for path in self.programs():
            # another file of the same name: what still runs keeps its own
            with open(path, "rb") as f:
                data = f.read()
            with open(path + ".new", "wb") as f:
                f.write(data[:5000] + b"damaged" + data[5007:])
            shutil.copystat(path, path + ".new")
            os.chown(path + ".new", os.stat(path).st_uid, os.stat(path).st_gid)
            os.rename(path + ".new", path)
        return self.connect(self.local)

    def files(self):
        near = os.path.join(self.local.home, "near")
        with open(near, "w") as f:
            f.write("content\n" * 1000)
        target = f"{self.host.alias}:/tmp/towline-matrix-{os.getpid()}-{id(self)}"
        put = self.local.towline("put", near, target, check=False)
        got = self.local.towline("cat", target, check=False)
        self.local.towline("rm", target, check=False)
        return "yes" if put.returncode == 0 and got.stdout == "content\n" * 1000 else "no"

    def terminal(self):
        r = self.local.towline("shell", self.host.alias, "--", "sh", "-c", "test -t 1 && echo far; exit 7", check=False, errors="replace")
        return "yes" if r.returncode == 7 and "far" in r.stdout else "no"

    def forward(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.settimeout(30)

            def serve():
                try:
                    c, _ = listener.accept()
                    c.sendall(b"from there")
                    c.close()
                except OSError:
                    pass
            threading.Thread(target=serve, daemon=True).start()
            client = self.local.client()
            try:
                r = client.call("forward/add", host=self.host.alias, targetHost="127.0.0.1", targetPort=listener.getsockname()[1])
                with socket.create_connection(("127.0.0.1", r["localPort"]), 20) as s:
                    s.settimeout(20)
                    return "yes" if s.recv(100) == b"from there" else "no"
            except (RpcError, OSError):
                return "no"
            finally:
                client.close()

    def measure(self):
        first, again = self.first(), self.again()
        usable = not again.startswith("error")
        uses = [f() if usable else "-" for f in (self.files, self.terminal, self.forward)]
        installs = bool(self.programs())
        repeats = [f() if installs else "-" for f in (self.interrupted, self.damaged)]
        return (first, again, *repeats, *uses)


def measure(row):
    name, make, missing = row
    why = missing() if missing else None
    if why:
        return name, why
    try:
        r = Row(make())
        try:
            return name, r.measure()
        finally:
            r.close()
    except Exception as e:  # told by the case of this row
        return name, e


def measure_all(rows):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(pool.map(measure, rows))


# ---- the table

def lines_of(results):
    out = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    return out + ["| " + " | ".join((name, *results[name])) + " |" for name, _, _ in ROWS if isinstance(results.get(name), tuple)]


def documented():
    with open(DOC, encoding="utf-8") as f:
        text = f.read()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.split(BEGIN)[1].split(END)[0].splitlines() if line.startswith("| ")]
    return {r[0]: tuple(r[1:]) for r in rows[1:]}


@unittest.skipUnless(os.geteuid() == 0, "mounts and users need root")
class Matrix(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.results = measure_all(ROWS)
        print("\n".join("# " + line for line in lines_of(cls.results)))
        cls.documented = documented()


def case(name):
    def test(self):
        got = self.results[name]
        if isinstance(got, str):
            self.skipTest(got)
        if isinstance(got, Exception):
            raise got
        self.assertEqual(dict(zip(COLUMNS[1:], got)), dict(zip(COLUMNS[1:], self.documented.get(name, ()))))
    return test


for _number, (_name, _make, _missing) in enumerate(ROWS):
    setattr(Matrix, f"test_{_number:02d}_" + "".join(c if c.isalnum() else "_" for c in _name), case(_name))


def main(argv):
    rows = [r for r in ROWS if not argv or any(a in r[0] for a in argv)]
    results = measure_all(rows)
    for name, got in results.items():
        print(f"{name}: {got if isinstance(got, (tuple, str)) else repr(got)}")
    if argv:
        return 0
    with open(DOC, encoding="utf-8") as f:
        text = f.read()
    kept = documented()
    results = {n: r if isinstance(r, tuple) else kept.get(n, r) for n, r in results.items()}
    with open(DOC, "w", encoding="utf-8") as f:
        f.write(text.split(BEGIN)[0] + BEGIN + "\n" + "\n".join(lines_of(results)) + "\n" + END + text.split(END)[1])
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] in (["--write"], ["--only"]):
        sys.exit(main(sys.argv[2:]))
    unittest.main()
