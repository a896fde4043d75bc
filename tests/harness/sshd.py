"""A private OpenSSH server on a loopback port, with keys, configuration and a remote user of its own."""
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import unittest

from .proc import (Fixture, end, find_processes, free_port, kill_marked, off_exit, run, sanitizer_env, scratch, spawn,
                   wait_port)
from .wire import Wire

SSHD = "/usr/sbin/sshd"
USERS = "tlt"  # throw-away users: tlt<pid of the test>x<number>


def _sweep():
    """Removes users that a killed test run left behind."""
    for u in pwd.getpwall():
        if u.pw_name.startswith(USERS) and "x" in u.pw_name[3:]:
            owner = u.pw_name[3:].split("x")[0]
            if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
                kill_marked(uid=u.pw_uid)
                run(["userdel", "-f", u.pw_name], check=False)


_numbers = iter(range(1, 100000))


class Sshd(Fixture):
    """
    alias        Host name in the client configuration (self.config): `demo`
    shell        login shell of the remote user: sh, bash, dash, tcsh, fish, or an absolute path
    password     a password instead of the key (None: key)
    passphrase   a passphrase on the client's key
    known        False: the host key is not in known_hosts yet
    extra        more sshd_config lines, e.g. "AllowTcpForwarding no"; client_extra: more lines of `Host demo`
    wire         True: the client connects through self.wire, a Wire that can be cut and stalled
    env          more variables of what runs on the host

    Attributes: port, config (ssh_config), user, uid, home (the remote home), key, known_hosts, dir, log, wire.
    As root the remote user is a throw-away unix user; otherwise it is ourselves, with HOME replaced.
    """

    def __init__(self, alias="demo", shell="bash", password=None, passphrase="", known=True, extra="", client_extra="",
                 wire=False, env=None, test=None):
        self._begin(test)
        self.alias, self.password, self.extra = alias, password, extra
        self.more_env = env or {}
        self.dir = scratch("tlh-")
        self.home = os.path.join(self.dir, "home")
        self.log = os.path.join(self.dir, "sshd.log")
        self.key = os.path.join(self.dir, "id_ed25519")
        self.host_key = os.path.join(self.dir, "host_key")
        self.known_hosts = os.path.join(self.dir, "known_hosts")
        self.config = os.path.join(self.dir, "ssh_config")
        self.shell = shell if shell.startswith("/") else shutil.which(shell) or f"/bin/{shell}"
        self.process = None
        os.mkdir(self.home, 0o755)
        self._make_user()
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "towline test", "-f", self.key])
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.host_key])
        shutil.copy(self.key + ".pub", os.path.join(self.dir, "authorized_keys"))
        os.chmod(os.path.join(self.dir, "authorized_keys"), 0o644)
        self.port = free_port()
        self.wire = Wire(self.port) if wire else None
        self.client_port = self.wire.port if wire else self.port
        self._write_server_config()
        self.start()
        if known:
            self.learn_host_key()
        else:
            open(self.known_hosts, "w").close()
        self.write_client_config(client_extra)

    subsystems = ("Subsystem sftp internal-sftp",)

    def _make_user(self):
        self.root = os.geteuid() == 0
        if not self.root:
            self.user, self.uid = pwd.getpwuid(os.getuid()).pw_name, os.getuid()
            if self.password is not None:
                raise unittest.SkipTest("a login with a password needs root: sshd reads the shadow file")
            return
        _sweep()
        self.user = f"{USERS}{os.getpid()}x{next(_numbers)}"
        # a number at random: a test run in another container may see our processes but not our passwd file, and what
        # belongs to a number is killed at the end
        for last in (False, False, True):
            self.uid = 20000 + secrets.randbelow(40000)
            r = run(["useradd", "-l", "-M", "-N", "-u", self.uid, "-d", self.home, "-s", self.shell, "-p", "*", self.user],
                    check=last)
            if r.returncode == 0:
                break
        if self.password is not None:
            run(["chpasswd", "-c", "SHA256"], input=f"{self.user}:{self.password}\n")
        os.chown(self.home, self.uid, -1)

    def _write_server_config(self):
        env = dict(sanitizer_env(), **self.more_env, TOWLINE_TEST=self.mark)
        lines = ["ListenAddress 127.0.0.1", f"Port {self.port}", f"HostKey {self.host_key}", "PidFile none",
                 f"AuthorizedKeysFile {self.dir}/authorized_keys", "StrictModes no", "UsePAM no",
                 "KbdInteractiveAuthentication no", "PrintMotd no", "PrintLastLog no", "MaxStartups 200", "MaxSessions 50",
                 "LogLevel VERBOSE", "UseDNS no", "X11Forwarding no", *self.subsystems,
                 f"PasswordAuthentication {'no' if self.password is None else 'yes'}",
                 f"PubkeyAuthentication {'yes' if self.password is None else 'no'}",
                 "SetEnv " + " ".join(f'{k}="{v}"' for k, v in env.items())]
        if not self.root:
            wrapper = os.path.join(self.dir, "login")
            with open(wrapper, "w") as f:
                f.write(f"#!/bin/sh\nexport HOME={self.home} SHELL={self.shell}\ncd\n"
                        f'[ -n "$SSH_ORIGINAL_COMMAND" ] || exec {self.shell} -l\n'
                        f'exec {self.shell} -c "$SSH_ORIGINAL_COMMAND"\n')
            os.chmod(wrapper, 0o755)
            lines.append(f"ForceCommand {wrapper}")
        # the first value of a keyword counts, so the test's own lines come first
        with open(os.path.join(self.dir, "sshd_config"), "w") as f:
            f.write("\n".join([self.extra, *lines]) + "\n")

    def write_client_config(self, extra=""):
        """The client's ssh_config; extra: more lines in the Host section (first value of a keyword counts)."""
        auth = "publickey" if self.password is None else "password"
        lines = [f"Host {self.alias}", extra, "HostName 127.0.0.1", f"Port {self.client_port}", f"User {self.user}",
                 f"IdentityFile {self.key}", "IdentitiesOnly yes", "IdentityAgent none",
                 f"UserKnownHostsFile {self.known_hosts}", "GlobalKnownHostsFile /dev/null",
                 f"PreferredAuthentications {auth}", "CheckHostIP no", "UpdateHostKeys no"]
        with open(self.config, "w") as f:
            f.write("\n    ".join(x for x in lines if x) + "\n")

    def learn_host_key(self):
        """Writes the server's key to known_hosts, as if the user had accepted it."""
        with open(self.host_key + ".pub") as f:
            kind, key = f.read().split()[:2]
        with open(self.known_hosts, "w") as f:
            f.write(f"[127.0.0.1]:{self.client_port} {kind} {key}\n")

    def new_host_key(self):
        """Gives the server another key; the client's known_hosts stays (host key changed)."""
        self.shut()
        os.unlink(self.host_key)
        os.unlink(self.host_key + ".pub")
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.host_key])
        self.start()

    def fingerprint(self):
        """SHA256:… of the host key, as ssh shows it."""
        return run(["ssh-keygen", "-lf", self.host_key + ".pub"]).stdout.split()[1]

    def start(self):
        """Starts the server on its port; done by the constructor, again after shut()."""
        os.makedirs("/run/sshd", exist_ok=True) if self.root else None
        with open(self.log, "ab") as log:
            self.process = spawn([SSHD, "-D", "-e", "-f", os.path.join(self.dir, "sshd_config")], stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=log)
        try:
            wait_port(self.port, 20, lambda: self.process.poll() is None)
        except AssertionError as e:
            with open(self.log, errors="replace") as f:
                raise AssertionError(f"sshd did not start: {e}\n{f.read()}") from None

    def shut(self):
        """Stops listening and ends every connection; processes of the remote user go on (holds, agent)."""
        if self.process:
            self.drop_connections()
            end(self.process)
            self.process = None

    def connections(self):
        """Ids of the server's connection processes (children of the listener and theirs)."""
        kids, out = {}, []
        for pid in find_processes(argv0="sshd"):
            try:
                with open(f"/proc/{pid}/stat", errors="replace") as f:
                    kids.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(pid)
            except OSError:
                continue
        queue = [self.process.pid] if self.process else []
        while queue:
            below = kids.get(queue.pop(), [])
            out += below
            queue += below
        return out

    def _signal_connections(self, sig):
        found = self.connections()
        for pid in found:
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass
        return len(found)

    def drop_connections(self):
        """Kills every connection at once; the listener goes on. Returns how many processes there were."""
        return self._signal_connections(signal.SIGKILL)

    def freeze(self):
        """Connections stay open and say nothing more; thaw() undoes it."""
        return self._signal_connections(signal.SIGSTOP)

    def thaw(self):
        return self._signal_connections(signal.SIGCONT)

    def remote(self, command, check=True, **kw):
        """Runs a command on the host by plain ssh (not by Towline)."""
        return run(["ssh", "-F", self.config, "-o", "BatchMode=yes", self.alias, command], check=check, **kw)

    def processes(self, argv0=None):
        """Ids of processes that were started through this server (agent, holds, shells)."""
        return find_processes(self.mark, argv0=argv0)

    def kill_agent(self):
        """SIGKILL for the agent of the user, not for its holds."""
        for pid in self.processes("towline-host"):
            try:
                with open(f"/proc/{pid}/cmdline") as f:
                    if f.read().split("\0")[1:2] == ["agent"]:
                        os.kill(pid, signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass  # it ended meanwhile

    def _end(self):
        if self.process:
            end(self.process)
        if self.wire:
            self.wire.stop()
        kill_marked(self.mark)
        if self.root:
            kill_marked(uid=self.uid)
            run(["userdel", "-f", self.user], check=False)
            elsewhere = [f"{d}/.towline-server-{self.uid}" for d in ("/dev/shm", "/var/tmp", "/tmp")]
            for d in (f"/tmp/towline-server-{self.uid}", f"/tmp/towline-{self.uid}", *elsewhere):
                shutil.rmtree(d, ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)
