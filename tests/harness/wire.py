"""A TCP wire between client and server that a test can cut, stall, throttle and heal."""
import queue
import socket
import threading
import time

from .proc import Fixture, on_exit  # noqa: F401  (on_exit: fixtures stop at exit)

CHUNK = 65536
LATE = 1024  # chunks on a slow way


class Wire(Fixture):
    """Listens on a loopback port and passes connections on to another one.

    cut()    closes every connection now and refuses new ones (as when a host is gone)
    drop()   closes every connection now; new ones work (as when sshd restarts)
    stall()  passes nothing on, says nothing (as when the network is gone or the machine sleeps)
    heal()   undoes cut and stall
    rate     bytes a second each way, 0 unlimited; delay: seconds each way
    """

    def __init__(self, target_port, test=None):
        self._begin(test)
        self.target = target_port
        self.rate, self.delay = 0, 0.0
        self.passed = [0, 0]  # bytes to the server, to the client
        self.connections = 0
        self._open, self._lock = [], threading.Lock()
        self._flow = threading.Event()
        self._flow.set()
        self._refuse = False
        self._gone = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.stopped:
            try:
                c, _ = self._listener.accept()
            except OSError:
                return
            if self._refuse:
                c.close()
                continue
            try:
                s = socket.create_connection(("127.0.0.1", self.target), 60)
            except OSError:
                c.close()
                continue
            for x in (c, s):
                x.settimeout(None)
                x.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            pair = (c, s)
            with self._lock:
                self._open.append(pair)
            threading.Thread(target=self._pass, args=(pair, 0), daemon=True).start()
            threading.Thread(target=self._pass, args=(pair, 1), daemon=True).start()

    def _pass(self, pair, way):
        src, dst, late = pair[way], pair[1 - way], None
        try:
            while True:
                data = src.recv(CHUNK)
                if not late and self.delay:
                    # each byte is late by itself: the next ones do not wait for it
                    late = queue.Queue(LATE)
                    threading.Thread(target=self._late, args=(pair, way, late), daemon=True).start()
                if not data and not late:
                    dst.shutdown(socket.SHUT_WR)
                    return
                self._flow.wait()
                if self.rate:
                    self._gone.wait(len(data) / self.rate)
                if pair not in self._open:
                    return
                if late:
                    late.put((time.monotonic() + self.delay, data))
                else:
                    dst.sendall(data)
                    self.passed[way] += len(data)
                if not data:
                    return
        except OSError:
            self._close(pair)
        finally:
            if late:
                late.put((0, None))

    def _late(self, pair, way, late):
        dst, lost = pair[1 - way], False
        while True:
            when, data = late.get()
            if data is None:
                return
            try:
                if not lost:
                    self._gone.wait(max(0.0, when - time.monotonic()))
                    self._flow.wait()
                    if not data:
                        dst.shutdown(socket.SHUT_WR)
                    dst.sendall(data)
                    self.passed[way] += len(data)
            except OSError:
                lost = True
                self._close(pair)

    def _close(self, pair):
        with self._lock:
            if pair in self._open:
                self._open.remove(pair)
        for x in pair:
            try:
                x.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            x.close()

    def drop(self):
        for pair in list(self._open):
            self._close(pair)
        self._flow.set()

    def cut(self):
        self._refuse = True
        self.drop()

    def stall(self):
        self._flow.clear()

    def heal(self):
        self._refuse = False
        self._flow.set()

    def _end(self):
        self._refuse = True
        self._gone.set()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self.drop()
