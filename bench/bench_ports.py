#!/usr/bin/env python3
"""bench_ports.py - what finding listeners costs, and how soon they are told.

Rows: time from listen() in a terminal to ports/changed (median, p95); processor time an hour of `towline-host ports` with idle shells, a
sleeping server, a busy terminal (a flood of output; a program that computes), each alone and with 5,000 other sockets on the host, listening
or connected.  Beside it the way of VS Code's server: reading /proc/net/tcp and every descriptor in /proc, every 2 s.
Nothing is asserted: figures are read by people.  Options: --quick (shorter), --json FILE.
"""
import argparse
import glob
import json
import os
import resource
import select
import socket
import statistics
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", d) for d in ("host", ".")]
os.environ.setdefault("TOWLINE_STAGE", "build/stage")  # figures of the released programs, not of the sanitizer build
from harness.link import Host  # noqa: E402
from hold_peer import Hold  # noqa: E402
from ports_peer import Ports  # noqa: E402

ARM = ("import socket,sys,time\n"
       "for line in sys.stdin:\n"
       " s=socket.socket(); s.setsockopt(1,2,1); s.bind(('127.0.0.1',int(line)))\n"
       " s.listen(1); open(sys.argv[1],'w').write(repr(time.monotonic())+'.'); sys.stdin.readline(); s.close()\n")


def terminal():
    return Hold({"shell": "/bin/bash", "args": ["--norc", "--noprofile"], "cwd": "/tmp", "env": {"PS1": "$ "}})


def drain(p, views, seconds):
    """Reads what comes, so that nobody waits for us."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for v in views:
            while select.select([v.sock], [], [], 0)[0]:
                v.step()
            v.seen.clear()
        p.step(min(left, 0.02) if views else left)


def cpu(pid):
    return time.clock_gettime((~pid << 3) | 2)  # its processor time in nanoseconds


def switches(pid):
    with open(f"/proc/{pid}/status") as f:
        return sum(int(x.split()[1]) for x in f if "ctxt_switches" in x)


def delays(rounds, rows):
    with terminal() as h:
        p, v = Ports(h.dir).start(), h.view()
        mark, found = os.path.join(h.dir, "at"), []
        v.type("python3 -u -c %s %s\n" % ("'" + ARM.replace("'", "'\\''") + "'", mark))
        for i in range(rounds):
            with socket.create_server(("127.0.0.1", 0)) as s:
                port = s.getsockname()[1]
            # a moment that has nothing to do with the looks
            drain(p, [v], 0.1 + (i * 0.137) % 0.5)
            if os.path.exists(mark):
                os.unlink(mark)
            v.type("%d\n" % port)
            p.until_owned(port)
            seen = time.monotonic()
            while not os.path.exists(mark) or not open(mark).read().endswith("."):
                time.sleep(0.001)
            found.append((seen - float(open(mark).read()[:-1])) * 1000)
            v.type("\n")
            p.until_gone(port)
        p.close()
    found.sort()
    rows.append(("listen() to ports/changed, median", statistics.median(found), "ms"))
    rows.append(("listen() to ports/changed, p95", found[int(len(found) * 0.95)], "ms"))


def load(name, command, seconds, rows):
    with terminal() as h:
        p, v = Ports(h.dir).start(), h.view()
        v.until("$ ")
        if command:
            v.type(command + "\n")
        drain(p, [v], 2)
        was, slept, began = cpu(p.proc.pid), switches(p.proc.pid), time.monotonic()
        drain(p, [v] if command and command.startswith("yes") else [], seconds)
        took = time.monotonic() - began
        rows.append((name, (cpu(p.proc.pid) - was) / took * 3600, "CPU s/h"))
        rows.append(("   wake-ups", (switches(p.proc.pid) - slept) / took, "/s"))
        p.close()


def session(seconds, rows):
    """A Python session that waits for code, watched by nobody."""
    h = Host(env={"PATH": "/usr/local/bin:/usr/bin:/bin", "JUPYTER_PATH": ""})
    rpc = h.link().rpc()
    rpc.call("kernel/create", deadline=120, kernel="python3")
    p = Ports(h.run).start()
    drain(p, [], 2)
    was, slept, began = cpu(p.proc.pid), switches(p.proc.pid), time.monotonic()
    drain(p, [], seconds)
    took = time.monotonic() - began
    rows.append(("a Python session that waits", (cpu(p.proc.pid) - was) / took * 3600, "CPU s/h"))
    rows.append(("   wake-ups", (switches(p.proc.pid) - slept) / took, "/s"))
    p.close()
    h.stop()


def others_way(rows):
    """One look as VS Code's server takes it, without the shell that it starts for it."""
    was = time.process_time()
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name) as f:
            f.read()
    for fd in glob.glob("/proc/[0-9]*/fd/[0-9]*"):
        try:
            os.readlink(fd)
        except OSError:
            pass
    rows.append(("   all of /proc every 2 s (this machine's %d processes)" % len(glob.glob("/proc/[0-9]*")),
                 (time.process_time() - was) * 1800, "CPU s/h"))


class Crowd:
    """A process with n sockets: listeners, or connections to itself. Not ours, because select takes 1,024 descriptors."""

    def __init__(self, n, connected):
        ready, done = os.pipe(), os.pipe()
        self.pid, self.done = os.fork(), done[1]
        if self.pid:
            for fd in (ready[1], done[0]):
                os.close(fd)
            os.read(ready[0], 1)
            os.close(ready[0])
            return
        os.close(done[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        keep = [socket.create_server(("127.0.0.1", 0)) for _ in range(1 if connected else n)]
        for _ in range(n // 2 if connected else 0):
            c = socket.create_connection(keep[0].getsockname())
            keep += [c, keep[0].accept()[0]]
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)

    def end(self):
        os.close(self.done)
        os.waitpid(self.pid, 0)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    options.add_argument("--json")
    o = options.parse_args()
    seconds, rows = (5, []) if o.quick else (30, [])
    delays(10 if o.quick else 40, rows)
    cases = (("idle shells", None), ("a server that sleeps", "python3 -m http.server 0"), ("a flood of output", "yes"),
             ("a program that computes", "python3 -c 'while 1: pass'"))
    for name, command in cases:
        load(name, command, seconds, rows)
    session(seconds, rows)
    for connected, what in ((False, "5,000 listeners"), (True, "5,000 connected sockets")):
        crowd = Crowd(5000, connected)
        for name, command in cases:
            load(f"{name}, {what}", command, seconds, rows)
        if not connected:
            others_way(rows)
        crowd.end()
    for name, value, unit in rows:
        print(f"{name:64} {value:10.2f} {unit}")
    if o.json:
        with open(o.json, "w") as f:
            json.dump([{"name": n, "value": v, "unit": u} for n, v, u in rows], f)


if __name__ == "__main__":
    main()
