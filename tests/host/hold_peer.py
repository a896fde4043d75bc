"""A viewer of a terminal, for tests: starts `towline-host hold` and speaks its frames.

Written from docs/protocol.md 5 alone, so it is an independent peer of the C code.
"""

import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

ATTACH, INPUT, RESIZE, SIGNAL, ACKED, INFO_REQ, DROP, INPUT_ID = 1, 2, 3, 4, 5, 6, 7, 8
ATTACHED, DATA, GAP, EXIT, SIZE, INFO, INPUT_ACKED = 65, 66, 67, 68, 69, 70, 71
TAIL = 2**64 - 1
DEADLINE = 60.0


def host_program():
    """The binary under test: the stage's, or TOWLINE_HOST."""
    stage = os.environ.get("TOWLINE_STAGE", "build/stage-asan")
    return os.environ.get("TOWLINE_HOST") or os.path.join(
        os.path.abspath(stage), "lib/towline/host/towline-host-x86_64")


class Ended(Exception):
    """The hold closed the connection."""


class Viewer:
    def __init__(self, path, rcvbuf=None):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.connect(path)
        self.buf = bytearray()
        self.offset = None  # of the next DATA byte
        self.seen = bytearray()
        self.gaps = []
        self.sizes = []
        self.exit = None
        self.attached = None
        self.took = None  # of the input, as the hold says

    def send(self, kind, payload=b""):
        self.sock.sendall(struct.pack(">I", kind << 24 | len(payload)) + payload)

    def attach(self, start=0, tail=0, window=0):
        self.window = window
        self.send(ATTACH, struct.pack(">QII", start, tail, window))
        while self.attached is None:
            self.step()
        return self.attached

    def identify(self, id, start):
        """What is typed from here on is numbered from `start`; waits for what the hold has."""
        self.send(INPUT_ID, struct.pack(">QQ", id, start))
        while self.took is None:
            self.step()
        return self.took

    def until_took(self, off, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while self.took != off:
            assert self.took is None or self.took < off, "%r typed bytes acknowledged" % self.took
            self.step(end - time.monotonic())

    def type(self, data):
        if isinstance(data, str):
            data = data.encode()
        for at in range(0, len(data), 16384):
            self.send(INPUT, data[at:at + 16384])

    def resize(self, cols, rows):
        self.send(RESIZE, struct.pack(">HH", cols, rows))

    def frame(self, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while True:
            if len(self.buf) >= 4:
                head = struct.unpack_from(">I", self.buf)[0]
                kind, n = head >> 24, head & 0xFFFFFF
                if len(self.buf) >= 4 + n:
                    payload = bytes(self.buf[4:4 + n])
                    del self.buf[:4 + n]
                    return kind, payload
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise AssertionError("no frame; so far: %r" % bytes(self.seen[-300:]))
            try:
                more = self.sock.recv(262144)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Ended()
            self.buf += more

    def step(self, deadline=DEADLINE):
        """Takes one frame into account."""
        kind, p = self.frame(deadline)
        if kind == ATTACHED:
            names = ("first", "start", "end", "cols", "rows", "flags")
            self.attached = dict(zip(names, struct.unpack(">QQQHHI", p)))
            self.offset = self.attached["start"]
        elif kind == DATA:
            assert self.offset is not None and 0 < len(p) <= 16384
            assert self.exit is None, "DATA after EXIT"
            self.seen += p
            self.offset += len(p)
            if self.window:
                self.send(ACKED, struct.pack(">Q", self.offset))
        elif kind == GAP:
            there = struct.unpack(">Q", p)[0]
            assert there > self.offset
            self.gaps.append((self.offset, there))
            self.seen += b"<GAP>"
            self.offset = there
        elif kind == EXIT:
            self.exit = struct.unpack(">II", p)
        elif kind == SIZE:
            self.sizes.append(struct.unpack(">HH", p))
        elif kind == INPUT_ACKED:
            there = struct.unpack(">Q", p)[0]
            assert self.took is None or there >= self.took
            self.took = there
        elif kind == INFO:
            self.info_seen = json.loads(p)
        else:
            raise AssertionError("unknown frame %d" % kind)
        return kind

    def until(self, text, deadline=DEADLINE):
        """Reads until text was seen; returns everything seen before and with it, and forgets it."""
        if isinstance(text, str):
            text = text.encode()
        end = time.monotonic() + deadline
        while True:
            at = self.seen.find(text)
            if at >= 0:
                out = bytes(self.seen[:at + len(text)])
                del self.seen[:at + len(text)]
                return out
            self.step(end - time.monotonic())

    def until_exit(self, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while self.exit is None:
            self.step(end - time.monotonic())
        return self.exit

    def until_closed(self, deadline=DEADLINE):
        end = time.monotonic() + deadline
        try:
            while True:
                self.step(end - time.monotonic())
        except Ended:
            return

    def info(self):
        self.send(INFO_REQ)
        while self.step() != INFO:
            pass
        return self.info_seen

    def close(self):
        self.sock.close()


class Refused(Exception):
    def __init__(self, error):
        super().__init__(error.get("message"))
        self.error = error


class Hold:
    """One terminal. env: environment of the hold itself; params: of term/create."""

    count = 0

    def __init__(self, params=None, env=None, raw=None, program=None):
        self.dir = tempfile.mkdtemp(prefix="tlhold")
        Hold.count += 1
        self.id = "t%d" % Hold.count
        self.path = os.path.join(self.dir, "hold-%s.sock" % self.id)
        spec = {"id": self.id, "runDir": self.dir, "version": "9.9", "params": params or {}}
        text = raw if raw is not None else json.dumps(spec).encode()
        self.proc = subprocess.Popen([program or host_program(), "hold", self.id], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, env=env, start_new_session=True)
        self.viewers = []
        try:
            self.proc.stdin.write(text)
            self.proc.stdin.close()
            line = self.proc.stdout.readline()
            self.proc.stdout.close()
            answer = json.loads(line)
            if "error" in answer:
                self.proc.wait(DEADLINE)
                raise Refused(answer["error"])
            self.info = answer["ok"]
        except BaseException:
            self.close()
            raise

    def view(self, attach=True, rcvbuf=None, **kw):
        v = Viewer(self.path, rcvbuf)
        self.viewers.append(v)
        if attach:
            v.attach(**kw)
        return v

    def wait(self):
        return self.proc.wait(DEADLINE)

    def rss(self):
        with open("/proc/%d/status" % self.proc.pid) as f:
            for line in f:
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def close(self):
        for v in self.viewers:
            v.close()
        if self.proc.poll() is None:
            pid = getattr(self, "info", {}).get("pid")
            if pid:
                for kill in (os.kill, os.killpg):
                    try:
                        kill(pid, signal.SIGKILL)
                    except OSError:
                        pass
            self.proc.kill()
            self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()
