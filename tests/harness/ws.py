"""A WebSocket client that can also misbehave: fragments, odd frames, slow reading. Blocking, one thread."""
import base64
import hashlib
import json
import os
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG, CONT = 1, 2, 8, 9, 10, 0
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Closed(Exception):
    """The server closed: .code is None where it did so without a close frame."""

    def __init__(self, code, reason=""):
        super().__init__(f"closed with {code} {reason}")
        self.code, self.reason = code, reason


class Refused(Exception):
    """The server did not switch protocols: .status, .body."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


def mask(data, key):
    if not data:
        return b""
    n = len(data)
    pad = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(n, "little")


class WebSocket:
    def __init__(self, port, path="/ws", origin=True, host=None, protocol="towline", timeout=60, family="127.0.0.1", headers=()):
        self.sock = socket.create_connection((family, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16))
        lines = [f"GET {path} HTTP/1.1", f"Host: {host or f'localhost:{port}'}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key.decode()}", "Sec-WebSocket-Version: 13", *headers]
        if origin:
            lines.append(f"Origin: {f'http://localhost:{port}' if origin is True else origin}")
        if protocol:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.buf = bytearray()
        while b"\r\n\r\n" not in self.buf:
            self._more()
        head, _, rest = bytes(self.buf).partition(b"\r\n\r\n")
        self.buf = bytearray(rest)
        status = int(head.split()[1])
        if status != 101:
            names = dict(x.lower().split(b": ", 1) for x in head.split(b"\r\n")[1:] if b": " in x)
            n = int(names.get(b"content-length", 0))
            while len(self.buf) < n:
                self._more()
            self.sock.close()
            raise Refused(status, bytes(self.buf[:n]).decode(errors="replace"))
        want = base64.b64encode(hashlib.sha1(key + GUID).digest())
        assert want in head, "Sec-WebSocket-Accept is wrong"
        self.id = 0

    def _more(self):
        try:
            got = self.sock.recv(262144)
        except (ConnectionResetError, BrokenPipeError):
            raise Closed(None) from None
        if not got:
            raise Closed(None)
        self.buf += got

    def _need(self, n):
        while len(self.buf) < n:
            self._more()

    # ---- sending

    def frame(self, opcode, data=b"", fin=True, masked=True, rsv=0, length=None):
        """One frame as bytes; length lies about the size where given."""
        n = len(data) if length is None else length
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        bit = 0x80 if masked else 0
        if n < 126:
            head += bytes([bit | n])
        elif n < 65536:
            head += struct.pack(">BH", bit | 126, n)
        else:
            head += struct.pack(">BQ", bit | 127, n)
        if not masked:
            return head + data
        key = os.urandom(4)
        return head + key + mask(data, key)

    def send(self, data, opcode=None, **kw):
        if isinstance(data, str):
            data, opcode = data.encode(), opcode if opcode is not None else TEXT
        self.sock.sendall(self.frame(BINARY if opcode is None else opcode, data, **kw))

    def send_fragments(self, parts, opcode):
        for i, p in enumerate(parts):
            self.sock.sendall(self.frame(opcode if i == 0 else CONT, p, fin=i == len(parts) - 1))

    # ---- receiving

    def recv_frame(self):
        """(opcode, fin, payload); a close frame raises Closed."""
        self._need(2)
        b0, n, at = self.buf[0], self.buf[1] & 127, 2
        assert not self.buf[1] & 128, "a server must not mask"
        assert not b0 & 0x70, "reserved bits"
        if n == 126:
            self._need(4)
            n, at = struct.unpack(">H", self.buf[2:4])[0], 4
        elif n == 127:
            self._need(10)
            n, at = struct.unpack(">Q", self.buf[2:10])[0], 10
        self._need(at + n)
        data = bytes(self.buf[at:at + n])
        del self.buf[:at + n]
        if b0 & 15 == CLOSE:
            code = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else None
            raise Closed(code, data[2:].decode(errors="replace"))
        return b0 & 15, bool(b0 & 0x80), data

    def recv(self):
        """(opcode, payload) of the next message; pings are answered."""
        whole, kind = b"", None
        while True:
            op, fin, data = self.recv_frame()
            if op == PING:
                self.sock.sendall(self.frame(PONG, data))
                continue
            if op == PONG:
                continue
            if op != CONT:
                assert kind is None, "a message inside another"
                kind = op
            whole += data
            if fin:
                return kind, whole

    def recv_bytes(self, n):
        """Exactly n bytes of binary messages."""
        out = bytearray()
        while len(out) < n:
            kind, data = self.recv()
            assert kind == BINARY, "a text message inside a stream"
            out += data
        assert len(out) == n, f"{len(out)} bytes instead of {n}"
        return bytes(out)

    def wait_closed(self):
        """The code the server closes with; what comes before is dropped."""
        try:
            while True:
                self.recv_frame()
        except Closed as e:
            return e.code

    # ---- JSON-RPC

    def call(self, method, params=None):
        """A request and its whole answer message; notifications in between are dropped."""
        self.id += 1
        self.send(json.dumps({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params or {}}))
        while True:
            kind, data = self.recv()
            assert kind == TEXT
            m = json.loads(data)
            if m.get("id") == self.id and "method" not in m:
                return m

    def greet(self, token):
        return self.call("hello", {"token": token, "client": "test", "version": "0.1.0"})

    def stream(self, host, open_):
        m = self.call("stream/open", {"host": host, "open": open_})
        assert "result" in m, m
        return self

    def close(self, code=None):
        try:
            if code is not None:
                self.send(struct.pack(">H", code), CLOSE)
        except OSError:
            pass
        self.sock.close()

    def __del__(self):
        if hasattr(self, "sock"):
            self.sock.close()
