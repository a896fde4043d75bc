"""A client of `towline-host watch`, for tests: JSON-RPC with Content-Length framing over pipes."""

import json
import os
import select
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from hold_peer import host_program

UPDATED, ADDED, DELETED = 1, 2, 3
DEADLINE = 60.0


class Failed(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.error = error


class Watcher:
    def __init__(self, prefix=()):
        self.proc = subprocess.Popen([*prefix, host_program(), "watch"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE)
        self.buf = bytearray()
        self.calls = 0
        self.answers = {}
        self.changes = {}  # watch id -> [(kind, path)]
        self.states = []
        self.batches = 0

    def close(self):
        self.proc.stdin.close()
        self.proc.stdout.close()
        self.proc.wait(DEADLINE)
        return self.proc.returncode

    def __enter__(self):
        return self

    def __exit__(self, *a):
        if self.proc.poll() is None:
            self.close()

    def send_raw(self, data):
        self.proc.stdin.write(data)
        self.proc.stdin.flush()

    def send(self, message):
        text = json.dumps(message).encode()
        self.send_raw(b"Content-Length: %d\r\n\r\n" % len(text) + text)

    def step(self, deadline=DEADLINE):
        """Takes one message into account."""
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
                raise AssertionError("nothing came; so far %r %r" % (
                    {k: v[-20:] for k, v in self.changes.items()}, self.states))
            more = os.read(self.proc.stdout.fileno(), 1 << 20)
            if not more:
                raise EOFError("the watcher ended")
            self.buf += more
        if "id" in m:
            self.answers[m["id"]] = m
        elif m["method"] == "watch/changed":
            p = m["params"]
            assert p["changes"]
            self.batches += 1
            self.changes.setdefault(p["id"], []).extend(tuple(c) for c in p["changes"])
        elif m["method"] == "watch/state":
            self.states.append(m["params"])
        else:
            raise AssertionError(m)

    def call(self, method, **params):
        self.calls += 1
        n = self.calls
        self.send({"jsonrpc": "2.0", "id": n, "method": method, "params": params})
        while n not in self.answers:
            self.step()
        answer = self.answers.pop(n)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["result"]

    def add(self, path, id=1, **more):
        return self.call("watch/add", id=id, path=path, **more)

    def until(self, what, predicate, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while not predicate():
            try:
                self.step(end - time.monotonic())
            except AssertionError as e:
                raise AssertionError("%s: %s" % (what, e)) from None

    def until_change(self, kind, path, id=1):
        self.until("change %d %s" % (kind, path),
                   lambda: (kind, path) in self.changes.get(id, []))

    def until_state(self, id=1, **want):
        def there():
            return any(s["id"] == id and all(s.get(k) == v for k, v in want.items())
                       for s in self.states)
        self.until("state %r" % want, there)
        return [s for s in self.states if s["id"] == id][-1]

    def take(self, id=1):
        return self.changes.pop(id, [])

    def sync(self, folder, id=1):
        """Everything done before is reported once this file is: a file of its own, last."""
        mark = os.path.join(folder, "mark-%d" % time.monotonic_ns())
        with open(mark, "w"):
            pass
        self.until_change(ADDED, mark, id)
        os.unlink(mark)
        self.until_change(DELETED, mark, id)
        return [c for c in self.take(id) if c[1] != mark]
