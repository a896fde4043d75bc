"""$BROWSER in terminals of the host: which window is asked to show the page, and what never gets through."""
# parallel: ok

import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import unittest

from harness import wait_for
from harness.link import DEADLINE, Host, Rpc
from test_agent import Term

URL = "http://localhost:8765/lab?token=a%20b&x=1#part"


class Case(unittest.TestCase):
    def setUp(self):
        self.host = Host(test=self)

    def window(self, host=None):
        """A client that shows pages."""
        lk = (host or self.host).link()
        return lk, Rpc(lk.open("rpc", urls=True))

    def terminal(self, lk, rpc, shell="/bin/sh", args=(), env=None, info=None):
        info = info or rpc.call("term/create", cwd="/", shell=shell, args=list(args),
                                env={"PS1": "$ ", "ENV": None, "PATH": os.environ["PATH"], **(env or {})})
        t = Term(lk.open("term", id=info["id"]))
        t.info = info
        return t

    def type(self, term, line):
        term.send(2, line.encode() + b"\n")

    def page(self, rpc):
        m = rpc.get()
        self.assertEqual(m.get("method"), "host/openUrl", m)
        return m["params"]

    def shim(self, *args, env=None, path=None):
        path = path or os.path.join(self.host.run, "towline-browser")
        return subprocess.run([path, *args], capture_output=True, text=True, timeout=DEADLINE, cwd="/tmp",
                              env={**self.host.env, **(env or {})})


class Opens(Case):
    def test_from_a_shell(self):
        lk, rpc = self.window()
        t = self.terminal(lk, rpc)
        self.type(t, f'$BROWSER {shlex.quote(URL)}; echo "status-$?-"')
        self.assertEqual(self.page(rpc), {"url": URL, "term": t.info["id"], "cwd": "/"})
        t.until(b"status-0-")

    def run_in_terminal(self, *argv, **env):
        lk, rpc = self.window()
        t = self.terminal(lk, rpc, env=env)
        self.type(t, shlex.join(argv) + '; echo "status-$?-"')
        self.assertEqual(self.page(rpc)["url"], URL)
        t.until(b"status-0-")

    def test_from_python(self):
        self.run_in_terminal(sys.executable, "-c", f"import webbrowser; assert webbrowser.open({URL!r})")

    def test_from_fish(self):
        self.run_in_terminal("fish", "-c", f"$BROWSER '{URL}'")

    def test_from_csh(self):
        self.run_in_terminal("csh", "-fc", f"$BROWSER '{URL}'")

    def test_from_xdg_open(self):
        self.run_in_terminal("xdg-open", URL)

    def test_from_r(self):
        self.run_in_terminal("Rscript", "-e", f"browseURL('{URL}')")

    def test_a_user_s_own_browser_stays(self):
        lk, rpc = self.window()
        t = self.terminal(lk, rpc, env={"BROWSER": "mine"})
        self.type(t, 'echo "is-$BROWSER-"')
        t.until(b"is-mine-")


class Whom(Case):
    def test_the_link_that_attached_last(self):
        one, rpc_one = self.window()
        two, rpc_two = self.window()
        t = self.terminal(one, rpc_one)
        self.type(t, "$BROWSER http://one/; echo done-$?-")
        self.assertEqual(self.page(rpc_one)["url"], "http://one/")
        t.until(b"done-0-")
        t2 = self.terminal(two, rpc_two, info=t.info)
        self.type(t2, "$BROWSER http://two/")
        self.assertEqual(self.page(rpc_two)["url"], "http://two/")
        # a viewer that left has still attached last
        t3 = self.terminal(one, rpc_one, info=t.info)
        t3.s.abort()
        rpc_one.call("host/info")
        self.assertEqual(self.shim("http://three/", env={"TOWLINE_TERM": t.info["id"]}).returncode, 0)
        self.assertEqual(self.page(rpc_one)["url"], "http://three/")

    def test_the_newest_link_where_the_last_is_away(self):
        one, rpc_one = self.window()
        two, rpc_two = self.window()
        t = self.terminal(two, rpc_two)
        t.until(b"$ ")
        two.cut()
        self.wait_away(1)
        r = self.shim(URL, env={"TOWLINE_TERM": t.info["id"]})
        self.assertEqual((r.returncode, r.stdout), (0, ""), r.stderr)
        self.assertEqual(self.page(rpc_one), {"url": URL, "term": t.info["id"], "cwd": "/tmp"})

    def wait_away(self, n):
        wait_for(lambda: self.host.log().count("transport gone") >= n, what="the agent to see the cut")

    def test_nobody_is_there(self):
        lk, rpc = self.window()
        self.terminal(lk, rpc)
        lk.cut()
        self.wait_away(1)
        r = self.shim(URL)
        self.assertEqual((r.returncode, r.stdout), (1, URL + "\n"))
        self.assertIn("no window is connected", r.stderr)

    def test_no_agent(self):
        lk, rpc = self.window()
        self.terminal(lk, rpc)
        rpc.call("agent/stop")
        lk.bridge_exit()
        r = self.shim(URL)
        self.assertEqual((r.returncode, r.stdout), (1, URL + "\n"))

    def test_a_program_s_link_gets_none(self):
        """libtowline calls methods, too; nobody would see the page."""
        lk, rpc = self.window()
        other = self.host.link()
        other.rpc()
        self.terminal(lk, rpc).until(b"$ ")
        self.assertEqual(self.shim(URL).returncode, 0)
        self.assertEqual(self.page(rpc)["url"], URL)


class Refused(Case):
    def setUp(self):
        super().setUp()
        self.lk, self.rpc = self.window()
        self.term = self.terminal(self.lk, self.rpc)

    def test_only_pages(self):
        for url in ("file:///etc/passwd", "javascript:alert(1)", "ftp://x/", "/etc/passwd", "localhost:80", "http://", "http:///x",
                    "http://a b/", "http://a\n/", "http://a/\x1b]0;x\x07", 'http://a/"', "http://a/<script>", "vscode://x/y",
                    "http://a/" + "x" * 4096):
            with self.subTest(url=url[:40]):
                r = self.shim(url)
                self.assertEqual((r.returncode, r.stdout), (1, ""))
                self.assertIn("http:// or https://", r.stderr)
        self.assertEqual(self.shim("HTTPS://Example.org:8443/ä?q=1").returncode, 0)
        self.assertEqual(self.page(self.rpc)["url"], "HTTPS://Example.org:8443/ä?q=1")

    def test_bad_use(self):
        for args in ((), ("--new-window",), ("http://a/", "http://b/")):
            r = self.shim(*args)
            self.assertEqual(r.returncode, 2)
            self.assertIn("usage:", r.stderr)
        self.assertEqual(self.shim("--help").returncode, 0)

    def test_a_loop_does_not_fill_the_screen(self):
        self.type(self.term, "i=0; while [ $i -lt 40 ]; do $BROWSER http://x/$i 2>&1; i=$((i+1)); done; echo finish''ed")
        self.term.until(b"finished")
        self.assertIn(b"pages at once", self.term.log)
        seen = 1
        self.page(self.rpc)
        n = self.rpc.send("host/info")
        while n not in self.rpc.answers:
            m = self.rpc.get()
            seen += m.get("method") == "host/openUrl"
            self.rpc.answers[m.get("id")] = m
        self.assertLess(seen, 35)
        self.assertGreaterEqual(seen, 5)

    def raw(self, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(DEADLINE)
            s.connect(os.path.join(self.host.run, "agent-v1.sock"))
            try:
                s.sendall(line)
                return s.recv(4096)
            except (ConnectionResetError, BrokenPipeError):
                return b""

    def test_the_agent_does_not_trust_the_face(self):
        for line, word in ((b"towline-browser {\"url\":\"file:///x\"}\n", b"error 9"), (b"towline-browser x\n", b"error 5"),
                           (b"towline-browser {}\n", b"error 4"), (b"towline-browser {\"url\":\"http://a/\\u0000b\"}\n", b"error 4"),
                           (b"towline-browser " + b"x" * 20000, b""), (b"towline-browser []\n", b"error 4")):
            got = self.raw(line)
            self.assertTrue(got.startswith(word), (line[:40], got))
        self.assertEqual(self.raw(b'towline-browser {"url":"http://a/","term":5,"cwd":{}}\n'), b"opened\n")
        self.assertEqual(self.page(self.rpc), {"url": "http://a/"})

    def test_a_client_that_does_not_read_gets_no_flood(self):
        self.rpc.stream.hold_credit = True
        for _ in range(8):
            self.raw(b'towline-browser {"url":"http://a/"}\n')
        self.assertEqual(self.page(self.rpc), {"url": "http://a/"})


class Link(Case):
    def browser_of(self, host):
        lk = host.link()
        rpc = lk.rpc()
        t = self.terminal(lk, rpc)
        self.type(t, 'echo "<$BROWSER|$R_BROWSER>"')
        while not (found := re.search(rb"<(/[^|]*)\|(/[^>]*)>", t.log)):
            t.step()
        self.assertEqual(found[1], found[2])
        self.addCleanup(rpc.call, "agent/stop", terminals=True)
        return found[1].decode()

    def test_it_is_a_link_to_the_program(self):
        path = self.browser_of(self.host)
        self.assertEqual(path, os.path.join(self.host.run, "towline-browser"))
        self.assertEqual(os.readlink(path), os.path.realpath(self.host.program))
        self.assertEqual([f for f in os.listdir(self.host.run) if f.startswith("towline-browser.")], [])

    def test_a_home_with_blanks(self):
        """Readers of $BROWSER split it at blanks and colons."""
        home = os.path.join(self.host.dir, "a b:c")
        host = Host(test=self, home=home, run_dir=False)
        path = self.browser_of(host)
        self.assertEqual(path, f"/tmp/towline-server-{os.geteuid()}/towline-browser")
        lk, rpc = self.window(host)
        r = self.shim(URL, path=path, env={"HOME": home})
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.page(rpc)["url"], URL)

    def test_it_follows_an_upgrade(self):
        os.makedirs(self.host.run, mode=0o700)
        path = os.path.join(self.host.run, "towline-browser")
        os.symlink("/nowhere/towline-host", path)
        self.assertEqual(self.browser_of(self.host), path)
        self.assertEqual(os.readlink(path), os.path.realpath(self.host.program))


if __name__ == "__main__":
    unittest.main()
