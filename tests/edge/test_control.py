"""The control socket: framing, streams with half-close, and programs that misbehave."""
# parallel: ok

import json
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driver import DRIVER, TOKEN, Edge
from harness import wait_for

MB = 1 << 20


def framed(message):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


def request(method, params=None, id_=1):
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params or {}}


class Raw:
    """A connection without a thread behind it."""

    def __init__(self, edge):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(edge.control)
        self.buf = b""

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else framed(data))
        return self

    def message(self):
        """One message, or None at the end."""
        try:
            while b"\r\n\r\n" not in self.buf:
                more = self.sock.recv(65536)
                if not more:
                    return None
                self.buf += more
            head, self.buf = self.buf.split(b"\r\n\r\n", 1)
            n = int(head.split(b":")[1])
            while len(self.buf) < n:
                self.buf += self.sock.recv(65536)
            body, self.buf = self.buf[:n], self.buf[n:]
            return json.loads(body)
        except ConnectionResetError:
            return None

    def call(self, method, params=None):
        self.send(request(method, params))
        return self.message()

    def stream(self, **open_):
        m = self.call("stream/open", {"host": "h", "open": open_})
        assert "result" in m, m
        return self

    def read(self, n=None):
        """n bytes, or everything to the end."""
        out = bytearray(self.buf if n is None else self.buf[:n])
        self.buf = self.buf[len(out):]
        while n is None or len(out) < n:
            more = self.sock.recv(1 << 18 if n is None else n - len(out))
            if not more:
                break
            out += more
        return bytes(out)

    def ended(self):
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self):
        self.sock.close()

    __del__ = close


class Messages(unittest.TestCase):
    def setUp(self):
        self.e = Edge(self)

    def test_socket_is_ours_alone(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.e.control).st_mode), 0o600)

    def test_hello_is_optional_and_needs_no_token(self):
        r = Raw(self.e)
        self.assertEqual(r.call("test/echo", {"a": 1})["result"], {"a": 1})
        m = r.call("hello", {"client": "test", "version": "x"})
        self.assertEqual(m["result"]["frameOrigin"], f"http://localhost:{self.e.frame_port}")

    def test_sizes_and_pipelining(self):
        r = Raw(self.e)
        for n in (0, 1, 70000, 4 * MB - 1000):
            self.assertEqual(r.call("test/echo", {"x": "y" * n})["result"]["x"], "y" * n)
        r.send(b"".join(framed(request("test/echo", {"i": i}, i + 10)) for i in range(1000)))
        for i in range(1000):
            m = r.message()
            self.assertEqual((m["id"], m["result"]), (i + 10, {"i": i}))

    def test_byte_by_byte(self):
        r = Raw(self.e)
        for b in framed(request("test/echo")):
            r.send(bytes([b]))
        self.assertEqual(r.message()["result"], {})

    def test_header_forms(self):
        body = json.dumps(request("test/echo")).encode()
        for head in (b"content-length: %d\r\n\r\n", b"Content-Type: x\r\nContent-Length: %d\r\n\r\n", b"Content-Length:%d\r\n\r\n"):
            self.assertEqual(Raw(self.e).send(head % len(body) + body).message()["result"], {})

    def test_nonsense(self):
        for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 5000, b"Content-Length: x\r\n\r\n", b"Content-Length: -1\r\n\r\n{}", b"Content-Length: 99999999\r\n\r\n", b"C" * 5000,
                     b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", b"Content-Length: 18446744073709551617\r\n\r\n{}", b"\r\n\r\n"):
            self.assertTrue(Raw(self.e).send(junk).ended(), junk[:30])
        for junk in (b"{", b"[]", b"nonsense", b"{}", b'{"jsonrpc":"2.0"}', b"\xff\xfe"):
            r = Raw(self.e).send(framed(junk))
            self.assertEqual(r.message()["error"]["data"]["name"], "protocol", junk)
            self.assertTrue(r.ended())
        self.assertIn("result", Raw(self.e).call("test/echo"))

    def test_end_cancels(self):
        r = Raw(self.e)
        r.call("test/echo")
        gone = self.e.status()["gone"]
        r.sock.shutdown(socket.SHUT_WR)
        self.assertTrue(r.ended())
        wait_for(lambda: self.e.status()["gone"] > gone)

    def test_one_that_takes_no_answers(self):
        r = Raw(self.e)
        r.sock.settimeout(20)
        try:
            for _ in range(100):
                r.send(request("test/echo", {"x": "y" * 500000}))
        except OSError:
            pass
        self.assertLess(self.e.status()["rss"], 150 * MB)
        wait_for(lambda: self.e.status()["clients"] == 1, 60, "it to be dropped")

    def test_too_many(self):
        held = []
        for _ in range(256):
            held.append(Raw(self.e))
            self.assertIn("result", held[-1].call("test/echo"))
        self.assertTrue(Raw(self.e).ended())
        for r in held:
            r.close()
        wait_for(lambda: "result" in (Raw(self.e).call("test/echo") or {}))

    def test_thousand_one_after_another(self):
        for _ in range(20):
            Raw(self.e).call("test/echo")
        fds = self.e.fds()
        for i in range(1000):
            r = Raw(self.e)
            if i % 3 == 1:
                r.call("test/echo")
            if i % 3 == 2:
                r.stream(open="echo").send(b"x")
            r.close()
        wait_for(lambda: self.e.fds() <= fds + 1)

    def test_two_daemons(self):
        r = subprocess.run([DRIVER, self.e.ui, self.e.control, TOKEN], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(json.loads(r.stdout)["error"], "exists")
        self.assertIn("result", Raw(self.e).call("test/echo"))

    def test_socket_is_removed_at_the_end(self):
        e = Edge(self)
        e.process.stdin.close()
        e.process.stdin = None
        e.process.wait(30)
        self.assertFalse(os.path.exists(e.control))


class Streams(unittest.TestCase):
    def setUp(self):
        self.e = Edge(self)

    def test_echo_and_half_close(self):
        r = Raw(self.e).stream(open="echo")
        data = os.urandom(3 * MB)
        t = threading.Thread(target=lambda: (r.sock.sendall(data), r.sock.shutdown(socket.SHUT_WR)))
        t.start()
        self.assertTrue(r.read() == data)
        t.join()
        wait_for(lambda: self.e.status()["clients"] == 1)

    def test_half_close_at_once(self):
        r = Raw(self.e).stream(open="echo")
        r.sock.shutdown(socket.SHUT_WR)
        self.assertEqual(r.read(), b"")

    def test_bytes_with_the_request(self):
        r = Raw(self.e)
        r.send(framed(request("stream/open", {"host": "h", "open": {"open": "echo"}})) + b"early bytes")
        self.assertIn("result", r.message())
        self.assertEqual(r.read(11), b"early bytes")

    def test_answer_and_bytes_arrive_together(self):
        r = Raw(self.e)
        r.send(request("stream/open", {"host": "h", "open": {"open": "flood", "bytes": 100}}))
        self.assertIn("result", r.message())
        self.assertEqual(r.read(), bytes(range(100)))

    def test_ends_first_from_the_other_side(self):
        r = Raw(self.e).stream(open="flood", bytes=1000)
        self.assertEqual(len(r.read()), 1000)
        r.send(b"still writable")
        r.close()
        wait_for(lambda: self.e.status()["clients"] == 1)

    def test_broken(self):
        r = Raw(self.e).stream(open="fail")
        r.send(b"x")
        self.assertTrue(r.ended())

    def test_refused(self):
        r = Raw(self.e)
        self.assertEqual(r.call("stream/open", {"host": "h", "open": {"open": "no"}})["error"]["data"]["exit"], 70)
        self.assertIn("result", r.call("test/echo"))

    def test_slow_reader(self):
        before = self.e.status()["rss"]
        slow = [Raw(self.e).stream(open="flood", bytes=100 * MB) for _ in range(5)]
        self.assertLess(self.e.status()["rss"] - before, 10 * MB)
        data = slow[0].read()
        self.assertEqual(len(data), 100 * MB)
        self.assertTrue(data[:251 * 1000] == bytes(range(251)) * 1000)
        self.assertLess(self.e.status()["rss"] - before, 10 * MB)

    def test_slow_taker(self):
        before = self.e.status()["rss"]
        r = Raw(self.e).stream(open="hold")
        r.sock.setblocking(False)
        sent = 0
        try:
            while sent < 100 * MB:
                sent += r.sock.send(b"z" * 65536)
        except BlockingIOError:
            pass
        r.sock.settimeout(30)
        self.assertLess(sent, 10 * MB)
        self.assertLess(self.e.status()["rss"] - before, 10 * MB)
        c = Raw(self.e)
        c.call("test/release")
        r.sock.sendall(b"z" * MB)
        wait_for(lambda: c.call("test/status")["result"]["bytes"] == sent + MB)

    def test_killed_in_the_middle(self):
        for mode in ("echo", "flood", "hold"):
            r = Raw(self.e).stream(open=mode, bytes=50 * MB)
            r.send(b"q" * 30000)
            r.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            r.close()
        c = Raw(self.e)
        c.call("test/release")
        wait_for(lambda: c.call("test/status")["result"]["clients"] == 1)


if __name__ == "__main__":
    unittest.main()
