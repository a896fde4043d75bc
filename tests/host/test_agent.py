"""The agent and its bridge, driven by the Python twin of link and yamux over real processes.
# parallel: ok
"""
import json
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import unittest

from harness import ROOT, wait_for
from harness.link import (DEADLINE, NOLINK, PROTO, SYN, STALE, Bye, Gone, Host, Link, Refused, RpcFailed)

ATTACH, INPUT, ATTACHED, DATA, EXIT = 1, 2, 65, 66, 68


class Term:
    """The least viewer there is."""

    def __init__(self, stream, start=0):
        self.s, self.log, self.end = stream, bytearray(), None
        self.send(ATTACH, struct.pack(">QII", start, 0, 0))

    def send(self, kind, payload):
        self.s.write(struct.pack(">I", kind << 24 | len(payload)) + payload)

    def step(self):
        head = self.s.read(4)
        if len(head) < 4:
            raise Gone("the terminal's stream ended")
        word, = struct.unpack(">I", head)
        kind, body = word >> 24, self.s.read(word & 0xffffff)
        if kind == DATA:
            self.log += body
        elif kind == EXIT:
            self.end = struct.unpack(">II", body)

    def until(self, text):
        while text not in self.log:
            self.step()


class Case(unittest.TestCase):
    def setUp(self):
        self.host = Host(test=self)

    def term(self, rpc, **kw):
        return rpc.call("term/create", cwd="/", shell="/bin/sh", env={"PS1": "$ ", "ENV": None}, **kw)


class Start(Case):
    def test_bridge_starts_one_agent_and_is_private(self):
        self.host.link()
        self.host.link()
        self.assertEqual(len(self.host.processes("agent")), 1)
        self.assertEqual(stat.S_IMODE(os.stat(self.host.run).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(self.host.run + "/agent-v1.sock").st_mode), 0o600)

    def test_many_bridges_at_once_start_one_agent(self):
        bridges = [self.host.bridge(nonce=f"x{i}") for i in range(8)]
        for i, b in enumerate(bridges):
            want = f"\0towline x{i}\n".encode()
            got = b""
            while len(got) < len(want):
                piece = b.stdout.read(len(want) - len(got))
                self.assertTrue(piece, b.stderr.read() if not piece else "")
                got += piece
            self.assertEqual(got, want)
        self.assertEqual(len(self.host.processes("agent")), 1)

    def test_home_folder_is_the_default(self):
        host = Host(test=self, run_dir=False)
        info = host.link().rpc().call("host/info")
        self.assertEqual(info["runDir"], f"{host.home}/.towline-server/run/{os.uname().nodename}")
        self.assertEqual(info["dataDir"], f"{host.home}/.towline-server/data")

    def test_long_home_falls_back_to_tmp(self):
        deep = os.path.join(self.host.dir, "d" * 100)
        host = Host(test=self, home=deep, run_dir=False)
        lk = host.link()
        rpc = lk.rpc()
        self.assertEqual(rpc.call("host/info")["runDir"], f"/tmp/towline-server-{os.geteuid()}")
        rpc.call("agent/stop")

    def test_stale_socket_is_replaced(self):
        self.host.link()
        os.kill(self.host.agent_pid(), signal.SIGKILL)
        wait_for(lambda: not self.host.processes("agent"), what="the agent to die")
        self.assertTrue(os.path.exists(self.host.run + "/agent-v1.sock"))
        self.assertTrue(self.host.link().rpc().call("host/info")["pid"])

    def test_agent_survives_its_bridge_and_ssh_session(self):
        lk = self.host.link()
        pid = self.host.agent_pid()
        self.assertEqual(os.getsid(pid), pid)
        lk.cut()
        self.assertEqual(self.host.link().rpc().call("host/info")["pid"], pid)

    def test_nonce_is_printed_before_any_link_byte(self):
        lk = Link(self.host)
        lk.connect(nonce="abcDEF-123")
        self.assertEqual(lk.noise, b"")

    def test_agent_waits_for_go(self):
        """Nothing of the link is read or written before the marker, even if HELLO is already in the pipe."""
        lk = Link(self.host)
        lk.epoch = 1
        b = self.host.bridge()
        b.stdin.write(lk.hello())
        head = b.stdout.read(12)
        self.assertTrue(head.startswith(b"\0towline n1\n"), head)
        self.assertEqual((head + b.stdout.read(1))[12:13], b"\x01")

    def test_bad_arguments(self):
        for args, text in ((["--bogus"], "unknown option"), (["a", "b"], "one NONCE"), ([], "NONCE is missing"),
                           (["sp ace"], "printable"), (["n", "--run-dir"], "value is missing")):
            r = subprocess.run([self.host.program, "bridge", *args], capture_output=True, text=True, env=self.host.env)
            self.assertEqual(r.returncode, 2, args)
            self.assertIn(text, r.stderr)
        r = subprocess.run([self.host.program, "nonsense"], capture_output=True, text=True, env=self.host.env)
        self.assertEqual(r.returncode, 2)
        self.assertIn("no face", r.stderr)

    def test_version_and_help(self):
        r = subprocess.run([self.host.program, "--version"], capture_output=True, text=True, env=self.host.env)
        self.assertRegex(r.stdout, r"^towline-host \d+\.\d+\.\d+ \(link protocol 1\)$")
        r = subprocess.run([self.host.program, "--help"], capture_output=True, text=True, env=self.host.env)
        for face in ("bridge", "agent", "hold", "sftp-server", "watch", "probe"):
            self.assertIn(f"  {face} ", r.stdout)

    def test_probe_touches_nothing(self):
        r = subprocess.run([self.host.program, "probe"], capture_output=True, text=True, env=self.host.env)
        facts = json.loads(r.stdout)
        self.assertEqual(facts["home"], self.host.home)
        self.assertEqual(facts["homeFolder"]["path"], self.host.home)
        self.assertEqual(facts["protocol"], 1)
        self.assertFalse(facts["homeFolder"]["readOnly"])
        self.assertEqual(os.listdir(self.host.home), [])


class Handshake(Case):
    """What a wrong bridge may say to the socket."""

    def setUp(self):
        super().setUp()
        self.lk = self.host.link()

    def dial(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(DEADLINE)
        s.connect(self.host.run + "/agent-v1.sock")
        self.addCleanup(s.close)
        return s

    def alive(self):
        self.assertTrue(self.host.link().rpc().call("host/info")["pid"])

    def test_garbage(self):
        for line in (b"GET / HTTP/1.1\r\n", b"\n", b"towline-bridge\n", b"towline-bridge 2 1 pass x\n",
                     b"towline-bridge 1 1 fly x\n", b"x" * 5000, b"towline-bridge 1 1 pass 0.1.0\nmore\n", b"\0" * 2000):
            s = self.dial()
            s.sendall(line)
            got = s.recv(4096)
            self.assertIn(b"error", got.split(b"\n")[0] or b"error", line)
        self.alive()

    def test_no_descriptors(self):
        s = self.dial()
        s.sendall(b"towline-bridge 1 1 pass 0.1.0\n")
        self.assertTrue(s.recv(4096).startswith(b"towline-agent 1 1 "))
        s.sendall(b"F")
        self.assertTrue(s.recv(4096).startswith(b"error 9 "))
        self.alive()

    def test_too_many_descriptors_do_not_leak(self):
        fds = lambda: len(os.listdir(f"/proc/{self.host.agent_pid()}/fd"))
        before = fds()
        r, w = os.pipe()
        for n in (1, 3, 4):
            s = self.dial()
            s.sendall(b"towline-bridge 1 1 pass 0.1.0\n")
            s.recv(4096)
            socket.send_fds(s, [b"F"], [r, w, r, w][:n])
            self.assertTrue(s.recv(4096).startswith(b"error 9 "))
            s.close()
        os.close(r)
        os.close(w)
        wait_for(lambda: fds() <= before, what="the descriptors to be closed")

    def test_bridge_dies_at_each_step(self):
        r, w = os.pipe()
        for steps in range(3):
            s = self.dial()
            if steps > 0:
                s.sendall(b"towline-bridge 1 1 pass 0.1.0\n")
                s.recv(4096)
            if steps > 1:
                socket.send_fds(s, [b"F"], [r, w])
                self.assertEqual(s.recv(4096), b"accepted\n")
            s.close()
        os.close(r)
        os.close(w)
        self.alive()

    def test_newer_protocol_is_told(self):
        s = self.dial()
        s.sendall(b"towline-bridge 2 3 pass 9.0\n")
        self.assertTrue(s.recv(4096).startswith(b"towline-agent 1 1 "))
        self.alive()


class FakeAgent(Case):
    """What the bridge makes of an agent that is older, newer, broken or dying."""

    def setUp(self):
        super().setUp()
        os.makedirs(self.host.run, 0o700)
        self.sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.sock.close)
        self.sock.bind(self.host.run + "/agent-v1.sock")
        self.sock.listen()
        self.sock.settimeout(DEADLINE)

    def meet(self, *answers):
        """Runs a bridge, answers each of its messages in turn, closes; (status, stdout, stderr)."""
        b = self.host.bridge()
        # one that hangs up at once is tried again
        for _ in range(1 if answers else 3):
            c, _ = self.sock.accept()
            c.settimeout(DEADLINE)
            for a in answers:
                c.recv(4096)
                c.sendall(a)
            c.close()
        out, err = b.communicate(timeout=DEADLINE)
        return b.returncode, out, err.decode()

    def test_each_answer(self):
        hi = b"towline-agent 1 1 9.9 1234\n"
        mark = b"\0towline n1\n"
        for answers, status, out, text in (
                ((b"towline-agent 2 3 9.9 1234\n",), 65, b"", "the running agent 9.9 (pid 1234): it speaks link protocol 2 to 3"),
                ((b"error 2 no memory today\n",), 71, b"", "no memory today"),
                ((b"HTTP/1.1 400 Bad Request\r\n",), 76, b"", "cannot talk to the running agent"),
                ((b"x" * 3000,), 64, b"", "cannot talk to the running agent"),
                ((), 64, b"", "the connection was closed"),
                ((hi,), 64, b"", "cannot join the agent"),
                ((hi, b"error 3 full up\n"), 1, b"", "full up"),
                ((hi, b"what\n"), 76, b"", 'it said "what"'),
                ((hi, b"accepted\n"), 64, mark, "ended"),
                ((hi, b"accepted\n", b"end 0 done\n"), 0, mark, ""),
                ((hi, b"accepted\n", b"end 68 another came\n"), 1, mark, "another came"),
                ((hi, b"accepted\n", b"end x\n"), 64, mark, "ended")):
            got = self.meet(*answers)
            self.assertEqual(got[:2], (status, out), (answers, got))
            self.assertIn(text, got[2])

    def test_newer_patch_of_the_same_protocol_is_used(self):
        self.assertEqual(self.meet(b"towline-agent 1 7 99.0 1234\n", b"accepted\n", b"end 0 done\n")[0], 0)


class Leaks(Case):
    def test_nothing_is_left_after_much_coming_and_going(self):
        base = self.host.link()
        rpc = base.rpc()
        pid = self.host.agent_pid()
        term = self.term(rpc)

        def state():
            info = rpc.call("host/info")
            return len(os.listdir(f"/proc/{pid}/fd")), info["links"], sorted(
                len(self.host.processes(x)) for x in ("sftp-server", "watch", "resolve", "bridge"))
        before = state()
        for i in range(24):
            lk = self.host.link(*(["--splice"] if i % 3 == 0 else []))
            r = lk.rpc()
            streams = [lk.open("sftp"), lk.open("watch"), lk.open("term", id=term["id"])]
            r.send("path/resolve", {"path": "/"})
            r.send("term/list")
            lk.raw().write(b'{"open":')
            if i % 4 == 1:
                lk.cut()
                lk.connect()
            if i % 4 == 2:
                streams[0].abort()
                streams[1].finish()
                r.stream.abort()
                lk.pump(0)
            if i % 4 == 3:
                lk.cut()
                lk.connect(wait=False)
            lk.bye()
            lk.cut()
        now = []

        def same():
            now[:] = [state()]
            return now[0] == before
        try:
            wait_for(same)
        except AssertionError:
            self.fail(f"before {before}, now {now[0]}")


class Rpc(Case):
    def setUp(self):
        super().setUp()
        self.rpc = self.host.link().rpc()

    def types(self):
        with open(f"{ROOT}/proto/types.d.ts") as f:
            return f.read()

    def test_host_info(self):
        info = self.rpc.call("host/info")
        want = {"protocol": 1, "os": "Linux", "arch": os.uname().machine, "kernel": os.uname().release,
                "hostname": os.uname().nodename, "user": "tester", "uid": os.geteuid(), "home": self.host.home,
                "shell": "/bin/sh", "tmp": "/tmp", "runDir": self.host.run, "links": 1, "terminals": 0,
                "pid": self.host.agent_pid()}
        self.assertEqual({k: info[k] for k in want}, want)
        declared = re.search(r"interface HostInfo \{(.*?)\}", self.types(), re.S)[1]
        # plain: a host without our program says so instead of it
        self.assertEqual(set(info), set(re.findall(r"(\w+)\??:", declared)) - {"plain"})

    def test_resolve(self):
        os.makedirs(self.host.home + "/ü dir")
        os.symlink("ü dir", self.host.home + "/ln")
        with open(self.host.home + "/ü dir/f", "w") as f:
            f.write("12345")
        for path in ("", "~", "~/", ".", self.host.home, "~/ln/.."):
            self.assertEqual(self.rpc.call("path/resolve", path=path)["path"], self.host.home, path)
        got = self.rpc.call("path/resolve", path="ln/f")
        self.assertEqual((got["path"], got["type"], got["size"], got["readable"]),
                         (self.host.home + "/ü dir/f", "file", 5, True))
        self.assertEqual(self.rpc.call("path/resolve", path="/dev/null")["type"], "other")
        self.assertEqual(self.rpc.call("path/resolve", path="~root")["type"], "folder")

    def test_resolve_errors(self):
        for path, name in (("/nope", "not_found"), ("~nobodyhere/x", "not_found"), ("/etc/passwd/x", "not_a_folder"),
                           ("x" * 300, None), ("x" * 5000, "limit"), (b"a\0b".decode(), "invalid"), (3, "invalid")):
            with self.assertRaises(RpcFailed) as e:
                self.rpc.call("path/resolve", path=path)
            if name:
                self.assertEqual(e.exception.name, name, path)
            self.assertIn("cannot", e.exception.error["message"])

    def test_many_at_once_and_out_of_order(self):
        ids = [self.rpc.send("path/resolve", {"path": "/"}) for _ in range(10)]
        ids.append(self.rpc.send("host/info"))
        for n in reversed(ids):
            self.assertTrue(self.rpc.wait(n))

    def test_more_calls_than_helpers(self):
        ids = [self.rpc.send("path/resolve", {"path": "/"}) for _ in range(60)]
        done = busy = 0
        for n in ids:
            try:
                self.rpc.wait(n)
                done += 1
            except RpcFailed as e:
                self.assertEqual(e.name, "again")
                busy += 1
        self.assertEqual(done + busy, 60)
        self.assertTrue(done >= 16)

    def test_more_calls_than_are_taken_at_once(self):
        """A hold that does not answer keeps calls waiting; the rest of the queue is not forgotten."""
        term = self.term(self.rpc)
        os.kill(term["holdPid"], signal.SIGSTOP)
        ids = [self.rpc.send("term/list") for _ in range(40)] + [self.rpc.send("host/info")]
        self.rpc.stream.finish()
        for n in ids:
            self.rpc.wait(n)
        self.assertEqual(self.rpc.stream.read_all(), b"")
        os.kill(term["holdPid"], signal.SIGCONT)

    def test_unknown_method_and_bad_messages(self):
        with self.assertRaises(RpcFailed) as e:
            self.rpc.call("host/explode")
        self.assertEqual(e.exception.name, "no_method")
        for bad in (b"{", b"[]", b'{"id":1}', b'{"jsonrpc":"2.0","id":7,"result":{}}', b"\xff\xfe"):
            self.rpc.put(bad)
            m = self.rpc.get()
            self.assertIsNone(m["id"])
            self.assertIn("error", m)
        self.assertTrue(self.rpc.call("host/info"))

    def test_bad_framing_ends_the_stream_only(self):
        lk = self.rpc.stream.link
        for bad in (b"hello\r\n\r\n", b"Content-Length: x\r\n\r\n", b"Content-Length: 99999999999\r\n\r\n",
                    b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"C" * 5000):
            s = lk.open("rpc")
            s.write(bad)
            lk.pump_until(lambda: s.reset, what="a reset")
        self.assertTrue(lk.rpc().call("host/info"))

    def test_half_close_answers_first(self):
        s = self.rpc.stream.link.rpc()
        ids = [s.send("path/resolve", {"path": "/"}) for _ in range(3)]
        s.stream.finish()
        for n in ids:
            self.assertEqual(s.wait(n)["path"], "/")
        self.assertEqual(s.stream.read_all(), b"")
        self.assertTrue(s.stream.eof)

    def test_large_message_is_bounded(self):
        s = self.rpc.stream.link.rpc()
        s.put(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "host/info", "params": {"x": "y" * 3000000}}).encode())
        self.assertTrue(s.wait(1)["pid"])

    def test_notification_gets_no_answer(self):
        self.rpc.put({"jsonrpc": "2.0", "method": "host/info"})
        self.assertTrue(self.rpc.call("host/info"))
        self.assertEqual(self.rpc.answers, {})


class Resume(Case):
    def test_cut_and_resume_is_exact(self):
        lk = self.host.link()
        rpc = lk.rpc()
        term = self.term(rpc)
        t = Term(lk.open("term", id=term["id"]))
        t.send(INPUT, b"i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo d''one\n")
        for _ in range(6):
            before = len(t.log)
            while len(t.log) < before + 20000 and b"\ndone" not in t.log:
                t.step()
            lk.cut()
            lk.connect()
        t.until(b"\ndone")
        lines = re.findall(rb"line (\d+)\r\n", bytes(t.log))
        self.assertEqual(lines, [b"%d" % i for i in range(20000)])
        self.assertEqual(self.host.log().count("resumed"), 6)

    def test_bytes_written_while_away_arrive(self):
        lk = self.host.link()
        rpc = lk.rpc()
        lk.cut()
        n = rpc.send("host/info")
        lk.connect()
        self.assertTrue(rpc.wait(n))

    def test_second_transport_fences_the_first(self):
        lk = self.host.link()
        rpc = lk.rpc()
        old = lk.bridge
        lk.bridge = None  # still alive: a connection that is stuck somewhere
        lk.up = False
        lk.connect()
        self.assertTrue(rpc.call("host/info"))
        wait_for(lambda: old.poll() is not None, what="the old bridge to end")
        self.assertEqual(old.returncode, 1)
        self.assertIn("newer connection", old.stderr.read().decode())
        old.stdin.close()
        old.stdout.close()
        old.stderr.close()

    def test_stale_epoch(self):
        lk = self.host.link()
        lk.cut()
        lk.connect(epoch=5)
        for epoch in (5, 4, 1):
            other = Link(self.host, link_id=lk.id)
            with self.assertRaises(Bye) as e:
                other.connect(epoch=epoch)
            self.assertEqual(e.exception.code, STALE)
        self.assertTrue(lk.rpc().call("host/info"))

    def test_unknown_link(self):
        lk = Link(self.host)
        with self.assertRaises(Bye) as e:
            lk.connect(epoch=2)
        self.assertEqual(e.exception.code, NOLINK)
        self.assertEqual(lk.bridge_exit()[0], 1)

    def test_garbage_hello(self):
        self.host.link()
        good = Link(self.host)
        good.epoch = 1
        hello = good.hello()
        for bad in (b"SSH-2.0-x\r\n", b"\x02" + hello[1:], hello[:3] + b"\x31" + hello[4:], b"\0" * 56,
                    hello[:8] + b"\0\0\0\0" + hello[12:], bytes(range(256)) * 10):
            lk = Link(self.host)
            try:
                lk.connect(hello=bad, wait=False)
                lk.pump_until(lambda: lk.up, what="an end")
                self.fail(f"accepted {bad!r}")
            except (Gone, Bye):
                pass
            lk.bridge_exit()
        self.assertTrue(self.host.link().rpc().call("host/info"))

    def test_other_protocol_range(self):
        lk = Link(self.host)
        lk.epoch = 1
        with self.assertRaises(Bye) as e:
            lk.connect(epoch=1, hello=lk.hello((7, 9)))
            lk.pump_until(lambda: False)
        self.assertEqual(e.exception.code, 65)

    def test_protocol_error_after_hello(self):
        lk = self.host.link()
        lk.out += b"\xee" * 64
        with self.assertRaises((Gone, Bye)):
            lk.pump_until(lambda: False)
        lk.cut()
        self.assertTrue(self.host.link().rpc().call("host/info"))

    def test_broken_mux_ends_the_link_with_bye(self):
        lk = self.host.link()
        lk.tx += b"\x09" * 24
        with self.assertRaises(Bye) as e:
            lk.pump_until(lambda: False)
        self.assertEqual(e.exception.code, PROTO)

    def test_two_links_are_apart(self):
        a, b = self.host.link(), self.host.link()
        ra, rb = a.rpc(), b.rpc()
        self.assertEqual(ra.call("host/info")["links"], 2)
        a.bye()
        wait_for(lambda: rb.call("host/info")["links"] == 1, what="the link to go")

    def test_bye_ends_streams_and_bridge(self):
        lk = self.host.link()
        lk.open("sftp")
        self.assertEqual(len(self.host.processes("sftp-server")), 1)
        bridge = lk.bridge
        lk.bye()
        wait_for(lambda: bridge.poll() is not None, what="the bridge to end")
        self.assertEqual(bridge.returncode, 0)
        wait_for(lambda: not self.host.processes("sftp-server"), what="the child to end")

    def test_ping_is_answered(self):
        lk = self.host.link()
        lk.out += struct.pack(">BBHIQ", 4, 0, 8, 0, 4711)
        lk.pump_until(lambda: lk.peer_pings == 1)


class Streams(Case):
    def setUp(self):
        super().setUp()
        self.lk = self.host.link()

    def test_sftp_relay(self):
        s = self.lk.open("sftp")
        s.write(struct.pack(">IBI", 5, 1, 3))
        size, kind, version = struct.unpack(">IBI", s.read(9))
        self.assertEqual((kind, version), (2, 3))
        s.read(size - 5)
        for i in range(200):
            path = b"/"
            s.write(struct.pack(">IBII", 9 + len(path), 17, i, len(path)) + path)  # STAT
        for i in range(200):
            size, kind, rid = struct.unpack(">IBI", s.read(9))
            self.assertEqual((kind, rid), (105, i))
            s.read(size - 5)
        s.finish()
        self.assertEqual(s.read_all(), b"")
        self.assertFalse(s.reset)
        wait_for(lambda: not self.host.processes("sftp-server"), what="the child to end")

    def test_line_and_first_bytes_together(self):
        s = self.lk.raw()
        s.write(b'{"open":"sftp"}\n' + struct.pack(">IBI", 5, 1, 3))
        self.assertRegex(s.read_line(), rb"^\{\"ok\":\{\"pid\":[0-9]+\}\}\n$")
        self.assertEqual(s.read(9)[4], 2)

    def test_line_byte_by_byte(self):
        s = self.lk.raw()
        for c in b'{"open":"rpc"}\n':
            s.write(bytes([c]))
            self.lk.pump(0)
        self.assertEqual(s.read_line(), b'{"ok":{}}\n')

    def test_bad_openings(self):
        for line, name in ((b"{}", "protocol"), (b"nonsense", "protocol"), (b'{"open":5}', "protocol"),
                           (b'{"open":"shell"}', "unsupported"), (b'{"open":"term"}', "invalid"),
                           (b'{"open":"term","id":"../x"}', "invalid"), (b'{"open":"term","id":"zzzz"}', "no_terminal"),
                           (b"", "protocol")):
            s = self.lk.raw()
            s.write(line + b"\n")
            error = json.loads(s.read_line())["error"]
            self.assertEqual(error["name"], name, line)
            self.assertIn("message", error)
            self.assertEqual(s.read_all(), b"")
            self.assertTrue(s.eof)
            s.finish()

    def test_line_cut_off(self):
        s = self.lk.raw()
        s.write(b'{"open":')
        s.finish()
        self.assertEqual(json.loads(s.read_line())["error"]["name"], "protocol")

    def test_endless_opening_line_is_refused(self):
        s = self.lk.raw()
        s.write(b"x" * 9000)
        self.assertEqual(json.loads(s.read_line())["error"]["name"], "limit")
        try:
            for _ in range(64):
                s.write(b"x" * 65536)
                self.lk.pump(0)
            self.fail("took 4 MB of it")
        except Gone:
            self.assertTrue(s.reset)
        self.assertTrue(self.lk.rpc().call("host/info"))

    def test_client_that_never_reads(self):
        """A flood into a stream nobody reads stops at the window; other streams go on; memory stays."""
        s = self.lk.open("sftp")
        s.hold_credit = True
        s.write(struct.pack(">IBI", 5, 1, 3))
        path = b"/" * 3000
        sent = 0
        request = struct.pack(">IBII", 9 + len(path), 16, 0, len(path)) + path  # REALPATH
        # a well-behaved writer: stops where its own credit ends
        while s.credit > len(request) and sent < 4000:
            s.write(request)
            sent += 1
            self.lk.pump(0)
        rpc = self.lk.rpc()
        for _ in range(20):
            self.assertTrue(rpc.call("host/info"))
        self.assertLessEqual(len(s.rx), 262144)
        s.abort()
        wait_for(lambda: rpc.call("host/info") and not self.host.processes("sftp-server"), what="the child to end")

    def test_reset_ends_the_child(self):
        s = self.lk.open("watch")
        self.assertEqual(len(self.host.processes("watch")), 1)
        s.abort()
        rpc = self.lk.rpc()
        wait_for(lambda: rpc.call("host/info") and not self.host.processes("watch"), what="the child to end")

    def test_child_killed_resets_its_stream_only(self):
        s, other = self.lk.open("sftp"), self.lk.open("sftp")
        victim = self.host.processes("sftp-server")
        self.assertEqual(len(victim), 2)
        os.kill(min(victim), signal.SIGKILL)
        self.lk.pump_until(lambda: s.reset or other.reset, what="a reset")
        os.kill(max(victim), signal.SIGKILL)
        self.lk.pump_until(lambda: s.reset and other.reset, what="both")
        self.assertTrue(self.lk.rpc().call("host/info"))

    def test_stopped_child_is_killed_after_its_stream(self):
        s = self.lk.open("sftp")
        pid, = self.host.processes("sftp-server")
        os.kill(pid, signal.SIGSTOP)
        s.abort()
        rpc = self.lk.rpc()
        wait_for(lambda: rpc.call("host/info") and not os.path.exists(f"/proc/{pid}"), what="no child and no zombie")

    def test_many_streams_and_no_zombies(self):
        rpc = self.lk.rpc()
        for _ in range(5):
            streams = [self.lk.open("sftp") for _ in range(8)]
            for s in streams:
                s.finish()
                self.assertEqual(s.read_all(), b"")
        agent = self.host.agent_pid()

        def children():
            out = subprocess.run(["ps", "--ppid", str(agent), "-o", "pid="], capture_output=True, text=True)
            return out.stdout.split()
        wait_for(lambda: rpc.call("host/info") and not children(), what="no children")

    def test_streams_end_with_the_limit(self):
        opened = [self.lk.open("rpc") for _ in range(512)]  # MUX_STREAMS
        s = self.lk.raw()
        self.lk.pump_until(lambda: s.reset, what="a reset")
        opened[0].finish()
        opened[0].read_all()
        self.assertTrue(self.lk.rpc().call("host/info"))

    def test_program_file_deleted(self):
        """An upgrade removes or replaces the file the agent runs from: it can still start children."""
        import shutil
        mine = os.path.join(self.host.dir, "towline-host")
        shutil.copy(self.host.program, mine)
        host = Host(test=self, program=mine)
        lk = host.link()
        rpc = lk.rpc()
        os.remove(mine)
        with open(mine, "w") as f:
            f.write("#!/bin/sh\nexit 1\n")
        os.chmod(mine, 0o755)
        lk.open("sftp")
        self.assertEqual(rpc.call("path/resolve", path="/")["path"], "/")
        self.assertTrue(self.term(rpc)["id"])


class Terminals(Case):
    def test_create_list_attach_kill(self):
        lk = self.host.link()
        rpc = lk.rpc()
        a, b = self.term(rpc, tag="one", cols=91, rows=17), self.term(rpc, tag="two")
        listed = {t["id"]: t for t in rpc.call("term/list")["terminals"]}
        self.assertEqual(set(listed), {a["id"], b["id"]})
        self.assertEqual((listed[a["id"]]["cols"], listed[a["id"]]["rows"]), (91, 17))
        self.assertEqual([t["id"] for t in rpc.call("term/list", tag="two")["terminals"]], [b["id"]])
        self.assertEqual(rpc.call("term/list", tag="three")["terminals"], [])
        self.assertEqual(rpc.call("host/info")["terminals"], 2)
        t = Term(lk.open("term", id=a["id"]))
        t.send(INPUT, b"echo m''arker\n")
        t.until(b"marker")
        rpc.call("term/kill", id=a["id"])
        self.assertEqual([t["id"] for t in rpc.call("term/list")["terminals"]], [b["id"]])
        with self.assertRaises(RpcFailed) as e:
            rpc.call("term/kill", id=a["id"])
        self.assertEqual(e.exception.name, "no_terminal")
        with self.assertRaises(Refused):
            lk.open("term", id=a["id"])

    def test_create_errors(self):
        rpc = self.host.link().rpc()
        with self.assertRaises(RpcFailed) as e:
            rpc.call("term/create", shell="/no/such/shell")
        self.assertIn("/no/such/shell", e.exception.error["message"])
        self.assertEqual(rpc.call("term/list")["terminals"], [])
        with self.assertRaises(RpcFailed) as e:
            rpc.call("term/kill")
        self.assertEqual(e.exception.name, "invalid")

    def test_terminal_survives_the_agent(self):
        lk = self.host.link()
        rpc = lk.rpc()
        term = self.term(rpc)
        t = Term(lk.open("term", id=term["id"]))
        t.send(INPUT, b"X=kept; echo b''efore\n")
        t.until(b"before")
        os.kill(self.host.agent_pid(), signal.SIGKILL)
        status, text = lk.bridge_exit()
        self.assertEqual(status, 64)
        self.assertIn("agent", text)
        with self.assertRaises(Bye) as e:
            lk.connect()
        self.assertEqual(e.exception.code, NOLINK)
        new = self.host.link()
        rpc = new.rpc()
        listed, = rpc.call("term/list")["terminals"]
        self.assertEqual((listed["id"], listed["pid"]), (term["id"], term["pid"]))
        again = Term(new.open("term", id=term["id"]))
        again.send(INPUT, b"echo $X a''fter\n")
        again.until(b"kept after")
        self.assertIn(b"before", bytes(again.log))

    def test_dead_socket_is_cleaned(self):
        rpc = self.host.link().rpc()
        term = self.term(rpc)
        path = f"{self.host.run}/hold-{term['id']}.sock"
        os.kill(term["holdPid"], signal.SIGKILL)
        wait_for(lambda: not rpc.call("term/list")["terminals"], what="the terminal to be gone")
        self.assertTrue(os.path.exists(path), "a fresh socket might belong to a hold that is starting")
        os.utime(path, (1, 1))
        rpc.call("term/list")
        self.assertFalse(os.path.exists(path))

    def test_stopped_hold_does_not_stop_the_list(self):
        rpc = self.host.link().rpc()
        a, b = self.term(rpc), self.term(rpc)
        os.kill(a["holdPid"], signal.SIGSTOP)
        self.assertEqual([t["id"] for t in rpc.call("term/list")["terminals"]], [b["id"]])
        os.kill(a["holdPid"], signal.SIGCONT)
        self.assertEqual(len(rpc.call("term/list")["terminals"]), 2)

    def test_transport_that_nobody_reads(self):
        """One client stops reading altogether; the other one notices nothing, and the first loses nothing."""
        lazy, busy = self.host.link(), self.host.link()
        rpc = busy.rpc()
        term = self.term(rpc, command="i=0; while [ $i -lt 100000 ]; do echo $i; i=$((i+1)); done")
        t = Term(lazy.open("term", id=term["id"]))
        lazy.pump(0)
        wait_for(lambda: rpc.call("term/list")["terminals"][0].get("exit"), what="the program to end")
        for _ in range(10):
            self.assertTrue(rpc.call("host/info"))
        while t.end is None:
            t.step()
        self.assertEqual(bytes(t.log).split(b"\r\n")[:-1], [b"%d" % i for i in range(100000)])

    def test_flood_does_not_stop_other_streams(self):
        lk = self.host.link()
        rpc = lk.rpc()
        term = self.term(rpc, command="yes towline")
        t = Term(lk.open("term", id=term["id"]))
        while len(t.log) < 3000000:
            t.step()
        for _ in range(5):
            self.assertTrue(rpc.call("host/info"))
        self.assertEqual(set(bytes(t.log).replace(b"\r", b"").split(b"\n")[:-1]), {b"towline"})
        rpc.call("term/kill", id=term["id"])


class End(Case):
    def test_stop(self):
        lk = self.host.link()
        rpc = lk.rpc()
        term = self.term(rpc)
        self.assertEqual(rpc.call("agent/stop"), {})
        with self.assertRaises(Bye) as e:
            lk.pump_until(lambda: False)
        self.assertEqual(e.exception.code, 0)
        wait_for(lambda: not self.host.processes("agent"), what="the agent to end")
        self.assertFalse(os.path.exists(self.host.run + "/agent-v1.sock"))
        self.assertTrue(os.path.exists(f"/proc/{term['pid']}"))
        self.assertEqual(self.host.link().rpc().call("term/list")["terminals"][0]["id"], term["id"])

    def test_stop_with_terminals(self):
        lk = self.host.link()
        rpc = lk.rpc()
        terms = [self.term(rpc) for _ in range(3)]
        rpc.call("agent/stop", terminals=True)
        wait_for(lambda: not self.host.processes(), what="everything to end")
        for t in terms:
            self.assertFalse(os.path.exists(f"/proc/{t['pid']}"))

    def test_sigterm_says_bye(self):
        lk = self.host.link()
        os.kill(self.host.agent_pid(), signal.SIGTERM)
        with self.assertRaises(Bye) as e:
            lk.pump_until(lambda: False)
        self.assertEqual(e.exception.code, 6)
        wait_for(lambda: not self.host.processes("agent"), what="the agent to end")

    def test_idle_end(self):
        lk = self.host.link("--idle-ms", "50")
        rpc = lk.rpc()
        term = self.term(rpc)
        lk.bye()
        new = self.host.link()
        new.rpc().call("term/kill", id=term["id"])
        new.bye()
        wait_for(lambda: not self.host.processes("agent"), what="the agent to end")
        self.assertIn("idle", self.host.log())

    def test_link_without_transport_keeps_the_agent(self):
        lk = self.host.link("--idle-ms", "10")
        rpc = lk.rpc()
        lk.cut()
        other = self.host.link()
        self.assertEqual(other.rpc().call("host/info")["links"], 2)
        other.bye()
        lk.connect()
        self.assertTrue(rpc.call("host/info"))


    def test_removed_socket(self):
        """A cleaner removed the socket: new clients get a new agent, and the old one does not take its socket away."""
        old = self.host.link("--idle-ms", "50")
        rpc = old.rpc()
        first = rpc.call("host/info")["pid"]
        os.unlink(self.host.run + "/agent-v1.sock")
        new = self.host.link()
        second = new.rpc().call("host/info")["pid"]
        self.assertNotEqual(first, second)
        self.assertEqual(rpc.call("host/info")["pid"], first)
        old.bye()
        wait_for(lambda: first not in self.host.processes("agent"), what="the old agent to end")
        self.assertTrue(os.path.exists(self.host.run + "/agent-v1.sock"))
        self.assertEqual(self.host.link().rpc().call("host/info")["pid"], second)


class Transport(Case):
    def test_one_socket_for_both_ways(self):
        ours, theirs = socket.socketpair()
        b = subprocess.Popen(self.host.argv(), stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=self.host.env)
        theirs.close()
        ours.settimeout(DEADLINE)
        got = b""
        while len(got) < 12:
            got += ours.recv(12 - len(got))
        lk = Link(self.host)
        lk.epoch = 1
        ours.sendall(lk.hello())
        self.assertEqual(ours.recv(1), b"\x01")
        ours.close()
        self.assertEqual(b.wait(DEADLINE), 0)
        b.stderr.close()

    def test_standard_error_stays_silent(self):
        lk = self.host.link()
        lk.rpc().call("host/info")
        lk.bye()
        self.assertEqual(lk.bridge_exit(), (0, ""))


class Splice(Case):
    def test_splice_carries_everything(self):
        lk = self.host.link("--splice")
        rpc = lk.rpc()
        s = lk.open("sftp")
        s.write(struct.pack(">IBI", 5, 1, 3))
        self.assertEqual(s.read(9)[4], 2)
        lk.cut()
        lk.connect()
        self.assertTrue(rpc.call("host/info"))
        bridge = lk.bridge
        lk.bye()
        wait_for(lambda: bridge.poll() is not None, what="the bridge to end")
        self.assertEqual(bridge.returncode, 0)

    def test_descriptors_that_cannot_be_waited_for(self):
        """Standard input from a file: the agent declines it and the bridge copies."""
        lk = Link(self.host)
        lk.epoch = 1
        with open(os.path.join(self.host.dir, "in"), "wb+") as f:
            f.write(lk.hello())
            f.seek(0)
            r = subprocess.run(self.host.argv(), stdin=f, capture_output=True, env=self.host.env, timeout=DEADLINE)
        self.assertTrue(r.stdout.startswith(b"\0towline n1\n\x01"), (r.stdout, r.stderr))


if __name__ == "__main__":
    unittest.main()
