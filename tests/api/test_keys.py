"""Keys: list, new, add, copy, by OpenSSH's own programs (row A10)."""
# parallel: ok
import json
import os
import subprocess
import unittest

from harness import Daemon, Sshd, run, wait_for


class Keys(unittest.TestCase):
    def setUp(self):
        self.local = Daemon(test=self)
        self.ssh = os.path.join(self.local.home, ".ssh")
        os.mkdir(self.ssh, 0o700)

    def key(self, *args, check=True):
        return self.local.towline("key", *args, check=check)

    def keys(self, *args):
        return json.loads(self.key("list", "--json", *args).stdout)

    def make(self, name, passphrase="", *more):
        path = os.path.join(self.ssh, name)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "a comment here", "-f", path, *more])
        return path

    def agent(self):
        out = run(["ssh-agent", "-s"]).stdout
        for part in out.replace("\n", "").split(";"):
            if "=" in part:
                name, value = part.strip().split("=", 1)
                self.local.env[name] = value
        self.addCleanup(os.kill, int(self.local.env["SSH_AGENT_PID"]), 15)

    def test_nothing_there(self):
        self.assertEqual(self.keys(), [])
        self.assertEqual(self.keys(os.path.join(self.ssh, "none")), [])

    def test_list(self):
        plain, locked = self.make("id_plain"), self.make("id_locked", "secret words")
        with open(os.path.join(self.ssh, "config"), "w") as f:
            f.write("Host x\n")
        found = {k["path"]: k for k in self.keys()}
        self.assertEqual(sorted(found), sorted([plain, locked]))
        self.assertEqual((found[plain]["type"], found[plain]["bits"], found[plain]["comment"]), ("ed25519", 256, "a comment here"))
        self.assertEqual((found[plain]["encrypted"], found[locked]["encrypted"]), (False, True))
        self.assertIn(found[plain]["fingerprint"], run(["ssh-keygen", "-lf", plain]).stdout)
        with open(plain + ".pub") as f:
            self.assertEqual(found[plain]["public_key"], f.read().strip())

    def test_new_without_passphrase_never_overwrites(self):
        path = os.path.join(self.ssh, "id_rsa")
        self.key("new", "--no-passphrase", "-t", "rsa", "-C", "my key", path)
        k = self.keys()[0]
        self.assertEqual((k["path"], k["type"], k["comment"], k["encrypted"]), (path, "rsa", "my key", False))
        with open(path) as f:
            before = f.read()
        r = self.key("new", "--no-passphrase", path, check=False)
        self.assertEqual(r.returncode, 22)
        with open(path) as f:
            self.assertEqual(f.read(), before)
        os.unlink(path)
        self.assertEqual(self.key("new", "--no-passphrase", path, check=False).returncode, 22)

    def test_new_with_a_passphrase_that_is_no_argument(self):
        path = os.path.join(self.ssh, "id_ed25519")
        t = self.local.terminal("key", "new", "-C", "with words")
        self.addCleanup(t.close)
        for asked in ("Passphrase of the new key", "The same again"):
            wait_for(lambda: t.pump() and asked in t.text, 60, asked)
            os.write(t.fd, b"open sesame\n")
        wait_for(lambda: not t.pump() or path + ".pub" in t.text, 60, "the key")
        self.assertNotIn("sesame", t.text)
        self.assertTrue(self.keys()[0]["encrypted"])
        run(["ssh-keygen", "-y", "-P", "open sesame", "-f", path])

    def test_new_says_what_is_wrong(self):
        for args, what in ((("-t", "nonsense"), "nonsense"), (("-t", "-x"), "-x"), ((os.path.join(self.ssh, "no/such/key"),), "no/such")):
            r = self.key("new", "--no-passphrase", *args, check=False)
            self.assertNotEqual(r.returncode, 0)
            self.assertIn(what, r.stderr)
        r = self.key("new", os.path.join(self.ssh, "x"), check=False)
        self.assertIn("--no-passphrase", r.stderr)

    def test_add(self):
        path = self.make("id_ed25519", "open sesame")
        r = self.key("add", path, check=False)
        self.assertIn("agent", r.stderr)
        self.agent()
        t = self.local.terminal("key", "add")
        self.addCleanup(t.close)
        wait_for(lambda: t.pump() and "passphrase for" in t.text, 60, "the question")
        os.write(t.fd, b"wrong\n")
        wait_for(lambda: t.pump() and "try again" in t.text, 60, "the question again")
        os.write(t.fd, b"open sesame\n")
        wait_for(lambda: not t.pump() or "the agent has" in t.text, 60, "the end")
        self.assertIn("the agent has", t.text)
        k, = self.keys()
        self.assertEqual((k["path"], k["in_agent"]), (path, True))
        os.unlink(path)
        os.unlink(path + ".pub")
        k, = self.keys()
        self.assertEqual((k["path"], k["in_agent"], k["comment"]), ("", True, "a comment here"))
        self.assertTrue(k["public_key"].startswith("ssh-ed25519 "))

    def test_add_without_an_answer(self):
        self.agent()
        r = self.key("add", self.make("k", "open sesame"), check=False)
        self.assertEqual(r.returncode, 130)
        self.assertIn("passphrase was not given", r.stderr)
        self.assertIn("nosuch", self.key("add", "nosuch", check=False).stderr)


class Copy(unittest.TestCase):
    def test_copy_once(self):
        host = Sshd(test=self)
        local = Daemon(host, test=self)
        key = os.path.join(local.dir, "new")
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "it's a “comment”", "-f", key])
        file = os.path.join(host.home, ".ssh/authorized_keys")
        self.assertIn("allowed now", local.towline("key", "copy", "demo", key).stdout)
        with open(key + ".pub") as f:
            line = f.read()
        with open(file) as f:
            self.assertEqual(f.read(), line)
        self.assertEqual((os.stat(file).st_mode & 0o777, os.stat(os.path.dirname(file)).st_mode & 0o777), (0o600, 0o700))
        self.assertIn("already", local.towline("key", "copy", "demo", key + ".pub").stdout)
        # with options, behind a line without end
        blob = " ".join(line.split()[:2])
        with open(file, "w") as f:
            f.write("#" + line + "ssh-rsa AAAA other")
        self.assertIn("allowed now", local.towline("key", "copy", "demo", key).stdout)
        with open(file) as f:
            self.assertEqual(f.read(), "#" + line + "ssh-rsa AAAA other\n" + line)
        with open(file, "w") as f:
            f.write(f'command="x" {blob} elsewhere\n')
        self.assertIn("already", local.towline("key", "copy", "demo", key).stdout)
        with open(key + ".pub", "w") as f:
            f.write("rm -rf /\n")
        r = local.towline("key", "copy", "demo", key, check=False)
        self.assertIn("does not hold a public key", r.stderr)
        self.assertIn("none.pub", local.towline("key", "copy", "demo", "/none", check=False).stderr)


if __name__ == "__main__":
    unittest.main()
