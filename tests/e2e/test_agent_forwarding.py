"""The key agent that ssh forwards reaches terminals by a name that outlives every connection; settings of remote.SSH
(rows B8, B9, D6)."""
# parallel: ok
import json
import os
import subprocess
import unittest

from harness import Daemon, Sshd, run, wait_for


class Forwarding(unittest.TestCase):
    def setUp(self):
        self.host = Sshd(client_extra="ForwardAgent yes", test=self)
        self.d = Daemon(self.host, test=self)
        sock = os.path.join(self.d.dir, "agent.sock")
        p = subprocess.Popen(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        wait_for(lambda: os.path.exists(sock), 60, "the agent")
        run(["ssh-add", "-q", self.host.key], env=dict(os.environ, SSH_AUTH_SOCK=sock))
        self.d.env["SSH_AUTH_SOCK"] = sock
        # the configuration of the fixture keeps ssh from using an agent for the login, not from forwarding it
        with open(self.host.config) as f:
            text = f.read()
        with open(self.host.config, "w") as f:
            f.write(text.replace("IdentityAgent none", f"IdentityAgent {sock}"))

    def settings(self, **values):
        folder = os.path.join(self.d.config_home, "towline", "User")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "settings.json"), "w") as f:
            json.dump({"remote.SSH." + k: v for k, v in values.items()}, f)

    def keys(self, id, t):
        """What ssh-add says in the terminal."""
        at = len(t.data)
        t.send("ssh-add -l; echo DONE:$?\n")
        end = t.expect("DONE:", 120, t.expect("DONE:", 120, at))
        t.expect("\n", 60, end)
        return t.data[at:].decode(errors="replace")

    def test_survives_a_new_connection(self):
        t = self.d.terminal("shell", "demo")
        t.expect("$", 120)
        self.assertIn("ED25519", self.keys(None, t))
        before = set(self.host.connections())
        self.host.drop_connections()
        wait_for(lambda: set(self.host.connections()) - before, 120, "another connection")
        wait_for(lambda: "ED25519" in self.keys(None, t), 120, "the agent behind the same name")
        t.send("echo $SSH_AUTH_SOCK; exit\n")
        t.expect("/ssh-agent.sock", 60)
        t.wait(60)

    def test_the_setting_turns_it_off(self):
        self.settings(enableAgentForwarding=False)
        out = self.d.towline("shell", "demo", "--", "echo [$SSH_AUTH_SOCK]").stdout
        self.assertIn("[]", out)


    def test_config_file_and_program(self):
        log = os.path.join(self.d.dir, "ran")
        ssh = os.path.join(self.d.dir, "my-ssh")
        with open(ssh, "w") as f:
            f.write(f'#!/bin/sh\necho "$@" >>{log}\nexec ssh "$@"\n')
        os.chmod(ssh, 0o755)
        self.settings(configFile=self.host.config, path=ssh, connectTimeout=50)
        self.d.host = None
        self.d.towline("connect", "demo")
        with open(log) as f:
            self.assertIn(self.host.config, f.read())

    def test_connect_timeout(self):
        self.settings(connectTimeout=2)
        self.host.process.send_signal(19)
        r = self.d.towline("connect", "demo", check=False)
        self.host.process.send_signal(18)
        self.assertEqual(r.returncode, 10)
        self.assertIn("within 2 s", r.stderr)


if __name__ == "__main__":
    unittest.main()
