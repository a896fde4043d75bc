"""ZeroMQ itself (libzmq through Debian's pyzmq) as the peer of our engine, both ways round.
# parallel: ok
"""
import os
import shutil
import subprocess
import tempfile
import unittest

PEER = os.path.abspath("build/tests/peers/zmtp_peer")
PYTHON = "/usr/bin/python3"  # the one with Debian's pyzmq

# role, path, kind: talks to zmtp_peer; prints "ok" at the end
OTHER = r"""
import os, sys, zmq
role, how, path = sys.argv[1:4]
c = zmq.Context()
s = c.socket(getattr(zmq, role))
s.linger = 0
s.rcvtimeo = s.sndtimeo = 60000
if role == "SUB":
    s.setsockopt(zmq.SUBSCRIBE, b"")
if role != "PUB":
    s.setsockopt(zmq.HEARTBEAT_IVL, 50)  # pings, which must be answered
    s.setsockopt(zmq.HEARTBEAT_TIMEOUT, 30000)
getattr(s, how)("ipc://" + path)
sizes = [0, 1, 254, 255, 256, 257, 65535, 65536, 3 << 20]
messages = [[bytes([k % 256]) * n, b"", os.urandom(n)] for k, n in enumerate(sizes)]
if role in ("DEALER", "REQ"):
    for m in messages:
        s.send_multipart(m)
        assert s.recv_multipart() == m, "echo"
elif role in ("ROUTER", "REP"):
    pass
if role == "ROUTER":
    for m in messages:
        s.send_multipart([b"our name"] + m) if s.poll(0) or True else None
        got = s.recv_multipart()
        assert got == [b"our name"] + m, "echo"
if role == "PUB":
    import time
    while True:  # a subscription takes its time; the first message tells that it is there
        s.send(b"are you there")
        if os.path.exists(path + ".there"):
            break
        time.sleep(0.01)
    for m in messages[:8]:
        s.send_multipart(m)
    s.send(b"the end")
    sys.stdin.read()
if role == "SUB":
    for line in open(path + ".lines"):
        want = [bytes.fromhex(p) for p in line.rstrip("\n").split(" ")]
        assert s.recv_multipart() == want, line[:60]
print("ok", flush=True)
"""


class ZeroMQ(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tlz")
        self.addCleanup(shutil.rmtree, self.dir)
        self.path = os.path.join(self.dir, "s")

    def start(self, *argv, **kw):
        p = subprocess.Popen(argv, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)

        def end():
            p.kill()
            p.communicate()
        self.addCleanup(end)
        return p

    def pair(self, ours, theirs, we_listen):
        mine = self.start(PEER, "listen" if we_listen else "connect", ours, self.path)
        other = self.start(PYTHON, "-c", OTHER, theirs, "connect" if we_listen else "bind", self.path)
        return mine, other

    def echo(self, ours, theirs, we_listen):
        mine, other = self.pair(ours, theirs, we_listen)
        out, err = other.communicate(timeout=120)
        self.assertEqual((out, other.returncode), ("ok\n", 0), err)
        _, err = mine.communicate(timeout=60)
        self.assertEqual((mine.returncode, err), (0, ""))

    def test_they_dial_as_dealer_and_req(self):
        self.echo("ROUTER", "DEALER", True)

    def test_they_dial_as_req(self):
        self.echo("REP", "REQ", True)

    def test_we_dial_a_dealer(self):
        self.echo("DEALER", "DEALER", False)

    def test_our_identity_is_known_to_their_router(self):
        # a router can address us by the name in our READY once it has heard of us
        script = OTHER.replace('s.send_multipart([b"our name"] + m) if s.poll(0) or True else None',
                               's.setsockopt(zmq.ROUTER_MANDATORY, 1)\n'
                               '        while True:\n'
                               '            try:\n'
                               '                s.send_multipart([b"our name"] + m)\n'
                               '                break\n'
                               '            except zmq.ZMQError:\n'
                               '                s.poll(10)')
        mine = self.start(PEER, "connect", "DEALER", self.path)
        other = self.start(PYTHON, "-c", script, "ROUTER", "bind", self.path)
        out, err = other.communicate(timeout=120)
        self.assertEqual((out, other.returncode), ("ok\n", 0), err)
        self.assertEqual(mine.wait(60), 0)

    def test_we_subscribe(self):
        mine, other = self.pair("SUB", "PUB", False)
        got = []
        for line in mine.stdout:
            parts = [bytes.fromhex(p) for p in line.rstrip("\n").split(" ")]
            if parts == [b"are you there"]:
                open(self.path + ".there", "w").close()
            elif parts == [b"the end"]:
                break
            else:
                got.append([len(p) for p in parts])
        self.assertEqual(got, [[n, 0, n] for n in (0, 1, 254, 255, 256, 257, 65535, 65536)])
        out, err = other.communicate("", timeout=60)
        self.assertEqual(out, "ok\n", err)

    def test_they_subscribe(self):
        lines = "".join(" ".join(bytes([k % 256] * n).hex() for n in (k, 0, 3)) + "\n" for k in range(400))
        with open(self.path + ".lines", "w") as f:
            f.write(lines)
        mine, other = self.pair("PUB", "SUB", True)
        mine.stdin.write(lines)
        mine.stdin.close()
        mine.stdin = None
        out, err = other.communicate(timeout=120)
        self.assertEqual((out, other.returncode), ("ok\n", 0), err)


if __name__ == "__main__":
    unittest.main()
