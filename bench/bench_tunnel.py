#!/usr/bin/env python3
"""Tunnels against `ssh -L` in one run: answer to a request of 1 kB, new connections, throughput (row A9).

usage: bench/bench_tunnel.py [--json]   (builds nothing: make native host)
"""
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
from harness import ROOT, Daemon, Sshd, free_port, wait_port  # noqa: E402

ROUNDS, NEW, BULK = 300, 100, 256 << 20


def serve(server):
    """First byte of a connection: e echoes in pieces of 1 kB, s swallows, g gives BULK bytes."""
    def one(s):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with s:
            kind = s.recv(1)
            if kind == b"e":
                while (data := s.recv(65536)):
                    s.sendall(data)
            elif kind == b"s":
                n = 0
                while (data := s.recv(1 << 18)):
                    n += len(data)
                s.sendall(b"%d" % n)
            elif kind == b"g":
                piece = bytes(1 << 18)
                for _ in range(BULK // len(piece)):
                    s.sendall(piece)
    while True:
        try:
            s, _ = server.accept()
        except OSError:
            return
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


def latency(port):
    out = []
    with connect(port) as s:
        s.sendall(b"e")
        for _ in range(ROUNDS):
            t = time.perf_counter()
            s.sendall(bytes(1024))
            exactly(s, 1024)
            out.append(time.perf_counter() - t)
    return statistics.median(out) * 1000


def pieces(port):
    """A request in two writes, as many programs make it: what Nagle's algorithm delays."""
    out = []
    with connect(port) as s:
        s.sendall(b"e")
        for _ in range(ROUNDS // 3):
            t = time.perf_counter()
            s.sendall(bytes(100))
            s.sendall(bytes(924))
            exactly(s, 1024)
            out.append(time.perf_counter() - t)
    return statistics.median(out) * 1000


def fresh(port):
    t = time.perf_counter()
    for _ in range(NEW):
        with connect(port) as s:
            s.sendall(b"ex")
            exactly(s, 1)
    return (time.perf_counter() - t) * 1000


def up(port):
    piece = bytes(1 << 18)
    with connect(port) as s:
        t = time.perf_counter()
        s.sendall(b"s")
        for _ in range(BULK // len(piece)):
            s.sendall(piece)
        s.shutdown(socket.SHUT_WR)
        s.recv(20)
        return BULK / (time.perf_counter() - t) / 1e6


def down(port):
    with connect(port) as s:
        t = time.perf_counter()
        s.sendall(b"g")
        n = 0
        while (data := s.recv(1 << 18)):
            n += len(data)
        assert n == BULK
        return BULK / (time.perf_counter() - t) / 1e6


CELLS = (("answer to 1 kB, p50", "ms", latency), ("the same in two writes, p50", "ms", pieces),
         (f"{NEW} new connections", "ms", fresh), ("to the host", "MB/s", up), ("from the host", "MB/s", down))


def main():
    rows = []
    with Sshd() as host, Daemon(host, stage=os.path.join(ROOT, "build/stage")) as local, \
            socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        target = f"localhost:{server.getsockname()[1]}"
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        mine = local.start("tunnel", "demo", f"0:{target}", text=True)
        ours = int(mine.stdout.readline().split()[1])
        theirs = free_port()
        ssh = subprocess.Popen(["ssh", "-F", host.config, "-N", "-L", f"{theirs}:{target}", "demo"])
        wait_port(theirs)
        local.towline("connect", "demo")
        third = local.start("tunnel", "demo", f"0:{target}", text=True)
        daemon = int(third.stdout.readline().split()[1])
        for name, unit, what in CELLS:
            # in turn, so that what else this machine does meets all of them
            turns = [[what(port) for port in (ours, daemon, theirs, server.getsockname()[1])] for _ in range(3)]
            rows.append((name, unit, *(statistics.median(v) for v in zip(*turns))))
        for p in (mine, third, ssh):
            p.send_signal(signal.SIGTERM)
            p.wait()
    if "--json" in sys.argv:
        print(json.dumps([dict(zip(("what", "unit", "towline", "towline_daemon", "ssh_L", "direct"), r)) for r in rows]))
        return
    print(f"{'':30}{'':6}{'towline':>10}{'daemon':>10}{'ssh -L':>10}{'none':>10}")
    for name, unit, *values in rows:
        print(f"{name:30}{unit:6}" + "".join(f"{v:10.2f}" if v < 100 else f"{v:10.0f}" for v in values))


if __name__ == "__main__":
    main()
