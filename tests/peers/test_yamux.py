# parallel: ok
"""Our mux and Hashicorp's yamux in Go, each in each role, over one socket pair."""

import os
import shutil
import socket
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OURS = os.path.join(ROOT, "build", "tests", "peers", "yamux_peer")
WORK = os.path.join(ROOT, "build", "peers")
GO_YAMUX = "/usr/share/gocode/src/github.com/hashicorp/yamux"


def build_go():
    """The Go program, from Debian's package of the library: no network, no modules."""
    if not shutil.which("go") or not os.path.isdir(GO_YAMUX):
        raise RuntimeError("building the Go peer: golang-go and golang-github-hashicorp-yamux-dev "
                           "are missing; run tools/setup")
    os.makedirs(WORK, exist_ok=True)
    out = os.path.join(WORK, "yamux_go")
    source = os.path.join(ROOT, "tests", "peers", "yamux_go", "main.go")
    if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source):
        env = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="",
                   CGO_ENABLED="0", GOCACHE=os.path.join(WORK, "go-cache"))
        subprocess.run(["go", "build", "-o", out, source], env=env, check=True)
    return out


class Yamux(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.go = build_go()

    def meet(self, active, passive, role):
        other = "server" if role == "client" else "client"
        a, b = socket.socketpair()
        with a, b:
            server = subprocess.Popen([passive, other, "passive"], stdin=b,
                                      stdout=subprocess.PIPE, text=True)
            client = subprocess.Popen([active, role, "active"], stdin=a,
                                      stdout=subprocess.PIPE, text=True)
        try:
            out = client.communicate(timeout=240)[0]
            rest = server.communicate(timeout=60)[0]
        finally:
            for child in (client, server):
                if child.poll() is None:
                    child.kill()
                    child.wait()
        self.assertNotIn("not ok", out + rest)
        self.assertEqual((client.returncode, server.returncode), (0, 0), out + rest)
        self.assertGreaterEqual(out.count("ok - "), 10, out)

    def test_we_open_as_client(self):
        self.meet(OURS, self.go, "client")

    def test_we_open_as_server(self):
        self.meet(OURS, self.go, "server")

    def test_go_opens_as_client(self):
        self.meet(self.go, OURS, "client")

    def test_go_opens_as_server(self):
        self.meet(self.go, OURS, "server")

    def test_ourselves(self):
        self.meet(OURS, OURS, "client")


if __name__ == "__main__":
    unittest.main()
