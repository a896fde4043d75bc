"""What the tests of forwards share; a helper."""
import os
import re
import socket
import socketserver
import threading
import unittest

from harness import ROOT, Daemon, Sshd

LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


class Echo:
    """A TCP or unix server of ours on the host (which is this machine): echoes until the end, then says so."""

    def __init__(self, family=socket.AF_INET, address="127.0.0.1", path=None):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                while True:
                    try:
                        b = self.request.recv(65536)
                    except OSError:
                        return
                    if not b:
                        break
                    self.request.sendall(b)
                self.request.sendall(b"<end>")

        base = socketserver.ThreadingUnixStreamServer if path else socketserver.ThreadingTCPServer
        kind = type("Server", (base,), {"address_family": socket.AF_UNIX if path else family, "daemon_threads": True,
                                        "request_queue_size": 256, "block_on_close": False, "allow_reuse_address": True})
        self.server = kind(path or (address, 0), Handler)
        self.port = None if path else self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def limit(name):
    """A number of proto/limits.def."""
    with open(os.path.join(ROOT, "proto/limits.def")) as f:
        return int(re.search(rf"TL_LIMIT\({name}, (\d+),", f.read())[1])


def read_all(s):
    out = b""
    while True:
        b = s.recv(65536)
        if not b:
            return out
        out += b


def talk(port, data=b"hello", host="127.0.0.1"):
    """What an Echo answers through a local port."""
    with socket.create_connection((host, port), timeout=60) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        return read_all(s)


def talk_path(path, data=b"hello"):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(path)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        return read_all(s)


def refused(port):
    """Nobody listens there any more."""
    try:
        talk(port)
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False
    return False


def listeners(pid):
    """(address, port) of every TCP listener of a process, in the kernel's own words."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            to = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if to.startswith("socket:["):
            inodes.add(to[8:-1])
    out = set()
    for name in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{name}") as f:
            for line in list(f)[1:]:
                w = line.split()
                if w[3] == "0A" and w[9] in inodes:
                    address, port = w[1].split(":")
                    out.add((address, int(port, 16)))
    return out


class Forwards(unittest.TestCase):
    """A host, a daemon connected to it, and a client of the daemon."""
    extra = ""
    client_extra = ""
    wire = False

    def setUp(self):
        self.host = Sshd(test=self, extra=self.extra, client_extra=self.client_extra, wire=self.wire)
        self.local = Daemon(self.host, test=self)
        self.prepare()
        self.local.towline("connect", self.host.alias)
        self.client = self.local.client()

    def prepare(self):
        """Before anything runs."""

    def add(self, **spec):
        return self.client.call("forward/add", host=self.host.alias, **spec)

    def forwards(self):
        return self.client.call("forward/list", host=self.host.alias)["forwards"]

    def echo(self, **kw):
        e = Echo(**kw)
        self.addCleanup(e.close)
        return e

    def settings(self, text):
        """The user's settings.json, as people write it."""
        folder = os.path.join(self.local.config_home, "towline", "User")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "settings.json"), "w") as f:
            f.write(text)
