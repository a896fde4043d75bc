"""Tunnels: many connections, half-close, resets, reverse, SOCKS 5, unix sockets, once (row A9)."""
# parallel: ok
import hashlib
import os
import signal
import socket
import stat
import struct
import threading
import unittest

from harness import Daemon, Sshd, kill_marked, wait_for


def line_of(stream):
    text = stream.readline()
    if not text:
        raise AssertionError("the tunnel ended: no line")
    return text


def receive(sock, n):
    out = b""
    while len(out) < n:
        more = sock.recv(n - len(out))
        if not more:
            break
        out += more
    return out


def all_of(sock):
    h, n = hashlib.sha256(), 0
    while True:
        data = sock.recv(1 << 16)
        if not data:
            return h.hexdigest(), n
        h.update(data)
        n += len(data)


class Tunnels:
    """One host for the class; each test has its own `towline tunnel`."""
    connected = False  # through towlined

    @classmethod
    def setUpClass(cls):
        cls.host = Sshd()
        cls.addClassCleanup(cls.host.stop)
        cls.local = Daemon(cls.host)
        cls.addClassCleanup(cls.local.stop)
        if cls.connected:
            cls.local.towline("connect", "demo")

    def setUp(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(60)
        self.addCleanup(self.server.close)
        self.target = f"localhost:{self.server.getsockname()[1]}"

    def tunnel(self, *args, lines=1):
        p = self.local.start("tunnel", *args, text=True)

        def end():
            if p.poll() is None:
                p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=60)
            self.assertNotIn("Sanitizer", err)
        self.addCleanup(end)
        text = [p.stdout.readline() for _ in range(lines)]
        if not text[0]:
            raise AssertionError("the tunnel ended: " + p.stderr.read())
        p.port = int(text[0].split()[1]) if text[0].startswith("port") else None
        p.text = text
        return p

    def connect(self, port):
        s = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.addCleanup(s.close)
        return s

    def accept(self):
        s, _ = self.server.accept()
        s.settimeout(60)
        self.addCleanup(s.close)
        return s

    def pair(self, p):
        near = self.connect(p.port)
        return near, self.accept()

    def test_half_close_begun_by_the_client(self):
        near, far = self.pair(self.tunnel("demo", f"0:{self.target}"))
        near.sendall(b"ping")
        self.assertEqual(receive(far, 4), b"ping")
        near.shutdown(socket.SHUT_WR)
        self.assertEqual(far.recv(1), b"")
        far.sendall(b"late answer")
        self.assertEqual(receive(near, 11), b"late answer")
        far.close()
        self.assertEqual(near.recv(1), b"")

    def test_half_close_begun_by_the_server(self):
        near, far = self.pair(self.tunnel("demo", f"0:{self.target}"))
        far.sendall(b"greeting")
        far.shutdown(socket.SHUT_WR)
        self.assertEqual(receive(near, 8), b"greeting")
        self.assertEqual(near.recv(1), b"")
        near.sendall(b"still here")
        self.assertEqual(receive(far, 10), b"still here")
        near.close()
        self.assertEqual(far.recv(1), b"")

    def test_a_reset_of_the_server_is_a_reset_here(self):
        near, far = self.pair(self.tunnel("demo", f"0:{self.target}"))
        near.sendall(b"x")
        self.assertEqual(receive(far, 1), b"x")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        with self.assertRaises(ConnectionResetError):
            near.recv(1)

    def test_large_transfers_both_ways_at_once(self):
        """LIBTOWLINE_MIB=1024 for the whole thing."""
        near, far = self.pair(self.tunnel("demo", f"0:{self.target}"))
        size = int(os.environ.get("LIBTOWLINE_MIB", "8"))
        blob = os.urandom(size << 20)
        got = {}

        def write(sock):
            sock.sendall(blob)
            sock.shutdown(socket.SHUT_WR)

        def read(name, sock):
            got[name] = all_of(sock)
        work = [threading.Thread(target=t, args=x) for t, x in ((read, ("near", near)), (read, ("far", far)), (write, (near,)),
                                                                (write, (far,)))]
        for t in work:
            t.start()
        for t in work:
            t.join(120 + size)
        want = hashlib.sha256(blob).hexdigest(), len(blob)
        self.assertEqual(got, {"near": want, "far": want})

    def test_a_connection_that_reads_nothing_stops_no_other(self):
        p = self.tunnel("demo", f"0:{self.target}")
        near, far = self.pair(p)
        far.setblocking(False)
        sent = 0
        try:  # until everything between is full
            while sent < 64 << 20:
                sent += far.send(bytes(1 << 16))
                wait = threading.Event()
                wait.wait(0)
        except BlockingIOError:
            pass
        for _ in range(5):
            a, b = self.pair(p)
            a.sendall(b"hello")
            self.assertEqual(receive(b, 5), b"hello")
        far.setblocking(True)
        far.shutdown(socket.SHUT_WR)
        self.assertEqual(all_of(near)[1], sent)

    def test_many_connections_at_once(self):
        p = self.tunnel("demo", f"0:{self.target}")
        pairs = [self.pair(p) for _ in range(50)]
        for i, (a, b) in enumerate(pairs):
            a.sendall(b"%03d" % i)
        seen = sorted(receive(b, 3) for a, b in pairs)
        self.assertEqual(seen, [b"%03d" % i for i in range(50)])
        for a, b in pairs:
            a.close()
            self.assertEqual(b.recv(1), b"")

    def test_a_refused_target_ends_the_connection_and_says_so(self):
        p = self.tunnel("demo", "0:localhost:1")
        with self.connect(p.port) as s:
            try:
                self.assertEqual(s.recv(1), b"")
            except ConnectionResetError:
                pass
        self.assertIn("refused", p.stderr.readline())

    def test_a_unix_socket_of_the_host_and_one_of_ours(self):
        path = os.path.join(self.host.home, self.id().split(".")[-1] + ".s")
        mine = os.path.join(self.local.dir, "mine.sock")
        with socket.socket(socket.AF_UNIX) as u:
            u.bind(path)
            os.chmod(path, 0o777)
            u.listen()
            p = self.tunnel("demo", f"{mine}:{path}")
            self.assertEqual(os.stat(mine).st_mode & 0o777, 0o600)
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(mine)
                s.sendall(b"question")
                a, _ = u.accept()
                self.assertEqual(receive(a, 8), b"question")
                a.sendall(b"answer")
                self.assertEqual(receive(s, 6), b"answer")
                a.close()
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.wait(60), 0)
            self.assertFalse(os.path.exists(mine))
        os.unlink(path)

    def test_reverse_from_a_unix_socket_of_the_host(self):
        """Incident: with a path to listen on, a TCP port was opened on the host instead."""
        name = self.id().split(".")[-1][-20:] + ("d" if self.connected else "o")
        path = os.path.join(self.host.home, name)
        p = self.tunnel("-R", "demo", f"~/{name}:{self.target}")
        self.assertEqual(p.text[0], f"host socket ~/{name} -> {self.target}\n")
        st = os.stat(path)
        self.assertEqual((st.st_mode & 0o777, st.st_uid, stat.S_ISSOCK(st.st_mode)), (0o600, self.host.uid, True))
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(b"question")
                a, _ = self.server.accept()
                self.assertEqual(receive(a, 8), b"question")
                a.sendall(b"answer")
                self.assertEqual(receive(s, 6), b"answer")
                a.close()
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(60), 0)
        wait_for(lambda: not os.path.exists(path), 60, "the socket to go")
        for text, word in ((path, "exists"), ("/nonexistent/x", "No such file")):
            if text == path:
                open(path, "w").close()
                self.addCleanup(os.unlink, path)
            r = self.local.towline("tunnel", "-R", "demo", f"{text}:{self.target}", check=False)
            self.assertIn(word, r.stderr)

    def test_reverse(self):
        p = self.tunnel("-R", "demo", f"0:{self.target}")
        port = int(p.text[0].split()[2])
        for i in range(3):
            there = self.connect(port)
            here = self.accept()
            there.sendall(b"from there")
            self.assertEqual(receive(here, 10), b"from there")
            here.sendall(b"from here")
            here.close()
            self.assertEqual(receive(there, 9), b"from here")
            self.assertEqual(there.recv(1), b"")
            there.close()

    def socks(self, port, request, greeting=b"\5\1\0"):
        s = self.connect(port)
        s.sendall(greeting)
        self.assertEqual(receive(s, 2), b"\5\0")
        s.sendall(request)
        return s, receive(s, 10)

    def test_socks_with_names_and_addresses(self):
        p = self.tunnel("demo", "--socks", "0")
        port = struct.pack(">H", self.server.getsockname()[1])
        for address in (b"\3\x09localhost", b"\1" + socket.inet_aton("127.0.0.1")):
            s, reply = self.socks(p.port, b"\5\1\0" + address + port + b"early")
            self.assertEqual(reply[:4], b"\5\0\0\1")
            far = self.accept()
            self.assertEqual(receive(far, 5), b"early")
            far.sendall(b"yes")
            self.assertEqual(receive(s, 3), b"yes")

    def test_socks_refusals(self):
        p = self.tunnel("demo", "--socks", "0")
        for request, code in ((b"\5\1\0\1\x7f\0\0\1\0\1", 5), (b"\5\1\0\3\x0fno-such.invalid\0\1", 4), (b"\5\2\0\1\x7f\0\0\1\0\1", 7),
                              (b"\5\1\0\3\0\0\1", 8)):
            s, reply = self.socks(p.port, request)
            self.assertEqual(reply[:2], bytes([5, code]))
            s.close()
        for greeting in (b"\4\1\0\1\x7f\0\0\1\0", b"GET / HTTP/1.1\r\n\r\n"):
            with self.connect(p.port) as s:
                s.sendall(greeting)
                try:
                    self.assertEqual(s.recv(1), b"")
                except ConnectionResetError:
                    pass
        with self.connect(p.port) as s:
            s.sendall(b"\5\1\2")
            self.assertEqual(receive(s, 2), b"\5\xff")

    def test_once(self):
        p = self.tunnel("--once", "demo", f"0:{self.target}")
        near, far = self.pair(p)
        with self.assertRaises(ConnectionRefusedError):
            while True:
                self.connect(p.port).close()
        near.sendall(b"one")
        self.assertEqual(receive(far, 3), b"one")
        near.close()
        far.close()
        self.assertEqual(p.wait(60), 0)

    def test_a_port_that_is_taken(self):
        port = self.server.getsockname()[1]
        for args, where in (((), "this machine"), (("-R",), "the host")):
            r = self.local.towline("tunnel", *args, "demo", f"{port}:localhost:1", check=False)
            self.assertNotEqual(r.returncode, 0)
            self.assertIn(f"port {port} of", r.stderr)
            self.assertIn("in use", r.stderr)

    def test_it_listens_for_this_machine_only(self):
        p = self.tunnel("demo", f"0:{self.target}")
        with open("/proc/net/tcp") as f:
            listening = [ln.split()[1] for ln in f if ln.split()[3] == "0A"]
        self.assertIn("0100007F:%04X" % p.port, listening)
        self.assertNotIn("00000000:%04X" % p.port, listening)


class Own(Tunnels, unittest.TestCase):
    def test_the_end_of_the_connection_ends_the_command(self):
        p = self.tunnel("demo", f"0:{self.target}")
        kill_marked(self.host.mark, argv0="sshd")
        for pid in self.ssh_of(p):
            os.kill(pid, signal.SIGKILL)
        self.assertNotEqual(p.wait(60), 0)

    def ssh_of(self, p):
        with open(f"/proc/{p.pid}/task/{p.pid}/children") as f:
            pids = f.read().split()
        for task in os.listdir(f"/proc/{p.pid}/task"):
            with open(f"/proc/{p.pid}/task/{task}/children") as f:
                pids += f.read().split()
        return {int(x) for x in pids}


class ThroughTheDaemon(Tunnels, unittest.TestCase):
    connected = True


class Wrong(unittest.TestCase):
    def test_bad_words(self):
        local = Daemon(test=self)
        for args, what in (((), "HOST is missing"), (("demo",), "LISTEN:TARGET is missing"), (("demo", "80"), "is not LISTEN:TARGET")):
            r = local.towline("tunnel", *args, check=False)
            self.assertEqual(r.returncode, 2)
            self.assertIn(what, r.stderr)


if __name__ == "__main__":
    unittest.main()
