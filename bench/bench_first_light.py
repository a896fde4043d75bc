#!/usr/bin/env python3
"""bench_first_light.py - what a user waits for, ours and plain ssh's in one run, with the ratio.

Starts a private sshd, runs the installed commands (TOWLINE_STAGE or build/stage) against it and prints one row a figure:
median of ours, median of the peer, ratio ours/peer (below 1: we are faster).  Nothing here is asserted: bench figures are read by people.
Options: --quick (fewer rounds, 64 MiB instead of 1 GiB), --json FILE.
"""
import argparse
import json
import os
import pty
import select
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
os.environ.setdefault("TOWLINE_STAGE", "build/stage")  # figures of the released programs, not of the sanitizer build
from harness import Daemon, Sshd, STAGE, kill_marked  # noqa: E402


def timed(argv, env, stdin=None, stdout=subprocess.DEVNULL):
    start = time.perf_counter()
    done = subprocess.run(argv, env=env, stdin=stdin or subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)
    if done.returncode:
        raise SystemExit("%s: status %d: %s" % (" ".join(argv), done.returncode, done.stderr.decode(errors="replace")[-600:]))
    return time.perf_counter() - start


class Pty:
    """A command on a pseudo-terminal of ours."""

    def __init__(self, argv, env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, env)

    def read(self, deadline=60):
        ready, _, _ = select.select([self.fd], [], [], deadline)
        if not ready:
            raise SystemExit("no output within %d s" % deadline)
        try:
            return os.read(self.fd, 1 << 16)
        except OSError:
            return b""

    def wait_for(self, text):
        seen = b""
        while text not in seen:
            got = self.read()
            if not got:
                raise SystemExit("ended before %r: %r" % (text, seen[-400:]))
            seen += got
        return seen

    def close(self):
        try:
            os.close(self.fd)
            os.kill(self.pid, 9)
        except OSError:
            pass
        os.waitpid(self.pid, 0)


def echo(argv, env, rounds):
    p = Pty(argv, env)
    p.wait_for(b"READY")
    times = []
    for i in range(rounds + 50):
        byte = bytes([65 + i % 26])
        start = time.perf_counter()
        os.write(p.fd, byte)
        got = b""
        while byte not in got:
            got += p.read(10)
        if i >= 50:
            times.append(time.perf_counter() - start)
    p.close()
    return times


def flood(argv, env):
    start = time.perf_counter()
    p = Pty(argv, env)
    n = 0
    tail = b""
    while True:
        got = p.read()
        if not got:
            break
        n += len(got)
        tail = (tail + got)[-64:]
    p.close()
    if b"2000000" not in tail:
        raise SystemExit("the flood ended early: %r" % tail)
    return time.perf_counter() - start, n


def forget_server(host):
    """As before the first connection ever: nothing of ours runs or lies on the host."""
    kill_marked(host.mark)
    subprocess.run(["rm", "-rf", os.path.join(host.home, ".towline-server")], check=True)


def memory(host, face):
    """(resident kB, private kB, processes) of the host's towline-host processes with that face, added up."""
    rss = private = n = 0
    for pid in host.processes(argv0="towline-host"):
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            if face.encode() not in f.read().split(b"\0")[1:2]:
                continue
        with open("/proc/%d/smaps_rollup" % pid) as f:
            fields = {words[0]: int(words[1]) for words in map(str.split, f) if len(words) == 3 and words[2] == "kB"}
        rss += fields["Rss:"]
        private += fields["Private_Dirty:"] + fields["Private_Clean:"]
        n += 1
    return rss, private, n


def memory_rows(table, host, when, faces):
    for face in faces:
        rss, private, n = memory(host, face)
        table.add("%s, %s: resident" % (face, when), [rss], unit="kB", note="private %d kB, %d process%s" % (private, n, "" if n == 1 else "es"))


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, ours, peer=None, unit="s", note=""):
        med = statistics.median(ours)
        row = {"what": what, "unit": unit, "ours": med, "min": min(ours), "max": max(ours), "note": note}
        if peer:
            row.update(peer=statistics.median(peer), ratio=med / statistics.median(peer))
        self.rows.append(row)
        text = "%-58s %10.4g %-5s" % (what, med, unit)
        if peer:
            text += "  ssh %10.4g  ratio %6.2f" % (row["peer"], row["ratio"])
        print(text + ("  " + note if note else ""), flush=True)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--json")
    a = ap.parse_args()
    rounds = 3 if a.quick else 5
    size = (64 if a.quick else 1024) << 20
    table = Table()
    with Sshd() as host:
        ssh = ["ssh", "-F", host.config, host.alias]
        tree = os.path.join(host.home, "tree")
        big = os.path.join(host.home, "many")
        os.makedirs(tree)
        os.makedirs(big)
        for i in range(2000):
            open(os.path.join(tree, "f%04d.txt" % i), "w").close()
        for i in range(50000):
            open(os.path.join(big, "entry-%06d" % i), "w").close()
        shm = os.path.join("/dev/shm", "towline-bench-%d" % os.getpid())
        with open(shm, "wb") as f:
            block = os.urandom(1 << 20)
            for _ in range(size >> 20):
                f.write(block)
        os.chmod(shm, 0o644)
        subprocess.run(["chown", "-R", str(host.uid), host.home], check=True)

        def fresh():
            return Daemon(host)

        first, again, warm, plain = [], [], [], []
        for _ in range(rounds):
            forget_server(host)
            with fresh() as d:
                first.append(timed(d.argv("ls", "%s:%s" % (host.alias, tree)), d.env))
                warm.append(timed(d.argv("ls", "%s:%s" % (host.alias, tree)), d.env))
            with fresh() as d:
                again.append(timed(d.argv("ls", "%s:%s" % (host.alias, tree)), d.env))
            plain.append(timed(ssh + ["ls", tree], d.env))
        table.add("first listing, nothing on the host (upload included)", first, plain)
        table.add("first listing, server there, daemon started anew", again, plain)
        with fresh() as d:
            # from here on the peer has its connection already, too: a ControlMaster
            master = os.path.join(host.dir, "master")
            subprocess.run(ssh[:-1] + ["-M", "-S", master, "-fN", host.alias], env=d.env, check=True)
            ssh[1:1] = ["-S", master]
            table.add("listing of 2,000 names, connection open", warm, [timed(ssh + ["ls", tree], d.env) for _ in range(rounds)],
                      note="peer: ssh with a master")
            d.towline("connect", host.alias)
            remote = "%s:%s" % (host.alias, big)
            table.add("listing of 50,000 files with sizes and times",
                      [timed(d.argv("ls", "-l", remote), d.env) for _ in range(rounds)],
                      [timed(ssh + ["ls", "-lU", big], d.env) for _ in range(rounds)])
            what = "%d MiB" % (size >> 20)
            table.add(what + " read: towline cat / ssh cat",
                      [timed(d.argv("cat", "%s:%s" % (host.alias, shm)), d.env) for _ in range(rounds)],
                      [timed(ssh + ["cat", shm], d.env) for _ in range(rounds)])
            ours, peer = [], []
            target = "/dev/shm/towline-bench-up-%d" % os.getpid()
            for _ in range(rounds):
                ours.append(timed(d.argv("put", shm, "%s:%s" % (host.alias, target)), d.env))
                os.unlink(target)
                with open(shm, "rb") as f:
                    peer.append(timed(ssh + ["cat >" + target], d.env, stdin=f))
                os.unlink(target)
            table.add(what + " write: towline put / ssh 'cat >'", ours, peer)

            raw = "stty raw -echo; echo READY; exec cat"
            n = 300 if a.quick else 1000
            mine = echo(d.argv("shell", host.alias, "--", "sh", "-c", raw), d.env, n)
            theirs = echo(ssh[:-1] + ["-tt", host.alias, raw], d.env, n)
            table.add("echo of one byte through a terminal, median", [t * 1000 for t in mine], [t * 1000 for t in theirs], "ms")
            p95 = [sorted(mine)[int(n * .95)] * 1000], [sorted(theirs)[int(n * .95)] * 1000]
            table.add("echo of one byte through a terminal, p95", *p95, unit="ms")
            seq = "seq 1 2000000"
            table.add("terminal flood: seq 1 2000000",
                      [flood(d.argv("shell", host.alias, "--", "sh", "-c", seq), d.env)[0] for _ in range(rounds)],
                      [flood(ssh[:-1] + ["-tt", host.alias, seq], d.env)[0] for _ in range(rounds)])

        with fresh() as d:
            d.towline("connect", host.alias)
            memory_rows(table, host, "idle, one client", ("agent",))
            d.towline("shell", "--detach", host.alias)
            client = d.client()
            files = d.client().stream(host.alias, {"open": "sftp"})
            watch = d.client().stream(host.alias, {"open": "watch"})
            memory_rows(table, host, "a window's streams and a terminal", ("agent", "hold", "sftp-server", "watch"))
            del client, files, watch
        os.unlink(shm)
        bins = os.path.join(STAGE, "lib", "towline", "host")
        for name in sorted(os.listdir(bins)):
            if name.startswith("towline-host-") and "." not in name:
                path = os.path.join(bins, name)
                packed = path + ".gz"
                note = "%d bytes compressed" % os.path.getsize(packed) if os.path.exists(packed) else ""
                table.add("size of " + name, [os.path.getsize(path)], unit="bytes", note=note)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(table.rows, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
