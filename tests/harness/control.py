"""A client of the daemon's control socket (docs/protocol.md section 6)."""
import json
import queue
import socket
import threading

from .proc import Timeout


class RpcError(Exception):
    """An answer with an error: .name as in proto/errors.def, .code, .text."""

    def __init__(self, method, error):
        self.code, self.text = error.get("code"), error.get("message", "")
        self.data = error.get("data") or {}
        self.name = self.data.get("name")
        super().__init__(f"{method}: {self.name or self.code}: {self.text}")


class ControlClient:
    """
    answers   called as answers(params) for prompt/ask: a string to answer with, None to cancel
    Notifications are kept in .notes (a Queue of (method, params)).
    """

    def __init__(self, path, answers=None, hello=True):
        self.answers = answers or (lambda params: None)
        self.notes = queue.Queue()
        self.prompts = []
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self._buf, self._id = b"", 0
        self._waiting, self._lock = {}, threading.Lock()
        self._raw = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.hello = self.call("hello", client="test", version="0.1.0") if hello else None

    def _message(self):
        """The next message, or None at the end of the connection."""
        while b"\r\n\r\n" not in self._buf:
            more = self.sock.recv(65536)
            if not more:
                return None
            self._buf += more
        head, self._buf = self._buf.split(b"\r\n\r\n", 1)
        n = next(int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:"))
        while len(self._buf) < n:
            more = self.sock.recv(65536)
            if not more:
                return None
            self._buf += more
        body, self._buf = self._buf[:n], self._buf[n:]
        return json.loads(body)

    def _send(self, msg):
        body = json.dumps(dict(jsonrpc="2.0", **msg)).encode()
        with self._lock:
            self.sock.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def _read(self):
        try:
            while True:
                m = self._message()
                if m is None:
                    break
                if "method" not in m:
                    q, is_stream = self._waiting.pop(m.get("id"), (None, False))
                    stream = is_stream and "error" not in m
                    if q:
                        q.put(m)
                    if stream:
                        return
                elif "id" in m:
                    threading.Thread(target=self._answer, args=(m,), daemon=True).start()
                else:
                    self.notes.put((m["method"], m.get("params")))
        except (OSError, ValueError):
            pass
        for q, _ in list(self._waiting.values()):
            q.put({"error": {"code": 0, "message": "the control connection ended", "data": {"name": "closed"}}})

    def _answer(self, m):
        self.prompts.append(m["params"])
        text = self.answers(m["params"])
        try:
            self._send({"id": m["id"], "result": {"cancel": True} if text is None else {"answer": text}})
        except OSError:
            pass

    def start(self, method, /, **params):
        """Sends a request; the returned queue gets the answer message."""
        self._id += 1
        q = queue.Queue()
        self._waiting[self._id] = (q, method == "stream/open")
        self._send({"id": self._id, "method": method, "params": params})
        return q

    def call(self, method, /, timeout=60, **params):
        """A request and its result; RpcError where it failed."""
        try:
            m = self.start(method, **params).get(timeout=timeout)
        except queue.Empty:
            raise Timeout(f"{method}: no answer in {timeout} s") from None
        if "error" in m:
            raise RpcError(method, m["error"])
        return m["result"]

    def stream(self, host, open_, timeout=60):
        """Turns this connection into a stream; returns the socket (bytes that came early: see .early)."""
        self.opened = self.call("stream/open", timeout=timeout, host=host, open=open_)
        self._reader.join(10)
        self.early, self._buf = self._buf, b""
        return self.sock

    def note(self, method, deadline=60, match=lambda params: True):
        """Waits for a notification of that method that matches; others are dropped."""
        while True:
            try:
                name, params = self.notes.get(timeout=deadline)
            except queue.Empty:
                raise Timeout(f"no notification {method} in {deadline} s") from None
            if name == method and match(params):
                return params

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
