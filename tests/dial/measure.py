"""How long it takes to reach a host over a long line: python3 tests/dial/measure.py [MILLISECONDS EACH WAY]

Compares the first connection (with installation) and the second one with `ssh HOST true`. Not a test: times are for
docs/connect.md, and for whoever changes the start-up line. Needs `make build/tests/peers/dial_driver`.
"""
import os
import queue
import socket
import subprocess
import sys
import threading
import time

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

from dialing import Dial, server_folder
from harness import Dropbear, Sshd, dropbear_missing


class Line:
    """A TCP wire that delivers every byte `delay` seconds late, as many at once as there are."""

    def __init__(self, port, delay):
        self.target, self.delay = port, delay
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            c, _ = self.listener.accept()
            threading.Thread(target=self._connect, args=(c,), daemon=True).start()

    def _connect(self, c):
        time.sleep(2 * self.delay)  # SYN and its answer
        s = socket.create_connection(("127.0.0.1", self.target))
        for a, b in ((c, s), (s, c)):
            a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            q = queue.Queue(maxsize=1024)
            threading.Thread(target=self._read, args=(a, q), daemon=True).start()
            threading.Thread(target=self._write, args=(b, q), daemon=True).start()

    def _read(self, a, q):
        data = b"x"
        while data:
            try:
                data = a.recv(65536)
            except OSError:
                data = b""
            q.put((time.monotonic() + self.delay, data))

    def _write(self, b, q):
        while True:
            when, data = q.get()
            time.sleep(max(0, when - time.monotonic()))
            try:
                b.sendall(data) if data else b.shutdown(socket.SHUT_WR)
            except OSError:
                return
            if not data:
                return


class Owner:
    """Stands in for a TestCase."""

    def __init__(self):
        self.cleanups = []

    def addCleanup(self, fn, *args, **kw):
        self.cleanups.append((fn, args, kw))

    def done(self):
        while self.cleanups:
            fn, args, kw = self.cleanups.pop()
            fn(*args, **kw)


def timed(fn):
    t = time.monotonic()
    fn()
    return time.monotonic() - t


def measure(name, host, owner, delay, folder):
    line = Line(host.port, delay)
    with open(host.config) as f:
        text = f.read().replace(f"Port {host.client_port}", f"Port {line.port}")
    config = host.config + ".line"
    with open(config, "w") as f:
        f.write(text + "    StrictHostKeyChecking no\n    UserKnownHostsFile /dev/null\n")

    def up():
        d = Dial(owner, "-F", config, host.alias, bin=folder, send="")
        assert d.wait("up"), d.events

    plain = [timed(lambda: subprocess.run(["ssh", "-F", config, host.alias, "true"], check=True,
                                          stderr=subprocess.DEVNULL)) for _ in range(3)]
    first = timed(up)
    later = [timed(up) for _ in range(3)]
    print(f"{name:28} ssh true {min(plain):5.2f} s   first {first:5.2f} s   later {min(later):5.2f} s", flush=True)


def main():
    delay = float(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.05
    folder = os.environ.get("TOWLINE_HOST_BIN")
    owner = Owner()
    folder = folder or server_folder(owner, size=900000)
    try:
        measure("OpenSSH sshd", Sshd(test=owner), owner, delay, folder)
        if not dropbear_missing():
            measure("dropbear, busybox", Dropbear(test=owner), owner, delay, folder)
    finally:
        owner.done()


if __name__ == "__main__":
    main()
