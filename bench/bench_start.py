#!/usr/bin/env python3
"""How long a one-shot command takes: `towline exec HOST true` against `ssh HOST true`, in one run (rows A1, A5).

usage: bench/bench_start.py [--rounds N] [--delay MS] [--json]   (builds nothing: make native host)

Rows: a host where nothing of ours is (the program travels, runs from memory and leaves nothing); one where the server is installed; the
daemon's connection. Every round runs ssh and ours one after the other; the figure is the median of the differences of such pairs, so that what
else the machine does meets both. Goal: at most 40 ms more than ssh.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_copy import Slow  # noqa: E402  (also sets the stage: the released programs)
from harness import Daemon, Sshd  # noqa: E402

GOAL_MS = 40


def timed(argv, env):
    t = time.perf_counter()
    subprocess.run(argv, env=env, check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - t) * 1000


def pairs(ssh, ours, env, rounds):
    timed(ssh, env)
    timed(ours, env)
    both = [(timed(ssh, env), timed(ours, env)) for _ in range(rounds)]
    return {"ssh": statistics.median(a for a, _ in both), "ours": statistics.median(b for _, b in both),
            "more": statistics.median(b - a for a, b in both), "best": min(b for _, b in both) - min(a for a, _ in both)}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--rounds", type=int, default=21)
    ap.add_argument("--delay", type=int, default=0, help="milliseconds there and back")
    ap.add_argument("--json", action="store_true")
    a = ap.parse_args()
    rows = {}
    with Sshd() as host, Daemon(host) as local:
        if a.delay:
            slow = Slow()
            slow.start(host)
            slow.seconds = a.delay / 2000
        ssh, ours = ["ssh", "-F", host.config, host.alias, "true"], local.argv("exec", host.alias, "true")
        rows["nothing installed"] = pairs(ssh, ours, local.env, a.rounds)
        local.towline("connect", host.alias)
        rows["through towlined"] = pairs(ssh, ours, local.env, a.rounds)
        local.stop_daemon()
        rows["server installed"] = pairs(ssh, ours, local.env, a.rounds)
    if a.json:
        print(json.dumps(rows))
        return
    for what, r in rows.items():
        print(f"{what:18} ssh {r['ssh']:6.0f} ms   ours {r['ours']:6.0f} ms   more, median of pairs {r['more']:+6.0f} ms, of the best "
              f"{r['best']:+6.0f} ms   <= +{GOAL_MS}: {'met' if r['more'] <= GOAL_MS else 'NOT MET'}", flush=True)


if __name__ == "__main__":
    main()
