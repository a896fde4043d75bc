#!/usr/bin/env python3
"""bench_connect.py - from the command to the first listing of a host: with the program to install, and with it there,
beside `ssh HOST true`, in one run. The daemon runs already, as it does with a window open; the host has no delay.

usage: bench/bench_connect.py [ROUNDS]     medians in ms of ROUNDS (9) rounds, and what is on top of ssh
"""
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
os.environ.setdefault("TOWLINE_STAGE", "build/stage")  # figures of the released programs, not of the sanitizer build
from harness import Daemon, Sshd  # noqa: E402


def timed(argv, env):
    start = time.perf_counter()
    subprocess.run(argv, env=env, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1000


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    with Sshd() as host, Daemon(host) as d:
        measure(host, d, rounds)


def measure(host, d, rounds):
    rows = {"ssh HOST true": [], "first connection, with the upload": [], "second connection": []}
    d.towline("connect", "demo")
    for _ in range(rounds):
        rows["ssh HOST true"].append(timed(["ssh", "-F", host.config, "demo", "true"], d.env))
        d.towline("server", "uninstall", "demo")
        shutil.rmtree(os.path.join(host.home, ".towline-server"), True)
        rows["first connection, with the upload"].append(timed(d.argv("ls", "demo:"), d.env))
        d.towline("close", "demo")
        rows["second connection"].append(timed(d.argv("ls", "demo:"), d.env))
    base = statistics.median(rows["ssh HOST true"])
    for name, values in rows.items():
        m = statistics.median(values)
        print(f"{name:36s} {m:7.0f} ms   {m - base:+6.0f}   ({min(values):.0f} to {max(values):.0f})")


if __name__ == "__main__":
    main()
