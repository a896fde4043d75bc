"""What survives what (row K1, docs/architecture.md section 5): a terminal of the host under everything that dies around it."""
# parallel: ok
import json
import os
import re
import signal
import unittest

from harness import Daemon, Sshd, find_processes, wait_for


class Screen:
    """`towline shell` on a terminal of ours; each expect begins behind the last one's match."""

    def __init__(self, test, local, *argv):
        self.terminal = local.terminal("shell", *argv)
        self.at = 0
        test.addCleanup(self.close)

    def expect(self, text, deadline=60):
        self.at = self.terminal.expect(text, deadline, self.at)

    def type(self, text):
        self.terminal.send(text)

    def status(self):
        return self.terminal.wait(60)

    def close(self):
        if self.terminal:
            self.terminal.close()
            self.terminal = None


class Survive(unittest.TestCase):
    def setUp(self):
        self.host = Sshd(wire=True, test=self)
        self.local = Daemon(self.host, test=self)

    def state(self):
        hosts = json.loads(self.local.towline("status", "--json").stdout)["hosts"]
        return [h for h in hosts if h["host"] == "demo"][0]

    def test_terminal_goes_on_when_ssh_is_killed(self):
        s = Screen(self, self.local, "demo")
        s.type("me=$$; echo pi''d=$me.\n")
        s.expect("pid=")
        s.expect(".\r\n")
        for round_ in range(3):
            before = self.state()["generation"]
            ssh = [p for p in find_processes(self.local.mark, argv0="ssh")]
            self.assertTrue(ssh)
            for p in ssh:
                os.kill(p, signal.SIGKILL)
            s.type("[ $me = $$ ] && echo same-$((%d + 1))-shell\n" % round_)
            s.expect("same-%d-shell" % (round_ + 1))
            self.assertEqual(self.state()["generation"], before)  # resumed, not attached anew
        s.type("exit 5\n")
        self.assertEqual(s.status(), 5)

    def test_output_made_while_the_network_was_gone_comes_once_and_in_order(self):
        s = Screen(self, self.local, "demo")
        s.type("echo rea''dy\n")
        s.expect("ready")
        s.type("for i in $(seq 1 20000); do echo line-$i; done; echo fini''shed\n")
        s.expect("line-50\r\n")
        self.host.wire.cut()
        wait_for(lambda: self.state()["phase"] == "reconnecting", 60, "the loss to be seen")
        self.host.wire.heal()
        self.local.towline("connect", "demo")
        from_here = s.at
        s.expect("finished")
        numbers = [int(n) for n in re.findall(rb"line-(\d+)\r\n", s.terminal.data[from_here:])]
        self.assertEqual(numbers, list(range(51, 20001)))

    def test_detach_and_attach_again(self):
        s = Screen(self, self.local, "demo")
        s.type("cd /; v=kept; echo rea''dy\n")
        s.expect("ready")
        terms = json.loads(self.local.towline("shell", "--list", "--json", "demo").stdout)["terminals"]
        self.assertEqual(len(terms), 1)
        s.type("\n~d")
        self.assertEqual(s.status(), 0)
        again = Screen(self, self.local, "--attach", terms[0]["id"], "demo")
        again.type("echo $v-$PWD\n")
        again.expect("kept-/")

    def test_terminal_survives_daemon_and_agent(self):
        s = Screen(self, self.local, "demo")
        s.type("v=kept; echo rea''dy\n")
        s.expect("ready")
        term = json.loads(self.local.towline("shell", "--list", "--json", "demo").stdout)["terminals"][0]
        s.close()
        self.local.towline("stop")
        self.host.kill_agent()
        again = Screen(self, self.local, "--attach", term["id"], "demo")
        again.type("echo $v-$$\n")
        again.expect("kept-")
        self.assertEqual(json.loads(self.local.towline("shell", "--list", "--json", "demo").stdout)["terminals"][0]["pid"], term["pid"])

    def test_file_put_across_a_cut_is_whole(self):
        blob = os.urandom(24 << 20)
        near = os.path.join(self.local.dir, "blob")
        with open(near, "wb") as f:
            f.write(blob)
        self.local.towline("connect", "demo")
        self.host.wire.rate = 20 << 20
        p = self.local.start("put", near, "demo:blob")
        wait_for(lambda: self.host.wire.passed[0] > 8 << 20, 60, "the middle of the upload")
        self.host.wire.drop()
        self.assertEqual(p.wait(90), 0)
        with open(os.path.join(self.host.home, "blob"), "rb") as f:
            self.assertEqual(f.read(), blob)


if __name__ == "__main__":
    unittest.main()
