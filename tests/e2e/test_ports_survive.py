"""Forwards and everything that comes and goes around them: the link, the daemon, the host, the configuration (rows E1 E3 E4 E6 K1 K2)."""
# deadline: 600
# parallel: ok
import hashlib
import json
import os
import shutil
import signal
import socket
import stat
import struct
import threading
import unittest

from forwarding import LOOPBACK, Forwards, listeners, refused, talk, talk_path
from harness import RpcError, find_processes, free_port, run, wait_for

MIB = 1 << 20


class Link(Forwards):
    wire = True

    def phase(self):
        hosts = self.client.call("host/list")["hosts"]
        return [h for h in hosts if h["host"] == self.host.alias][0]["phase"]

    def test_connections_outlive_a_cut_and_new_ones_wait_for_the_link(self):
        blob = os.urandom(MIB) * 24
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        go = threading.Event()

        def serve():
            c, _ = server.accept()
            c.sendall(blob[:MIB])
            go.wait(60)
            c.sendall(blob[MIB:])
            c.close()
        threading.Thread(target=serve, daemon=True).start()
        f = self.add(targetPort=server.getsockname()[1], localPort=0)
        e = self.echo()
        g = self.add(targetPort=e.port, localPort=0)
        s = socket.create_connection(("127.0.0.1", f["localPort"]), timeout=120)
        self.addCleanup(s.close)
        sha, got = hashlib.sha256(), 0
        while got < MIB // 2:
            b = s.recv(65536)
            sha.update(b)
            got += len(b)
        self.host.wire.cut()
        go.set()
        wait_for(lambda: self.phase() == "reconnecting", 60, "the loss to be seen")
        self.assertEqual({x["state"] for x in self.forwards()}, {"waiting"})
        answer = []
        late = threading.Thread(target=lambda: answer.append(talk(g["localPort"])), daemon=True)
        late.start()
        wait_for(lambda: [x for x in self.forwards() if x["id"] == g["id"] and x["connections"] == 1], 60, "it to be accepted")
        self.host.wire.heal()
        self.client.call("host/reconnect", host=self.host.alias)
        while b := s.recv(65536):
            sha.update(b)
            got += len(b)
        self.assertEqual((got, sha.digest()), (len(blob), hashlib.sha256(blob).digest()))
        late.join(60)
        self.assertEqual(answer, [b"hello<end>"])

    def test_listeners_on_the_host_come_back_with_a_new_link(self):
        e = self.echo()
        there = free_port()
        self.add(kind="remote", targetPort=there, localPort=e.port)
        self.assertEqual(talk(there), b"hello<end>")
        agents = self.host.processes(argv0="towline-host")
        for p in agents:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        # until the last of them is gone its listener still takes connections, and all looks as before
        wait_for(lambda: all(gone(p) for p in agents), 60, "the old programs to be gone")
        # the old link is unknown to a new agent
        wait_for(lambda: self.phase() == "connected" and [x for x in self.forwards() if x["state"] == "listening"] and not refused(there),
                 60, "the listener")
        self.assertEqual(talk(there), b"hello<end>")


def gone(pid):
    """Its descriptors are closed: a process that ends loses its name and environment before them."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


class Restart(Forwards):
    def kill_daemon(self):
        pid = self.local.pid()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.local.pid() != pid, what="the daemon to be gone")

    def restart(self):
        self.kill_daemon()
        self.local.towline("status")
        self.client = self.local.client()

    def test_listeners_return_and_bring_the_host_back(self):
        e = self.echo()
        mine = self.add(targetPort=e.port, localPort=0, label="web")
        auto = self.add(targetPort=free_port(), localPort=0, source="auto")
        there = free_port()
        self.add(kind="remote", targetPort=there, localPort=e.port, source="command")
        self.restart()
        after = {f["id"]: f for f in self.forwards()}
        self.assertNotIn(auto["id"], after)
        self.assertEqual((after[mine["id"]]["localPort"], after[mine["id"]]["label"]), (mine["localPort"], "web"))
        self.assertEqual({f["state"] for f in after.values()}, {"waiting"})
        # nobody said connect: a connection does. The port on the host is still held by the link of the daemon that was killed
        self.assertEqual(talk(mine["localPort"]), b"hello<end>")
        wait_for(lambda: {f["state"] for f in self.forwards()} == {"listening"}, 60, "the listener on the host")
        self.assertEqual(talk(there), b"hello<end>")

    def test_a_host_that_was_closed_stays_closed(self):
        e = self.echo()
        f = self.add(targetPort=e.port, localPort=0)
        self.local.towline("close", self.host.alias)
        with self.assertRaises(ConnectionResetError):
            talk(f["localPort"])
        self.assertEqual(self.forwards()[0]["state"], "waiting")
        self.local.towline("connect", self.host.alias)
        self.assertEqual(talk(f["localPort"]), b"hello<end>")

    def test_a_host_that_cannot_be_reached_is_tried_once(self):
        f = self.add(targetPort=free_port(), localPort=0)
        self.kill_daemon()
        self.host.shut()
        self.local.towline("status")
        for _ in range(3):
            with self.assertRaises(ConnectionResetError):
                talk(f["localPort"])
        self.assertEqual(self.local.log().count("a program uses forward"), 1)

    def test_windows_forwards_are_left_out_where_the_user_says_so(self):
        self.add(targetPort=9, localPort=0)
        kept = self.add(targetPort=10, localPort=0, source="command")
        self.settings('{\n  // not every day\n  "remote.restoreForwardedPorts": false,\n}')
        self.restart()
        self.assertEqual([f["id"] for f in self.forwards()], [kept["id"]])


class Sockets(Forwards):
    def test_a_unix_socket_of_the_host_is_private_here(self):
        path = os.path.join(self.host.home, "app.sock")
        self.echo(path=path)
        os.chmod(path, 0o777)
        out = self.local.towline("forward", self.host.alias, path).stdout
        here = out.split(" ")[0]
        self.assertTrue(here.endswith("/app.sock"), out)
        self.assertEqual(stat.S_IMODE(os.stat(here).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(here)).st_mode), 0o700)
        self.assertEqual(talk_path(here), b"hello<end>")
        port = int(self.local.towline("forward", self.host.alias, f"0:{path}").stdout.split(" ")[0].split(":")[1])
        self.assertEqual(talk(port), b"hello<end>")
        self.local.towline("unforward", self.host.alias, here)
        self.assertFalse(os.path.exists(os.path.dirname(here)))

    @unittest.skipUnless(os.geteuid() == 0, "only root can be another user")
    def test_another_user_cannot_use_it(self):
        path = os.path.join(self.host.home, "app.sock")
        self.echo(path=path)
        os.chmod(path, 0o777)
        open_to_all = os.path.join(self.host.dir, "open.sock")
        f = self.add(targetPath=path, localPath=open_to_all)
        self.assertEqual((f["localPath"], talk_path(open_to_all)), (open_to_all, b"hello<end>"))
        ask = ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c",
               "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ntry:\n s.connect(sys.argv[1])\n s.sendall(b'x')\n print(s.recv(9))\n"
               "except OSError as e: print(type(e).__name__)", open_to_all]
        os.chmod(self.host.dir, 0o755)
        self.assertEqual(run(ask, cwd="/").stdout, "PermissionError\n")
        # neither where the file's mode was given away
        os.chmod(open_to_all, 0o666)
        self.assertIn(run(ask, cwd="/").stdout, ("b''\n", "ConnectionResetError\n", "BrokenPipeError\n"))
        self.assertEqual(talk_path(open_to_all), b"hello<end>")

    def test_a_socket_on_the_host_leads_here(self):
        e = self.echo()
        path = os.path.join(self.host.home, "back.sock")
        self.add(kind="remote", targetPath=path, localPort=e.port)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(talk_path(path), b"hello<end>")
        self.client.call("forward/remove", id=self.forwards()[0]["id"])
        wait_for(lambda: not os.path.exists(path), what="the socket to go")

    def test_a_file_in_the_way_is_left_alone(self):
        path = os.path.join(self.local.dir, "precious")
        with open(path, "w") as f:
            f.write("data")
        with self.assertRaises(RpcError) as caught:
            self.add(targetPath="/run/x.sock", localPath=path)
        self.assertEqual(caught.exception.name, "exists")
        with open(path) as f:
            self.assertEqual(f.read(), "data")


class Everywhere(Forwards):
    def prepare(self):
        self.settings('{"remote.localPortHost": "allInterfaces"}')

    def test_every_address_only_where_the_setting_says_so(self):
        e = self.echo()
        f = self.add(targetPort=e.port, localPort=0)
        found = {a for a, port in listeners(self.local.pid()) if port == f["localPort"]}
        self.assertEqual(found, {"00000000", "0" * 32})
        private = self.add(targetPort=free_port(), localPort=0, localAddress="localhost")
        self.assertEqual({a for a, port in listeners(self.local.pid()) if port == private["localPort"]}, LOOPBACK)


class Privileged(Forwards):
    def prepare(self):
        # a root without the right to listen below 1024 is as good as anybody
        self.local.argv_front = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"] if os.geteuid() == 0 else []
        run([*self.local.argv_front, *self.local.argv("status")], env=self.local.env, check=False)

    @unittest.skipIf(open("/proc/sys/net/ipv4/ip_unprivileged_port_start").read().strip() == "0", "this kernel reserves no ports")
    def test_a_reserved_port_becomes_another_or_an_error_with_the_next_step(self):
        f = self.add(targetPort=81)
        self.assertGreaterEqual(f["localPort"], 1024)
        for more in ({"requireLocalPort": True}, {"elevate": True}):
            with self.assertRaises(RpcError) as caught:
                self.add(targetPort=82, **more)
            self.assertEqual(caught.exception.name, "local_port_privileged")
            self.assertIn("1024 or more", caught.exception.data["todo"])


class Config(Forwards):
    def prepare(self):
        self.e = self.echo()
        self.ports = [free_port() for _ in range(4)]
        a, b, c, d = self.ports
        path = os.path.join(self.host.home, "config.sock")
        self.echo(path=path)
        os.chmod(path, 0o777)
        self.sock = os.path.join(self.local.dir, "local.sock")
        self.host.write_client_config(f"LocalForward {a} localhost:{self.e.port}\nLocalForward {self.sock} {path}\n"
                                      f"RemoteForward {b} localhost:{self.e.port}\nDynamicForward {c}\n")
        self.settings('{ /* mine */ "remote.SSH.defaultForwardedPorts": [\n'
                      f'  {{"name": "web", "localPort": {d}, "remotePort": {self.e.port}}}, // more later\n  {{"name": "none"}},\n]}}')

    def test_lines_of_the_ssh_configuration_and_of_the_settings_become_forwards(self):
        a, b, c, d = self.ports
        wait_for(lambda: len(self.forwards()) == 5 and {f["state"] for f in self.forwards()} == {"listening"}, 60, "five forwards")
        all_ = self.forwards()
        self.assertEqual(sorted((f["source"], f["kind"]) for f in all_),
                         [("config", "local"), ("config", "local"), ("config", "remote"), ("config", "socks"), ("default", "local")])
        self.assertEqual([f["label"] for f in all_ if f["source"] == "default"], ["web"])
        for port in (a, b, d):
            self.assertEqual(talk(port), b"hello<end>")
        self.assertEqual(talk_path(self.sock), b"hello<end>")
        with socket.create_connection(("127.0.0.1", c), timeout=60) as s:
            s.sendall(b"\5\1\0" + b"\5\1\0\1" + socket.inet_aton("127.0.0.1") + struct.pack("!H", self.e.port))
            got = b""
            while len(got) < 12:
                got += s.recv(12 - len(got))
            self.assertEqual(got[:4], b"\5\0\5\0")
        # ssh itself forwards nothing: the daemon listens, and the host's end is ours
        for p in find_processes(self.local.mark, argv0="ssh"):
            self.assertEqual(listeners(p), set())
        # what is no longer written goes with the next connection
        self.host.write_client_config(f"DynamicForward {c}\n")
        self.settings("{}")
        self.local.towline("unforward", self.host.alias, "--all")
        self.assertEqual(len(self.forwards()), 5)
        self.local.towline("close", self.host.alias)
        self.local.towline("connect", self.host.alias)
        wait_for(lambda: [f["kind"] for f in self.forwards()] == ["socks"], 60, "one forward")


class Pages(Forwards):
    """A program on the host asks for a page ($BROWSER)."""

    def window(self):
        from harness.ws import WebSocket
        status = self.client.call("daemon/status")
        with open(os.path.join(status["stateDir"], "token")) as f:
            token = f.read()
        ws = WebSocket(int(status["origin"].rsplit(":", 1)[1]), timeout=60)
        self.addCleanup(ws.sock.close)
        ws.greet(token)
        ws.call("host/subscribe", {"host": self.host.alias})
        return ws

    def messages(self, ws, enough):
        """What comes up to the first message for which enough(message) holds, that one included."""
        out = []
        while not out or not enough(out[-1]):
            out.append(json.loads(ws.recv()[1]))
        return out

    def test_one_window_hears_of_it_the_one_used_last(self):
        first, second = self.window(), self.window()
        first.call("host/list")
        script = 'for u in "http://localhost:1/a?b" "file:///etc/passwd" "http://last/"; do "$BROWSER" "$u"; done; echo do""ne'
        t = self.local.terminal("shell", self.host.alias, "--", "sh", "-c", script)
        self.addCleanup(t.close)
        t.expect("done", 60)
        pages = [m["params"] for m in self.messages(first, lambda m: m.get("params", {}).get("url") == "http://last/")
                 if m.get("method") == "url/open"]
        self.assertEqual(pages, [{"host": self.host.alias, "url": u} for u in ("http://localhost:1/a?b", "http://last/")])
        second.send(json.dumps({"jsonrpc": "2.0", "id": "end", "method": "host/list", "params": {}}))
        self.assertNotIn("url/open", [m.get("method") for m in self.messages(second, lambda m: m.get("id") == "end")])


if __name__ == "__main__":
    unittest.main()
