"""Sessions: real ipykernel and IRkernel in their holds, through the agent, seen by an independent viewer.
# parallel: ok
"""
import json
import os
import signal
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import wait_for
from harness.link import Host, RpcFailed

from kernel_peer import (CONTROL, GAP, IOPUB, LEAVE, OUTPUT, SHELL, STATE, STDIN, TAIL, Over, Viewer, reply, result,
                         texts)

SLOW = 120.0


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "JUPYTER_PATH": "", "IPYTHONDIR": "/nonexistent/ipython"}


class Case(unittest.TestCase):
    def setUp(self):
        self.host = Host(test=self, env=ENV)
        self.link = self.host.link()
        self.rpc = self.link.rpc()

    def create(self, kernel="python3", **more):
        info = self.rpc.call("kernel/create", deadline=SLOW, kernel=kernel, **more)
        self.assertEqual(info["state"], "idle", info)
        return info

    def view(self, info, start=0, link=None, **more):
        if info is self.__dict__.get("info") and start == 0:
            start = TAIL
        stream = (link or self.link).open("kernel", id=info["id"])
        return Viewer(stream, start, **more)

    def new_agent(self):
        """The agent is killed -9; another link to its successor."""
        os.kill(self.host.agent_pid(), signal.SIGKILL)
        self.link = self.host.link()
        self.rpc = self.link.rpc()
        return self.link


class Shared(Case):
    """One session for all tests of the class; a test that ends or breaks one makes its own."""

    @classmethod
    def setUpClass(cls):
        cls.common = {}

    @classmethod
    def tearDownClass(cls):
        if cls.common:
            cls.common["host"].stop()

    def setUp(self):
        c = self.common
        if not c:
            c["host"] = Host(env=ENV)
            c["link"] = c["host"].link()
        self.host, self.link = c["host"], c["link"]
        self.rpc = self.link.rpc()
        if "info" not in c:
            c["info"] = self.create()
        self.info = c["info"]


class Python(Shared):
    def test_execute_result_stream_and_order(self):
        info = self.info
        v = self.view(info)
        out = v.run("import sys\nprint('one')\nprint('two', file=sys.stderr)\n6*7")
        self.assertEqual((texts(out), texts(out, "stderr"), result(out)), ("one\n", "two\n", "42"))
        kinds = [r.type for r in out if r.channel == IOPUB]
        self.assertEqual((kinds[:2], kinds[-1]), (["status", "execute_input"], "status"))
        self.assertEqual(reply(out)["status"], "ok")
        self.assertEqual([r for r in v.records if r.session and r.session != v.session], [], "our own messages are hidden")
        starts = [r.start for r in v.records]
        self.assertEqual(starts, sorted(set(starts)))

    def test_folder_socket_and_connection_file_are_private(self):
        info = self.create()
        folder = os.path.dirname(info["connectionFile"])
        self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode) & 0o777, 0o700)  # ipykernel adds the sticky bit
        self.assertEqual(stat.S_IMODE(os.stat(info["connectionFile"]).st_mode), 0o600)
        with open(info["connectionFile"]) as f:
            c = json.load(f)
        self.assertEqual((c["transport"], c["signature_scheme"]), ("ipc", "hmac-sha256"))
        self.assertEqual(os.readlink(f"{self.host.home}/.local/share/jupyter/runtime/kernel-{info['uuid']}.json"),
                         info["connectionFile"])
        self.rpc.call("kernel/shutdown", id=info["id"], deadline=SLOW)
        wait_for(lambda: not os.path.exists(folder), 30, "the folder to go")
        self.assertNotIn(info["uuid"], str(os.listdir(f"{self.host.home}/.local/share/jupyter/runtime")))
        self.assertFalse(alive(info["pid"]))

    def test_tcp_where_it_is_asked_for(self):
        v = self.view(self.create(transport="tcp"))
        self.assertEqual(result(v.run("1+1")), "2")

    def test_error_has_a_traceback_and_aborts_what_waits(self):
        v = self.view(self.info)
        first, second = v.execute("import time; time.sleep(0.2); 1/0"), v.execute("print('never')")
        out = v.until_idle(first)
        self.assertEqual(reply(out)["ename"], "ZeroDivisionError")
        self.assertTrue([r for r in out if r.type == "error"])
        self.assertEqual(reply(v.until_idle(second))["status"], "aborted")
        self.assertEqual(self.rpc.call("kernel/info", id=v.snapshot["info"]["id"])["queue"], [])

    def test_interrupt(self):
        info = self.info
        v = self.view(info)
        n = v.execute("print('begun', flush=True)\nwhile True: pass")
        v.until(lambda r: r.type == "stream")
        self.assertEqual(self.rpc.call("kernel/info", id=info["id"])["running"]["msgId"], n)
        self.rpc.call("kernel/interrupt", id=info["id"])
        self.assertEqual(reply(v.until_idle(n))["ename"], "KeyboardInterrupt")
        out = v.run("2+3")
        while reply(out)["status"] == "aborted":  # ipykernel aborts what comes before it is through with the error
            out = v.run("2+3")
        self.assertEqual(result(out), "5")

    def test_restart_keeps_session_log_and_offsets(self):
        info = self.create()
        v = self.view(info)
        v.run("x = 1")
        before = v.cursor
        again = self.rpc.call("kernel/restart", id=info["id"], deadline=SLOW)
        self.assertEqual((again["id"], again["restarts"], again["state"]), (info["id"], 1, "idle"))
        self.assertNotEqual(again["pid"], info["pid"])
        self.assertFalse(alive(info["pid"]))
        v.until(lambda r: r.kind == STATE and r.content["state"] == "ready" and r.start >= before)
        said = [r.content["state"] for r in v.records if r.kind == STATE]
        self.assertEqual(said, ["starting", "ready", "restarting", "starting", "ready"])
        self.assertEqual(reply(v.run("x"))["ename"], "NameError")

    def test_input_is_answered_once(self):
        info = self.info
        one, two = self.view(info), self.view(info)
        n = one.execute("print('got ' + input('name? '))")
        asked = [v.until(lambda r: r.type == "input_request")[-1] for v in (one, two)]
        self.assertEqual(asked[0].content["prompt"], "name? ")
        late = self.view(info, start=TAIL)
        self.assertEqual(late.snapshot["input"]["content"]["prompt"], "name? ")
        self.assertTrue(late.snapshot["info"]["inputWanted"])
        two.message("input_reply", {"value": "two", "status": "ok"}, STDIN, parent=asked[1].header)
        two.until(lambda r: r.kind == STATE and r.content["state"] == "input answered")
        one.message("input_reply", {"value": "one", "status": "ok"}, STDIN, parent=asked[0].header)
        self.assertEqual(texts(one.until_idle(n)), "got two\n")
        n = one.execute("print('second ' + input())")
        q = one.until(lambda r: r.type == "input_request")[-1]
        one.message("input_reply", {"value": "x", "status": "ok"}, STDIN, parent=q.header)
        self.assertEqual(texts(one.until_idle(n)), "second x\n")

    def test_large_binary_buffers_both_ways(self):
        v = self.view(self.info)
        v.run("from ipykernel.comm import Comm\n"
              "def got(c, m):\n"
              "    c.on_msg(lambda m: c.send({'n': [len(b) for b in m['buffers']]}, buffers=[bytes(b)[::-1] for b in m['buffers']]))\n"
              "get_ipython().kernel.comm_manager.register_target('echo', got)")
        blob = os.urandom(5 << 20)
        v.message("comm_open", {"comm_id": "c1", "target_name": "echo", "data": {}})
        v.message("comm_msg", {"comm_id": "c1", "data": {}}, buffers=[blob, b"", b"abc"])
        back = v.until(lambda r: r.type == "comm_msg", SLOW)[-1]
        self.assertEqual(back.content["data"]["n"], [len(blob), 0, 3])
        self.assertEqual(back.buffers, [blob[::-1], b"", b"cba"])
        late = self.view(v.snapshot["info"], start=TAIL)
        self.assertEqual([c["comm_id"] for c in late.snapshot["comms"]], ["c1"])

    def test_comm_of_the_kernel_is_in_the_snapshot_until_it_closes(self):
        info = self.info
        v = self.view(info)
        v.run("from ipykernel.comm import Comm\nc = Comm('widget', data={'state': 7})")
        comms = self.view(info, start=TAIL).snapshot["comms"]
        self.assertEqual([(c["target_name"], c["data"]) for c in comms], [("widget", {"state": 7})])
        v.run("c.close()")
        self.assertEqual(self.view(info, start=TAIL).snapshot["comms"], [])

    def test_two_viewers_see_the_same(self):
        info = self.info
        one, two = self.view(info), self.view(info, window=262144)
        n = one.execute("for i in range(200): print(i, flush=True)")
        self.assertEqual(texts(one.until_idle(n)), texts(two.until_idle(n)))
        self.assertGreaterEqual(self.rpc.call("kernel/info", id=info["id"])["info"]["viewers"], 2)

    def test_queue_and_running_in_the_snapshot(self):
        info = self.info
        v = self.view(info)
        ids = [v.execute("input('wait')"), v.execute("'second'"), v.execute("'third'")]
        q = v.until(lambda r: r.type == "input_request")[-1]
        snap = self.rpc.call("kernel/info", id=info["id"])
        self.assertEqual(snap["running"]["msgId"], ids[0])
        self.assertEqual([e["msgId"] for e in snap["queue"]], ids[1:])
        self.assertEqual((snap["info"]["state"], snap["running"]["code"]), ("busy", "input('wait')"))
        v.message("input_reply", {"value": "", "status": "ok"}, STDIN, parent=q.header)
        v.until_idle(ids[2])
        wait_for(lambda: self.rpc.call("kernel/info", id=info["id"])["info"]["state"] == "idle", 30, "idle")

    def test_process_that_dies_is_told_and_can_be_restarted(self):
        info = self.create()
        v = self.view(info)
        v.execute("import os; os.kill(os.getpid(), 9)")
        dead = v.until(lambda r: r.kind == STATE and r.content["state"] == "dead")[-1]
        self.assertEqual(dead.content["exit"], {"kind": "signal", "value": 9})
        (there,) = [k for k in self.rpc.call("kernel/list")["kernels"] if k["id"] == info["id"]]
        self.assertEqual((there["state"], there["exit"]), ("dead", {"kind": "signal", "value": 9}))
        self.assertEqual(self.rpc.call("kernel/restart", id=info["id"], deadline=SLOW)["state"], "idle")
        self.assertEqual(result(v.run("3*3")), "9")

    def test_its_own_output_is_kept(self):
        v = self.view(self.create())
        v.execute("import os\nos.write(2, b'from the process itself\\n')\nos._exit(3)")
        got = v.until(lambda r: r.kind == STATE and r.content["state"] == "dead")
        mine = [r for r in got if r.kind == OUTPUT] or [r for r in got if r.type == "stream"]
        self.assertTrue(mine, got)

    def test_working_folder_environment_and_names(self):
        info = self.create(cwd="/usr/lib", env={"MINE": "a b", "HOME": None}, name="first", tag="t", notebook="/x/n.ipynb")
        out = self.view(info).run("import os; (os.getcwd(), os.environ['MINE'], 'HOME' in os.environ)")
        self.assertEqual(result(out), "('/usr/lib', 'a b', False)")
        (there,) = self.rpc.call("kernel/list", tag="t")["kernels"]
        self.assertEqual((there["name"], there["cwd"], there["notebook"]), ("first", "/usr/lib", "/x/n.ipynb"))
        self.assertEqual(self.rpc.call("kernel/list", tag="other")["kernels"], [])
        new = self.rpc.call("kernel/configure", id=info["id"], name="second", shutdownTimeout="24")
        self.assertEqual((new["name"], new["shutdownTimeout"]), ("second", "24"))

    def test_resources_of_all_its_processes(self):
        info = self.info
        self.view(info).run("import subprocess\np = subprocess.Popen(['sleep', '1000'])\nx = bytearray(50_000_000)")
        (there,) = [k for k in self.rpc.call("kernel/list")["kernels"] if k["id"] == info["id"]]
        self.assertGreater(there["rssBytes"], 80_000_000)
        self.assertGreater(there["cpuMs"], 0)


# Jupyter's own client at the connection file; prints every message it gets as one line of JSON
CLIENT = r"""
import json, sys
from jupyter_client import BlockingKernelClient
from jupyter_client.session import Session
c = BlockingKernelClient(connection_file=sys.argv[1])
c.load_connection_file()
c.start_channels()
c.wait_for_ready(timeout=60)
print(json.dumps({"ready": c.session.session}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if "code" in order:
        print(json.dumps({"id": c.execute(order["code"])}), flush=True)
    while True:
        m = c.get_iopub_msg(timeout=60)
        print(json.dumps({"iopub": [m["header"]["msg_id"], m["msg_type"], m["parent_header"].get("msg_id"),
                                    m["content"] if m["msg_type"] != "display_data" else None,
                                    [bytes(b).hex() for b in m["buffers"]]]}, default=str), flush=True)
        if m["msg_type"] == "status" and m["content"]["execution_state"] == "idle" and \
                m["parent_header"].get("msg_id") == order.get("until", None):
            break
        if m["msg_type"] == "stream" and m["content"]["text"].endswith(order.get("text", "never")):
            break
print("bye")
"""


class Oracle(Shared):
    """jupyter_client, which is not ours, sees on the same kernel what our viewers see."""

    def client(self, info):
        p = subprocess.Popen(["/usr/bin/python3", "-c", CLIENT, info["connectionFile"]], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)

        def end():
            p.kill()
            p.communicate()
        self.addCleanup(end)
        self.assertIn("ready", json.loads(p.stdout.readline()))
        return p

    def test_what_we_do_is_seen_by_both_alike(self):
        v = self.view(self.info)
        p = self.client(self.info)
        n = v.execute("import sys\nfor i in range(50): print('line', i, flush=True)\nprint('e', file=sys.stderr, flush=True)\n"
                      "from ipykernel.comm import Comm\nComm('t', data={'a': 1}, buffers=[b'\\x00\\x01']).close()\n'ä' + '\U0001f600'")
        v.call("info")  # the code is on its way
        p.stdin.write(json.dumps({"until": n}) + "\n")
        p.stdin.flush()
        theirs = []
        while True:
            m = json.loads(p.stdout.readline())["iopub"]
            if m[2] == n:
                theirs.append(m)
                if m[1] == "status" and m[3]["execution_state"] == "idle":
                    break
        ours = [[r.header["msg_id"], r.type, r.parent, r.content, [b.hex() for b in r.buffers]]
                for r in v.until_idle(n) if r.channel == IOPUB]
        self.assertEqual(ours, theirs)
        self.assertGreater(len(ours), 50)

    def test_what_they_do_is_in_our_log_and_keeps_the_session_busy(self):
        v = self.view(self.info)
        p = self.client(self.info)
        before = self.rpc.call("kernel/info", id=self.info["id"])["info"]["executions"]
        p.stdin.write(json.dumps({"code": "print('theirs', flush=True)\nimport time\nwhile True: time.sleep(0.1)",
                                  "text": "theirs\n"}) + "\n")
        p.stdin.flush()
        n = json.loads(p.stdout.readline())["id"]
        v.until(lambda r: r.type == "stream" and r.content["text"] == "theirs\n")
        now = self.rpc.call("kernel/info", id=self.info["id"])
        self.assertEqual((now["info"]["state"], now["running"]["msgId"]), ("busy", n))
        self.assertEqual(now["info"]["executions"], before + 1)
        self.rpc.call("kernel/interrupt", id=self.info["id"])
        v.until(lambda r: r.type == "status" and r.parent == n and r.content["execution_state"] == "idle")
        self.assertEqual(self.rpc.call("kernel/info", id=self.info["id"])["info"]["state"], "idle")

    def test_found_by_its_file_name_as_jupyter_console_existing_does(self):
        env = dict(os.environ, HOME=self.host.home)
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
            env.pop(name, None)
        code = f"from jupyter_client import find_connection_file as f; import os; print(os.path.realpath(f({self.info['uuid']!r})))"
        out = subprocess.run(["/usr/bin/python3", "-c", code], env=env, capture_output=True, text=True, timeout=120)
        self.assertEqual(out.stdout.strip(), os.path.realpath(self.info["connectionFile"]), out.stderr)


class Survives(Case):
    LINES = 100_000

    def test_every_line_once_and_in_order_though_the_viewer_left_and_the_agent_was_killed(self):
        info = self.create()
        v = self.view(info)
        n = v.execute("import time\nfor i in range(%d): print('line', i)\nprint('done')" % self.LINES)
        v.until(lambda r: r.type == "stream")
        cursor, seen = v.resume_at(), list(v.records)
        self.new_agent()
        again = self.view(info, start=cursor)
        self.assertEqual(again.flags, 0, "no gap")
        out = [r for r in seen if r.parent == n] + again.until_idle(n, SLOW)
        self.assertEqual(again.gaps, [])
        self.assertEqual(texts(out), "".join("line %d\n" % i for i in range(self.LINES)) + "done\n")

    def test_a_flood_of_messages_overruns_no_queue_of_the_kernel(self):
        # libzmq drops beyond 1,000 queued ones: a hold that is stopped meanwhile shows it every time
        info = self.create()
        v = self.view(info)
        n = v.execute("import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\n"
                      "for i in range(8000): print(i, flush=True)\nos.kill(os.getppid(), signal.SIGCONT)")
        self.assertEqual(texts(v.until_idle(n, SLOW)), "".join("%d\n" % i for i in range(8000)))

    def test_flushed_lines_one_message_each(self):
        info = self.create()
        v = self.view(info)
        n = v.execute("for i in range(5000): print(i, flush=True)")
        self.link.cut()
        self.link.connect()
        self.assertEqual(texts(v.until_idle(n, SLOW)), "".join("%d\n" % i for i in range(5000)))

    def test_more_than_the_log_holds_is_an_explicit_gap(self):
        info = self.create()
        v = self.view(info)
        v.run("pass")
        cursor = v.resume_at()
        n = v.execute("for i in range(90): print(str(i % 10) * 1_000_000, flush=True)")
        v.call("info")  # the code is on its way
        v.s.abort()

        def done():
            now = self.rpc.call("kernel/info", id=info["id"])["info"]
            return (now["state"], now["executions"]) == ("idle", 2)
        wait_for(done, SLOW, "the end of the flood")
        late = self.view(info, start=cursor)
        self.assertEqual(late.flags, 1)
        self.assertGreater(late.first, cursor)
        out = late.until_idle(n, SLOW)
        text = texts(out)
        self.assertTrue(text.endswith("9" * 1_000_000 + "\n"))
        self.assertLess(len(text), 90_000_000)
        self.assertEqual(late.snapshot["running"], None)

    def test_takes_over_from_another_link_while_it_asks(self):
        info = self.create()
        v = self.view(info)
        n = v.execute("print(input('?'))")
        v.until(lambda r: r.type == "input_request")
        other = self.view(info, start=0, link=self.host.link())
        header = other.snapshot["input"]["header"]
        other.message("input_reply", {"value": "other", "status": "ok"}, STDIN, parent=header)
        other.call("info")  # what stands before it has arrived
        self.assertEqual(texts(v.until_idle(n)), "other\n")

    def test_offset_that_is_no_beginning_moves_to_the_next_record(self):
        info = self.create()
        v = self.view(info)
        v.run("print('x' * 1000)")
        stream = [r for r in v.records if r.type == "stream"][0]
        moved = self.view(info, start=stream.start + 7)
        self.assertEqual((moved.flags, moved.next().start), (1, stream.end))
        beyond = self.view(info, start=v.cursor + 10**9)
        self.assertEqual(beyond.resume_at(), v.cursor)


class Ends(Case):
    def test_last_viewer_left_and_idle_ends_immediately(self):
        info = self.create(shutdownTimeout="immediately")
        v = self.view(info)
        v.run("1")
        v.send(LEAVE)
        v.s.finish()
        with self.assertRaises(Over):
            v.step()
        wait_for(lambda: not alive(info["holdPid"]), SLOW, "the session to end")
        self.assertFalse(alive(info["pid"]))

    def test_a_vanished_viewer_ends_nothing_yet(self):
        info = self.create(shutdownTimeout="immediately")
        v = self.view(info)
        v.run("1")
        v.s.abort()
        wait_for(lambda: self.rpc.call("kernel/list")["kernels"][0]["viewers"] == 0, 30, "no viewer")
        (there,) = self.rpc.call("kernel/list")["kernels"]
        self.assertGreater(there["endsAtMs"], 200_000)

    def test_shutdown_tells_viewers_the_end(self):
        info = self.create()
        v = self.view(info)
        self.rpc.call("kernel/shutdown", id=info["id"], deadline=SLOW)
        while v.exit is None:
            v.step()
        self.assertEqual(v.exit, (0, 0))
        self.assertEqual(v.records[-1].content["state"], "ending")
        self.assertEqual(self.rpc.call("kernel/list")["kernels"], [])
        with self.assertRaises(RpcFailed) as e:
            self.rpc.call("kernel/info", id=info["id"])
        self.assertEqual(e.exception.name, "no_kernel")

    def test_a_kernel_that_ignores_everything_is_killed(self):
        info = self.create()
        v = self.view(info)
        v.execute("import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf', flush=True)\nwhile True:\n"
                  "    try:\n        while True: pass\n    except BaseException: pass")
        v.until(lambda r: r.type == "stream")
        self.rpc.call("kernel/shutdown", id=info["id"], deadline=SLOW)
        self.assertFalse(alive(info["pid"]))

    def test_agent_stop_with_terminals_ends_sessions(self):
        info = self.create()
        self.rpc.call("agent/stop", terminals=True, deadline=SLOW)
        wait_for(lambda: not alive(info["holdPid"]) and not alive(info["pid"]), 30, "both to end")

    def test_kernel_ends_when_its_hold_is_killed(self):
        info = self.create()
        os.kill(info["holdPid"], signal.SIGKILL)
        wait_for(lambda: not alive(info["pid"]), 30, "the kernel to notice")
        self.assertEqual(self.rpc.call("kernel/list")["kernels"], [])


class Start(Case):
    def spec(self, name, argv, **more):
        folder = f"{self.host.home}/.local/share/jupyter/kernels/{name}"
        os.makedirs(folder)
        with open(folder + "/kernel.json", "w") as f:
            json.dump({"argv": argv, "display_name": name.title(), "language": "python", **more}, f)

    def failure(self, name, **more):
        with self.assertRaises(RpcFailed) as e:
            self.rpc.call("kernel/create", kernel=name, deadline=SLOW, **more)
        return e.exception

    def test_failure_is_explained_by_the_kernels_own_output(self):
        self.spec("broken", ["/usr/bin/python3", "-c", "raise SystemError('no such module here')"])
        e = self.failure("broken")
        self.assertEqual(e.name, "kernel_failed")
        self.assertIn("start Broken: it ended with status 1 and said:", str(e))
        self.assertIn("SystemError: no such module here", str(e))
        self.assertEqual(self.rpc.call("kernel/list")["kernels"], [])
        self.assertEqual([n for n in os.listdir(self.host.run) if n.startswith("kernel")], [])

    def test_missing_ipykernel_says_what_to_type(self):
        env = os.path.join(self.host.home, "proj", ".venv")
        os.makedirs(env + "/bin")
        os.makedirs(env + "/lib/python3.11/site-packages")
        os.symlink("/usr/bin/python3", env + "/bin/python")
        with open(env + "/pyvenv.cfg", "w") as f:
            f.write("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n")
        e = self.failure(env + "/bin/python")
        self.assertIn(f"ipykernel is not installed for {env}/bin/python; on the host, type: {env}/bin/python -m pip "
                      "install ipykernel", str(e))
        specs = self.rpc.call("kernel/specs", cwd=os.path.dirname(env), deadline=SLOW)["specs"]
        (mine,) = [s for s in specs if s["id"] == env + "/bin/python"]
        self.assertEqual((mine["ready"], mine["source"], mine["version"]), (False, "venv", "3.11.2"))
        with open(env + "/pyvenv.cfg", "a") as f:
            f.write("include-system-site-packages = true\n")

    def test_unknown_names_and_wrong_parameters(self):
        self.assertEqual(self.failure("nonsense").name, "no_kernelspec")
        self.assertEqual(self.failure("/bin/cat").name, "no_kernelspec")
        self.assertEqual(self.failure("../x").name, "invalid")
        self.assertEqual(self.failure("python3", shutdownTimeout="5").name, "invalid")
        self.assertEqual(self.failure("python3", env={"A": 1}).name, "invalid")
        for method in ("info", "interrupt", "restart", "shutdown", "configure"):
            with self.assertRaises(RpcFailed) as e:
                self.rpc.call("kernel/" + method, id="nosuch")
            self.assertEqual(e.exception.name, "no_kernel")

    def test_kernelspec_environment_and_missing_folder(self):
        self.spec("envy", ["/usr/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                  env={"FROM": "${HOME}/x:$NOPE:$$"})
        info = self.create("envy", cwd="/no/such/folder")
        v = self.view(info)
        self.assertEqual(result(v.run("import os; os.environ['FROM']")), f"'{self.host.home}/x:$NOPE:$'")
        self.assertIn("cannot start in /no/such/folder", v.records[0].content["notice"])

    def test_slow_kernel_is_answered_as_starting_and_becomes_ready(self):
        gate = self.host.home + "/gate"
        self.spec("slow", ["/usr/bin/python3", "-c",
                           "import os,sys,time\nprint('waiting', flush=True)\n"
                           f"while not os.path.exists({gate!r}): time.sleep(0.05)\n"
                           "os.execv(sys.executable, [sys.executable, '-m', 'ipykernel_launcher', '-f', sys.argv[1]])",
                           "{connection_file}"])
        info = self.rpc.call("kernel/create", kernel="slow", deadline=SLOW)
        self.assertEqual(info["state"], "starting")
        v = self.view(info)
        n = v.execute("'patient'")
        open(gate, "w").close()
        self.assertEqual(result(v.until_idle(n)), "'patient'")
        self.assertEqual([r.content for r in v.records if r.kind == OUTPUT][0], b"waiting\n")

    def test_interpreter_by_path(self):
        info = self.create("/usr/bin/python3")
        self.assertRegex(info["displayName"], r"^Python 3\.\d+ \(/usr/bin/python3\)$")
        self.assertEqual(result(self.view(info).run("1")), "1")


class R(Case):
    def test_execute_interrupt_and_input(self):
        info = self.create("ir")
        v = self.view(info)
        out = v.run("cat('hello\\n'); 1:3")
        self.assertEqual(texts(out), "hello\n")
        shown = [r for r in out if r.type in ("display_data", "execute_result")]
        self.assertEqual(shown[0].content["data"]["text/plain"], "[1] 1 2 3")
        n = v.execute("x <- readline('name? '); cat('got', x)")
        q = v.until(lambda r: r.type == "input_request")[-1]
        v.message("input_reply", {"value": "R", "status": "ok"}, STDIN, parent=q.header)
        self.assertEqual(texts(v.until_idle(n)), "got R")
        n = v.execute("cat('begun\\n'); flush.console(); repeat {}")
        v.until(lambda r: r.type == "stream" and r.parent == n)
        self.rpc.call("kernel/interrupt", id=info["id"])
        v.until_idle(n)
        self.assertEqual(self.rpc.call("kernel/restart", id=info["id"], deadline=SLOW)["state"], "idle")
        out = v.run("stop('on purpose')")
        self.assertEqual(reply(out)["status"], "error")
        self.rpc.call("kernel/shutdown", id=info["id"], deadline=SLOW)
        self.assertFalse(alive(info["pid"]))


class BadInput(Case):
    def test_nonsense_closes_only_that_viewer(self):
        info = self.create()
        good = self.view(info)
        for payload in (b"\x00\x00\x00\x01x", b"\xff\xff\xff\xff", b"\x00\x00\x00\x0c\x01\x02\x00\x00" + bytes(8)):
            bad = self.view(info)
            bad.send(2, payload)
            with self.assertRaises(Over):
                while True:
                    bad.step()
        self.assertEqual(result(good.run("7")), "7")
        answer = good.call("nonsense")
        self.assertEqual(answer["error"]["name"], "no_method")
        self.assertEqual(good.call("info")["ok"]["id"], info["id"])


if __name__ == "__main__":
    unittest.main()
