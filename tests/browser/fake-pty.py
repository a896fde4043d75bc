"""A pseudo terminal for the fake daemon: standard input goes to the program, its output to standard output.
Lines "COLS ROWS" on descriptor 3 change the size. Ends with the program's status (128 + signal)."""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios


def main():
    cols, rows, cwd = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvp(sys.argv[4], sys.argv[4:])
    resize(master, cols, rows)
    sources = [0, 3, master]
    control = b""
    while True:
        ready, _, _ = select.select(sources, [], [])
        for fd in ready:
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            if fd == master:
                if not data:
                    _, status = os.waitpid(pid, 0)
                    sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
                os.write(1, data)
            elif fd == 0:
                if not data:
                    os.kill(pid, signal.SIGHUP)
                    sources.remove(0)
                while data:
                    data = data[os.write(master, data):]
            else:
                if not data:
                    sources.remove(3)
                control += data
                while b"\n" in control:
                    line, control = control.split(b"\n", 1)
                    resize(master, *map(int, line.split()))


def resize(master, cols, rows):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


main()
