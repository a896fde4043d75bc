"""A program that listens, for tests of ports. Started in a terminal: listener.py WHAT [ARGUMENT…].

  tcp ADDRESS COUNT   COUNT listeners on free ports; prints "PORTS n n …" and waits for its end
  worker ADDRESS      a listener, and two forked workers that have it, too; prints its pid and theirs, and ends at a line of input
  reuse ADDRESS       two processes, each with its own listener on one port (SO_REUSEPORT)
  late ADDRESS        a bound socket; listens at a line of input, closes at the next, listens again at the third
  daemon ADDRESS      a listener in a daemon (setsid, two forks) that nobody waits for; prints its pid, too
  thread ADDRESS      a listener of a child that a second thread has started
"""

import os
import signal
import socket
import subprocess
import sys
import threading


def bound(address, **options):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family)
    for name, value in options.items():
        level = socket.IPPROTO_IPV6 if name.startswith("IPV6") else socket.SOL_SOCKET
        s.setsockopt(level, getattr(socket, name), value)
    s.bind((address, 0))
    return s


def say(*words):
    # one write: the terminal must not show half of it
    os.write(1, (" ".join(["PORTS", *map(str, words), "."]) + "\n").encode())


def wait():
    while True:
        signal.pause()


def main():
    what, address = sys.argv[1:3]
    if what == "tcp":
        all = [bound(address) for _ in range(int(sys.argv[3]))]
        for s in all:
            s.listen(1)
        say(*(s.getsockname()[1] for s in all))
        wait()
    elif what == "worker":
        s = bound(address)
        s.listen(1)
        workers = [os.fork()]
        if workers[0]:
            workers.append(os.fork())
        if 0 in workers:
            wait()
        say(s.getsockname()[1], os.getpid(), *workers)
        sys.stdin.readline()
    elif what == "reuse":
        s = bound(address, SO_REUSEPORT=1)
        s.listen(1)
        port = s.getsockname()[1]
        if os.fork() == 0:
            other = socket.socket(s.family)
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.bind((address, port))
            s.close()
            other.listen(1)
            say(port)
        wait()
    elif what == "late":
        s = bound(address)
        port = s.getsockname()[1]
        say(port)
        sys.stdin.readline()
        s.listen(1)
        sys.stdin.readline()
        s.close()
        sys.stdin.readline()
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, port))
        s.listen(1)
        wait()
    elif what == "daemon":
        s = bound(address)
        s.listen(1)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                say(s.getsockname()[1], os.getpid())
                for fd in range(3):
                    os.close(fd)
                wait()
            os._exit(0)
        os.wait()
    elif what == "thread":
        started = threading.Thread(target=subprocess.run, args=([sys.executable, __file__, "tcp", address, "1"],))
        started.start()
        wait()


if __name__ == "__main__":
    main()
