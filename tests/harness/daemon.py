"""Towline on this side: private folders, the command, the daemon it starts, and its control socket."""
import os
import pty
import select
import shutil
import subprocess
import time

from .control import ControlClient
from .proc import STAGE, Fixture, Timeout, end, find_processes, kill_marked, off_exit, run, sanitizer_env, scratch, spawn, wait_for


class Daemon(Fixture):
    """
    host    a Sshd or Dropbear fixture (or None): its ssh configuration is given to every command with -F
    stage   a folder with bin/towline; env: more variables (None removes one)

    Nothing is started by the constructor: the first command starts towlined, as for a user.
    Attributes: dir, home, env, config_home, state_home, runtime_dir, control (path of the control socket).
    """

    def __init__(self, host=None, stage=STAGE, env=None, test=None):
        self._begin(test)
        self.host, self.stage = host, stage
        self.dir = scratch("tld-")
        self.home = os.path.join(self.dir, "home")
        self.config_home = os.path.join(self.dir, "config")
        self.state_home = os.path.join(self.dir, "state")
        self.runtime_dir = os.path.join(self.dir, "run")
        for d in (self.home, self.config_home, self.state_home, self.runtime_dir):
            os.mkdir(d, 0o700)
        self.control = os.path.join(self.runtime_dir, "towline", "control.sock")
        self.env = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TERM", "USER", "LOGNAME", "SHELL")}
        self.env.update(sanitizer_env())
        self.env.update(HOME=self.home, XDG_CONFIG_HOME=self.config_home, XDG_STATE_HOME=self.state_home,
                        XDG_RUNTIME_DIR=self.runtime_dir, XDG_CACHE_HOME=os.path.join(self.dir, "cache"),
                        TOWLINE_TEST=self.mark)
        for k, v in (env or {}).items():
            if v is None:
                self.env.pop(k, None)
            else:
                self.env[k] = v
        self._clients = []

    def argv(self, *args):
        """The command line of `towline ARGS`, with -F of our host in front."""
        front = ["-F", self.host.config] if self.host else []
        return [os.path.join(self.stage, "bin", "towline"), *front, *map(str, args)]

    def towline(self, *args, check=True, timeout=120, **kw):
        """Runs `towline ARGS` to its end; input=, text=False as in subprocess.run."""
        kw.setdefault("env", self.env)
        kw.setdefault("cwd", self.home)
        return run(self.argv(*args), check=check, timeout=timeout, **kw)

    def start(self, *args, **kw):
        """Starts `towline ARGS` and returns the Popen: pipes of bytes, of text with text=True."""
        kw.setdefault("env", self.env)
        kw.setdefault("cwd", self.home)
        for f in ("stdin", "stdout", "stderr"):
            kw.setdefault(f, subprocess.PIPE)
        return spawn(self.argv(*args), **kw)

    def terminal(self, *args, **kw):
        """Starts `towline ARGS` on a terminal of its own: a Terminal."""
        return Terminal(self.argv(*args), env=self.env, cwd=self.home, **kw)

    def client(self, answers=None, hello=True, deadline=60):
        """A connected ControlClient; starts the daemon where it does not run."""
        if not os.path.exists(self.control):
            run([os.path.join(self.stage, "bin", "towline"), "status"], check=False, env=self.env, cwd=self.home)
            wait_for(lambda: os.path.exists(self.control), deadline, "the control socket")
        c = ControlClient(self.control, answers, hello)
        self._clients.append(c)
        return c

    def pid(self):
        """Process id of our towlined, or None."""
        found = find_processes(self.mark, argv0="towlined")
        return found[0] if found else None

    def log(self):
        """The text of the daemon's log files."""
        out = []
        for base, _, names in os.walk(self.state_home):
            for n in sorted(names):
                if n.endswith(".log"):
                    with open(os.path.join(base, n), errors="replace") as f:
                        out.append(f.read())
        return "".join(out)

    def stop_daemon(self):
        """Asks the daemon to end (sanitizers look for leaks then), kills it where it does not."""
        pid = self.pid()
        if pid is None:
            return
        try:
            c = ControlClient(self.control)
            c.call("daemon/stop", timeout=60)
            c.close()
        except Exception:  # a daemon that does not answer is killed below
            pass
        try:
            wait_for(lambda: self.pid() != pid, 60, "towlined to end")
        except Timeout:
            os.kill(pid, 9)
            raise

    def _end(self):
        for c in self._clients:
            c.close()
        try:
            self.stop_daemon()
        finally:
            kill_marked(self.mark)
            shutil.rmtree(self.dir, ignore_errors=True)


class Terminal:
    """A program on a pseudo terminal. .text is everything it printed so far."""

    def __init__(self, argv, env=None, cwd=None, rows=24, cols=80):
        import fcntl
        import struct
        import termios
        self.fd, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        self.data = b""

        def control():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = spawn(argv, env=env, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, start_new_session=False,
                             preexec_fn=control)
        os.close(slave)

    @property
    def text(self):
        return self.data.decode(errors="replace")

    def pump(self, seconds=0.05):
        """Reads what is there; False at the end of the terminal."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                more = os.read(self.fd, 65536)
            except OSError:
                more = b""
            self.data += more
            return bool(more)
        return True

    def expect(self, text, deadline=60, start=0):
        """Waits until text appears at or after byte `start`; returns the position behind it."""
        want, stop = text.encode() if isinstance(text, str) else text, time.monotonic() + deadline
        alive = True
        while True:
            at = self.data.find(want, start)
            if at >= 0:
                return at + len(want)
            if not alive or time.monotonic() > stop:
                raise Timeout(f"{'no' if alive else 'the terminal ended without'} {text!r} in {deadline} s; it shows:\n{self.text[-2000:]}")
            alive = self.pump()

    def send(self, text):
        data = text.encode() if isinstance(text, str) else text
        while data:
            data = data[os.write(self.fd, data):]

    def resize(self, rows, cols):
        """The terminal has another size now; its program gets SIGWINCH."""
        import fcntl
        import struct
        import termios
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def wait(self, deadline=60):
        """The exit status, after reading everything."""
        stop = time.monotonic() + deadline
        while self.process.poll() is None:
            if time.monotonic() > stop:
                raise Timeout(f"the program did not end in {deadline} s; it shows:\n{self.text[-2000:]}")
            self.pump()
        while self.pump(0) and select.select([self.fd], [], [], 0)[0]:
            pass
        return self.process.returncode

    def close(self):
        off_exit(getattr(self.process, "end_", None))
        end(self.process)
        try:
            os.close(self.fd)
        except OSError:
            pass
