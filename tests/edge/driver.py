"""The edge room alone: build/tests/peers/edge_driver with a window folder of our own."""
import gzip
import json
import os
import shutil
import socket
import subprocess

from harness import ROOT, ControlClient, scratch
from harness.proc import end, sanitizer_env, spawn
from harness.ws import WebSocket

DRIVER = os.path.join(ROOT, "build/tests/peers/edge_driver")
TOKEN = "0123456789abcdef"


class Edge:
    """Attributes: port, frame_port, dir, ui, control. With ui=False the window's folder is missing."""

    def __init__(self, test, ui=True, env=None):
        self.dir = scratch("tle-")
        self.ui, self.control = os.path.join(self.dir, "ui"), os.path.join(self.dir, "c.sock")
        if ui:
            os.makedirs(os.path.join(self.ui, "assets"))
            self.put("index.html", b"<!doctype html><title>w</title>")
        e = {**os.environ, **sanitizer_env(), **(env or {})}
        # freed memory is not kept aside for long: the tests look at resident memory
        e["ASAN_OPTIONS"] += ":quarantine_size_mb=4"
        self.errors = os.path.join(self.dir, "stderr")
        with open(self.errors, "w") as f:
            self.process = spawn([DRIVER, self.ui, self.control, TOKEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=f, env=e, text=True)
        self.ready = json.loads(self.process.stdout.readline())
        self.port, self.frame_port = self.ready.get("port"), self.ready.get("framePort")
        test.addCleanup(self.stop, test)

    def put(self, name, data, packed=False):
        with open(os.path.join(self.ui, name + (".gz" if packed else "")), "wb") as f:
            f.write(gzip.compress(data) if packed else data)

    def request(self, method="GET", path="/", host=None, headers=None, port=None, family="127.0.0.1", body=b""):
        """(status, headers in lower case, body) by a connection of its own."""
        port = port or self.port
        with socket.create_connection((family, port), 60) as s:
            lines = [f"{method} {path} HTTP/1.1"]
            if host != "":
                lines.append(f"Host: {host or f'localhost:{port}'}")
            if body:
                lines.append(f"Content-Length: {len(body)}")
            lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
            s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
            return read_answer(s, method)

    def socket(self, **kw):
        return WebSocket(self.port, **kw)

    def window(self, **kw):
        ws = self.socket(**kw)
        m = ws.greet(TOKEN)
        assert "result" in m, m
        return ws

    def client(self, **kw):
        return ControlClient(self.control, **kw)

    def status(self):
        c = self.client()
        try:
            return c.call("test/status")
        finally:
            c.close()

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self, test):
        """Ends it in order: everybody is told, nothing leaks (the sanitizer's exit status)."""
        try:
            if self.process.stdin and self.process.poll() is None:
                self.process.stdin.close()
                self.process.stdin = None
            out = self.process.stdout.read()
            code = self.process.wait(30)
            if "port" in self.ready:
                with open(self.errors, errors="replace") as f:
                    test.assertEqual(code, 0, f"the driver did not end cleanly:\n{f.read()[-3000:]}")
                test.assertEqual(json.loads(out)["left"], 0, "a client was not told that it is gone")
        finally:
            end(self.process)
            shutil.rmtree(self.dir, ignore_errors=True)


def read_answer(s, method="GET"):
    buf = b""
    while b"\r\n\r\n" not in buf:
        more = s.recv(65536)
        if not more:
            raise AssertionError(f"the connection ended in the head: {buf!r}")
        buf += more
    head, body = buf.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        k, v = line.split(":", 1)
        headers[k.lower()] = v.strip()
    n = 0 if method == "HEAD" else int(headers.get("content-length", 0))
    while len(body) < n:
        more = s.recv(1 << 20)
        if not more:
            break
        body += more
    return int(lines[0].split()[1]), headers, body
