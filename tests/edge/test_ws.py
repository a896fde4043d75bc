"""WebSockets of windows: who may connect, hello, messages, streams, and clients that misbehave."""
# parallel: ok

import json
import os
import select
import socket
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driver import TOKEN, Edge
from harness import wait_for
from harness.ws import BINARY, CLOSE, CONT, PING, PONG, TEXT, Closed, Refused

MB = 1 << 20


def pattern(n, start=0):
    return (bytes(range(251)) * (n // 251 + 2))[start % 251:][:n]


class Who(unittest.TestCase):
    def setUp(self):
        self.e = Edge(self)

    def refused(self, status, **kw):
        with self.assertRaises(Refused) as got:
            self.e.socket(**kw)
        self.assertEqual(got.exception.status, status, got.exception.body)
        return got.exception.body

    def test_origin(self):
        p = self.e.port
        for origin in (None, "null", "http://evil.example", f"http://127.0.0.1:{p}", f"https://localhost:{p}", f"http://localhost:{p}1",
                       f"http://localhost:{self.e.frame_port}", "http://localhost", "x" * 400):
            self.assertIn("towline open", self.refused(403, origin=origin))

    def test_host(self):
        self.refused(421, host="evil.example")
        self.refused(421, host=f"127.0.0.1:{self.e.port}")

    def test_path_protocol_and_port(self):
        self.refused(404, path="/")
        self.refused(404, path="/wsx")
        self.refused(400, protocol=None)
        self.refused(400, protocol="other")
        self.refused(400, protocol="towline2")
        e = self.e
        port, e.port = e.port, e.frame_port
        self.refused(404)
        self.refused(404, origin=f"http://localhost:{port}")
        e.port = port

    def test_among_other_protocols(self):
        ws = self.e.socket(protocol="other, towline")
        self.assertIn("result", ws.greet(TOKEN))

    def test_ipv6(self):
        ws = self.e.socket(family="::1")
        self.assertIn("result", ws.greet(TOKEN))

    def test_without_upgrade(self):
        self.assertEqual(self.e.request(path="/ws")[0], 426)

    def test_token(self):
        for token in ("", "x", TOKEN + "x", TOKEN[:-1], TOKEN.upper(), None, 5, [TOKEN]):
            ws = self.e.socket()
            ws.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "hello", "params": {"token": token}}))
            self.assertEqual(ws.wait_closed(), 4401, token)
        self.assertEqual(self.e.status()["gone"], 0, "the hub heard of a client whose token was wrong")

    def test_first_message_is_hello(self):
        for first in ({"jsonrpc": "2.0", "id": 1, "method": "test/echo", "params": {"token": TOKEN}}, {"jsonrpc": "2.0", "method": "hello", "params": {"token": TOKEN}},
                      {"jsonrpc": "2.0", "id": 1, "result": {}}):
            ws = self.e.socket()
            ws.send(json.dumps(first))
            self.assertEqual(ws.wait_closed(), 4401, first)
        for junk in ("", "[]", "{", "\0", "1" * 70000):
            ws = self.e.socket()
            ws.send(junk)
            self.assertIn(ws.wait_closed(), (4401, 4005), junk[:10])
        ws = self.e.socket()
        ws.send(b"binary first")
        self.assertEqual(ws.wait_closed(), 1003)

    def test_hello(self):
        m = self.e.socket().greet(TOKEN)
        self.assertEqual(m["result"]["version"], "1.2.3")
        self.assertEqual(m["result"]["pid"], self.e.process.pid)
        self.assertEqual(m["result"]["origin"], f"http://localhost:{self.e.port}")
        self.assertEqual(m["result"]["frameOrigin"], f"http://localhost:{self.e.frame_port}")

    def test_silent_one_is_closed(self):
        ws = self.e.socket()
        self.assertEqual(ws.wait_closed(), 4008)

    def test_windows_are_counted(self):
        a, b = self.e.window(), self.e.window()
        self.e.socket()
        self.assertEqual(self.e.status()["windows"], 2)
        b.stream("h", {"open": "echo"})
        self.assertEqual(self.e.status()["windows"], 1)
        a.close(1000)
        wait_for(lambda: self.e.status()["windows"] == 0)


class Messages(unittest.TestCase):
    def setUp(self):
        self.e = Edge(self)

    def test_echo(self):
        ws = self.e.window()
        for params in ({}, {"a": "ä€𝄞\n\0", "n": [1, -2.5, None, True]}, {"big": "x" * 900000}):
            self.assertEqual(ws.call("test/echo", params)["result"], params)

    def test_large_answer_comes_in_one_message(self):
        ws = self.e.window()
        for n in (65535, 65536, 65537, 200000):
            self.assertEqual(ws.call("test/echo", {"x": "y" * n})["result"]["x"], "y" * n)

    def test_pipelined(self):
        ws = self.e.window()
        for i in range(500):
            ws.send(json.dumps({"jsonrpc": "2.0", "id": 1000 + i, "method": "test/echo", "params": {"i": i}}))
        for i in range(500):
            m = json.loads(ws.recv()[1])
            self.assertEqual((m["id"], m["result"]), (1000 + i, {"i": i}))

    def test_fragments(self):
        ws = self.e.window()
        text = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "test/echo", "params": {"a": "b" * 50000}}).encode()
        for size in (1, 3, 1000, 16384, 40000):
            parts = [text[i:i + size] for i in range(0, len(text), size)] if size > 1 else [text[:10], b"", text[10:11], b"", text[11:], b""]
            ws.send_fragments(parts, TEXT)
            self.assertEqual(json.loads(ws.recv()[1])["id"], 7)
        # a ping between fragments
        ws.sock.sendall(ws.frame(TEXT, text[:20], fin=False) + ws.frame(PING, b"pp") + ws.frame(CONT, text[20:], fin=True))
        got = [ws.recv_frame() for _ in range(2)]
        self.assertIn((PONG, True, b"pp"), got)

    def test_byte_by_byte(self):
        ws = self.e.window()
        for b in ws.frame(TEXT, b'{"jsonrpc":"2.0","id":9,"method":"test/echo","params":{}}'):
            ws.sock.sendall(bytes([b]))
        self.assertEqual(json.loads(ws.recv()[1])["id"], 9)

    def test_oversize(self):
        ws = self.e.window()
        ws.send("x" * (MB + 1))
        self.assertEqual(ws.wait_closed(), 1009)
        ws = self.e.window()
        try:
            for i in range(100):
                ws.send("x" * 65536, fin=False, opcode=TEXT if i == 0 else CONT)
        except OSError:
            pass
        self.assertIn(ws.wait_closed(), (1009, None))
        ws = self.e.window()
        # a length of 2^62 is only believed as far as it goes
        ws.sock.sendall(ws.frame(TEXT, b"x" * 1000, length=1 << 62))
        ws.close()
        self.assertIn("result", self.e.window().call("test/echo"))

    def test_wrong_frames(self):
        for frame in (lambda w: w.frame(TEXT, b"{}", masked=False), lambda w: w.frame(3, b"x"), lambda w: w.frame(11, b"x"),
                      lambda w: w.frame(TEXT, b"{}", rsv=4), lambda w: w.frame(PING, b"x" * 126), lambda w: w.frame(PING, b"", fin=False),
                      lambda w: w.frame(CONT, b"x"), lambda w: w.frame(TEXT, b"x", fin=False) + w.frame(TEXT, b"y"), lambda w: os.urandom(5000)):
            ws = self.e.window()
            ws.sock.sendall(frame(ws))
            self.assertIn(ws.wait_closed(), (None, 1000, 1002, 1003, 1007, 4005))
        self.assertIn("result", self.e.window().call("test/echo"))

    def test_nonsense_text(self):
        for text in ("", "nonsense", "[]", "{}", '{"jsonrpc":"1.0","id":1,"method":"x"}', '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","id":{},"method":"x"}', "[" * 100000):
            ws = self.e.window()
            ws.send(text)
            kind, data = ws.recv() if text else (TEXT, b'{"error":{"data":{"name":"protocol"}}}')
            self.assertEqual(json.loads(data)["error"]["data"]["name"], "protocol")
            self.assertEqual(ws.wait_closed(), 4005)
        ws = self.e.window()
        ws.send(b"\xff\xfe{}", TEXT)
        self.assertIn(ws.wait_closed(), (1007, 4005))

    def test_binary_without_stream(self):
        ws = self.e.window()
        ws.send(b"x")
        self.assertEqual(ws.wait_closed(), 1003)

    def test_ping(self):
        ws = self.e.window()
        ws.send(b"hello", PING)
        self.assertEqual(ws.recv_frame(), (PONG, True, b"hello"))

    def test_close_handshake(self):
        ws = self.e.window()
        ws.send(struct.pack(">H", 1000) + b"bye", CLOSE)
        self.assertEqual(ws.wait_closed(), 1000)
        wait_for(lambda: self.e.status()["gone"] >= 1)

    def test_daemon_closes_with_an_error(self):
        ws = self.e.window()
        ws.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "test/close"}))
        self.assertEqual(ws.wait_closed(), 4067)

    def test_one_that_takes_no_answers(self):
        ws = self.e.window()
        request = ws.frame(TEXT, json.dumps({"jsonrpc": "2.0", "id": 1, "method": "test/echo", "params": {"x": "y" * 500000}}).encode())
        ws.sock.settimeout(20)
        try:
            for _ in range(200):
                ws.sock.sendall(request)
        except OSError:
            pass
        self.assertLess(self.e.status()["rss"], 150 * MB)
        wait_for(lambda: self.e.status()["windows"] == 0, 60, "it to be dropped")


class Streams(unittest.TestCase):
    def setUp(self):
        self.e = Edge(self)

    def test_echo(self):
        ws = self.e.window().stream("h", {"open": "echo"})
        for n in (1, 2, 125, 126, 127, 4096, 65535, 65536, 100000):
            data = os.urandom(n)
            ws.send(data)
            self.assertTrue(ws.recv_bytes(n) == data, n)
        ws.close(1000)

    def test_bytes_with_the_request(self):
        """A client may write at once after its request; the hub answers at once here."""
        ws = self.e.window()
        ws.sock.sendall(ws.frame(TEXT, json.dumps({"jsonrpc": "2.0", "id": 5, "method": "stream/open", "params": {"host": "h", "open": {"open": "echo"}}}).encode()) +
                        ws.frame(BINARY, b"early"))
        self.assertEqual(json.loads(ws.recv()[1])["id"], 5)
        self.assertEqual(ws.recv_bytes(5), b"early")

    def test_refused(self):
        ws = self.e.window()
        m = ws.call("stream/open", {"host": "h", "open": {"open": "no"}})
        self.assertEqual(m["error"]["data"]["name"], "no_terminal")
        self.assertIn("result", ws.call("test/echo"))

    def test_end(self):
        ws = self.e.window().stream("h", {"open": "flood", "bytes": 5 * MB})
        self.assertTrue(ws.recv_bytes(5 * MB) == pattern(5 * MB))
        self.assertEqual(ws.wait_closed(), 1000)

    def test_text_in_a_stream(self):
        ws = self.e.window().stream("h", {"open": "echo"})
        ws.send("text")
        self.assertEqual(ws.wait_closed(), 1003)

    def test_broken(self):
        ws = self.e.window().stream("h", {"open": "fail"})
        ws.send(b"x")
        self.assertEqual(ws.wait_closed(), 4067)

    def test_fragmented_stream_with_pings(self):
        ws = self.e.window().stream("h", {"open": "echo"})
        data = os.urandom(300000)
        out = b""
        for i in range(0, len(data), 10000):
            out += ws.frame(BINARY if i % 30000 == 0 else CONT, data[i:i + 10000], fin=i % 30000 == 20000) + ws.frame(PING, b"p")
        ws.sock.sendall(out)
        self.assertTrue(ws.recv_bytes(len(data)) == data)

    def test_both_ways_at_once(self):
        ws = self.e.window().stream("h", {"open": "echo"})
        data, got, sent = os.urandom(MB) * 20, bytearray(), 0
        frames = b"".join(ws.frame(BINARY, data[i:i + 50000]) for i in range(0, len(data), 50000))
        ws.sock.setblocking(False)
        buf = bytearray()
        while len(got) < len(data):
            r, w, _ = select.select([ws.sock], [ws.sock] if sent < len(frames) else [], [], 30)
            self.assertTrue(r or w, "it stands still")
            if w:
                try:
                    sent += ws.sock.send(frames[sent:sent + 100000])
                except BlockingIOError:
                    pass
            if r:
                buf += ws.sock.recv(262144)
                while len(buf) >= 2:
                    n, at = buf[1], 2
                    if n == 126 and len(buf) >= 4:
                        n, at = struct.unpack(">H", buf[2:4])[0], 4
                    elif n == 127 and len(buf) >= 10:
                        n, at = struct.unpack(">Q", buf[2:10])[0], 10
                    elif n >= 126:
                        break
                    if len(buf) < at + n:
                        break
                    got += buf[at:at + n]
                    del buf[:at + n]
        self.assertTrue(got == data)

    def test_slow_reader(self):
        before = self.e.status()["rss"]
        slow = [self.e.window().stream("h", {"open": "flood", "bytes": 100 * MB}) for _ in range(5)]
        self.assertEqual(self.e.window().call("test/echo", {"a": 1})["result"], {"a": 1})
        self.assertLess(self.e.status()["rss"] - before, 20 * MB)
        ws, at = slow[0], 0
        while at < 100 * MB:
            kind, data = ws.recv()
            self.assertTrue(data == pattern(len(data), at), at)
            at += len(data)
        self.assertEqual((at, ws.wait_closed()), (100 * MB, 1000))
        self.assertLess(self.e.status()["rss"] - before, 20 * MB)
        for s in slow[1:]:
            s.close()
        wait_for(lambda: self.e.status()["clients"] <= 2)

    def test_slow_taker(self):
        """What the other side does not take is not read: the page's socket fills up."""
        before = self.e.status()["rss"]
        ws = self.e.window().stream("h", {"open": "hold"})
        ws.sock.settimeout(1)
        data, sent = b"z" * 60000, 0
        frame = ws.frame(BINARY, data)
        rest = b""
        try:
            while sent < 200 * MB:
                rest = frame
                while rest:
                    rest = rest[ws.sock.send(rest):]
                sent += len(data)
        except TimeoutError:
            pass
        self.assertLess(sent, 50 * MB, "nothing held it back")
        self.assertLess(self.e.status()["rss"] - before, 20 * MB)
        c = self.e.client()
        c.call("test/release")
        ws.sock.settimeout(30)
        ws.sock.sendall(rest)
        sent += len(data) if rest else 0
        for _ in range(100):
            ws.send(data)
        wait_for(lambda: c.call("test/status")["bytes"] == sent + 100 * len(data), what="all of it to arrive")
        c.close()

    def test_held_client_that_goes(self):
        ws = self.e.window().stream("h", {"open": "hold"})
        ws.send(b"z" * 100000)
        ws.close()
        c = self.e.client()
        c.call("test/release")
        wait_for(lambda: c.call("test/status")["clients"] == 1, what="it to be noticed")
        c.close()

    def test_killed_in_the_middle(self):
        for mode in ("echo", "flood", "hold"):
            for how in ("reset", "close", "half frame"):
                ws = self.e.window().stream("h", {"open": mode, "bytes": 50 * MB})
                ws.sock.sendall(ws.frame(BINARY, b"q" * 30000)[:-7 if how == "half frame" else None])
                if how == "reset":
                    ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                ws.close()
        c = self.e.client()
        c.call("test/release")
        wait_for(lambda: c.call("test/status")["clients"] == 1)
        c.close()


class Many(unittest.TestCase):
    def test_thousand_one_after_another(self):
        e = Edge(self)
        for _ in range(50):
            e.window().close()
        wait_for(lambda: e.status()["clients"] <= 1)
        fds, rss = e.fds(), e.status()["rss"]
        for i in range(1000):
            ws = e.window()
            if i % 4 == 1:
                ws.stream("h", {"open": "echo"})
                ws.send(b"x" * 1000)
            if i % 4 == 2:
                ws.close(1000)
                continue
            ws.close()
        wait_for(lambda: e.status()["clients"] <= 1)
        wait_for(lambda: e.fds() <= fds, 60, "their descriptors to be closed")
        # the sanitizer keeps freed memory for a while
        self.assertLess(e.status()["rss"] - rss, 80 * MB)

    def test_two_hundred_at_once(self):
        e = Edge(self)
        all_ = [e.window().stream("h", {"open": "echo"}) for _ in range(200)]
        for i, ws in enumerate(all_):
            ws.send(b"%d" % i * 100)
        for i, ws in enumerate(all_):
            self.assertEqual(ws.recv_bytes(len(b"%d" % i * 100)), b"%d" % i * 100)
        # ended with all of them open: see Edge.stop

    def test_daemon_goes_away(self):
        e = Edge(self)
        a, b = e.window(), e.window().stream("h", {"open": "flood", "bytes": 100 * MB})
        e.process.stdin.close()
        e.process.stdin = None
        self.assertIn(a.wait_closed(), (None, 1000, 1001))
        self.assertIn(b.wait_closed(), (None, 1000, 1001))


if __name__ == "__main__":
    unittest.main()
