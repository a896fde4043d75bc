#!/usr/bin/env python3
"""bench_kernel.py - sessions compared with a direct ZeroMQ client and with Debian's notebook server, in one run on this machine.

usage: python3 bench/bench_kernel.py [--quick] [--turns N]

  round trip   execute `1+1` until execute_reply and idle, median: jupyter_client directly at the kernel's sockets; the gateway; the
               notebook server
  stream       messages a second of a kernel that prints many short lines, each flushed: the gateway and the notebook server
  memory       what the hold of one kernel needs beside it, and the notebook server

It builds nothing: `make native host`. The programs of build/stage run; each pair is measured in turns.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ["TOWLINE_STAGE"] = "build/stage"
sys.path.insert(0, os.path.join(ROOT, "tests"))
from harness import Daemon, Sshd, free_port, wait_port  # noqa: E402

# runs under Debian's python3, which has jupyter_client and websocket
CLIENT = r"""
import json, statistics, sys, time, uuid
SILENT, lost = 15, []
what, where, rounds, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if what == "zmq":
    from jupyter_client import BlockingKernelClient
    c = BlockingKernelClient(connection_file=where)
    c.load_connection_file(); c.start_channels(); c.wait_for_ready(timeout=60)
    def execute(code, stream=None):
        mid = c.execute(code)
        n = 0
        while True:
            m = c.get_iopub_msg(timeout=120)
            if m["parent_header"].get("msg_id") != mid: continue
            if m["msg_type"] == "stream": n += m["content"]["text"].count("\n")
            if m["msg_type"] == "status" and m["content"]["execution_state"] == "idle": break
        while c.get_shell_msg(timeout=120)["parent_header"].get("msg_id") != mid: pass
        return n
else:
    import websocket
    w = websocket.create_connection(where, timeout=SILENT)
    def execute(code, stream=None):
        mid = uuid.uuid4().hex
        w.send(json.dumps(dict(channel="shell", parent_header={}, metadata={}, buffers=[], header=dict(
            msg_id=mid, msg_type="execute_request", session="bench", username="u", version="5.3", date="2024-01-01T00:00:00.000000Z"),
            content=dict(code=code, silent=False, store_history=False, user_expressions={}, allow_stdin=False, stop_on_error=True))))
        done, n = set(), 0
        while len(done) < 2:
            try:
                m = json.loads(w.recv())
            except websocket.WebSocketTimeoutException:
                # the kernel's own socket has dropped the rest, the end included: its server does not read fast enough
                lost.append(1)
                break
            if m["parent_header"].get("msg_id") != mid: continue
            if m["msg_type"] == "stream": n += m["content"]["text"].count("\n")
            if m["msg_type"] == "execute_reply": done.add(1)
            if m["msg_type"] == "status" and m["content"]["execution_state"] == "idle": done.add(2)
        return n
for _ in range(20): execute("1+1")
times = []
for _ in range(rounds):
    t = time.perf_counter(); execute("1+1"); times.append(time.perf_counter() - t)
rate = got = 0
if count:
    code = f"import sys\nfor i in range({count}):\n    get_ipython().kernel.session.send(get_ipython().kernel.iopub_socket, 'stream', " \
           "{'name': 'stdout', 'text': 'line %d\\n' % i}, parent=get_ipython().parent_header, ident=b'stream.stdout')"
    t = time.perf_counter(); got = execute(code); rate = got / (time.perf_counter() - t - SILENT * len(lost))
print(json.dumps(dict(median_ms=statistics.median(times) * 1000, rate=rate, got=got)))
"""


def client(what, where, rounds, count):
    r = subprocess.run(["/usr/bin/python3", "-W", "ignore", "-c", CLIENT, what, where, str(rounds), str(count)],
                       capture_output=True, text=True, timeout=600)
    if r.returncode:
        sys.exit(r.stderr)
    return json.loads(r.stdout)


def memory(pid):
    """Private bytes (proportional set size) of a process, in MB."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:")) / 1024


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--quick", action="store_true")
    p.add_argument("--turns", type=int, default=3)
    options = p.parse_args()
    rounds, count = (50, 2000) if options.quick else (200, 10000)
    turns = options.turns
    host = Sshd()
    local = Daemon(host)
    port = free_port()
    env = dict(local.env, PATH="/usr/bin:/bin", JUPYTER_CONFIG_DIR=os.path.join(local.dir, "jupyter"), PYTHONWARNINGS="ignore")
    server = subprocess.Popen(["/usr/bin/jupyter-server", "--no-browser", f"--port={port}", "--ServerApp.token=t", "--ServerApp.ip=127.0.0.1",
                               "--ServerApp.allow_root=True", "--ZMQChannelsHandler.iopub_msg_rate_limit=0",
                               "--ZMQChannelsHandler.iopub_data_rate_limit=0"],
                              env=env, cwd=local.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        gateway = json.loads(local.towline("gateway", "--json", "demo").stdout)
        wait_port(port, 60)

        def start(url, token):
            r = subprocess.run(["curl", "-sf", "--retry", "20", "--retry-connrefused", "-X", "POST", "-H", f"Authorization: token {token}",
                                "-d", '{"name":"python3"}', url + "/api/kernels"], capture_output=True, text=True, check=True)
            return json.loads(r.stdout)["id"]
        ours, theirs = start(gateway["url"], gateway["token"]), start(f"http://127.0.0.1:{port}", "t")
        info = json.loads(local.towline("sessions", "--json", "demo").stdout)["kernels"][0]
        places = {"direct ZeroMQ": ("zmq", info["connectionFile"], 0),
                  "gateway": ("ws", f"ws://localhost:{gateway['port']}/api/kernels/{ours}/channels?token={gateway['token']}", count),
                  "notebook server": ("ws", f"ws://127.0.0.1:{port}/api/kernels/{theirs}/channels?token=t", count)}
        got = {name: [] for name in places}
        for _ in range(turns):
            for name, (what, where, n) in places.items():
                got[name].append(client(what, where, rounds, n))
        base = statistics.median(x["median_ms"] for x in got["direct ZeroMQ"])
        for name, runs in got.items():
            ms = statistics.median(x["median_ms"] for x in runs)
            line = f"{name:16} round trip {ms:6.2f} ms ({ms / base:4.2f} x)"
            if runs[0]["rate"]:
                line += (f"   stream {statistics.median(x['rate'] for x in runs):8.0f} messages/s, "
                         f"{min(x['got'] for x in runs)} of {count} arrived")
            print(line)
        time.sleep(1)
        print(f"memory beside the kernel: hold {memory(info['holdPid']):.2f} MB, towlined {memory(local.pid()):.2f} MB, "
              f"notebook server {memory(server.pid):.1f} MB (all its kernels together)")
    finally:
        server.terminate()
        local.stop()
        host.stop()


main()
