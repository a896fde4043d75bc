"""The command against daemons that are not what they should be: each ends in one message and an exit status, none in a hang."""
# parallel: ok

import json
import os
import re
import socket
import threading
import unittest

from harness import ROOT, Daemon

with open(os.path.join(ROOT, "src/base/version.h")) as f:
    VERSION = re.search(r'TL_VERSION "([^"]+)"', f.read())[1]


def framed(m):
    body = m if isinstance(m, bytes) else json.dumps(m).encode()
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


class Fake:
    """Listens as the daemon would. answer(request, send) for every request but hello; version None: hello is passed on, too."""

    def __init__(self, test, answer, version=VERSION):
        self.d = Daemon(test=test)
        self.answer, self.version, self.seen = answer, version, []
        os.makedirs(os.path.dirname(self.d.control), 0o700)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(self.d.control)
        self.sock.listen()
        test.addCleanup(self.stop)
        threading.Thread(target=self.run, daemon=True).start()

    def stop(self):
        self.sock.close()
        if os.path.exists(self.d.control):
            os.unlink(self.d.control)

    def run(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        buf = b""
        with c:
            while True:
                try:
                    more = c.recv(65536)
                except OSError:
                    return
                if not more:
                    return
                buf += more
                while b"\r\n\r\n" in buf:
                    head, rest = buf.split(b"\r\n\r\n", 1)
                    n = int(head.split(b":")[1])
                    if len(rest) < n:
                        break
                    m, buf = json.loads(rest[:n]), rest[n:]
                    self.seen.append(m)
                    if m.get("method") == "hello" and self.version:
                        c.sendall(framed({"jsonrpc": "2.0", "id": m["id"], "result": {"version": self.version, "pid": 1}}))
                    elif self.answer(m, lambda x: c.sendall(x if isinstance(x, bytes) else framed({"jsonrpc": "2.0", **x}))) == "close":
                        return

    def fails(self, test, status, *args):
        r = self.d.towline(*args, check=False, timeout=60)
        test.assertEqual(r.returncode, status, r.stderr + r.stdout)
        test.assertTrue(r.stderr.startswith("towline: "), r.stderr)
        test.assertEqual(r.stderr.count("\n"), 1, r.stderr)
        return r.stderr


class Wrong(unittest.TestCase):
    def test_another_version(self):
        f = Fake(self, lambda m, send: send({"id": m["id"], "result": {}}), version="9.9.9")
        text = f.fails(self, 65, "status")
        for want in ("9.9.9", VERSION, "towline stop"):
            self.assertIn(want, text)
        # and the way out of it works
        f.answer = lambda m, send: send({"id": m["id"], "result": {}}) or "close"
        self.assertEqual(f.d.towline("stop").stdout, "stopped\n")

    def test_it_goes_away(self):
        f = Fake(self, lambda m, send: "close")
        self.assertIn("ended the connection", f.fails(self, 1, "status"))
        f.version = None
        self.assertIn("ended the connection", f.fails(self, 1, "status"))

    def test_half_an_answer(self):
        f = Fake(self, lambda m, send: send(b"Content-Length: 100\r\n\r\n{\"jsonrpc\"") or "close")
        f.fails(self, 1, "status")

    def test_nonsense(self):
        for junk in (b"\0\1\2\3", b"HTTP/1.1 200 OK\r\n\r\n", b"Content-Length: 999999999999\r\n\r\n", framed(b"nonsense"), framed(b"[]"), framed(b"{}"), b"C" * 10000):
            f = Fake(self, lambda m, send, j=junk: send(j))
            self.assertIn("daemon sent", f.fails(self, 76, "status"))

    def test_answers_to_others_and_notifications_are_skipped(self):
        def answer(m, send):
            send({"id": 999, "result": {"version": "wrong"}})
            send({"id": "x", "error": {"code": 1, "message": "not yours"}})
            send({"method": "host/state", "params": {"host": "h"}})
            send({"method": "host/progress", "params": {"host": "h", "text": "\x1b[31mred\x07", "done": 5, "total": 0}})
            send({"method": "never/heard", "params": [1, 2]})
            send({"method": "host/progress"})
            send({"id": m["id"], "result": {"version": "right", "hosts": []}})
        f = Fake(self, answer)
        r = f.d.towline("-v", "status")
        self.assertIn("daemon right", r.stdout)
        self.assertNotIn("\x1b", r.stderr)

    def test_unexpected_request_is_refused(self):
        got = []

        def answer(m, send):
            if "method" not in m:
                got.append(m)
                send({"id": self.first, "result": {"version": "v", "hosts": []}})
            else:
                self.first = m["id"]
                send({"id": "q1", "method": "do/evil", "params": {}})
        f = Fake(self, answer)
        f.d.towline("status")
        self.assertEqual((got[0]["id"], got[0]["error"]["data"]["name"]), ("q1", "no_method"))

    def test_strange_errors(self):
        for error, status in (({"code": -32601, "message": "no"}, 84), ({"code": 5}, 70), ({}, 70), ({"message": 5, "data": []}, 70), ("text", 70),
                              ({"code": 1, "message": "m" * 100000, "data": {"name": "no_space"}}, 26), ({"data": {"name": "nobody knows"}}, 70)):
            f = Fake(self, lambda m, send, e=error: send({"id": m["id"], "error": e}))
            f.fails(self, status, "status")

    def test_empty_results(self):
        for result in ({}, [], None, 5, {"hosts": None}, {"hosts": [None, 5, {}, {"host": 5}]}, {"hosts": [{"host": "h", "phase": "connected"}]}):
            f = Fake(self, lambda m, send, r=result: send({"id": m["id"], "result": r}))
            for args in (("status",), ("--json", "status"), ("status", "--hosts"), ("open",), ("connect", "h"), ("version",)):
                r = f.d.towline(*args, check=False, timeout=60)
                self.assertLess(r.returncode, 90, (args, result, r.stderr))
                self.assertNotIn("Sanitizer", r.stderr)

    def test_terminals_that_never_come(self):
        """status has a deadline for hosts, not for people."""
        def answer(m, send):
            if m["method"] != "host/call":
                send({"id": m["id"], "result": {"version": "v", "hosts": [{"host": "h", "phase": "connected"}]}})
        f = Fake(self, answer)
        self.assertIn("h: connected", f.d.towline("status", timeout=60).stdout)
        self.assertIsNone(json.loads(f.d.towline("--json", "status", timeout=60).stdout)["hosts"][0]["terminals"])

    def test_escape_sequences_of_a_host(self):
        evil = "\x1b]0;title\x07\x1b[2J"
        host = {"host": "h", "phase": "failed", "error": {"message": f"bad {evil} thing"}}
        f = Fake(self, lambda m, send: send({"id": m["id"], "result": {"version": "v", "hosts": [host]}}))
        out = f.d.towline("status").stdout
        self.assertNotIn("\x1b", out)
        self.assertIn("thing", out)
        f.answer = lambda m, send: send({"id": m["id"], "error": {"message": f"bad {evil} thing", "data": {"name": "ssh_failed"}}})
        self.assertNotIn("\x1b", f.fails(self, 46, "status"))

    def test_prompt_without_a_terminal(self):
        got = []

        def answer(m, send):
            if "method" not in m:
                got.append(m)
                send({"id": self.first, "error": {"message": "x", "data": {"name": "canceled"}}})
            else:
                self.first = m["id"]
                send({"id": 7, "method": "prompt/ask", "params": {"host": "h", "kind": "password", "text": "p:", "echo": False, "attempt": 1}})
        f = Fake(self, answer)
        p = f.d.start("connect", "h", text=True)
        p.communicate("", timeout=60)
        self.assertEqual((p.returncode, got), (130, [{"jsonrpc": "2.0", "id": 7, "result": {"cancel": True}}]))

    def test_options_of_the_command_line(self):
        """Paths are made absolute, because the daemon is somewhere else."""
        f = Fake(self, lambda m, send: send({"id": m["id"], "result": {"host": "h", "user": "u"}}))
        f.d.towline("connect", "-F", "my config", "-i", "k1", "-i", "~/k2", "-i", "/k3", "-o", "A=b c", "h", "-p2200", "-oC=d")
        want = {"configFile": f"{f.d.home}/my config", "identities": [f"{f.d.home}/k1", "~/k2", "/k3"], "port": 2200, "options": ["A=b c", "C=d"]}
        self.assertEqual([m["params"] for m in f.seen if m["method"] == "host/connect"], [{"host": "h", "options": want}])
        f.seen.clear()
        f.d.towline("connect", "-F", "none", "h")
        f.d.towline("connect", "h")
        self.assertEqual([m["params"] for m in f.seen if m["method"] == "host/connect"], [{"host": "h", "options": {"configFile": "none"}}, {"host": "h"}])

    def test_targets(self):
        f = Fake(self, lambda m, send: send({"id": m["id"], "result": {"host": m["params"].get("host"), "url": "http://x/"}}))
        for text, host, path in (("h", "h", None), ("h:", "h", "~"), ("h:/a b", "h", "/a b"), ("u@h:x:y", "u@h", "x:y"), ("[::1]:/x", "::1", "/x"), ("u@[fe80::1%eth0]:x", "u@fe80::1%eth0", "x"),
                                 ("[::1]", "::1", None), ("ssh://u@h:22/x", "ssh://u@h:22", "/x"), ("ssh://[::1]:22", "ssh://[::1]:22", None), ("local:", "local:", None),
                                 ("local:/tmp", "local:", "/tmp"), ("h:~/x", "h", "~/x"), ("h:ä\udcff", "h", "ä\ufffd")):
            f.seen.clear()
            f.d.towline("open", text)
            got = {m["method"]: m["params"] for m in f.seen}
            self.assertEqual(got["host/connect"]["host"], host, text)
            self.assertEqual(got["window/open"], {"host": host, **({"path": path} if path else {})}, text)


if __name__ == "__main__":
    unittest.main()
