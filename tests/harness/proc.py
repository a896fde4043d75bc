"""Processes, ports, scratch folders and waiting. Everything made here is gone when Python ends.

Every fixture has a mark (a random word) that its processes carry in the environment as TOWLINE_TEST; what daemonised
itself is found again by it in /proc, so nothing is killed by name.
"""
import atexit
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STAGE = os.path.join(ROOT, os.environ.get("TOWLINE_STAGE", "build/stage-asan"))
ASAN = STAGE.rstrip("/").endswith("-asan")
# sanitizer reports of programs that have no terminal go here; the runner counts them as failures
REPORTS = os.environ.get("TOWLINE_REPORTS", "")

_cleanups = []


class Timeout(AssertionError):
    """Something did not happen before its deadline."""


def on_exit(fn):
    """fn runs when Python ends, newest first, unless it was forgotten with off_exit."""
    _cleanups.append(fn)
    return fn


def off_exit(fn):
    if fn in _cleanups:
        _cleanups.remove(fn)


def _clean():
    while _cleanups:
        try:
            _cleanups.pop()()
        except Exception as e:  # the others must still run
            print(f"harness: clean up: {e}", file=sys.stderr)


atexit.register(_clean)
if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def wait_for(predicate, deadline=60.0, what="it to happen"):
    """Calls predicate until it gives something true, and returns that. Timeout after `deadline` seconds."""
    end, pause = time.monotonic() + deadline, 0.005
    while True:
        got = predicate()
        if got:
            return got
        if time.monotonic() > end:
            raise Timeout(f"waited {deadline:g} s for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def free_port():
    """A loopback port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, deadline=60.0, alive=lambda: True):
    """Until something listens on a loopback port; alive: false ends the wait as a failure."""
    def there():
        if not alive():
            raise Timeout(f"the program for port {port} ended before it listened")
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    wait_for(there, deadline, f"port {port}")


def mark():
    return "t" + secrets.token_hex(5)


def sanitizer_env():
    """Options so that a report of a background program is kept where the runner looks."""
    asan = "detect_leaks=1:abort_on_error=0:exitcode=99:handle_abort=1:print_legend=0"
    ubsan = "print_stacktrace=1:exitcode=99"
    if REPORTS:
        asan += f":log_path={REPORTS}/asan"
        ubsan += f":log_path={REPORTS}/ubsan"
    return {"ASAN_OPTIONS": asan, "UBSAN_OPTIONS": ubsan}


def run(argv, check=True, timeout=60, **kw):
    """Runs a program to its end; text in and out. check: a failure raises with the program's output."""
    kw.setdefault("capture_output", True)
    kw.setdefault("text", True)
    if "input" not in kw:
        kw.setdefault("stdin", subprocess.DEVNULL)
    r = subprocess.run([str(a) for a in argv], timeout=timeout, **kw)
    if check and r.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit status {r.returncode}\n{r.stdout}\n{r.stderr}")
    return r


_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent():
    _libc.prctl(1, signal.SIGKILL, 0, 0, 0)


def spawn(argv, **kw):
    """Popen in a session of its own that dies with us; `end(p)` kills the whole group."""
    kw.setdefault("start_new_session", True)
    kw.setdefault("preexec_fn", _die_with_parent)
    p = subprocess.Popen([str(a) for a in argv], **kw)
    p.end_ = on_exit(lambda: end(p))
    return p


def end(p, sig=signal.SIGKILL):
    """Ends a spawned process and its group, and reaps it."""
    off_exit(getattr(p, "end_", None))
    try:
        os.killpg(p.pid, sig)
    except (ProcessLookupError, PermissionError):
        pass
    try:
        p.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        p.wait(10)
    for f in (p.stdin, p.stdout, p.stderr):
        if f:
            f.close()


def find_processes(mark_=None, uid=None, argv0=None):
    """Ids of running processes with our mark in the environment, or of a user, or with a program name."""
    out = []
    for d in os.listdir("/proc"):
        if not d.isdigit() or int(d) == os.getpid():
            continue
        try:
            if mark_ is not None:
                with open(f"/proc/{d}/environ", "rb") as f:
                    if f"TOWLINE_TEST={mark_}".encode() not in f.read().split(b"\0"):
                        continue
            with open(f"/proc/{d}/status", errors="replace") as f:
                status = dict(line.split(":", 1) for line in f.read().splitlines() if ":" in line)
            if status["State"].split()[0] in "ZX":
                continue
            if uid is not None and int(status["Uid"].split()[0]) != uid:
                continue
            if argv0 is not None:
                with open(f"/proc/{d}/cmdline", "rb") as f:
                    # a title may follow, with a slash of its own: "sshd: user@pts/1"
                    name = os.path.basename(f.read().split(b"\0")[0].split(b" ")[0].decode(errors="replace"))
                if not name.startswith(argv0):
                    continue
            out.append(int(d))
        except (OSError, KeyError, ValueError):
            continue
    return out


def kill_marked(mark_=None, uid=None, argv0=None):
    """Kills what find_processes finds until nothing is left (they may fork, or end by themselves, meanwhile)."""
    def gone():
        found = find_processes(mark_, uid, argv0)
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not found
    wait_for(gone, 60, "the killed processes to go")


def scratch(prefix="tl-"):
    """A short folder in /tmp (socket paths have 108 bytes), open to other users for passing through."""
    d = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    os.chmod(d, 0o755)
    on_exit(lambda: shutil.rmtree(d, ignore_errors=True))
    return d


class Fixture:
    """Something that runs: start in __init__, stop() once, at the latest when Python ends."""

    def _begin(self, test):
        self.mark = mark()
        self.stopped = False
        self._exit = on_exit(self.stop)
        if test is not None:
            test.addCleanup(self.stop)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.stopped:
            return
        self.stopped = True
        off_exit(self._exit)
        self._end()
