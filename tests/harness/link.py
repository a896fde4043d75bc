"""A client of the agent in Python: link (docs/protocol.md 1), yamux streams (2) and openings (3).

Written from the documents alone: the independent peer of the C engines. No thread: everything moves inside
pump(), which the waiting calls use. `Host` is a private agent: own home, own run folder, nothing left behind.
"""
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import time

from .proc import STAGE, Fixture, Timeout, end, find_processes, kill_marked, sanitizer_env, scratch, spawn, wait_for

HELLO, DATA, ACK, PING, BYE = 1, 2, 3, 4, 5
Y_DATA, Y_WINDOW, Y_PING, Y_AWAY = 0, 1, 2, 3
SYN, ACKED, FIN, RST = 1, 2, 4, 8
WINDOW = 262144
DEADLINE = 30.0
NOLINK, STALE, PROTO = 69, 68, 5


def host_program():
    """The binary under test: TOWLINE_HOST, or the stage's."""
    return os.environ.get("TOWLINE_HOST") or os.path.join(STAGE, "lib/towline/host/towline-host-x86_64")


class Bye(Exception):
    """The agent ended the link: code, text."""

    def __init__(self, code, text):
        super().__init__(f"BYE {code}: {text}")
        self.code, self.text = code, text


class Gone(Exception):
    """The transport ended."""


class Refused(Exception):
    """The opening line was answered with an error (the dict)."""

    def __init__(self, error):
        super().__init__(f"{error.get('name')}: {error.get('message')}")
        self.error, self.name = error, error.get("name")


class RpcFailed(Refused):
    pass


class Host(Fixture):
    """A private home and run folder for one agent; the agent itself is started by the first bridge."""

    def __init__(self, test=None, program=None, home=None, env=None, run_dir=True, uid=None):
        self._begin(test)
        self.program = program or host_program()
        self.dir = scratch("tla-")
        self.home = home or os.path.join(self.dir, "home")
        os.makedirs(self.home, exist_ok=True)
        self.uid = uid  # run as another user (we are root)
        if uid is not None:
            os.chown(self.dir, uid, uid)
            os.chown(self.home, uid, uid)
        self.run = os.path.join(self.dir, "run") if run_dir else None
        self.env = {"PATH": os.environ["PATH"], "HOME": self.home, "USER": "tester", "SHELL": "/bin/sh",
                    "LANG": "C.UTF-8", "TOWLINE_TEST": self.mark, **sanitizer_env(), **(env or {})}
        self.links = []

    def argv(self, *more, nonce="n1"):
        return [self.program, "bridge", nonce, *(["--run-dir", self.run] if self.run else []), *more]

    def bridge(self, *more, nonce="n1", **kw):
        """A bridge as a subprocess with pipes."""
        kw.setdefault("env", self.env)
        if self.uid is not None:
            kw.update(user=self.uid, group=self.uid, extra_groups=[])
        return spawn(self.argv(*more, nonce=nonce), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                     stderr=subprocess.PIPE, bufsize=0, **kw)

    def link(self, *more, **kw):
        lk = Link(self, *more, **kw)
        lk.connect()
        return lk

    def processes(self, face=None):
        """Ids of our processes, of one face where given."""
        out = []
        for pid in find_processes(self.mark):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                continue
            if face is None or (len(words) > 1 and words[1].decode() == face):
                out.append(pid)
        return out

    def agent_pid(self):
        return wait_for(lambda: self.processes("agent"), DEADLINE, "an agent")[0]

    def log(self):
        try:
            with open(os.path.join(self.home, ".towline-server/agent.log")) as f:
                return f.read()
        except OSError:
            return ""

    def _end(self):
        for lk in self.links:
            lk.cut()
        # a child that sees its agent die would be killed in its leak check and leave a report: all stop first
        for pid in find_processes(self.mark):
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:
                pass
        kill_marked(self.mark)
        text = self.log()
        shutil.rmtree(self.dir, ignore_errors=True)
        # children write there too
        if re.search(r"Sanitizer|runtime error|assertion", text):
            raise AssertionError(f"in agent.log:\n{text}")


class Stream:
    def __init__(self, link, sid):
        self.link, self.id = link, sid
        self.rx = bytearray()
        self.credit = WINDOW      # what we may send
        self.taken = 0            # received and read, not yet given back as credit
        self.eof = self.reset = self.fin_sent = False
        self.hold_credit = False  # a client that never reads

    def write(self, data):
        """All of it, waiting for credit."""
        data = memoryview(bytes(data))
        while data:
            self.link.pump_until(lambda: self.credit > 0 or self.reset, what="credit")
            if self.reset:
                raise Gone("stream reset")
            n = min(len(data), self.credit, 16384)
            self.credit -= n
            self.link.frame(Y_DATA, 0, self.id, bytes(data[:n]))
            data = data[n:]

    def finish(self):
        self.fin_sent = True
        self.link.frame(Y_WINDOW, FIN, self.id, 0)

    def abort(self):
        self.link.frame(Y_WINDOW, RST, self.id, 0)
        self.reset = True

    def take(self, n):
        out = bytes(self.rx[:n])
        del self.rx[:n]
        self.taken += len(out)
        if not self.hold_credit and self.taken >= WINDOW // 2:
            self.link.frame(Y_WINDOW, 0, self.id, self.taken)
            self.taken = 0
        return out

    def read(self, n, deadline=DEADLINE):
        """Exactly n bytes, or fewer at the end."""
        out = bytearray()
        while len(out) < n:
            self.link.pump_until(lambda: self.rx or self.eof or self.reset, deadline, f"{n} bytes")
            if not self.rx:
                break
            out += self.take(n - len(out))
        return bytes(out)

    def read_line(self, deadline=DEADLINE):
        self.link.pump_until(lambda: b"\n" in self.rx or self.eof or self.reset, deadline, "a line")
        if b"\n" not in self.rx:
            raise Gone(f"no line, but {bytes(self.rx)!r}, eof {self.eof}, reset {self.reset}")
        return self.take(self.rx.index(b"\n") + 1)

    def read_all(self, deadline=DEADLINE):
        out = bytearray()
        while True:
            self.link.pump_until(lambda: self.rx or self.eof or self.reset, deadline, "the end")
            if not self.rx:
                return bytes(out)
            out += self.take(len(self.rx))


class StreamFile:
    def __init__(self, stream):
        self.stream, self.got = stream, 0
        self.on_bytes = lambda total: None

    def read(self, n):
        s = self.stream
        s.link.pump_until(lambda: s.rx or s.eof or s.reset, what="bytes")
        out = s.take(n)
        self.got += len(out)
        self.on_bytes(self.got)
        return out

    def write(self, data):
        self.stream.write(data)

    def flush(self):
        pass


class Rpc:
    """JSON-RPC with Content-Length framing on a stream."""

    def __init__(self, stream):
        self.stream, self.next = stream, 1
        self.answers = {}

    def send(self, method, params=None):
        n, self.next = self.next, self.next + 1
        self.put({"jsonrpc": "2.0", "id": n, "method": method, "params": params or {}})
        return n

    def put(self, message):
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.stream.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def get(self, deadline=DEADLINE):
        size = 0
        while True:
            line = self.stream.read_line(deadline).strip()
            if not line:
                break
            key, value = line.split(b":", 1)
            if key.lower() == b"content-length":
                size = int(value)
        return json.loads(self.stream.read(size, deadline))

    def wait(self, n, deadline=DEADLINE):
        while n not in self.answers:
            m = self.get(deadline)
            self.answers[m.get("id")] = m
        m = self.answers.pop(n)
        if "error" in m:
            raise RpcFailed({**m["error"], "name": m["error"]["data"]["name"]})
        return m["result"]

    def call(self, method, deadline=DEADLINE, **params):
        return self.wait(self.send(method, params), deadline)


class Link:
    """One client. connect() starts a bridge and says HELLO; cut() loses the transport; connect() again resumes."""

    def __init__(self, host, *bridge_args, link_id=None, auto=False):
        self.host, self.args = host, bridge_args
        self.auto, self.resumes = auto, 0  # auto: a lost transport is replaced at once
        self.id = link_id or os.urandom(16)
        self.epoch = 0
        self.tx, self.tx_base, self.sent = bytearray(), 0, 0  # bytes not acknowledged yet
        self.rx_off = 0
        self.streams, self.next_stream = {}, 1
        self.bridge, self.up, self.out, self.inp = None, False, bytearray(), bytearray()
        self.mux, self.over, self.lost = bytearray(), None, False
        self.noise = b""
        self.peer_pings = 0
        host.links.append(self)

    # ---- transport

    def connect(self, epoch=None, hello=None, wait=True, nonce="n1"):
        self.cut()
        self.epoch = epoch if epoch is not None else self.epoch + 1
        self.bridge = self.host.bridge(*self.args, nonce=nonce)
        self.rfd, self.wfd = self.bridge.stdout.fileno(), self.bridge.stdin.fileno()
        os.set_blocking(self.rfd, False)
        os.set_blocking(self.wfd, False)
        self._await_marker(b"\0towline " + nonce.encode() + b"\n")
        self.out += hello if hello is not None else self.hello()
        if wait:
            self.pump_until(lambda: self.up, what="HELLO")
        return self

    def _await_marker(self, marker):
        stop = time.monotonic() + DEADLINE
        while marker not in self.inp:
            if time.monotonic() > stop:
                raise Timeout(f"no marker, but {bytes(self.inp)!r}")
            select.select([self.rfd], [], [], 0.5)
            try:
                got = os.read(self.rfd, 65536)
            except BlockingIOError:
                continue
            if not got:
                err = self.bridge.stderr.read().decode(errors="replace")
                raise Gone(f"the bridge ended with {self.bridge.wait()}: {err}")
            self.inp += got
        at = self.inp.index(marker)
        self.noise = bytes(self.inp[:at])
        del self.inp[:at + len(marker)]

    def hello(self, proto=(1, 1)):
        return struct.pack(">BBHI", HELLO, 0, 48, 0) + struct.pack(
            ">HH16sIQQII", *proto, self.id, self.epoch, self.rx_off, self.tx_base, 4 << 20, 0)

    def cut(self):
        """The transport dies: pipes closed, whatever was on its way is lost."""
        if self.bridge:
            self._let_it_end()
            end(self.bridge)
        self.bridge, self.up, self.over, self.lost = None, False, None, False
        self.out.clear()
        self.inp.clear()

    def _let_it_end(self):
        """A bridge whose transport is over is just ending; killed in its leak check it would leave a report."""
        if self.lost:
            try:
                self.bridge.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                pass

    def bridge_exit(self, deadline=DEADLINE):
        """Waits for the bridge's end: (status, standard error)."""
        wait_for(lambda: self.bridge.poll() is not None, deadline, "the bridge to end")
        return self.bridge.returncode, self.bridge.stderr.read().decode(errors="replace")

    # ---- link

    def _send_more(self):
        if not self.up:
            return
        end_off = self.tx_base + len(self.tx)
        while self.sent < end_off and len(self.out) < 65536:
            at = self.sent - self.tx_base
            piece = bytes(self.tx[at:at + 16384])
            self.out += struct.pack(">BBHI", DATA, 0, len(piece), self.sent & 0xffffffff) + piece
            self.sent += len(piece)

    def pump(self, timeout):
        """Moves what can be moved; at most timeout seconds when nothing can."""
        try:
            self._pump(timeout)
        except Gone:
            if not self.auto:
                raise
            self.resumes += 1
            self.connect()

    def _pump(self, timeout):
        if not self.bridge:
            raise Gone("no transport")
        if self.over:
            self.lost = True
            raise self.over
        self._send_more()
        r, w, _ = select.select([self.rfd], [self.wfd] if self.out else [], [], timeout)
        if w:
            try:
                n = os.write(self.wfd, self.out[:65536])
                del self.out[:n]
            except BlockingIOError:
                pass
            except BrokenPipeError:
                pass  # its last words may still be there to read
        if r:
            got = os.read(self.rfd, 65536)
            if not got:
                self.lost = True
                raise Gone("the transport ended")
            self.inp += got
            self._parse()

    def file(self, stream):
        """The stream as a file object, for clients that want one."""
        return StreamFile(stream)

    def pump_until(self, done, deadline=DEADLINE, what="it"):
        stop = time.monotonic() + deadline
        while not done():
            left = stop - time.monotonic()
            if left <= 0:
                raise Timeout(f"waited {deadline:g} s for {what}")
            self.pump(min(left, 1.0))

    def _parse(self):
        start = self.rx_off
        while len(self.inp) >= 8:
            kind, flags, n, off = struct.unpack(">BBHI", self.inp[:8])
            if len(self.inp) < 8 + n:
                break
            body = bytes(self.inp[8:8 + n])
            del self.inp[:8 + n]
            if kind == HELLO:
                lo, hi, lid, epoch, recv, base, _ring, _feat = struct.unpack(">HH16sIQQII", body)
                assert lo <= 1 <= hi and lid == self.id and epoch == self.epoch, "HELLO"
                assert self.tx_base <= recv <= self.tx_base + len(self.tx), "recv_offset outside of the ring"
                assert base <= self.rx_off, "the agent forgot what we have not got"
                del self.tx[:recv - self.tx_base]
                self.tx_base = self.sent = recv
                self.up = True
            elif kind == DATA:
                assert off == self.rx_off & 0xffffffff, "DATA out of order"
                self.rx_off += n
                self.mux += body
                self._parse_mux()
            elif kind == ACK:
                got = struct.unpack(">Q", body)[0]
                assert self.tx_base <= got <= self.sent, "ACK of what was never sent"
                del self.tx[:got - self.tx_base]
                self.tx_base = got
            elif kind == PING:
                if flags & 1:
                    self.peer_pings += 1
                else:
                    self.out += struct.pack(">BBHI", PING, 1, 8, 0) + body
            elif kind == BYE:
                # what came before it is still to be read: the next pump raises
                self.over = Bye(struct.unpack(">I", body[:4])[0], body[4:].decode(errors="replace"))
                break
            else:
                raise AssertionError(f"frame type {kind}")
        if self.rx_off != start:
            self.out += struct.pack(">BBHIQ", ACK, 0, 8, 0, self.rx_off)

    def bye(self, code=0, text="done"):
        """Ends the link and waits until the agent has let go of the transport."""
        self.auto = False
        self.out += struct.pack(">BBHII", BYE, 0, 4 + len(text), 0, code) + text.encode()
        try:
            self.pump_until(lambda: False, what="the transport to end")
        except (Gone, Bye):
            pass

    # ---- yamux

    def frame(self, kind, flags, sid, payload):
        length = len(payload) if kind == Y_DATA else payload
        self.tx += struct.pack(">BBHII", 0, kind, flags, sid, length)
        if kind == Y_DATA:
            self.tx += payload

    def _parse_mux(self):
        while len(self.mux) >= 12:
            version, kind, flags, sid, length = struct.unpack(">BBHII", self.mux[:12])
            assert version == 0 and kind <= Y_AWAY, "yamux header"
            size = length if kind == Y_DATA else 0
            if len(self.mux) < 12 + size:
                return
            body = bytes(self.mux[12:12 + size])
            del self.mux[:12 + size]
            if kind == Y_PING:
                if flags & SYN:
                    self.frame(Y_PING, ACKED, 0, length)
                continue
            if kind == Y_AWAY:
                raise Gone(f"GoAway {length}")
            st = self.streams.get(sid)
            if st is None:
                continue
            if kind == Y_DATA:
                st.rx += body
            else:
                st.credit += length
            st.eof = st.eof or bool(flags & FIN)
            st.reset = st.reset or bool(flags & RST)

    # ---- streams

    def raw(self):
        """A new stream without opening line."""
        sid, self.next_stream = self.next_stream, self.next_stream + 2
        st = self.streams[sid] = Stream(self, sid)
        self.frame(Y_WINDOW, SYN, sid, 0)
        return st

    def open(self, service, **members):
        st = self.raw()
        st.write(json.dumps({"open": service, **members}).encode() + b"\n")
        answer = json.loads(st.read_line())
        if "error" in answer:
            raise Refused(answer["error"])
        st.answer = answer["ok"]
        return st

    def rpc(self):
        return Rpc(self.open("rpc"))
