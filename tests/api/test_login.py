"""Every way to log in, through libtowline, with the order that verbosity 2 shows (rows A2 A3 A4).

deadline: 400
"""
# parallel: ok
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import Program
from harness import Sshd, run, wait_for
from harness.proc import end, scratch, spawn

HERE = os.path.dirname(os.path.abspath(__file__))


def key_at(path, passphrase="", kind="ed25519"):
    run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", os.path.basename(path), "-f", path])
    return path


class Base(unittest.TestCase):
    def host_of(self, **kw):
        self.host = Sshd(test=self, **kw)
        self.program = Program(self, self.host)
        return self.host

    def configure(self, *pairs):
        with open(self.host.config) as f:
            text = f.read()
        for old, new in pairs:
            self.assertIn(old, text)
            text = text.replace(old, new)
        with open(self.host.config, "w") as f:
            f.write(text)

    def allow(self, *keys):
        with open(os.path.join(self.host.dir, "authorized_keys"), "w") as f:
            for k in keys:
                with open(k + ".pub") as g:
                    f.write(g.read())

    def agent(self, *keys):
        sock = os.path.join(self.host.dir, "agent")
        p = spawn(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL)
        self.addCleanup(end, p)
        env = dict(os.environ, SSH_AUTH_SOCK=sock)
        # 2: nobody listens yet; 1: there are no keys
        wait_for(lambda: run(["ssh-add", "-l"], env=env, check=False).returncode != 2, 60, "the agent")
        run(["ssh-add", *keys], env=env)
        self.configure(("IdentityAgent none", f"IdentityAgent {sock}"), ("IdentitiesOnly yes", "IdentitiesOnly no"))

    def log(self, *args, check=0):
        r = self.program.drive("-v", 2, *args, "argv", "true", check=check)
        return r, [e["line"] for e in r.all("log")]

    def order(self, lines):
        """What was tried, in order: names of keys, and methods."""
        out = []
        for line in lines:
            if "Offering public key: " in line:
                out.append(os.path.basename(line.split("Offering public key: ")[1].split(" ")[0]))
            elif "Next authentication method: " in line and not line.endswith("publickey"):
                out.append(line.rsplit(" ", 1)[1])
        return out


class Keys(Base):
    def test_the_key_given_comes_before_the_agents(self):
        """Incident: ssh offers all keys of an agent first; a host that counts attempts never saw the one given."""
        host = self.host_of(extra="MaxAuthTries 2")
        given, others = key_at(f"{host.dir}/given"), [key_at(f"{host.dir}/a{i}") for i in range(4)]
        self.agent(*others)
        self.allow(given)
        r, lines = self.log("-i", given)
        self.assertEqual(self.order(lines), ["given"])
        i = self.program.drive("-i", given, "info", check=0).one("info")
        self.assertEqual((i["identity"], i["auth_method"]), (given, "publickey"))

    def test_then_the_agents_then_those_of_the_configuration(self):
        host = self.host_of()
        given, conf, others = key_at(f"{host.dir}/given"), key_at(f"{host.dir}/conf"), [key_at(f"{host.dir}/a{i}") for i in range(2)]
        self.agent(*others)
        self.configure((f"IdentityFile {host.key}", f"IdentityFile {conf}"))
        self.allow(others[1])
        _, lines = self.log("-i", given)
        order = self.order(lines)
        self.assertEqual((order[0], order[-2:]), ("given", ["a0", "a1"]))
        self.allow(conf)
        _, lines = self.log()
        self.assertEqual(self.order(lines), ["a0", "a1", "conf"])

    def test_default_names(self):
        host = self.host_of()
        home = self.program.env["HOME"]
        os.makedirs(os.path.join(home, ".ssh"), exist_ok=True)
        self.configure((f"IdentityFile {host.key}\n", "\n"), ("IdentitiesOnly yes", "IdentitiesOnly no"))
        r, lines = self.log(check=1)
        text = "\n".join(lines)
        for name in ("id_rsa", "id_ecdsa", "id_ed25519"):
            self.assertRegex(text, f"(Will attempt|Trying private) key: .*/{name}")
        self.assertEqual(r.one("error")["name"], "authentication_failed")

    def test_passphrase_wrong_then_right(self):
        self.host_of(passphrase="open")
        r = self.program.drive("--answer", "wrong", "--answer", "open", "argv", "true", check=0)
        self.assertEqual([(e["kind"], e["attempt"]) for e in r.all("prompt")], [("passphrase", 1), ("passphrase", 2)])

    def test_certificate_of_a_user_and_of_the_host(self):
        host = self.host_of()
        ca, host_ca = key_at(f"{host.dir}/ca"), key_at(f"{host.dir}/host_ca")
        mine = key_at(f"{host.dir}/mine")
        run(["ssh-keygen", "-q", "-s", ca, "-I", "tester", "-n", host.user, mine + ".pub"])
        run(["ssh-keygen", "-q", "-s", host_ca, "-h", "-I", "demo", "-n", "127.0.0.1", host.host_key + ".pub"])
        host.shut()
        with open(f"{host.dir}/sshd_config", "a") as f:
            f.write(f"TrustedUserCAKeys {ca}.pub\nHostCertificate {host.host_key}-cert.pub\n")
        host.start()
        self.allow()
        with open(host_ca + ".pub") as f, open(host.known_hosts, "w") as g:
            g.write("@cert-authority [127.0.0.1]:* " + f.read())
        r, lines = self.log("-i", mine)
        self.assertIn("ED25519-CERT", "\n".join(lines))
        i = self.program.drive("-i", mine, "info", check=0).one("info")
        self.assertIn("cert", i["host_key_type"])
        self.assertEqual(r.all("prompt"), [])


class Factors(Base):
    def test_key_and_password(self):
        host = self.host_of(password="s3cret", extra="PubkeyAuthentication yes\nAuthenticationMethods publickey,password",
                            client_extra="PreferredAuthentications publickey,password")
        r, lines = self.log("--answer", "s3cret")
        self.assertEqual([e["kind"] for e in r.all("prompt")], ["password"])
        self.assertEqual(self.order(lines), ["id_ed25519", "password"])
        r = self.program.drive("-i", host.key, "--answer", "s3cret", "argv", "true", check=0)
        self.assertEqual(len(r.all("prompt")), 1)

    def test_a_passphrase_is_asked_once_however_many_logins_there_are(self):
        """The key given is tried alone first, then everything: the second login knows the passphrase."""
        host = self.host_of(password="s3cret", passphrase="open", extra="PubkeyAuthentication yes\nAuthenticationMethods publickey,password",
                            client_extra="PreferredAuthentications publickey,password")
        r = self.program.drive("-i", host.key, "--answer", "open", "--answer", "s3cret", "argv", "true", check=0)
        self.assertEqual([e["kind"] for e in r.all("prompt")], ["passphrase", "password"])

    def test_methods_in_order_down_to_the_password(self):
        self.host_of(password="s3cret", extra="PubkeyAuthentication yes\nMaxAuthTries 20\nKbdInteractiveAuthentication no",
                     client_extra="PreferredAuthentications publickey,keyboard-interactive,password")
        self.allow()
        r, lines = self.log("--answer", "s3cret")
        self.assertEqual(self.order(lines), ["id_ed25519", "password"])
        self.assertEqual([e["kind"] for e in r.all("prompt")], ["password"])


class Questions(Base):
    """Another implementation of SSH as the server: it asks two questions in one round."""

    def server(self, *args):
        self.host_of()
        folder = scratch("tlq-")
        key = key_at(f"{folder}/host", kind="ecdsa")
        p = spawn(["/usr/bin/python3", f"{HERE}/two_questions.py", key, *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(end, p)
        self.addCleanup(p.stdout.close)
        port = p.stdout.readline().strip()
        self.assertTrue(port, "python3-paramiko is missing: tools/setup")
        with open(key + ".pub") as f, open(self.host.known_hosts, "w") as g:
            g.write(f"[127.0.0.1]:{port} " + " ".join(f.read().split()[:2]) + "\n")
        self.configure((f"Port {self.host.port}", f"Port {port}"),
                       ("PreferredAuthentications publickey", "PreferredAuthentications publickey,keyboard-interactive"))

    def answers(self, *given, **kw):
        return self.program.drive(*[x for a in given for x in ("--answer", a)], "capture", "echo far", **kw)

    def test_two_in_one_round_and_a_third(self):
        self.server()
        r = self.answers("Alma", "s3cret", "424242", check=0)
        self.assertEqual(r.one("output")["out"], "far\n")
        texts = [e["text"] for e in r.all("prompt")]
        self.assertEqual([e["kind"] for e in r.all("prompt")], ["question"] * 3)
        self.assertIn("Name of the ship:", texts[0])
        self.assertIn("Secret:", texts[1])
        self.assertIn("Code:", texts[2])

    def test_after_a_public_key(self):
        self.server("key")
        self.assertEqual(self.answers("Alma", "s3cret", "424242", check=0).one("output")["out"], "far\n")

    def test_codes_are_not_used_twice(self):
        """The key given is tried alone at first; what is asked after it is asked when everything is tried."""
        self.server("key")
        r = self.program.drive("-i", self.host.key, "--answer", "Alma", "--answer", "s3cret", "--answer", "424242", "capture", "echo far", check=0)
        self.assertEqual(len(r.all("prompt")), 3)


class HostKeys(Base):
    def test_revoked_key_gets_no_secret(self):
        host = self.host_of(password="s3cret")
        with open(host.known_hosts) as f:
            line = f.read()
        with open(host.known_hosts, "a") as f:
            f.write("@revoked " + line)
        r = self.program.drive("--answer", "s3cret", "run", "true", check=1)
        self.assertEqual((r.one("error")["name"], r.all("prompt")), ("host_key_changed", []))
        self.assertIn("revoked", r.one("error")["message"])

    def test_hashed_names(self):
        host = self.host_of()
        run(["ssh-keygen", "-q", "-H", "-f", host.known_hosts])
        i = self.program.drive("info", check=0).one("info")
        self.assertTrue(i["sha1"])


if __name__ == "__main__":
    unittest.main()
