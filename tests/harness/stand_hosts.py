"""Several hosts and a daemon for a test that is written in another language: python3 -m harness.stand_hosts

The hosts stand in a configuration of their own, which the daemon knows by remote.SSH.configFile of the settings:
  demo   OpenSSH, with a folder `project`
  codes  another SSH server (paramiko) that asks two questions in one round and a one-time code in the next
  gone   a port where nobody listens

Prints one JSON line {"url", "config", "folder", "configHome"} when the window without a host can be opened, then answers one JSON
line for each line on its standard input, until that ends:
  {"do": "sshd", "up": bool}  OpenSSH's server ends with its connections, or comes back   -> {}
  {"do": "drop"}              kills the ssh processes of the daemon                       -> {"killed": n}
  {"do": "towline", "argv": [...]}                                                        -> {"status", "stdout", "stderr"}
"""
import json
import os
import subprocess
import sys

from . import Daemon, Sshd, find_processes, free_port, run, scratch, spawn
from .proc import end
from .stand import kill

SERVER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "api", "two_questions.py")


def asking_server(local):
    """The port and the public key of the server that asks."""
    folder = scratch("tlq-")
    key, home = os.path.join(folder, "host"), os.path.join(folder, "home")
    os.mkdir(home)
    run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", key])
    # a mark that is the daemon's: what is started there ends with it
    env = {**local.env, "HOME": home}
    p = spawn(["/usr/bin/python3", SERVER, key], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
    port = p.stdout.readline().strip()
    with open(key + ".pub") as f:
        return p, port, " ".join(f.read().split()[:2])


def main():
    with Sshd() as host, Daemon() as local:
        folder = os.path.join(host.home, "project")
        os.mkdir(folder)
        with open(os.path.join(folder, "hello.py"), "w") as f:
            f.write("print('hello')\n")
        for name in (folder, os.path.join(folder, "hello.py")):
            os.chown(name, host.uid, -1)
        asking, port, key = asking_server(local)
        with open(host.known_hosts, "a") as f:
            f.write(f"[127.0.0.1]:{port} {key}\n")
        common = f"    HostName 127.0.0.1\n    UserKnownHostsFile {host.known_hosts}\n    GlobalKnownHostsFile /dev/null\n"
        with open(host.config, "a") as f:
            f.write(f"\n# asks for codes\nHost codes\n{common}    Port {port}\n    PreferredAuthentications keyboard-interactive\n"
                    f"\nHost gone\n{common}    Port {free_port()}\n")
        user = os.path.join(local.config_home, "towline", "User")
        os.makedirs(user, 0o700)
        with open(os.path.join(user, "settings.json"), "w") as f:
            json.dump({"remote.SSH.configFile": host.config}, f)
        url = local.towline("open", "--no-browser").stdout.split("window: ")[1].strip()
        print(json.dumps({"url": url, "config": host.config, "folder": folder, "configHome": local.config_home}), flush=True)

        def towline(q):
            r = local.towline(*q["argv"], check=False)
            return {"status": r.returncode, "stdout": r.stdout, "stderr": r.stderr}

        def sshd(q):
            if q["up"]:
                host.start()
            else:
                host.shut()
                host.drop_connections()
            return {}

        orders = {"sshd": sshd, "drop": lambda q: kill(find_processes(local.mark, argv0="ssh")), "towline": towline}
        for line in sys.stdin:
            q = json.loads(line)
            try:
                answer = orders[q["do"]](q)
            except Exception as e:  # the test decides what a failure means
                answer = {"error": str(e)}
            print(json.dumps(answer), flush=True)
        end(asking)


if __name__ == "__main__":
    main()
