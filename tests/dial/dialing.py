"""What the dial tests share: a server program that is a script (so that every way of failing can be made), and the
driver, build/tests/peers/dial_driver, as a child whose events can be waited for."""
import gzip
import hashlib
import json
import os
import queue
import random
import shutil
import subprocess
import threading

from harness import ROOT, STAGE, Timeout, run, scratch
from harness.proc import end, sanitizer_env, spawn

DRIVER = os.path.join(ROOT, "build", "tests", "peers", "dial_driver")
ASKPASS = os.environ.get("TOWLINE_ASKPASS", os.path.join(STAGE, "bin", "towline-askpass"))
SERVER = ".towline-server"

# speaks the bridge's part: the marker, then everything comes back
ECHO = r"""#!/bin/sh
case $1 in
--version) echo towline-host for tests ;;
bridge) printf '\000towline %s\n' "$2"; exec cat ;;
esac
exit 0
"""


def server_folder(test, text=ECHO, size=300000, arches=("x86_64",), compressed=True):
    """A folder as build/stage/lib/towline/host: `text`, a shell script, made `size` bytes large."""
    d = scratch("tlbin-")
    test.addCleanup(shutil.rmtree, d, True)
    rest = random.Random(1).randbytes(size).hex()
    body = (text + "".join(f"# {rest[i:i + 76]}\n" for i in range(0, max(0, size - len(text)), 76))).encode()
    for arch in arches:
        path = os.path.join(d, f"towline-host-{arch}")
        with open(path, "wb") as f:
            f.write(body)
        os.chmod(path, 0o755)
        if compressed:
            with open(path + ".gz", "wb") as f:
                f.write(gzip.compress(body, 9))
        with open(path + ".sha256", "w") as f:
            f.write(f"{hashlib.sha256(body).hexdigest()}  towline-host-{arch}\n")
    return d


class Dial:
    """One run of the driver. Events arrive in `events`; wait(name) returns the first one of that name."""

    def __init__(self, test, *args, bin=None, env=None, send="hello", **kw):
        self.events, self._queue = [], queue.Queue()
        self.run_dir = scratch("tlr-")
        os.chmod(self.run_dir, 0o700)
        test.addCleanup(shutil.rmtree, self.run_dir, True)
        argv = [DRIVER, "--run", self.run_dir, "--bin", bin or server_folder(test), "--askpass", ASKPASS]
        if send:
            argv += ["--send", send]
        full = dict(os.environ, **sanitizer_env())
        full.update(env or {})
        self.process = spawn(argv + [str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             stdin=subprocess.DEVNULL, env=full, **kw)
        test.addCleanup(end, self.process)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._queue.put(json.loads(line))
        self._queue.put(None)

    def _next(self, deadline):
        try:
            e = self._queue.get(timeout=deadline)
        except queue.Empty:
            raise Timeout(f"nothing more within {deadline} s after {self.events}") from None
        if e is None:
            self.process.wait(20)
            err = self.process.stderr.read().decode(errors="replace")
            self._queue.put(None)
            if self.process.returncode not in (0, 3, 4, -9, -15) or err:
                raise AssertionError(f"the driver ended with {self.process.returncode}: {err}")
        else:
            self.events.append(e)
        return e

    def wait(self, name, deadline=60, **members):
        """The first event of that name (with these members), seen already or to come; None at the driver's end."""
        seen = 0
        while True:
            for e in self.events[seen:]:
                if e["event"] == name and all(e.get(k) == v for k, v in members.items()):
                    return e
            seen = len(self.events)
            if self._next(deadline) is None:
                return None

    def finish(self, deadline=60):
        """Runs to the end; returns self."""
        while self._next(deadline):
            pass
        return self

    def all(self, name, **members):
        return [e for e in self.events
                if e["event"] == name and all(e.get(k) == v for k, v in members.items())]

    @property
    def is_up(self):
        return bool(self.all("up"))

    @property
    def uploads(self):
        return [e for e in self.all("progress", step="install") if e["total"] and e["done"] == e["total"]]


def dial(test, host, *args, **kw):
    """To a fixture of the harness, to the end."""
    return Dial(test, "-F", host.config, *args, host.alias, **kw).finish()


def installed(home):
    """Paths below the install folder, relative, folders with a slash."""
    out = []
    top = os.path.join(home, SERVER)
    for d, dirs, files in os.walk(top):
        rel = os.path.relpath(d, top)
        out += [os.path.normpath(os.path.join(rel, x)) + "/" for x in dirs]
        out += [os.path.normpath(os.path.join(rel, x)) for x in files]
    return sorted(out)


def tmpfs(test, path, options, owner=None):
    """Mounts a tmpfs for the time of a test; skips the test where that is not allowed."""
    r = run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=False)
    if r.returncode != 0:
        test.skipTest(f"this machine does not allow mounts: {r.stderr.strip()}")
    test.addCleanup(run, ["umount", "-l", path], check=False)
    if owner is not None:
        os.chown(path, owner, -1)
