"""Commands and connections of the host, spoken raw through the daemon: exec, direct-tcpip, direct-streamlocal, tcpip-forward (rows A5-A7 A9 A11 E6)."""
# parallel: ok
import hashlib
import json
import os
import socket
import struct
import threading
import unittest

from harness import Daemon, RpcError, Sshd, wait_for

STDIN, STDIN_EOF, SIGNAL, RESIZE, SCRIPT = 1, 2, 3, 4, 5
STDOUT, STDERR, EXIT = 65, 66, 67


def frame(kind, payload=b""):
    return bytes([kind]) + len(payload).to_bytes(3, "big") + payload


def frames(sock, early=b""):
    buf = early
    while True:
        while len(buf) >= 4 and len(buf) >= 4 + int.from_bytes(buf[1:4], "big"):
            n = int.from_bytes(buf[1:4], "big")
            yield buf[0], buf[4:4 + n]
            buf = buf[4 + n:]
        more = sock.recv(65536)
        if not more:
            return
        buf += more


class Host(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Sshd()
        cls.addClassCleanup(cls.host.stop)
        cls.local = Daemon(cls.host)
        cls.addClassCleanup(cls.local.stop)
        cls.local.towline("connect", "demo")

    def stream(self, **what):
        c = self.local.client()
        self.addCleanup(c.close)
        s = c.stream("demo", what)
        return s, c.early

    def run_command(self, stdin=b"", script=None, **what):
        """(stdout, stderr, (kind, value))"""
        if script is not None:
            what["script"] = True
        s, early = self.stream(open="exec", **what)
        if script is not None:
            for at in range(0, len(script), 32768):
                s.sendall(frame(SCRIPT, script[at:at + 32768]))
            s.sendall(frame(SCRIPT))
        feeder = threading.Thread(target=lambda: [s.sendall(frame(STDIN, stdin[i:i + 32768])) for i in range(0, len(stdin), 32768)] + [s.sendall(frame(STDIN_EOF))])
        feeder.start()
        out, err, end = b"", b"", None
        for kind, payload in frames(s, early):
            if kind == STDOUT:
                out += payload
            elif kind == STDERR:
                err += payload
            elif kind == EXIT:
                end = struct.unpack(">II", payload)
        feeder.join()
        return out, err, end


class Exec(Host):
    def test_both_outputs_and_the_status(self):
        self.assertEqual(self.run_command(command="echo out; echo err >&2; exit 3"), (b"out\n", b"err\n", (0, 3)))

    def test_a_signal_is_told_apart_from_a_status(self):
        self.assertEqual(self.run_command(command="kill -9 $$")[2], (1, 9))
        self.assertEqual(self.run_command(command="exit 137")[2], (0, 137))

    def test_input_of_any_bytes_and_its_end(self):
        blob = os.urandom(3_000_000)
        out, _, end = self.run_command(stdin=blob, argv=["sha256sum"])
        self.assertEqual(out.split()[0].decode(), hashlib.sha256(blob).hexdigest())
        self.assertEqual(end, (0, 0))
        self.assertEqual(self.run_command(stdin=b"a\0b", argv=["cat"])[0], b"a\0b")

    def test_input_that_nobody_reads_ends_nothing(self):
        self.assertEqual(self.run_command(stdin=bytes(2_000_000), command="exec true")[2], (0, 0))

    def test_a_script_of_any_length(self):
        self.assertEqual(self.run_command(script=b"x=1\nfalse\necho $x\n")[0], b"1\n")
        out, _, end = self.run_command(script=b"# " + b"y" * 400_000 + b"\necho $((6 * 7))\nexit 4\n")
        self.assertEqual((out, end), (b"42\n", (0, 4)))

    def test_folder_and_environment(self):
        out, _, _ = self.run_command(command='pwd; echo "$A-${B-unset}"', cwd="/usr", env={"A": "x y", "B": None})
        self.assertEqual(out, b"/usr\nx y-unset\n")
        self.assertEqual(self.run_command(command="pwd")[0].decode().strip(), self.host.home)

    def test_a_terminal(self):
        s, early = self.stream(open="exec", command="stty size; read x; stty size; echo got-$x", pty={"cols": 99, "rows": 33})
        out = b""
        for kind, payload in frames(s, early):
            if kind == STDOUT:
                out += payload
                if out.count(b"99") == 1 and b"sent" not in out:
                    s.sendall(frame(RESIZE, struct.pack(">HH", 120, 40)) + frame(STDIN, b"sent\n"))
        self.assertIn(b"33 99", out)
        self.assertIn(b"40 120", out)
        self.assertIn(b"got-sent", out)

    def test_what_cannot_run_is_refused_with_the_reason(self):
        for what, name in (({"argv": ["/no/such/program"]}, "not_found"), ({"command": "true", "cwd": "/no/such"}, "not_found"),
                           ({"argv": []}, "invalid"), ({"argv": ["/etc/passwd"]}, "no_permission"), ({}, "invalid")):
            with self.assertRaises(RpcError) as e:
                self.stream(open="exec", **what)
            self.assertIn(name, str(e.exception))

    def test_a_background_process_neither_delays_the_end_nor_dies(self):
        out, _, end = self.run_command(command="sleep 4321 & echo $!")
        self.assertEqual(end, (0, 0))
        os.kill(int(out), 15)

    def test_nothing_is_lost_when_the_reader_is_slow_and_the_command_over(self):
        s, early = self.stream(open="exec", command="seq 1 150000")
        out = b"".join(p for k, p in frames(s, early) if k == STDOUT)
        self.assertEqual(out, b"".join(b"%d\n" % i for i in range(1, 150001)))

    def test_a_stream_given_up_ends_the_whole_group(self):
        s, _ = self.stream(open="exec", command="sleep 6543 & trap '' TERM HUP; while :; do sleep 7654; done")
        wait_for(lambda: len(self.sleepers("6543", "7654")) == 2, 60, "the command to run")
        s.close()
        wait_for(lambda: not self.sleepers("6543", "7654"), 60, "the command's group to end")

    def sleepers(self, *seconds):
        out = []
        for pid in self.host.processes(argv0="sleep"):
            try:
                with open(f"/proc/{pid}/cmdline") as f:
                    out += [pid] if f.read().split("\0")[1] in seconds else []
            except OSError:
                pass
        return out

    def test_a_signal_reaches_the_group(self):
        s, early = self.stream(open="exec", command="trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done")
        out, end = b"", None
        for kind, payload in frames(s, early):
            out += payload if kind == STDOUT else b""
            if kind == STDOUT and b"ready" in payload:
                s.sendall(frame(SIGNAL, bytes([10])))
            if kind == EXIT:
                end = struct.unpack(">II", payload)
        self.assertIn(b"caught", out)
        self.assertEqual(end, (0, 9))


class Connections(Host):
    def setUp(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.port = self.server.getsockname()[1]

    def test_half_close_in_both_directions(self):
        s, _ = self.stream(open="direct-tcpip", host="localhost", port=self.port)
        a, _ = self.server.accept()
        self.addCleanup(a.close)
        s.sendall(b"ping")
        self.assertEqual(a.recv(10), b"ping")
        s.shutdown(socket.SHUT_WR)
        self.assertEqual(a.recv(10), b"")
        a.sendall(b"late")
        a.shutdown(socket.SHUT_WR)
        self.assertEqual(s.recv(10), b"late")
        self.assertEqual(s.recv(10), b"")

    def test_large_transfers_both_ways_at_once(self):
        s, _ = self.stream(open="direct-tcpip", host="127.0.0.1", port=self.port)
        a, _ = self.server.accept()
        self.addCleanup(a.close)
        blob = os.urandom(8 << 20)
        got = {}

        def read(name, sock):
            h = hashlib.sha256()
            while True:
                data = sock.recv(1 << 16)
                if not data:
                    break
                h.update(data)
            got[name] = h.hexdigest()

        def write(sock):
            sock.sendall(blob)
            sock.shutdown(socket.SHUT_WR)
        work = [threading.Thread(target=t, args=x) for t, x in ((read, ("near", s)), (read, ("far", a)), (write, (s,)), (write, (a,)))]
        for t in work:
            t.start()
        for t in work:
            t.join(60)
        want = hashlib.sha256(blob).hexdigest()
        self.assertEqual(got, {"near": want, "far": want})

    def test_refusal_and_unknown_names_are_told(self):
        for what, name in (({"host": "localhost", "port": 1}, "connection_refused"), ({"host": "no-such.invalid", "port": 1}, "unknown_host"),
                           ({"host": "localhost", "port": 0}, "invalid")):
            with self.assertRaises(RpcError) as e:
                self.stream(open="direct-tcpip", **what)
            self.assertIn(name, str(e.exception))

    def test_a_unix_socket(self):
        path = os.path.join(self.host.home, "app.sock")
        with socket.socket(socket.AF_UNIX) as u:
            u.bind(path)
            os.chmod(path, 0o777)
            u.listen()
            s, _ = self.stream(open="direct-streamlocal", path="~/app.sock")
            a, _ = u.accept()
            a.sendall(b"hello")
            self.assertEqual(s.recv(10), b"hello")
            a.close()

    def test_a_listener_on_the_host(self):
        c = self.local.client()
        self.addCleanup(c.close)
        listener = c.stream("demo", {"open": "tcpip-forward", "port": 0})
        port = c.opened["port"]
        stranger = socket.create_connection(("127.0.0.1", port))
        self.addCleanup(stranger.close)
        text = c.early
        while not text.endswith(b"\n"):
            text += listener.recv(4096)
        note = json.loads(text)
        self.assertEqual(note["address"], "127.0.0.1")
        s, _ = self.stream(open="forwarded-tcpip", id=note["id"])
        stranger.sendall(b"from outside")
        self.assertEqual(s.recv(20), b"from outside")
        s.sendall(b"answer")
        self.assertEqual(stranger.recv(20), b"answer")
        with self.assertRaises(RpcError):
            self.stream(open="forwarded-tcpip", id=note["id"])
        listener.close()

        def refused():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) != 0
        wait_for(refused, 60, "the listener to end")


if __name__ == "__main__":
    unittest.main()
