"""What carries tunnels and forwards, from a local connection to one on the host: many, one after another, large, broken (rows A9, E1, E6, K1)."""
# deadline: 600
# parallel: ok
import hashlib
import os
import select
import signal
import socket
import struct
import threading
import unittest

from harness import Daemon, Sshd, wait_for
from harness.proc import sanitizer_env

MIB = 1 << 20
BLOCK = os.urandom(MIB)


def piece(i):
    """The i-th MiB of a stream in which no MiB is like another."""
    return struct.pack(">Q", i) + BLOCK[8:]


def send_stream(s, mib):
    for i in range(mib):
        s.sendall(piece(i))
    s.shutdown(socket.SHUT_WR)


def digest_of(s):
    h, n = hashlib.sha256(), 0
    while data := s.recv(MIB):
        h.update(data)
        n += len(data)
    return h.hexdigest(), n


def whole(mib):
    h = hashlib.sha256()
    for i in range(mib):
        h.update(piece(i))
    return h.hexdigest(), mib * MIB


def exactly(s, n):
    out = b""
    while len(out) < n and (more := s.recv(n - len(out))):
        out += more
    return out


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


class Server:
    """Listens on the host. `take()` gives the next connection; with echo they are served by threads."""

    def __init__(self, test, family=socket.AF_INET, echo=False):
        self.socket = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family, backlog=256)
        self.port = self.socket.getsockname()[1]
        self.socket.settimeout(120)
        self.test = test
        test.addCleanup(self.socket.close)
        if echo:
            threading.Thread(target=self.serve, daemon=True).start()

    def take(self):
        s, _ = self.socket.accept()
        s.settimeout(120)
        self.test.addCleanup(s.close)
        return s

    def serve(self):
        waits = {self.socket}
        while True:
            try:
                ready, _, _ = select.select(waits, [], [], 120)
                for s in ready:
                    if s is self.socket:
                        waits.add(s.accept()[0])
                    elif data := s.recv(65536):
                        s.sendall(data)
                    else:
                        s.close()
                        waits.discard(s)
            except (OSError, ValueError):
                return


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Rss:"))


class Bed:
    """A host, and what a forward of the daemon takes to it."""
    wire = False

    def setUp(self):
        # freed memory is used again at once: what grows is kept by somebody
        small = {"ASAN_OPTIONS": sanitizer_env()["ASAN_OPTIONS"] + ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}
        self.host = Sshd(test=self, wire=self.wire, env=small)
        self.local = Daemon(self.host, test=self, env=small)

    def connect(self, port, address="127.0.0.1"):
        s = socket.create_connection((address, port), timeout=120)
        self.addCleanup(s.close)
        return s

    def path(self, address, port):
        self.local.towline("connect", self.host.alias)
        self.client = self.local.client()
        return self.client.call("forward/add", host=self.host.alias, targetHost=address, targetPort=port, localPort=0)["localPort"]


class Paths(Bed):
    """Cases for both users of the path."""

    def ping(self, port, text=b"ping"):
        with socket.create_connection(("127.0.0.1", port), timeout=120) as s:
            s.sendall(text)
            self.assertEqual(exactly(s, len(text)), text)
            s.shutdown(socket.SHUT_WR)
            self.assertEqual(s.recv(1), b"")

    def test_thousands_of_connections_one_after_another_leave_nothing(self):
        server = Server(self, echo=True)
        port = self.path("127.0.0.1", server.port)
        for _ in range(500):
            self.ping(port)
        pids = self.programs()
        self.assertTrue(pids)
        before = {p: (descriptors(p), resident(p)) for p in pids}
        for _ in range(self.many):
            self.ping(port)
        for pid, (fds, kib) in before.items():
            wait_for(lambda pid=pid, fds=fds: descriptors(pid) <= fds, 60, "descriptors to be closed")
            # a hundred bytes a connection would be a megabyte
            self.assertLess(resident(pid) - kib, 1000, f"{pid} grew")

    def test_200_connections_at_once(self):
        server = Server(self, echo=True)
        port = self.path("127.0.0.1", server.port)
        socks = [self.connect(port) for _ in range(200)]
        for i, s in enumerate(socks):
            s.sendall(struct.pack(">I", i) * 500)
        for i, s in enumerate(socks):
            self.assertEqual(exactly(s, 2000), struct.pack(">I", i) * 500)

    def test_much_both_ways_at_once(self):
        server = Server(self)
        near = self.connect(self.path("127.0.0.1", server.port))
        far = server.take()
        got = {}
        work = [threading.Thread(target=send_stream, args=(s, self.mib)) for s in (near, far)]
        work += [threading.Thread(target=lambda n=n, s=s: got.update({n: digest_of(s)})) for n, s in (("near", near), ("far", far))]
        for t in work:
            t.start()
        for t in work:
            t.join(500)
        self.assertEqual(got, dict.fromkeys(("near", "far"), whole(self.mib)))

    def test_refused_reset_and_ended_are_told_apart(self):
        server = Server(self)
        port = self.path("127.0.0.1", server.port)
        # ended
        near, far = self.connect(port), server.take()
        far.close()
        self.assertEqual(near.recv(1), b"")
        # reset on the host, before and after its end was said
        near, far = self.connect(port), server.take()
        reset(far)
        with self.assertRaises(ConnectionResetError):
            near.recv(1)
        near, far = self.connect(port), server.take()
        far.shutdown(socket.SHUT_WR)
        self.assertEqual(near.recv(1), b"")
        reset(far)
        self.notices(near)
        # reset here, the same
        near, far = self.connect(port), server.take()
        reset(near)
        with self.assertRaises(ConnectionResetError):
            far.recv(1)
        near, far = self.connect(port), server.take()
        near.shutdown(socket.SHUT_WR)
        self.assertEqual(far.recv(1), b"")
        reset(near)
        self.notices(far)
        # refused
        server.socket.close()
        with self.assertRaises(ConnectionResetError):  # as soon as this: while connecting
            self.connect(port).recv(1)

    def notices(self, s):
        """A reset where nothing can be read any more."""
        p = select.poll()
        p.register(s, 0)
        self.assertTrue(p.poll(120000), "the reset did not arrive")

    def test_version_6(self):
        server = Server(self, socket.AF_INET6, echo=True)
        self.ping(self.path("::1", server.port))


class OwnSession(Paths, unittest.TestCase):
    """`towline tunnel` with a connection of its own."""
    many, mib = 9500, 256

    def path(self, address, port):
        target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        p = self.tunnel = self.local.start("tunnel", self.host.alias, f"0:{target}", text=True)

        def end():
            p.send_signal(signal.SIGINT)
            err = p.communicate(timeout=120)[1]
            self.assertEqual(p.returncode, 0, err)
        self.addCleanup(end)
        return int(p.stdout.readline().split()[1])

    def programs(self):
        # there the server runs in one process, removed from the disk
        return [self.tunnel.pid, *self.host.processes(argv0=".towline")]


class Forward(Paths, unittest.TestCase):
    """`towline forward`, held by towlined."""
    many, mib = 2000, 64

    def programs(self):
        return [self.local.pid(), *self.host.processes(argv0="towline-host")]


class CutLink(Bed, unittest.TestCase):
    """The way to the host breaks while bytes flow: connections stay open, and nothing is lost or doubled."""
    wire = True

    def test_link_cut_during_a_transfer(self):
        server = Server(self)
        port = self.path("127.0.0.1", server.port)
        near = self.connect(port)
        far = server.take()
        got, mib = {}, 24
        self.host.wire.rate = 16 * MIB  # slow enough to be cut in the middle
        work = [threading.Thread(target=send_stream, args=(s, mib)) for s in (near, far)]
        work += [threading.Thread(target=lambda n=n, s=s: got.update({n: digest_of(s)})) for n, s in (("near", near), ("far", far))]
        for t in work:
            t.start()
        for step in range(1, 4):
            passed = sum(self.host.wire.passed)
            wait_for(lambda: sum(self.host.wire.passed) > passed + 4 * MIB, 120, "bytes to flow")
            self.host.wire.cut()
            # a connection that comes meanwhile waits
            late = self.connect(port)
            late.sendall(b"late%d" % step)
            self.host.wire.heal()
            other = server.take()
            self.assertEqual(exactly(other, 5), b"late%d" % step)
            other.close()
            self.assertEqual(late.recv(1), b"")
        self.host.wire.rate = 0
        for t in work:
            t.join(300)
        self.assertEqual(got, dict.fromkeys(("near", "far"), whole(mib)))


if __name__ == "__main__":
    unittest.main()
