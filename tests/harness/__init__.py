"""What every end-to-end test uses: real peers on this machine, and nothing left behind.

    from harness import Sshd, Daemon, wait_for

    class Open(unittest.TestCase):
        def test_it(self):
            host = Sshd(test=self)                  # a private OpenSSH server, alias `demo`
            local = Daemon(host, test=self)         # private XDG folders, towline of the sanitizer build
            out = local.towline("ls", "demo:/etc")  # runs `towline -F CONFIG ls demo:/etc`

With test=self a fixture is stopped by addCleanup; without, call stop() or use `with`. What is forgotten is
stopped when Python exits. Run a file with `tools/run-tests tests/e2e/test_x.py` (builds nothing: `make asan` first).
"""
from .proc import (ASAN, ROOT, STAGE, Timeout, find_processes, free_port, kill_marked, run, scratch, spawn, wait_for,
                   wait_port)
from .wire import Wire
from .sshd import Sshd
from .dropbear import Dropbear, dropbear_missing
from .control import ControlClient, RpcError
from .daemon import Daemon

__all__ = ["ASAN", "ROOT", "STAGE", "Timeout", "find_processes", "free_port", "kill_marked", "run", "scratch", "spawn",
           "wait_for", "wait_port", "Wire", "Sshd", "Dropbear", "dropbear_missing", "ControlClient", "RpcError", "Daemon"]
