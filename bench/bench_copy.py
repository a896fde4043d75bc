#!/usr/bin/env python3
"""bench_copy.py - copies: ours, scp, rsync and tar through ssh in one run, with the ratios.

Starts a private sshd and copies 10,000 files of 4 KiB (100 folders) and one file of 1 GiB, up and down, with a delay of 0 and (--delay) 50 ms.
One row a figure: median seconds of each, and both of ours divided by the peer's (below 1: we are faster). Every copy goes to a new place.
Ours goes through the daemon's connection (`towline upload`, connected before) and, as `direct`, with a login of its own, like the peers.
Below each row the goals, met or not: small files ahead of tar and rsync; a large file at most 1.1 times `ssh cat` without delay, four times as fast as scp with it.
A busy machine moves every figure: read the ratios, of several rounds. Behind `cpu`: the same with the processor time of both sides together,
which other work on the machine moves far less (as root, where cgroups count it).
Options: --quick (2,000 files, 64 MiB, 1 round), --rounds N, --delay, --only-delay, --json FILE.
"""
import argparse
import atexit
import itertools
import json
import os
import queue
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
os.environ.setdefault("TOWLINE_STAGE", "build/stage")  # figures of the released programs, not of the sanitizer build
from harness import Daemon, Sshd  # noqa: E402


class Cpu:
    """Processor seconds of this process and all that it starts, both ends of the connection: of a control group, or unknown (None)."""
    PLACES = (("/sys/fs/cgroup/cpuacct", "cpuacct.usage", 1e9), ("/sys/fs/cgroup", "cpu.stat", 1e6))

    def __init__(self):
        self.group = None
        for top, name, scale in self.PLACES:
            group = os.path.join(top, f"towline-bench-{os.getpid()}")
            try:
                os.mkdir(group)
                if os.path.exists(os.path.join(group, name)):
                    with open(os.path.join(group, "cgroup.procs"), "w") as f:
                        f.write(str(os.getpid()))
                    self.group, self.top, self.name, self.scale = group, top, name, scale
                    atexit.register(self.leave)
                    return
                os.rmdir(group)
            except OSError:
                pass

    def leave(self):
        try:
            with open(os.path.join(self.top, "cgroup.procs"), "w") as f:
                f.write(str(os.getpid()))
            os.rmdir(self.group)
        except OSError:
            pass  # something that was started still runs

    def used(self):
        if not self.group:
            return None
        with open(os.path.join(self.group, self.name)) as f:
            return int(re.search(r"\d+", f.read()).group()) / self.scale


class Slow:
    """A way to the server on which every byte takes its time; unlimited otherwise."""

    def __init__(self):
        self.seconds = 0.0

    def start(self, host):
        self.port, self.listener = host.port, socket.create_server(("127.0.0.1", 0))
        with open(host.config) as f:
            text = f.read()
        with open(host.config, "w") as f:
            f.write(re.sub(r"(?m)^(\s*Port) .*", rf"\1 {self.listener.getsockname()[1]}", text))
        with open(host.known_hosts, "a+") as f:
            f.seek(0)
            lines = f.read()
            f.write(lines.replace(f":{host.port} ", f":{self.listener.getsockname()[1]} "))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            a, _ = self.listener.accept()
            b = socket.create_connection(("127.0.0.1", self.port))
            for x, y in ((a, b), (b, a)):
                x.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                q = queue.Queue(256)
                threading.Thread(target=self.take, args=(x, q), daemon=True).start()
                threading.Thread(target=self.give, args=(y, q), daemon=True).start()

    def take(self, x, q):
        data = b"x"
        while data:
            try:
                data = x.recv(1 << 18)
            except OSError:
                data = b""
            q.put((time.monotonic() + self.seconds, data))

    def give(self, y, q):
        while True:
            when, data = q.get()
            time.sleep(max(0.0, when - time.monotonic()))
            try:
                if not data:
                    y.shutdown(socket.SHUT_WR)
                    return
                y.sendall(data)
            except OSError:
                return


def make(top, files, big):
    os.makedirs(os.path.join(top, "small"))
    piece = os.urandom(4096)
    for i in range(files):
        folder = os.path.join(top, "small", f"d{i % 100}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"file{i}"), "wb") as f:
            f.write(piece)
    with open(os.path.join(top, "big"), "wb") as f:
        block = os.urandom(1 << 20)
        for _ in range(big >> 20):
            f.write(block)


def own(top, uid):
    for base, folders, files in os.walk(top):
        for p in [base] + [os.path.join(base, n) for n in folders + files]:
            os.lchown(p, uid, -1)


def commands(host, local, direction, what, src, dst, slow):
    """{name: argv}; src and dst as each side sees them."""
    ssh = ["ssh", "-F", host.config]
    q = f"{host.alias}:"
    env = ["env", *(f"{k}={v}" for k, v in local.env.items())]
    alone = [*env, "XDG_RUNTIME_DIR=" + local.dir]  # no daemon there
    tar_out = f"tar -C {os.path.dirname(src)} -cf - {os.path.basename(src)}"
    tar_in = f"tar -C {dst} -xf -"
    shell = " ".join(ssh) + f" {host.alias} "
    up = direction == "up"
    ours = local.argv("upload" if up else "download", "-q", host.alias, src, dst)
    out = {"towline": [*env, *ours], "direct": [*alone, *ours],
           "scp": ["scp", "-q", "-r", "-F", host.config, *([src, q + dst] if up else [q + src, dst])],
           "tar|ssh": ["sh", "-c", f"{tar_out} | {shell}'{tar_in}'" if up else f"{shell}'{tar_out}' | {tar_in}"]}
    if what == "small" and slow:
        del out["scp"]  # it waits for every file: half an hour
    if shutil.which("rsync"):
        out["rsync"] = ["rsync", "-rlt", "-W", "-e", " ".join(ssh), *([src, q + dst] if up else [q + src, dst])]
    if what == "big":
        out["ssh cat"] = ["sh", "-c", f"{shell}'cat >{dst}/big' <{src}" if up else f"{shell}cat {src} >{dst}/big"]
    return out


def goals(what, delay, row):
    """[(sentence, met)]: what the figures must show."""
    out = []
    for ours in ("direct", "towline"):
        if what == "small":
            for peer in ("tar|ssh", "rsync"):
                if peer in row:
                    out.append((f"{ours} / {peer} {row[ours] / row[peer]:.2f} < 1", row[ours] < row[peer]))
        elif delay:
            out.append((f"scp / {ours} {row['scp'] / row[ours]:.1f} >= 4", row["scp"] >= 4 * row[ours]))
        else:
            out.append((f"{ours} / ssh cat {row[ours] / row['ssh cat']:.2f} <= 1.1", row[ours] <= 1.1 * row["ssh cat"]))
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--rounds", type=int)
    ap.add_argument("--delay", action="store_true", help="the same again over a way of 50 ms there and back")
    ap.add_argument("--only-delay", action="store_true")
    ap.add_argument("--json")
    a = ap.parse_args()
    rounds = a.rounds or (1 if a.quick else 3)
    rows, cpu, number = {}, Cpu(), itertools.count()
    for delay in (50,) if a.only_delay else (0, 50) if a.delay else (0,):
        slow = Slow()
        with Sshd() as host, Daemon(host) as local:
            if delay:
                slow.seconds = delay / 2000
                slow.start(host)
            here, there = os.path.join(local.dir, "files"), os.path.join(host.home, "files")
            make(here, 2000 if a.quick else 10000, (64 if a.quick else 1024) << 20)
            shutil.copytree(here, there)
            own(there, host.uid)
            os.chmod(local.dir, 0o755)
            local.towline("connect", host.alias)
            for what in ("small", "big"):
                for direction in ("up", "down"):
                    top = host.home if direction == "up" else local.dir
                    src = os.path.join(here if direction == "up" else there, what)
                    times, work = {}, {}
                    for turn in range(rounds):
                        # who is first finds an emptier file system
                        names = list(commands(host, local, direction, what, src, top, delay))
                        for name in names[turn % len(names):] + names[:turn % len(names)]:
                            # a new place each time: ext4 searches long for inodes where many were freed in the last minutes
                            dst = os.path.join(top, f"copy{next(number)}")
                            argv = commands(host, local, direction, what, src, dst, delay)[name]
                            os.mkdir(dst)
                            os.chown(dst, host.uid if direction == "up" else os.geteuid(), -1)
                            os.sync()
                            used, start = cpu.used(), time.perf_counter()
                            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                            if done.returncode:
                                raise SystemExit("%s: status %d: %s" % (" ".join(argv), done.returncode, done.stderr.decode(errors="replace")[-600:]))
                            times.setdefault(name, []).append(time.perf_counter() - start)
                            if used is not None:
                                time.sleep(0.2)  # what ends behind it on the other side
                                work.setdefault(name, []).append(cpu.used() - used)
                            if what == "big":
                                shutil.rmtree(dst)
                    row = {n: statistics.median(times[n]) for n in names}
                    load = {n: statistics.median(work[n]) for n in names if n in work}
                    rows[f"{what} {direction} {delay} ms"] = {"seconds": row, "cpu": load}
                    print(f"{what:6}{direction:5}{delay:3} ms  " + "  ".join(
                        f"{n} {t:.2f} s" + (f" (x{row['towline'] / t:.2f}, x{row['direct'] / t:.2f})" if n not in ("towline", "direct") else "")
                        for n, t in row.items()), flush=True)
                    if load:
                        print("            cpu  " + "  ".join(
                            f"{n} {t:.2f} s" + (f" (x{load['towline'] / t:.2f}, x{load['direct'] / t:.2f})" if n not in ("towline", "direct") else "")
                            for n, t in load.items()), flush=True)
                    print("                " + "; ".join(f"{text}: {'met' if met else 'NOT MET'}" for text, met in goals(what, delay, row)), flush=True)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
