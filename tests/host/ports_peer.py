"""A client of `towline-host ports`, for tests: JSON-RPC with Content-Length framing over pipes."""

import json
import os
import select
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from hold_peer import host_program

DEADLINE = 60.0


class Ports:
    """One stream. hold: the terminal of which the run folder is looked at."""

    def __init__(self, run_dir, *options, prefix=()):
        self.proc = subprocess.Popen([*prefix, host_program(), "ports", "--run-dir", run_dir, *options],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.buf = bytearray()
        self.ports = None  # the newest list
        self.states, self.answers, self.lists = [], [], 0

    def close(self):
        if self.proc.stdin:
            self.proc.stdin.close()
            self.proc.stdout.close()
            self.proc.stdin = None
        return self.proc.wait(DEADLINE)

    def send(self, message):
        text = json.dumps(message).encode()
        self.proc.stdin.write(b"Content-Length: %d\r\n\r\n" % len(text) + text)
        self.proc.stdin.flush()

    def step(self, deadline=DEADLINE):
        """Takes one message into account; False: none came in time."""
        end = time.monotonic() + deadline
        while True:
            head = self.buf.find(b"\r\n\r\n")
            if head >= 0:
                n = int(self.buf[:head].split(b":")[1])
                if len(self.buf) >= head + 4 + n:
                    m = json.loads(self.buf[head + 4:head + 4 + n])
                    del self.buf[:head + 4 + n]
                    break
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                return False
            more = os.read(self.proc.stdout.fileno(), 1 << 20)
            if not more:
                raise EOFError("the face ended")
            self.buf += more
        if m.get("method") == "ports/changed":
            self.ports = m["params"]["ports"]
            self.lists += 1
        elif m.get("method") == "ports/state":
            self.states.append(m["params"])
        else:
            self.answers.append(m)
        return True

    def until(self, what, predicate, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while not predicate():
            if not self.step(max(0, end - time.monotonic())):
                raise AssertionError("%s: not in time; so far %r %r" % (what, self.ports, self.states))

    def at(self, port):
        return [p for p in self.ports or [] if p["port"] == port]

    def until_owned(self, port):
        self.until("port %d of a terminal" % port, lambda: any(p["owned"] for p in self.at(port)))
        return self.at(port)[0]

    def until_gone(self, port):
        self.until("the end of port %d" % port, lambda: self.ports is not None and not self.at(port))

    def start(self):
        self.until("the first list", lambda: self.ports is not None)
        return self

    def waits(self):
        """Asleep without a timer? (poll without end: its fourth argument is no pointer to a time)"""
        with open("/proc/%d/syscall" % self.proc.pid) as f:
            words = f.read().split()
        # x86_64: poll is 7, its timeout the third argument; glibc and musl both use it
        return words[0] == "7" and int(words[3], 16) & 0xffffffff == 0xffffffff
