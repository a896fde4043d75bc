#!/usr/bin/env python3
"""Tunnels and forwards against `ssh -N -L` and against no tunnel, in one run (rows A9, E1).

usage: bench/bench_tunnel.py [--quick] [--delay | --only-delay] [--json]   (builds nothing: make native host)

Columns: `towline tunnel` with a connection of its own, `towline forward` (held by towlined), `ssh -N -L`, no tunnel. Each figure is the median
of rounds in which the four take turns, so that what else the machine does meets all of them. The goals stand at the end of a line.
--delay: the same again over a line of 50 ms there and back. Last comes what 400 connections that say nothing cost in memory.
"""
import json
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_copy import Slow  # noqa: E402  (also sets the stage: the released programs)
from harness import ROOT, Daemon, Sshd, free_port, wait_port  # noqa: E402

QUICK = "--quick" in sys.argv
ROUNDS = 1 if QUICK else 5
REQUESTS, NEW, IDLE, BULK = 100, 100, 400, (64 if QUICK else 256) << 20
THINK = 0.0001
HEAD, BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n", bytes(1024)


def serve(server):
    """First byte of a connection: e echoes, h answers requests with head and body in two writes, s swallows, g<MiB>. gives."""
    def one(s):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with s:
            kind = s.recv(1)
            if kind == b"e":
                while (data := s.recv(65536)):
                    s.sendall(data)
            elif kind == b"h":
                while (data := s.recv(65536)):
                    for _ in range(data.count(b"\r\n\r\n")):
                        s.sendall(HEAD)
                        time.sleep(THINK)  # without a pause, ssh reads both at once on a busy machine, and nothing stalls
                        s.sendall(BODY)
            elif kind == b"s":
                n = 0
                while (data := s.recv(1 << 18)):
                    n += len(data)
                s.sendall(b"%d" % n)
            elif kind == b"g":
                n = b""
                while not n.endswith(b"."):
                    n += s.recv(1)
                piece = bytes(1 << 20)
                for _ in range(int(n[:-1])):
                    s.sendall(piece)
    while True:
        s, _ = server.accept()
        threading.Thread(target=one, args=(s,), daemon=True).start()


def connect(port):
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def exactly(s, n):
    while n:
        got = len(s.recv(n))
        if not got:
            raise SystemExit("a connection ended early")
        n -= got


def ask(port, kind, request, size):
    """Seconds of each of REQUESTS answers on one connection."""
    out = []
    with connect(port) as s:
        s.sendall(kind)
        for _ in range(REQUESTS):
            t = time.perf_counter()
            s.sendall(request)
            exactly(s, size)
            out.append(time.perf_counter() - t)
    return out


def echo(port, _):
    return statistics.median(ask(port, b"e", bytes(1024), 1024)) * 1000


def answer(port, _):
    return (statistics.median(ask(port, b"h", b"GET / HTTP/1.1\r\n\r\n", len(HEAD + BODY))) - THINK) * 1000


def rate(port, _):
    return REQUESTS / sum(ask(port, b"h", b"GET / HTTP/1.1\r\n\r\n", len(HEAD + BODY)))


def fresh(port, _):
    t = time.perf_counter()
    for _ in range(NEW):
        with connect(port) as s:
            s.sendall(b"ex")
            exactly(s, 1)
    return (time.perf_counter() - t) * 1000


def up(port, size):
    piece = bytes(1 << 20)
    with connect(port) as s:
        t = time.perf_counter()
        s.sendall(b"s")
        for _ in range(size >> 20):
            s.sendall(piece)
        s.shutdown(socket.SHUT_WR)
        assert int(s.recv(20)) == size
        return size / (time.perf_counter() - t) / 1e6


def down(port, size):
    with connect(port) as s:
        t = time.perf_counter()
        s.sendall(b"g%d." % (size >> 20))
        n = 0
        while (data := s.recv(1 << 18)):
            n += len(data)
        assert n == size
        return size / (time.perf_counter() - t) / 1e6


def least(share):
    return f">= {share} x ssh", lambda ours, ssh: ours >= share * ssh


def most(share):
    return f"<= {share} x ssh", lambda ours, ssh: ours <= share * ssh


# what, unit, how, goals at 0 ms, goals at 50 ms
CELLS = (("echo of 1 kB, p50", "ms", echo, [("<= 0.4 ms", lambda ours, ssh: ours <= 0.4)], []),
         ("answer of 1 kB in two writes, p50", "ms", answer, [("<= 0.4 ms", lambda ours, ssh: ours <= 0.4), most(0.1)], [most(1)]),
         ("the same, requests", "/s", rate, [least(50)], [least(1)]),
         (f"{NEW} new connections", "ms", fresh, [("<= 100 ms", lambda ours, ssh: ours <= 100)], [most(1)]),
         ("to the host", "MB/s", up, [least(0.9)], [least(0.9)]),
         ("from the host", "MB/s", down, [least(0.9)], [least(0.9)]))


def resident(pids):
    kb = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as f:
            kb += sum(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    return kb


def memory(host, local, port, rows):
    """kB of a connection through the forward: after one byte there and back, here and on the host."""
    sides = (("here", [local.pid()]), ("on the host", host.processes(argv0="towline-host")))
    before = [resident(pids) for _, pids in sides]
    idle = [connect(port) for _ in range(IDLE)]
    for s in idle:
        s.sendall(b"ex")
    for s in idle:
        exactly(s, 1)
    for (side, pids), was in zip(sides, before):
        rows.append({"what": f"memory of an idle connection, {side}", "unit": "kB", "forward": (resident(pids) - was) / IDLE})
        if "--json" not in sys.argv:
            print(f"{rows[-1]['what']:42}{'kB':6}{'':10}{rows[-1]['forward']:10.2f}", flush=True)
    for s in idle:
        s.close()


def measure(delay, rows):
    with Sshd() as host, socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        if delay:
            slow = Slow()
            slow.start(host)
            slow.seconds = delay / 2000
        with Daemon(host, stage=os.path.join(ROOT, "build/stage")) as local:
            target = f"127.0.0.1:{server.getsockname()[1]}"
            server_process = multiprocessing.Process(target=serve, args=(server,), daemon=True)
            server_process.start()
            mine = local.start("tunnel", "demo", f"0:{target}", text=True)
            tunnel = int(mine.stdout.readline().split()[1])
            theirs = free_port()
            ssh = subprocess.Popen(["ssh", "-F", host.config, "-N", "-L", f"{theirs}:{target}", "demo"])
            wait_port(theirs)
            local.towline("connect", "demo")
            added = json.loads(local.towline("forward", "--json", "demo", f"{free_port()}:{target}").stdout)
            ports = (tunnel, (added if "localPort" in added else added["forwards"][0])["localPort"], theirs, server.getsockname()[1])
            for name, unit, how, near, far in CELLS:
                size = BULK // 4 if delay else BULK
                turns = [[how(port, size) for port in ports] for _ in range(1 if delay else ROUNDS)]
                values = [statistics.median(v) for v in zip(*turns)]
                goals = [(text, [ok(v, values[2]) for v in values[:2]]) for text, ok in (far if delay else near)]
                rows.append(dict(zip(("tunnel", "forward", "ssh_L", "direct"), values), what=name, unit=unit, delay_ms=delay,
                                 goals={text: dict(zip(("tunnel", "forward"), ok)) for text, ok in goals}))
                if "--json" not in sys.argv:
                    print(f"{name:35}{delay:3} ms {unit:6}" + "".join(f"{v:10.2f}" if v < 100 else f"{v:10.0f}" for v in values) + "   "
                          + ", ".join(f"{text}: {'/'.join('yes' if x else 'no' for x in ok)}" for text, ok in goals), flush=True)
            if not delay:
                memory(host, local, ports[1], rows)
            for p in (mine, ssh):
                p.send_signal(signal.SIGTERM)
                p.wait()
            server_process.kill()


def main():
    rows = []
    if "--json" not in sys.argv:
        print(f"{'':47}{'tunnel':>10}{'forward':>10}{'ssh -L':>10}{'none':>10}   goals: tunnel/forward", flush=True)
    for delay in (50,) if "--only-delay" in sys.argv else (0, 50) if "--delay" in sys.argv else (0,):
        measure(delay, rows)
    if "--json" in sys.argv:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
