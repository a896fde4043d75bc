"""Forwards of the daemon, and their commands (rows E1 E6 J4 K2)."""
# deadline: 600
# parallel: ok
import http.server
import json
import os
import select
import socket
import struct
import threading
import unittest

from forwarding import LOOPBACK, Forwards, limit, listeners, refused, talk
from harness import RpcError, free_port, run, wait_for


class Local(Forwards):
    def test_a_port_of_the_host_is_here_on_both_loopbacks_and_nowhere_else(self):
        e = self.echo()
        f = self.add(targetPort=e.port, localPort=0)
        self.assertEqual((f["state"], f["kind"], f["targetHost"], f["source"]), ("listening", "local", "localhost", "user"))
        self.assertEqual(talk(f["localPort"]), b"hello<end>")
        self.assertEqual(talk(f["localPort"], host="::1"), b"hello<end>")
        for address, port in listeners(self.local.pid()):
            self.assertIn(address, LOOPBACK, port)
        f = wait_for(lambda: [x for x in self.forwards() if x["connections"] == 0], what="the connections to end")[0]
        self.assertEqual((f["bytesOut"], f["bytesIn"]), (10, 20))

    def test_the_same_number_when_free_and_another_when_not(self):
        e = self.echo()
        f = self.add(targetPort=e.port)
        self.assertNotEqual(f["localPort"], e.port)  # the host is this machine: its own number is taken
        self.assertEqual(talk(f["localPort"]), b"hello<end>")
        again = self.add(targetPort=e.port)
        self.assertEqual(again["id"], f["id"])
        with self.assertRaises(RpcError) as caught:
            self.add(targetPort=e.port, localPort=e.port, requireLocalPort=True)
        self.assertEqual(caught.exception.name, "local_port_taken")
        free = free_port()
        moved = self.client.call("forward/update", id=f["id"], localPort=free, requireLocalPort=True, label="web")
        self.assertEqual((moved["localPort"], moved["label"], moved["id"]), (free, "web", f["id"]))
        self.assertEqual(talk(free), b"hello<end>")
        with self.assertRaises(ConnectionRefusedError):
            talk(f["localPort"])

    def test_on_a_host_that_is_this_machine_no_forward_leads_to_itself(self):
        """One did, without end: its listener had the number that nobody listened on yet, and no program could take it any more."""
        port = free_port()
        f = self.add(targetPort=port)
        self.assertNotEqual(f["localPort"], port)
        with self.assertRaises(ConnectionResetError):
            talk(f["localPort"])
        with self.assertRaises(RpcError) as caught:
            self.add(targetPort=port, localPort=port, requireLocalPort=True)
        self.assertEqual(caught.exception.name, "local_port_taken")
        self.assertIn("would lead to itself", caught.exception.text)
        # neither in a circle
        a, b = free_port(), free_port()
        self.add(targetPort=b, localPort=a, requireLocalPort=True)
        self.add(targetPort=a, localPort=b, requireLocalPort=True)
        for n in (a, b):
            with self.assertRaises(ConnectionResetError):
                talk(n)
        wait_for(lambda: {x["connections"] for x in self.forwards()} == {0}, what="no connection to be left")
        self.assertIn("is this machine, and port", self.local.log())
        # one that leads to another forward is none
        e = self.echo()
        g = self.add(targetPort=e.port, localPort=0)
        h = self.add(targetPort=g["localPort"], localPort=0)
        self.assertEqual(talk(h["localPort"]), b"hello<end>")

    def test_a_refused_connection_is_a_reset_here(self):
        f = self.add(targetPort=free_port(), localPort=0)
        with self.assertRaises(ConnectionResetError):
            talk(f["localPort"])

    def test_removing_ends_listener_and_connections(self):
        e = self.echo()
        f = self.add(targetPort=e.port, localPort=0)
        s = socket.create_connection(("127.0.0.1", f["localPort"]), timeout=60)
        self.addCleanup(s.close)
        s.sendall(b"x")
        self.assertEqual(s.recv(1), b"x")
        self.client.call("forward/remove", id=f["id"])
        with self.assertRaises(ConnectionResetError):
            s.recv(1)
        with self.assertRaises(ConnectionRefusedError):
            talk(f["localPort"])
        self.assertEqual(self.forwards(), [])
        with self.assertRaises(RpcError) as caught:
            self.client.call("forward/remove", id=f["id"])
        self.assertEqual(caught.exception.name, "no_forward")

    def test_subscribers_hear_of_changes(self):
        other = self.local.client()
        other.call("host/subscribe", host=self.host.alias)
        f = self.add(targetPort=7, localPort=0, label="seven")
        got = other.note("forward/changed", match=lambda p: len(p["forwards"]) == 1)
        self.assertEqual(got["forwards"][0]["label"], "seven")
        self.client.call("forward/remove", id=f["id"])
        other.note("forward/changed", match=lambda p: p["forwards"] == [])

    def test_200_connections_at_once(self):
        e = self.echo()
        f = self.add(targetPort=e.port, localPort=0)
        socks = [socket.create_connection(("127.0.0.1", f["localPort"]), timeout=120) for _ in range(200)]
        for i, s in enumerate(socks):
            s.sendall(struct.pack("!I", i) * 1000)
        for i, s in enumerate(socks):
            got = b""
            while len(got) < 4000:
                got += s.recv(4000 - len(got))
            self.assertEqual(got, struct.pack("!I", i) * 1000)
        self.assertEqual(self.forwards()[0]["connections"], 200)
        for s in socks:
            s.close()
        wait_for(lambda: self.forwards()[0]["connections"] == 0, 60, "200 connections to end")

    def test_more_connections_than_are_carried_wait_for_their_turn(self):
        e = self.echo()
        f = self.add(targetPort=e.port, localPort=0)
        g = self.add(targetPort=e.port, localPort=0, source="command", localAddress="127.0.0.1")
        most = limit("FORWARD_CONNECTIONS")
        socks = [socket.create_connection(("127.0.0.1", f["localPort"]), timeout=120) for _ in range(most)]
        self.addCleanup(lambda: [s.close() for s in socks])
        for s in socks:
            s.sendall(b"x")
        for s in socks:
            self.assertEqual(s.recv(1), b"x")
        # of this forward, and of another one to the same host
        late = [socket.create_connection(("127.0.0.1", (f, g)[i % 2]["localPort"]), timeout=120) for i in range(40)]
        self.addCleanup(lambda: [s.close() for s in late])
        for s in late:
            s.sendall(b"late")
        # everything else goes on meanwhile
        self.client.call("host/call", host=self.host.alias, method="host/info", params={})
        self.assertEqual(sum(x["connections"] for x in self.forwards()), most)
        self.assertEqual(select.select(late, [], [], 0)[0], [])
        for s in socks[:20]:
            s.close()
        done = set()
        while len(done) < 20:
            for s in select.select([x for x in late if x not in done], [], [], 60)[0]:
                self.assertEqual(s.recv(4), b"late")
                done.add(s)
        for s in socks[20:]:
            s.close()
        for s in late:
            if s not in done:
                self.assertEqual(s.recv(4), b"late")

    def test_what_is_wrong_is_said(self):
        for spec, words in (({}, "targetPort"), ({"targetPort": 70000}, "not a port"), ({"kind": "x"}, "kind"),
                            ({"kind": "remote"}, "localPort"), ({"targetPort": 1, "localAddress": "8.8.8.8"}, "address"),
                            ({"targetPort": 1, "localAddress": "no\nname"}, "control character"),
                            ({"targetPath": "/x", "localPath": "relative"}, "begins with /"),
                            ({"kind": "socks", "targetPort": 1}, "no target"), ({"targetPort": 1, "protocol": "ftp"}, "protocol")):
            with self.assertRaises(RpcError) as caught:
                self.add(**spec)
            self.assertIn(words, caught.exception.text, spec)
        self.assertEqual(self.forwards(), [])


class Commands(Forwards):
    def towline(self, *argv, **kw):
        return self.local.towline(*argv, **kw)

    def test_forward_prints_where_it_listens_and_unforward_ends_it(self):
        e = self.echo()
        out = self.towline("forward", self.host.alias, e.port, "--label", "echo").stdout
        here, arrow, there = out.split(" ", 2)
        self.assertEqual((arrow, there), ("->", f"localhost:{e.port} on {self.host.alias}\n"))
        port = int(here.split(":")[1])
        self.assertEqual(talk(port), b"hello<end>")
        table = self.towline("forward", self.host.alias).stdout
        self.assertRegex(table, rf"(?m)^f\w+ +local +localhost:{port} +localhost:{e.port} +listening +echo$")
        self.assertEqual(json.loads(self.towline("forward", "--json", self.host.alias).stdout)["forwards"][0]["localPort"], port)
        free = free_port()
        out = self.towline("forward", "--json", self.host.alias, f"{free}:127.0.0.1:{e.port}").stdout
        self.assertEqual(json.loads(out)["localPort"], free)
        self.assertEqual(self.towline("unforward", self.host.alias, port).stdout, "ended\n")
        with self.assertRaises(ConnectionRefusedError):
            talk(port)
        r = self.towline("unforward", self.host.alias, port, check=False)
        self.assertEqual((r.returncode, r.stdout), (20, ""))
        self.assertIn(f"See `towline forward HOST`", r.stderr)
        # where nothing listens here under a number, it is the host's
        self.towline("unforward", self.host.alias, e.port)
        self.assertEqual(self.towline("forward", self.host.alias).stdout, "no forwards\n")
        self.towline("forward", self.host.alias, e.port)
        self.towline("unforward", self.host.alias, "--all")
        self.assertEqual(self.towline("forward", self.host.alias).stdout, "no forwards\n")

    def test_what_is_written_wrong_is_said_before_anything_is_done(self):
        for word, text in (("1:2:3:4:5", "too many colons"), ("a::1", "empty"), ("host:x", "neither with a port"), ("[::1:80", "]"),
                           ("70000:a:1", "where it shall listen"), ("0", "neither with a port")):
            r = self.towline("forward", self.host.alias, "8080", word, check=False)
            self.assertEqual(r.returncode, 2, word)
            self.assertIn(text, r.stderr, word)
        self.assertEqual(self.forwards(), [])

    def test_a_taken_port_is_said_with_the_next_step(self):
        e = self.echo()
        r = self.towline("forward", self.host.alias, f"{e.port}:localhost:{e.port}", check=False)
        self.assertEqual(r.returncode, 81)
        self.assertIn(f"port {e.port} of this machine: another program does", r.stderr)
        self.assertIn("Choose another local port", r.stderr)

    def test_ports_lists_and_watches(self):
        e = self.echo()
        f = self.add(targetPort=e.port, localPort=0, label="mine")
        lines = self.towline("ports", self.host.alias).stdout.splitlines()
        self.assertEqual(lines[0].split(), ["PORT", "ADDRESS", "PROCESS", "FORWARDED", "LABEL"])
        mine = [x for x in lines if x.startswith(f"{e.port} ")]
        self.assertEqual(len(mine), 1, lines)
        self.assertIn("127.0.0.1", mine[0])
        self.assertRegex(mine[0], rf"localhost:{f['localPort']} +mine$")
        both = json.loads(self.towline("ports", "--json", self.host.alias).stdout)
        self.assertIn(e.port, [p["port"] for p in both["ports"]])
        self.assertEqual(both["forwards"][0]["id"], f["id"])
        w = self.local.start("ports", "--watch", "--json", self.host.alias, text=True)
        seen = []
        threading.Thread(target=lambda: [seen.append(json.loads(x)) for x in w.stdout], daemon=True).start()
        wait_for(lambda: [x for x in seen if x["event"] == "added" and x["port"]["port"] == e.port], 60, "the list")
        # nothing of ours below a terminal runs here: the host is asked again when something does
        self.client.call("forward/remove", id=f["id"])
        wait_for(lambda: [x for x in seen if x["event"] == "unforwarded" and x["forward"]["id"] == f["id"]], 60, "its end")
        w.send_signal(2)
        self.assertEqual(w.wait(60), 0, w.stderr.read())

    def test_socks_carries_names_and_refusals(self):
        e = self.echo()
        out = self.towline("socks", self.host.alias).stdout
        self.assertRegex(out, r"^socks5h://localhost:\d+\n$")
        port = int(out.rsplit(":", 1)[1])
        self.assertEqual(self.towline("socks", self.host.alias).stdout, out)  # there is one already
        for name in ("127.0.0.1", "localhost"):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
                # everything at once: a client need not wait for the answers
                s.sendall(b"\5\1\0" + b"\5\1\0\3" + bytes([len(name)]) + name.encode() + struct.pack("!H", e.port) + b"early")
                s.shutdown(socket.SHUT_WR)
                got = b""
                while more := s.recv(65536):
                    got += more
                self.assertEqual(got, b"\5\0" + b"\5\0\0\1" + bytes(6) + b"early<end>")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
            s.sendall(b"\5\1\0" + b"\5\1\0\1" + socket.inet_aton("127.0.0.1") + struct.pack("!H", free_port()))
            got = b""
            while more := s.recv(100):
                got += more
            self.assertEqual(got[:4], b"\5\0\5\5")  # connection refused
        with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(s.recv(100), b"")


class Remote(Forwards):
    def test_a_listener_on_the_host_leads_here(self):
        e = self.echo()
        out = self.local.towline("forward", "-R", self.host.alias, f"0:localhost:{e.port}").stdout
        self.assertRegex(out, rf"^localhost:\d+ on {self.host.alias} -> localhost:{e.port} here\n$")
        port = int(out.split()[0].split(":")[1])
        self.assertEqual(talk(port), b"hello<end>")
        f = self.forwards()[0]
        self.assertEqual((f["kind"], f["state"], f["targetPort"], f["localPort"]), ("remote", "listening", port, e.port))
        with self.assertRaises(RpcError) as caught:
            self.add(kind="remote", targetPort=port, localPort=7)
        self.assertEqual(caught.exception.name, "port_taken")
        self.assertEqual(len(self.forwards()), 1)
        self.client.call("forward/remove", id=f["id"])
        wait_for(lambda: refused(port), 60, "the host to stop listening")

    def test_nobody_here_is_a_reset_there(self):
        f = self.add(kind="remote", targetPort=0, localPort=free_port())
        with self.assertRaises(ConnectionResetError):
            talk(f["targetPort"])

    def test_to_a_unix_socket_here(self):
        path = os.path.join(self.local.dir, "echo.sock")
        self.echo(path=path)
        f = self.add(kind="remote", targetPort=0, localPath=path)
        self.assertEqual(talk(f["targetPort"]), b"hello<end>")


class Proxy(Forwards):
    """The laptop's internet for the host. Nothing of this machine is the internet, so the tests allow 127.0.0.1 where they reach."""

    def lend(self, allow=()):
        self.settings("{ // as people write it\n \"towline.lendInternet.allow\": " + json.dumps(list(allow)) + ",\n}\n")
        return self.add(kind="remote", proxy=True)["proxyUrl"]

    def web(self):
        seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                n = int(self.headers.get("Content-Length") or 0)
                seen.append((self.command, self.path, dict(self.headers), self.rfile.read(n)))
                body = b"page " * 20000
                self.send_response(200)
                self.send_header("Content-Length", len(body))
                self.send_header("Keep-Alive", "timeout=5")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
            do_GET = do_POST = do_HEAD = answer

            def log_message(self, *a):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server.server_address[1], seen

    def curl(self, proxy, *argv):
        return run(["curl", "-sS", "-x", proxy, *argv], check=False, env={"PATH": os.environ["PATH"]})

    def test_pages_and_tunnels(self):
        port, seen = self.web()
        proxy = self.lend(["127.0.0.1"])
        self.assertRegex(proxy, r"^http://towline:[0-9a-f]{32}@127\.0\.0\.1:\d+$")
        url = f"http://127.0.0.1:{port}/a?b=c"
        for more in ([], ["-p"], ["-I"], ["-d", "x" * 100000], ["--http1.0"]):
            r = self.curl(proxy, *more, "-H", "Connection: close, x-hop", "-H", "X-Hop: 1", "-H", "X-End: 2", url)
            self.assertEqual(r.returncode, 0, r.stderr)
            if "-I" not in more:
                self.assertEqual(r.stdout, "page " * 20000, more)
        plain = seen[0][2]
        self.assertEqual((seen[0][1], plain["Host"], plain["Connection"], plain["X-End"]), ("/a?b=c", f"127.0.0.1:{port}", "close", "2"))
        self.assertFalse({"X-Hop", "Proxy-Authorization", "Proxy-Connection"} & set(plain))
        self.assertEqual((seen[3][0], seen[3][3]), ("POST", b"x" * 100000))
        self.assertEqual([x[0] for x in seen], ["GET", "GET", "HEAD", "POST", "GET"])

    def test_this_machine_is_not_the_internet(self):
        port, seen = self.web()
        proxy = self.lend()
        for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", socket.gethostname(), "127.1", "2130706433"):
            for more in ([], ["-p"]):
                r = self.curl(proxy, "-w", "%{http_code} %{http_connect}", *more, f"http://{host}:{port}/")
                self.assertRegex(r.stdout + r.stderr, "403", (host, more))
        self.assertEqual(seen, [])
        r = self.curl(proxy, "http://no-such-name.invalid/")
        self.assertIn("does not know the name", r.stdout)

    def test_only_with_its_password(self):
        port, seen = self.web()
        proxy = self.lend(["127.0.0.1"])
        where = proxy.rsplit("@", 1)[1]
        for wrong in (f"http://{where}", f"http://towline:{'0' * 32}@{where}"):
            r = self.curl(wrong, "-w", "%{http_code}", f"http://127.0.0.1:{port}/")
            self.assertTrue(r.stdout.endswith("407"), r.stdout)
        self.assertEqual(seen, [])
        for junk in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01 tls\r\n\r\n", b"GET ftp://x/ HTTP/1.1\r\n\r\n",
                     b"POST http://127.0.0.1/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                     b"GET /" + b"x" * 200000 + b" HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", int(where.split(":")[1])), timeout=60) as s:
                try:
                    s.sendall(junk)
                    self.assertRegex(s.recv(65536), b"^HTTP/1.1 40[07] ")
                except (ConnectionResetError, BrokenPipeError):
                    self.assertGreater(len(junk), 100000)

    def test_the_command_prints_lines_for_a_shell(self):
        out = self.local.towline("forward", self.host.alias, "--lend-internet").stdout
        self.assertRegex(out, r"^export http_proxy=http://towline:\w+@127.0.0.1:\d+ https_proxy=http://\S+\nexport HTTP_PROXY=")
        self.assertEqual(self.local.towline("forward", self.host.alias, "--lend-internet").stdout, out)


if __name__ == "__main__":
    unittest.main()
