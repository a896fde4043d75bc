"""What listens on the host: `towline-host ports` with real listeners in real terminals."""
# parallel: ok

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import wait_for
from harness.link import Host
from hold_peer import Hold, host_program
from kernel_peer import Viewer, result, texts
from ports_peer import DEADLINE, Ports

HERE = os.path.dirname(os.path.abspath(__file__))
LISTENER = os.path.join(HERE, "listener.py")


def end(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Base(unittest.TestCase):
    options = ()

    def setUp(self):
        self.hold = self.new_hold()

    def new_hold(self, **params):
        h = Hold({"shell": "/bin/bash", "args": ["--norc", "--noprofile"], "cwd": "/tmp",
                  "env": {"PS1": "$ "}, **params})
        self.addCleanup(h.close)
        return h

    def ports(self, hold=None, *options):
        p = Ports((hold or self.hold).dir, *self.options, *options)
        self.addCleanup(p.close)
        return p.start()

    def listen(self, viewer, what, address="127.0.0.1", *more):
        """Starts listener.py; what it prints after PORTS."""
        viewer.type(shlex.join(["exec" if more[-1:] == ("exec",) else "command", sys.executable, LISTENER, what, address,
                                *[m for m in more if m != "exec"]]) + "\n")
        viewer.until("PORTS ")
        return [int(w) for w in viewer.until(" .").decode().split()[:-1]]


class Owned(Base):
    def test_a_server_in_a_terminal_comes_and_goes(self):
        p = self.ports()
        v = self.hold.view()
        port, = self.listen(v, "tcp", "127.0.0.1", "1")
        info = p.until_owned(port)
        pid = info.pop("pid")
        self.assertEqual(info, {
            "port": port, "address": "127.0.0.1", "family": 4, "uid": os.getuid(), "owned": True, "cwd": "/tmp",
            "process": info["process"],
            "command": f"{sys.executable} {LISTENER} tcp 127.0.0.1 1", "term": self.hold.id})
        self.assertTrue(info["process"].startswith("python"), info)
        with open(f"/proc/{pid}/cmdline") as f:
            self.assertIn("listener.py", f.read())
        v.type("\x03")
        p.until_gone(port)

    def test_every_address_form(self):
        p = self.ports()
        v = self.hold.view()
        for address, family, shown in (("0.0.0.0", 4, "0.0.0.0"), ("::1", 6, "::1"), ("::", 6, "::"),
                                       ("127.8.9.10", 4, "127.8.9.10"), ("::ffff:127.0.0.1", 4, "127.0.0.1")):
            with self.subTest(address=address):
                port, = self.listen(v, "tcp", address, "1")
                info = p.until_owned(port)
                self.assertEqual((info["address"], info["family"]), (shown, family))
                v.type("\x03")
                p.until_gone(port)
                v.until("$ ")

    def test_bound_is_not_listening(self):
        p = self.ports()
        v = self.hold.view()
        port, = self.listen(v, "late")
        v.type("\n")
        self.assertEqual(p.until_owned(port)["address"], "127.0.0.1")
        v.type("\n")
        p.until_gone(port)
        v.type("\n")
        p.until_owned(port)

    def test_the_process_nearest_to_the_terminal_is_named(self):
        """A server whose workers have its socket, too: nginx, gunicorn, a reloader."""
        p = self.ports()
        v = self.hold.view()
        port, pid, *workers = self.listen(v, "worker")
        self.addCleanup(end, workers)
        self.assertEqual(p.until_owned(port)["pid"], pid)
        v.type("\n")
        p.until("the port in the hands of a worker", lambda: any(x.get("pid", pid) != pid for x in p.at(port)))
        info = p.at(port)[0]
        self.assertTrue(info["owned"])
        self.assertEqual(info["term"], self.hold.id)

    def test_one_port_of_two_processes_is_one_entry(self):
        p = self.ports()
        port, = self.listen(self.hold.view(), "reuse")
        p.until_owned(port)
        self.assertEqual(len(p.at(port)), 1)

    def test_a_child_of_a_second_thread(self):
        """Children are told by thread; node and java start theirs from any."""
        p = self.ports()
        port, = self.listen(self.hold.view(), "thread")
        p.until_owned(port)

    def test_the_program_of_the_terminal_itself(self):
        h = self.new_hold(shell="/usr/bin/env", args=[sys.executable, LISTENER, "tcp", "127.0.0.1", "1"])
        v = h.view()
        v.until("PORTS ")
        port = int(v.until(" .").split()[0])
        self.assertEqual(self.ports(h).until_owned(port)["term"], h.id)

    def test_many_ports_of_one_program(self):
        p = self.ports()
        v = self.hold.view()
        want = set(self.listen(v, "tcp", "127.0.0.1", "300"))
        p.until("all of 300", lambda: want <= {x["port"] for x in p.ports if x["owned"]})
        v.type("\x03")
        p.until("none of 300", lambda: not want & {x["port"] for x in p.ports})

    def test_a_terminal_made_later(self):
        p = self.ports()
        h = self.new_hold()
        os.symlink(h.path, os.path.join(self.hold.dir, "hold-later.sock"))
        port, = self.listen(h.view(), "tcp", "127.0.0.1", "1")
        self.assertEqual(p.until_owned(port)["term"], "later")

    def test_a_terminal_that_was_seen_before_it_listened(self):
        """Incident: on a busy host the look met a terminal's socket between bind and listen and never asked again, so
        nothing that was served in it was forwarded."""
        path = os.path.join(self.hold.dir, "hold-between.sock")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
            os.utime(path, (2 ** 31, 2 ** 31))  # young for ever: an old one would be taken for a dead terminal's
            p = self.ports()
            s.listen(8)
            server = subprocess.Popen([sys.executable, LISTENER, "tcp", "127.0.0.1", "1"], stdout=subprocess.PIPE)
            self.addCleanup(server.communicate)
            self.addCleanup(server.kill)
            port = int(server.stdout.readline().split()[1])
            self.assertEqual(p.until_owned(port)["term"], "between")

    def test_a_listener_that_was_there_before(self):
        port, = self.listen(self.hold.view(), "tcp", "127.0.0.1", "1")
        self.assertTrue(self.ports().at(port)[0]["owned"])

    def test_strange_names(self):
        p = self.ports()
        os.symlink(sys.executable, os.path.join(self.hold.dir, "a ) S 1\n(b"))
        v = self.hold.view()
        v.type("cd %s; command ./a*b %s tcp 127.0.0.1 1\n" % (shlex.quote(self.hold.dir), LISTENER))
        v.until("PORTS ")
        port = int(v.until(" .").split()[0])
        info = p.until_owned(port)
        self.assertIn("tcp 127.0.0.1 1", info["command"])
        self.assertNotIn("\n", info["command"] + info["process"])


class Daemons(Base):
    def setUp(self):
        super().setUp()
        self.pids = []
        self.addCleanup(end, self.pids)

    def daemon(self, viewer):
        port, pid = self.listen(viewer, "daemon")
        self.pids.append(pid)
        return port, pid

    def test_a_daemon_still_belongs_to_its_terminal(self):
        """setsid and two forks: redis-server --daemonize, pg_ctl, tmux."""
        p = self.ports()
        port, pid = self.daemon(self.hold.view())
        p.until_owned(port)
        # who forked it away may be there for a moment yet
        p.until("the daemon's name", lambda: [x["pid"] for x in p.at(port)] == [pid])
        self.assertEqual(p.at(port)[0]["term"], self.hold.id)
        os.kill(pid, signal.SIGKILL)
        p.until_gone(port)

    def test_a_daemon_stays_in_the_list_when_its_terminal_ends(self):
        p = self.ports()
        port, pid = self.daemon(self.hold.view())
        p.until_owned(port)
        self.hold.proc.kill()
        os.unlink(self.hold.path)
        h = self.new_hold()
        os.symlink(h.path, os.path.join(self.hold.dir, "hold-other.sock"))
        other, = self.listen(h.view(), "tcp", "127.0.0.1", "1")
        p.until_owned(other)
        self.assertEqual(p.at(port)[0]["term"], self.hold.id)
        os.kill(pid, signal.SIGKILL)
        p.until_gone(port)

    def test_a_hold_buries_whom_it_took_in(self):
        _, pid = self.daemon(self.hold.view())

        def parent():
            with open(f"/proc/{pid}/stat") as f:
                return int(f.read().rsplit(")", 1)[1].split()[1])
        wait_for(lambda: parent() == self.hold.proc.pid, what="the hold to take it in")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what="the daemon to be reaped")


class ByProc(Owned):
    """The same where the kernel has neither socket diagnosis nor lists of children."""
    options = ("--proc",)

    def test_mode_and_reason(self):
        p = self.ports()
        self.assertEqual(p.states, [{"mode": "proc", "reason": "asked to use /proc only"}])


class Others(Base):
    def test_a_port_of_nobody_s_terminal(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
            p = self.ports()
            self.assertEqual(p.at(port), [{"port": port, "address": "127.0.0.1", "family": 4, "uid": os.getuid(),
                                           "owned": False}])
        # looked at on the way, when something happens in a terminal
        own, = self.listen(self.hold.view(), "tcp", "127.0.0.1", "1")
        p.until_owned(own)
        p.until_gone(port)

    def test_no_terminal_at_all(self):
        self.hold.close()
        os.mkdir(self.hold.dir, 0o700)
        self.addCleanup(os.rmdir, self.hold.dir)
        p = self.ports()
        self.assertFalse(any(x["owned"] for x in p.ports))
        wait_for(p.waits, what="no timer")

    def test_at_most_1024_are_told_own_ones_first(self):
        s = subprocess.Popen([sys.executable, "-c",
                              "import socket, sys\n"
                              "l = [socket.create_server(('127.0.0.1', 0)) for _ in range(1100)]\n"
                              "print('ready', flush=True); sys.stdin.read()"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             preexec_fn=lambda: __import__("resource").setrlimit(
                                 __import__("resource").RLIMIT_NOFILE, (4096, 4096)))
        self.addCleanup(s.stdout.close)
        self.addCleanup(lambda: s.communicate(timeout=DEADLINE))
        s.stdout.readline()
        p = self.ports()
        self.assertEqual(len(p.ports), 1024)
        port, = self.listen(self.hold.view(), "tcp", "127.0.0.1", "1")
        p.until_owned(port)
        self.assertEqual(p.ports[0]["port"], port)
        self.assertEqual(len(p.ports), 1024)

    def test_among_thousands_of_others_nothing_is_missed(self):
        """With many listeners the kernel is only asked when a process can have made one: every way to make one is seen."""
        s = subprocess.Popen([sys.executable, "-c",
                              "import socket, sys\n"
                              "l = [socket.create_server(('127.0.0.1', 0)) for _ in range(200)]\n"
                              "print('ready', flush=True); sys.stdin.read()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(lambda: s.communicate(timeout=DEADLINE))
        s.stdout.readline()
        p = self.ports()
        v = self.hold.view()
        port, = self.listen(v, "late")
        v.type("\n")
        p.until_owned(port)
        v.type("\n")
        p.until_gone(port)
        v.type("\n")
        p.until_owned(port)
        v.type("\x03")
        p.until_gone(port)
        port, pid, *workers = self.listen(v, "worker")
        self.addCleanup(end, workers)
        p.until_owned(port)
        v.type("\n")
        p.until("the port in the hands of a worker", lambda: any(x.get("pid", pid) != pid for x in p.at(port)))

    def test_once(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port, = self.listen(self.hold.view(), "tcp", "127.0.0.1", "1")
            out = subprocess.run([host_program(), "ports", "--once", "--run-dir", self.hold.dir], check=True,
                                 capture_output=True, timeout=DEADLINE).stdout
            answer = json.loads(out)["ok"]
            self.assertEqual(answer["mode"], "netlink")
            by_port = {p["port"]: p for p in answer["ports"]}
            self.assertTrue(by_port[port]["owned"])
            other = by_port[s.getsockname()[1]]
            self.assertEqual((other["owned"], other["pid"]), (False, os.getpid()))


class Quiet(Base):
    def test_no_timer_while_a_shell_waits(self):
        p = self.ports()
        v = self.hold.view()
        v.until("$ ")
        wait_for(p.waits, what="no timer")
        for command in ("sleep 1000 &", "cat"):
            v.type(command + "\n")
            wait_for(lambda: not p.waits(), what=f"a timer because of {command}")
        v.type("\x03")  # drops what is typed and not yet read
        v.until("^C")
        v.until("$ ")
        v.type("kill %1; wait\n")
        wait_for(p.waits, what="no timer again")

    def test_a_shell_in_a_shell_waits_too(self):
        p = self.ports()
        v = self.hold.view()
        v.type("sh\n")
        v.until("sh\r\n")
        wait_for(p.waits, what="no timer")
        v.type("command %s %s tcp 127.0.0.1 1\n" % (sys.executable, LISTENER))
        v.until("PORTS ")
        p.until_owned(int(v.until(" .").split()[0]))

    def test_a_script_is_no_waiting_shell(self):
        h = self.new_hold(shell="/bin/sh", args=["-c", "read line"])
        p = self.ports(h)
        # every look is a poll that ends by itself
        def polls():
            with open(f"/proc/{p.proc.pid}/status") as f:
                return int(next(x for x in f if x.startswith("voluntary")).split()[1])
        first = polls()
        wait_for(lambda: polls() >= first + 8, what="looks")

    def test_a_program_that_sleeps_is_seen_when_it_wakes(self):
        """Nothing moves in the terminal when this server begins to listen."""
        p = self.ports()
        v = self.hold.view()
        gate = os.path.join(self.hold.dir, "gate")
        os.mkfifo(gate)
        v.type("command %s -c 'import socket,time;open(\"%s\").read();s=socket.create_server((\"127.0.0.1\",0));"
               "open(\"%s.port\",\"w\").write(str(s.getsockname()[1])+\".\");time.sleep(1000)'\n" % (sys.executable, gate, gate))
        with open(gate, "w"):
            pass

        def port():
            if os.path.exists(gate + ".port"):
                with open(gate + ".port") as f:
                    text = f.read()
                return int(text[:-1]) if text.endswith(".") else 0
        wait_for(port, what="the port")
        p.until_owned(port())

    def test_a_reader_that_stops_costs_nothing_and_gets_the_newest(self):
        p = self.ports()
        v = self.hold.view()
        # more than a pipe holds, so that the next list cannot be written
        want = set(self.listen(v, "tcp", "127.0.0.1", "900"))
        wait_for(p.waits, what="waiting for the reader only")
        p.until("all of 900", lambda: want <= {x["port"] for x in p.ports})


class WithoutInotify(Base):
    def test_terminals_are_found_where_all_instances_are_used_up(self):
        """A busy machine has no inotify instance left: nothing told of new terminals."""
        limited = ["unshare", "-U", "-r", "sh", "-c",
                   'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"', "sh"]
        if subprocess.run([*limited, "true"], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no user namespaces with limits here")
        p = Ports(self.hold.dir, prefix=limited)
        self.addCleanup(p.close)
        p.start()
        self.assertEqual(p.states[0]["reason"], "inotify is not available: looked every 400 ms")
        h = self.new_hold()
        os.symlink(h.path, os.path.join(self.hold.dir, "hold-later.sock"))
        port, = self.listen(h.view(), "tcp", "127.0.0.1", "1")
        # whose it is cannot be seen from another user namespace; but without the terminal nobody would look
        p.until("the port", lambda: p.at(port))


class Protocol(Base):
    def test_requests_are_refused_and_nonsense_ends_the_stream(self):
        p = self.ports()
        p.send({"jsonrpc": "2.0", "id": 7, "method": "ports/nothing"})
        p.until("an answer", lambda: p.answers)
        self.assertEqual(p.answers[0]["id"], 7)
        self.assertEqual(p.answers[0]["error"]["data"]["name"], "no_method")
        p.proc.stdin.write(b"Content-Length: x\r\n\r\n")
        p.proc.stdin.flush()
        with self.assertRaises(EOFError):
            p.until("the end", lambda: False)
        self.assertEqual(p.close(), 0)

    def test_end_of_input_ends_it(self):
        self.assertEqual(self.ports().close(), 0)

    def test_bad_arguments(self):
        for args in (["--bogus"], ["--run-dir"], ["--run-dir", "relative"]):
            r = subprocess.run([host_program(), "ports", *args], capture_output=True, text=True, timeout=DEADLINE)
            self.assertEqual(r.returncode, 2)
            self.assertIn("usage:", r.stderr)


class Sessions(unittest.TestCase):
    """What real kernels serve: below their holds, seen by the same looks."""

    CODE = ("import os, socket, sys, threading\nfrom http.server import HTTPServer, SimpleHTTPRequestHandler\n"
            "s = HTTPServer(('127.0.0.1', 0), SimpleHTTPRequestHandler)\n"
            "threading.Thread(target=s.serve_forever, daemon=True).start()\ns.server_port")

    def setUp(self):
        self.host = Host(test=self, env={"PATH": "/usr/local/bin:/usr/bin:/bin", "JUPYTER_PATH": "", "IPYTHONDIR": "/nonexistent/ipython"})
        self.link = self.host.link()
        self.rpc = self.link.rpc()
        self.p = Ports(self.host.run)
        self.addCleanup(self.p.close)
        self.p.start()

    def session(self, **more):
        info = self.rpc.call("kernel/create", deadline=120, kernel="python3", **more)
        return info, Viewer(self.link.open("kernel", id=info["id"]), 0)

    def test_a_server_of_a_session_comes_and_goes(self):
        info, v = self.session()
        port = int(result(v.run(self.CODE)))
        got = self.p.until_owned(port)
        self.assertEqual((got["kernel"], got["pid"], got.get("term")), (info["id"], info["pid"], None))
        v.run("s.shutdown(); s.server_close()")
        self.p.until_gone(port)

    def test_what_its_programs_leave_behind_belongs_to_it(self):
        info, v = self.session()
        out = texts(v.run(f"import subprocess, sys\nprint(subprocess.run([{sys.executable!r}, {LISTENER!r}, 'daemon', '127.0.0.1'], "
                          "capture_output=True, text=True).stdout)"))
        port, pid = (int(w) for w in out.split()[1:3])
        self.addCleanup(end, [pid])
        self.assertEqual(self.p.until_owned(port)["kernel"], info["id"])

    def test_what_a_kernel_listens_on_for_itself_is_left_out(self):
        """Channels over TCP, and the port that ipykernel takes for its output: nobody's business, also after a restart."""
        for transport in ("ipc", "tcp"):
            info, v = self.session(transport=transport)
            port = int(result(v.run(self.CODE)))
            self.p.until_owned(port)
            self.assertEqual([x["port"] for x in self.p.ports if x.get("kernel") == info["id"]], [port])
            with open(info["connectionFile"]) as f:
                channels = {n for k, n in json.load(f).items() if k.endswith("_port")}
            self.assertEqual(channels & {x["port"] for x in self.p.ports}, set())
            if transport == "ipc":
                self.rpc.call("kernel/restart", id=info["id"], deadline=120)
                # on a busy machine the answer comes before the kernel is there
                wait_for(lambda: self.rpc.call("kernel/info", id=info["id"])["info"]["state"] == "idle", 120, "the kernel to be there")
                again = int(result(v.run(self.CODE)))
                self.p.until_owned(again)
                self.assertEqual([x["port"] for x in self.p.ports if x.get("kernel") == info["id"]], [again])


class Agent(unittest.TestCase):
    """Over a link, as the daemon has it."""

    def read(self, s):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += s.read(1)
        return json.loads(s.read(int(head.split(b":")[1])))

    def until_owned(self, s, port):
        while True:
            m = self.read(s)
            if m["method"] == "ports/changed":
                for p in m["params"]["ports"]:
                    if p["port"] == port and p["owned"]:
                        return p

    def test_stream_and_list(self):
        lk = Host(test=self).link()
        rpc = lk.rpc()
        s = lk.open("ports")
        self.assertEqual(self.read(s), {"jsonrpc": "2.0", "method": "ports/state", "params": {"mode": "netlink"}})
        port = socket.create_server(("127.0.0.1", 0))
        number = port.getsockname()[1]
        port.close()
        term = rpc.call("term/create", cwd="/", shell="/usr/bin/env",
                        args=[sys.executable, "-m", "http.server", str(number)])
        info = self.until_owned(s, number)
        self.assertEqual(info["term"], term["id"])
        answer = rpc.call("ports/list")
        self.assertEqual([p for p in answer["ports"] if p["port"] == number], [info])
        self.assertEqual(answer["mode"], "netlink")

    def test_towline_s_own_listeners_are_left_out(self):
        lk = Host(test=self).link()
        rpc = lk.rpc()
        s = lk.open("tcpip-forward", port=0)
        number = s.answer["port"]
        self.assertNotIn(number, [p["port"] for p in rpc.call("ports/list")["ports"]])


if __name__ == "__main__":
    unittest.main()
