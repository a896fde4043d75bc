"""What the tests of libtowline share: the driver program (tests/api/drive.c) as a child whose JSON lines are read."""
import json
import os
import subprocess

from harness import ROOT, STAGE, Daemon, run
from harness.proc import end, spawn

DRIVE = os.path.join(ROOT, "build", "tests", "api", "drive")


class Result:
    """status, events (dicts), other (lines that are no events), err (standard error)."""

    def __init__(self, status, out, err):
        self.status, self.err, self.events, self.other = status, err, [], []
        for line in out.splitlines():
            try:
                self.events.append(json.loads(line))
            except ValueError:
                self.other.append(line)

    def all(self, event):
        return [e for e in self.events if e.get("event") == event]

    def one(self, event):
        found = self.all(event)
        assert len(found) == 1, f"{event}: {self}"
        return found[0]

    def __str__(self):
        return f"status {self.status}, {self.events}, {self.other}, {self.err[-4000:]}"


class Program:
    """A user of the library with private folders. host: a Sshd or Dropbear fixture."""

    def __init__(self, test, host, daemon=None):
        self.test, self.host = test, host
        self.daemon = daemon or Daemon(host, test=test)
        self.env = dict(self.daemon.env, TOWLINE_PREFIX=os.path.abspath(STAGE))

    def argv(self, *args, target=None):
        """args: options, then (where a word does not begin with '-') action and arguments; HOST goes between."""
        args, at = [str(a) for a in args], 0
        while at < len(args) and args[at].startswith("-"):
            at += 2
        return [DRIVE, "-F", self.host.config, *args[:at], "--", target or self.host.alias, *args[at:]]

    def drive(self, *args, target=None, check=None, timeout=120, **kw):
        """Runs the driver to its end. check: the exit status it must have."""
        kw.setdefault("env", self.env)
        kw.setdefault("cwd", self.daemon.home)
        kw.setdefault("stdin", subprocess.DEVNULL)
        r = run(self.argv(*args, target=target), check=False, timeout=timeout, **kw)
        r = Result(r.returncode, r.stdout, r.stderr)
        if check is not None:
            self.test.assertEqual(r.status, check, r)
        return r

    def start(self, *args, target=None, **kw):
        """Starts the driver: a Popen with text pipes that is ended with the test."""
        kw.setdefault("env", self.env)
        kw.setdefault("cwd", self.daemon.home)
        p = spawn(self.argv(*args, target=target), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
        self.test.addCleanup(end, p)
        return p
