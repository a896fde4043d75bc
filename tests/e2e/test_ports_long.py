"""Many connections and many bytes through a forward: nothing is lost, nothing is left behind (rows E1 K1).
TOWLINE_LONG=1 runs it whole: 10,000 connections, 1 GiB each way."""
# deadline: 600
# parallel: ok
import hashlib
import os
import socket
import struct
import threading
import unittest

from forwarding import Forwards, talk
from harness import ASAN, wait_for

LONG = os.environ.get("TOWLINE_LONG") == "1"
MIB = 1 << 20
CONNECTIONS = 10000 if LONG else 300
EACH_WAY = (1024 if LONG else 32) * MIB
CUTS = 8 if LONG else 2
BLOCK = os.urandom(MIB)


def pieces(n, word):
    """n bytes in pieces of a MiB, no two of them alike."""
    for i in range(n // MIB):
        yield struct.pack("!4sI", word, i) + BLOCK[8:]


def digest(n, word):
    sha = hashlib.sha256()
    for p in pieces(n, word):
        sha.update(p)
    return sha.hexdigest()


def send(s, n, word):
    for p in pieces(n, word):
        s.sendall(p)
    s.shutdown(socket.SHUT_WR)


def receive(s):
    sha, n = hashlib.sha256(), 0
    while (b := s.recv(1 << 18)):
        sha.update(b)
        n += len(b)
    return n, sha.hexdigest()


class BothWays:
    """A server that sends n bytes while it receives, and keeps what the digest of those was."""

    def __init__(self, n):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.got, self.n = self.listener.getsockname()[1], None, n
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        s, _ = self.listener.accept()
        sender = threading.Thread(target=send, args=(s, self.n, b"down"), daemon=True)
        sender.start()
        self.got = receive(s)
        sender.join()
        s.close()


class Bytes(Forwards):
    def both_ways(self, n, meanwhile=lambda: None):
        server = BothWays(n)
        self.addCleanup(server.listener.close)
        f = self.add(targetPort=server.port, localPort=0)
        with socket.create_connection(("127.0.0.1", f["localPort"]), timeout=300) as s:
            sender = threading.Thread(target=send, args=(s, n, b"up  "), daemon=True)
            sender.start()
            threading.Thread(target=meanwhile, daemon=True).start()
            self.assertEqual(receive(s), (n, digest(n, b"down")))
            sender.join(300)
        wait_for(lambda: server.got, 300, "what was sent to the host")
        self.assertEqual(server.got, (n, digest(n, b"up  ")))
        f = wait_for(lambda: [x for x in self.forwards() if x["id"] == f["id"] and not x["connections"]], 60, "its end")[0]
        self.assertEqual((f["bytesIn"], f["bytesOut"]), (n, n))

    def test_each_way_at_once(self):
        self.both_ways(EACH_WAY)


class Cuts(Bytes):
    wire = True

    def test_each_way_at_once(self):
        """Over a network that is cut again and again."""
        done = []

        def cut():
            other = self.local.client()
            for i in range(CUTS):
                wait_for(lambda: sum(f["bytesIn"] for f in other.call("forward/list", host=self.host.alias)["forwards"]) > (i + 1) * 4 * MIB,
                         300, "more bytes")
                self.host.wire.cut()
                wait_for(lambda: other.call("host/list")["hosts"][0]["phase"] == "reconnecting", 60, "the loss to be seen")
                self.host.wire.heal()
                other.call("host/reconnect", host=self.host.alias)
                done.append(i)
        self.both_ways((CUTS + 4) * 8 * MIB, cut)
        self.assertEqual(len(done), CUTS)


class Connections(Forwards):
    def things(self):
        """Descriptors of daemon and agents, streams of the link; resident memory."""
        pids = [self.local.pid(), *self.host.processes(argv0="towline-host")]
        rss = fds = 0
        for p in pids:
            try:
                fds += len(os.listdir(f"/proc/{p}/fd"))
                with open(f"/proc/{p}/status") as f:
                    rss += sum(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
            except OSError:
                pass  # ended meanwhile
        return len(pids), fds, self.client.call("host/list")["hosts"][0]["streams"], rss

    def test_one_after_another_they_leave_nothing_behind(self):
        e = self.echo()
        f = self.add(targetPort=e.port, localPort=0)

        def run(n):
            for i in range(n):
                word = b"%d" % i
                self.assertEqual(talk(f["localPort"], word), word + b"<end>")
            wait_for(lambda: self.forwards()[0]["connections"] == 0, 60, "the last connection to end")
        run(100)
        before = self.things()
        run(CONNECTIONS)
        # a stream ends with the other side's word for it
        wait_for(lambda: self.things()[:3] == before[:3], 60, f"everything to be as before: {before}")
        # a sanitizer keeps what was freed
        if not ASAN:
            self.assertLess(self.things()[3] - before[3], 4096, "kB more than after the first hundred")


if __name__ == "__main__":
    unittest.main()
