"""towline hosts: list, add, remove, show and forget hosts of the ssh configuration (rows B2, B3, B4)."""
# parallel: ok
import json
import os
import subprocess
import unittest

from harness import Daemon, RpcError, Sshd

CONFIG = """# of mine \t
Include {dir}/more.conf

Host alpha "beta"
\tHostName 192.0.2.1

# everything else
Host *
  ServerAliveInterval 30
"""


class Hosts(unittest.TestCase):
    def setUp(self):
        self.d = Daemon(test=self)
        self.dir = os.path.join(self.d.dir, "ssh")
        os.mkdir(self.dir)
        self.file = os.path.join(self.dir, "config")
        self.text = CONFIG.format(dir=self.dir)
        with open(self.file, "w") as f:
            f.write(self.text)
        with open(os.path.join(self.dir, "more.conf"), "w") as f:
            f.write("Host included\n  HostName 192.0.2.2\n")
        os.chmod(self.file, 0o640)

    def hosts(self, *args, **kw):
        return self.d.towline("-F", self.file, "hosts", *args, **kw)

    def json(self, *args, **kw):
        return json.loads(self.hosts("--json", *args, **kw).stdout)

    def read(self, name="config"):
        with open(os.path.join(self.dir, name), newline="") as f:
            return f.read()

    def ssh(self, host, *words):
        """What ssh itself makes of the file."""
        out = subprocess.run(["ssh", "-G", "-F", self.file, host], capture_output=True, text=True, check=True).stdout
        found = dict(line.split(" ", 1) for line in out.splitlines() if " " in line)
        return [found[w] for w in words]

    def test_list_follows_include(self):
        r = self.json()
        self.assertEqual([(h["name"], os.path.basename(h["file"]), h["line"], h["phase"]) for h in r["hosts"]],
                         [("included", "more.conf", 1, "disconnected"), ("alpha", "config", 4, "disconnected"),
                          ("beta", "config", 4, "disconnected")])
        self.assertEqual([os.path.basename(f) for f in r["files"]], ["config", "more.conf"])
        self.assertRegex(self.hosts().stdout, r"(?m)^alpha +never +\S+/config:4$")

    def test_add_and_remove_leave_every_other_byte(self):
        for command, name, words in (
                ("ssh -i ~/.ssh/work -p 2222 -L 8080:localhost:80 -J gate:22 me@build.example.org", "build.example.org",
                 {"hostname": "build.example.org", "user": "me", "port": "2222", "proxyjump": "gate:22",
                  "localforward": "8080 [localhost]:80", "identityfile": "~/.ssh/work"}),
                ("you@2001:db8::7", "2001:db8::7", {"hostname": "2001:db8::7", "user": "you", "port": "22"})):
            self.hosts("add", command)
            self.assertEqual(self.ssh(name, *words), list(words.values()))
            self.assertIn(name, self.hosts("list").stdout)
            self.assertEqual(os.stat(self.file).st_mode & 0o7777, 0o640)
            self.hosts("remove", name)
            self.assertEqual(self.read(), self.text)

    def test_words_of_the_shell_and_a_name(self):
        r = self.json("add", "--name", "short", "ssh", "-A", "-i", "keys/one", "-p", "2200", "-o", "ServerAliveInterval=5",
                      "-N", "me@h", "uptime")
        self.assertEqual((r["name"], r["file"], r["line"], r["written"]), ("short", self.file, 7, True))
        self.assertEqual([u["option"] for u in r["unused"]], ["-N", "uptime"])
        self.assertEqual(r["overruled"], [])
        self.assertEqual(self.ssh("short", "hostname", "user", "port", "forwardagent", "identityfile", "serveraliveinterval"),
                         ["h", "me", "2200", "yes", self.d.home + "/keys/one", "5"])

    def test_what_another_part_overrules_is_told(self):
        with open(self.file, "w") as f:
            f.write("User everybody\n" + self.text)
        r = self.json("add", "me@h")
        self.assertEqual(r["overruled"], [{"keyword": "User", "wanted": "me", "effective": "everybody"}])
        self.assertIn("User is everybody, not me", self.hosts("add", "me@h2").stderr)

    def test_nothing_is_written_where_something_is_wrong(self):
        for status, words, *args in ((22, "line 4 of", "add", "me@alpha"), (22, "more.conf", "add", "included"),
                                     (48, "onsense", "add", "ssh -o Nonsense=1 h"), (48, "", "add", "ssh -c what h"),
                                     (2, "“$H” is for a shell", "add", "ssh me@$H"), (2, "no option -Z", "add", "ssh -Z h"),
                                     (2, "missing", "add"), (2, "neither", "ad"), (2, "cannot be the name", "add", "--name", "a b", "h"),
                                     (20, "no host gamma", "remove", "gamma"), (2, "missing", "remove"),
                                     (20, "nothing is remembered", "forget", "alpha")):
            r = self.hosts(*args, check=False)
            self.assertEqual(r.returncode, status, (args, r.stderr))
            self.assertIn(words, r.stderr)
            self.assertEqual(self.read(), self.text)
        r = self.hosts("add", "--dry-run", "me@h")
        self.assertEqual(r.stdout, "Host h\n    HostName h\n    User me\n")
        self.assertEqual(self.read(), self.text)
        self.assertEqual(sorted(os.listdir(self.dir)), ["config", "more.conf"])
        left = os.listdir(os.path.join(self.d.runtime_dir, "towline"))
        self.assertEqual([x for x in left if x.startswith("config")], [])

    def test_remove_from_an_included_file_and_a_shared_line(self):
        r = self.json("remove", "beta")
        self.assertEqual([(os.path.basename(x["file"]), x["shared"]) for x in r["removed"]], [("config", True)])
        self.assertEqual(self.read(), self.text.replace('Host alpha "beta"', "Host alpha"))
        self.hosts("remove", "included")
        self.assertEqual(self.read("more.conf"), "")

    def test_the_file_of_the_settings(self):
        folder = os.path.join(self.d.config_home, "towline", "User")
        os.makedirs(folder)
        there = os.path.join(self.d.dir, "made", "ssh_config")
        with open(os.path.join(folder, "settings.json"), "w") as f:
            json.dump({"remote.SSH.configFile": there}, f)
        self.assertEqual(json.loads(self.d.towline("--json", "hosts").stdout)["hosts"], [])
        self.d.towline("hosts", "add", "me@h")
        with open(there) as f:
            self.assertEqual(f.read(), "Host h\n    HostName h\n    User me\n")
        self.assertRegex(self.d.towline("hosts").stdout, r"(?m)^h +never +.*/ssh_config:1$")
        # -F of the command that is added means that file
        self.d.towline("hosts", "add", f"ssh -F {self.file} me@elsewhere")
        self.assertIn("Host elsewhere\n", self.read())

    def test_show(self):
        out = self.hosts("show", "alpha").stdout
        self.assertTrue(out.startswith(f"# {self.file}, line 4\n"), out)
        self.assertIn("\nhostname 192.0.2.1\n", out)
        self.assertIn("\nport 2200\n", self.d.towline("-F", self.file, "-p", "2200", "hosts", "show", "nowhere").stdout)
        with open(self.file, "a") as f:
            f.write("  Nonsense 1\n")
        r = self.hosts("show", "alpha", check=False)
        self.assertEqual(r.returncode, 48)
        self.assertRegex(r.stderr, r"line 10: Bad configuration option: nonsense")

    def test_add_while_another_adds(self):
        procs = [subprocess.Popen(self.d.argv("-F", self.file, "hosts", "add", f"me@h{i}"), env=self.d.env, cwd=self.d.home)
                 for i in range(6)]
        self.assertEqual([p.wait(120) for p in procs], [0] * 6)
        names = [h["name"] for h in self.json()["hosts"]]
        self.assertEqual(sorted(n for n in names if n[0] == "h"), [f"h{i}" for i in range(6)])


class Known(unittest.TestCase):
    def test_what_was_is_remembered(self):
        host = Sshd(test=self)
        d = Daemon(host, test=self)
        d.towline("connect", "demo")
        c = d.client()
        for path in ("/tmp", host.home, "/tmp"):
            c.call("host/folder", host="demo", path=path)
        d.towline("stop")
        c = d.client()
        (h,) = c.call("host/known", configFile=host.config)["hosts"]
        self.assertEqual((h["name"], h["configured"], h["phase"]), ("demo", True, "disconnected"))
        self.assertEqual((h["platform"]["os"], h["platform"]["user"]), ("Linux", host.user))
        self.assertGreater(h["lastConnectedMs"], 0)
        self.assertEqual([f["path"] for f in h["folders"]], ["/tmp", host.home])
        # options of the next connection do not forget it
        d.towline("-o", "ServerAliveInterval=7", "connect", "demo")
        c.call("host/folder", host="demo", path="/tmp", remove=True)
        (h,) = c.call("host/known", configFile=host.config)["hosts"]
        self.assertEqual((h["phase"], [f["path"] for f in h["folders"]]), ("connected", [host.home]))
        self.assertIn("just now", d.towline("hosts").stdout.replace("connected", "just now"))
        # a host that is not configured is there as long as it is remembered
        os.rename(host.config, host.config + ".away")
        self.assertEqual([x["configured"] for x in c.call("host/known", configFile=host.config)["hosts"]], [False])
        c.call("host/close", host="demo")
        c.call("host/forget", host="demo")
        self.assertEqual(c.call("host/known", configFile=host.config)["hosts"], [])

    def test_nonsense_is_refused(self):
        d = Daemon(test=self)
        c = d.client()
        for method, params in (("host/folder", dict(host="x", path="relative")), ("host/folder", dict(host="", path="/tmp")),
                               ("host/add", {}), ("host/add", dict(args=[1])), ("host/add", dict(args=[])),
                               ("host/show", dict(host="-x")), ("host/show", dict(host="x", options={"options": [1]})),
                               ("host/remove", {}), ("host/add", dict(command="ssh -i key h")),
                               ("host/add", dict(command="h", configFile="relative"))):
            with self.assertRaises(RpcError, msg=(method, params)) as e:
                c.call(method, **params)
            self.assertEqual(e.exception.name, "invalid", (method, params))

    def test_a_client_that_leaves_in_the_middle(self):
        d = Daemon(test=self)
        slow = os.path.join(d.dir, "slow.conf")
        with open(slow, "w") as f:
            f.write("Match exec \"sleep 20\"\n  User x\n")
        c = d.client()
        c._send({"id": 7, "method": "host/show", "params": {"host": "x", "configFile": slow}})
        c.close()
        self.assertEqual(d.client().call("host/list")["hosts"], [])


if __name__ == "__main__":
    unittest.main()
