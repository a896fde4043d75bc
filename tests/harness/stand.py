"""A host and a daemon for a test that is written in another language: python3 -m harness.stand FOLDER_FILES [SSHD_CONFIG]

Prints one JSON line {"url", "home", "folder", "uid", "config", "env"} when the window of the folder can be opened, then answers one JSON line
for each line on its standard input, until that ends:
  {"do": "kill-ssh"}      kills the ssh processes of the daemon           -> {"killed": n}
  {"do": "cut"|"heal"}    the network between them goes away, comes back  -> {}
  {"do": "kill-agent"}    kill -9 of the agent on the host                -> {"killed": n}
  {"do": "kill-daemon"}   kill -9 of the daemon here                      -> {"killed": n}
  {"do": "stop-daemon"}   towline stop                                    -> {}
  {"do": "towline", "argv": [...]}                                        -> {"status", "stdout", "stderr"}
  {"do": "remote", "command": "..."}  by plain ssh                        -> {"stdout"}
"""
import json
import os
import signal
import sys

from . import Daemon, Sshd, find_processes


def kill(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return {"killed": len(pids)}


def agents(host):
    out = []
    for pid in host.processes(argv0="towline-host"):
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            if b"agent" in f.read().split(b"\0")[1:2]:
                out.append(pid)
    return out


def main(count, extra):
    with Sshd(wire=True, extra=extra) as host, Daemon(host) as local:
        folder = os.path.join(host.home, "project")
        os.mkdir(folder)
        for i in range(count):
            with open(os.path.join(folder, f"f{i:04d}.txt"), "w") as f:
                f.write(f"file {i}\n")
        with open(os.path.join(folder, "hello.py"), "w") as f:
            f.write("import math\n\n\ndef area(r):\n    return math.pi * r ** 2\n")
        for top, dirs, files in os.walk(folder):
            for name in [top] + [os.path.join(top, n) for n in dirs + files]:
                os.chown(name, host.uid, -1)
        url = local.towline("open", "--no-browser", f"{host.alias}:{folder}").stdout.split("window: ")[1].strip()
        print(json.dumps({"url": url, "home": host.home, "folder": folder, "uid": host.uid, "config": local.config_home,
                          "alias": host.alias}), flush=True)

        def towline(q):
            r = local.towline(*q["argv"], check=False)
            return {"status": r.returncode, "stdout": r.stdout, "stderr": r.stderr}

        orders = {
            "kill-ssh": lambda q: kill(find_processes(local.mark, argv0="ssh")),
            "cut": lambda q: host.wire.cut() or {},
            "heal": lambda q: host.wire.heal() or {},
            "kill-agent": lambda q: kill(agents(host)),
            "kill-daemon": lambda q: kill([local.pid()]),
            "stop-daemon": lambda q: towline({"argv": ["stop"]}),
            "towline": towline,
            "remote": lambda q: {"stdout": host.remote(q["command"]).stdout},
        }
        for line in sys.stdin:
            q = json.loads(line)
            try:
                answer = orders[q["do"]](q)
            except Exception as e:  # the test decides what a failure means
                answer = {"error": str(e)}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2] if len(sys.argv) > 2 else "")
