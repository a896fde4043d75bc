"""The command's frame: help, wrong command lines, exit statuses, the daemon's life."""
# parallel: ok

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import unittest

from harness import ROOT, STAGE, Daemon, free_port, wait_for

TOWLINE = os.path.join(STAGE, "bin", "towline")
COMMANDS = ("open", "shell", "ls", "cat", "get", "put", "rm", "connect", "status", "close", "stop", "log", "version", "help")


def errors():
    """{name: exit status} of proto/errors.def"""
    with open(os.path.join(ROOT, "proto/errors.def")) as f:
        rows = re.findall(r'^TL_ERROR\(\w+, \d+, "(\w+)", \d, (\d+),', f.read(), re.M)
    return {name: int(code) for name, code in rows}


class Help(unittest.TestCase):
    def setUp(self):
        self.d = Daemon(test=self)

    def test_alone(self):
        for args in ((), ("--help",), ("-h",), ("help",), ("help", "--help")):
            r = self.d.towline(*args)
            self.assertIn("usage: towline", r.stdout)
            self.assertEqual(r.stderr, "")
        out = self.d.towline().stdout
        for c in COMMANDS:
            self.assertRegex(out, rf"(?m)^  {c} +\S")

    def test_every_command(self):
        for c in COMMANDS:
            r = self.d.towline(c, "--help")
            self.assertTrue(r.stdout.startswith(f"usage: towline {c}"), r.stdout)
            self.assertIn("exit status", r.stdout.lower().replace("exit code", "exit status"), c)
            self.assertLessEqual(max(map(len, r.stdout.splitlines())), 100, c)
            self.assertEqual(self.d.towline("help", c).stdout, r.stdout)
            self.assertEqual(self.d.towline("--help", c).stdout, r.stdout)

    def test_help_starts_nothing(self):
        self.d.towline("open", "--help")
        self.d.towline("version")
        self.d.towline("log", check=False)
        self.assertIsNone(self.d.pid())

    def test_version(self):
        version = self.d.towline("version").stdout
        self.assertRegex(version, r"^towline \d+\.\d+\.\d+\n$")
        self.assertEqual(self.d.towline("--version").stdout, version)
        self.assertNotIn("daemon", json.loads(self.d.towline("--json", "version").stdout))
        self.d.towline("status")
        m = json.loads(self.d.towline("version", "--json").stdout)
        self.assertEqual(m["daemon"], {"version": m["version"], "pid": self.d.pid()})


class Usage(unittest.TestCase):
    def setUp(self):
        self.d = Daemon(test=self)

    def wrong(self, *args):
        r = self.d.towline(*args, check=False)
        self.assertEqual((r.returncode, r.stdout), (2, ""), args)
        self.assertTrue(r.stderr.startswith("towline: "), r.stderr)
        self.assertEqual(r.stderr.count("\n"), 1, r.stderr)
        return r.stderr

    def test_unknown_command(self):
        self.assertIn("towline open build-server", self.wrong("build-server"))
        self.assertIn("Did you mean `towline open`", self.wrong("oepn"))
        self.assertIn("Did you mean `towline status`", self.wrong("statsu"))
        self.assertIn("towline open", self.wrong("x:/tmp"))
        self.assertIn("not a command", self.wrong("help", "nothing"))

    def test_unknown_option(self):
        self.assertIn("--bogus", self.wrong("--bogus", "status"))
        for c in ("status", "open", "close", "stop", "log", "connect", "version", "help"):
            self.assertIn(f"towline {c} --help", self.wrong(c, "--bogus"))

    def test_values(self):
        for args in (("-p",), ("status", "-F"), ("-i",), ("open", "-o")):
            self.assertIn("needs a value", self.wrong(*args))
        for port in ("0", "65536", "x", "", "22x", "-1"):
            self.assertIn("port", self.wrong("-p", port, "status"))
        for n in ("x", "-1", "1.5", "9999999"):
            self.assertIn("number of lines", self.wrong("log", "-n", n))

    def test_too_few_and_too_many(self):
        self.assertIn("HOST is missing", self.wrong("close"))
        self.assertIn("HOST is missing", self.wrong("connect"))
        for args in (("open", "a", "b"), ("status", "a", "b"), ("stop", "a"), ("version", "a"), ("close", "a", "b"), ("log", "a", "b"), ("help", "a", "b")):
            self.assertIn("too much", self.wrong(*args))

    def test_targets(self):
        for target in ("", ":/tmp", "[::1", "[]:/x", "ssh://", "ssh:///x", "[::1]x"):
            self.assertIn("“", self.wrong("open", target))
        self.assertIn("local:/tmp", self.wrong("open", "/tmp"))
        self.assertIn("local:./x", self.wrong("open", "./x"))
        self.wrong("connect", "host:/path")
        # a host that begins with a dash could be an option of ssh
        self.assertIn("names no host", self.wrong("open", "--", "-oProxyCommand=x"))

    def test_json_errors(self):
        r = self.d.towline("--json", "log", "-n", "x", check=False)
        e = json.loads(r.stdout)["error"]
        self.assertEqual((r.returncode, e["name"], e["exit"], e["number"], e["retryable"]), (2, "invalid", 2, 4, False))
        self.assertEqual(r.stderr, "")
        for args in (("nonsense",), ("open", "a", "b"), ("-p", "x", "status"), ("--bogus",)):
            for order in (("--json", *args), (*args, "--json")):
                r = self.d.towline(*order, check=False)
                self.assertEqual((r.returncode, json.loads(r.stdout)["error"]["name"]), (2, "invalid"), order)

    def test_a_command_for_the_host_is_left_alone(self):
        """What follows HOST in `towline shell` is not ours, whatever it looks like."""
        r = self.d.towline("shell", "local:", "printf", "<%s>", "-i", "-v", "--json", "-p")
        self.assertIn("<-i><-v><--json><-p>", r.stdout)

    def test_options_stand_anywhere(self):
        for args in (("--json", "status"), ("status", "--json"), ("-v", "--json", "status", "-q"), ("-vv", "status", "--json")):
            self.assertIn("version", json.loads(self.d.towline(*args).stdout))


class Life(unittest.TestCase):
    """The daemon starts when it is needed, once, and says why it cannot."""

    def setUp(self):
        self.d = Daemon(test=self)

    def test_start_and_stop(self):
        self.assertEqual(self.d.towline("stop").stdout, "no daemon runs\n")
        out = self.d.towline("status").stdout
        self.assertIn("no host is connected", out)
        pid = self.d.pid()
        self.assertIn(f"process {pid}", out)
        self.d.towline("status")
        self.assertEqual(self.d.pid(), pid)
        self.assertEqual(self.d.towline("stop").stdout, "stopped\n")
        wait_for(lambda: self.d.pid() is None)
        self.assertEqual(self.d.towline("stop").stdout, "no daemon runs\n")

    def test_many_at_once_start_one(self):
        rs = [self.d.start("status") for _ in range(8)]
        outs = [r.communicate(timeout=60) for r in rs]
        pids = {re.search(rb"process (\d+)", o)[1] for o, _ in outs}
        self.assertEqual(len(pids), 1, outs)
        self.assertTrue(all(r.returncode == 0 for r in rs))

    def test_same_port_and_token_next_time(self):
        a = json.loads(self.d.towline("status", "--json").stdout)["origin"]
        self.d.towline("stop")
        wait_for(lambda: self.d.pid() is None)
        self.assertEqual(json.loads(self.d.towline("status", "--json").stdout)["origin"], a)

    def test_taken_port(self):
        port = free_port()
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
            s.listen()
            self.d.env["TOWLINE_PORT"] = str(port)
            r = self.d.towline("status", check=False)
        self.assertEqual(r.returncode, errors()["port_taken"], r.stderr)
        self.assertIn(str(port), r.stderr)
        self.assertIn("TOWLINE_PORT", r.stderr)

    def test_daemon_is_missing(self):
        bin_ = os.path.join(self.d.dir, "bin")
        os.mkdir(bin_)
        shutil.copy(TOWLINE, bin_)
        r = subprocess.run([os.path.join(bin_, "towline"), "status"], env={**self.d.env, "PATH": "/nonexistent"}, capture_output=True, text=True)
        self.assertEqual(r.returncode, errors()["no_daemon"])
        self.assertIn("towlined", r.stderr)

    def test_daemon_that_ends_at_once(self):
        bin_ = os.path.join(self.d.dir, "bin")
        os.mkdir(bin_)
        shutil.copy(TOWLINE, bin_)
        with open(os.path.join(bin_, "towlined"), "w") as f:
            f.write("#!/bin/sh\necho 'cannot start today' >&2\nexit 3\n")
        os.chmod(os.path.join(bin_, "towlined"), 0o755)
        r = subprocess.run([os.path.join(bin_, "towline"), "status"], env=self.d.env, capture_output=True, text=True)
        self.assertEqual(r.returncode, errors()["no_daemon"])
        self.assertIn("cannot start today", r.stderr)

    def test_stale_socket(self):
        self.d.towline("status")
        os.kill(self.d.pid(), 9)
        wait_for(lambda: self.d.pid() is None)
        self.assertTrue(os.path.exists(self.d.control))
        self.assertIn("process", self.d.towline("status").stdout)

    def test_runtime_folder_of_another_user(self):
        os.mkdir(os.path.dirname(self.d.control))
        os.chown(os.path.dirname(self.d.control), 65534, 65534)
        r = self.d.towline("status", check=False)
        self.assertEqual(r.returncode, errors()["no_permission"], r.stderr)
        shutil.rmtree(os.path.dirname(self.d.control))

    def test_too_long_runtime_folder(self):
        self.d.env["XDG_RUNTIME_DIR"] = os.path.join(self.d.dir, "x" * 120)
        r = self.d.towline("status", check=False)
        self.assertEqual(r.returncode, errors()["limit"])
        self.assertIn("XDG_RUNTIME_DIR", r.stderr)

    def test_without_runtime_dir(self):
        env = {k: v for k, v in self.d.env.items() if k != "XDG_RUNTIME_DIR"}
        r = self.d.towline("close", "x", env=env, check=False)
        self.assertEqual(r.returncode, errors()["not_connected"])

    def test_the_daemon_holds_nothing_of_ours(self):
        """Not the folder, the terminal or the pipes of the command that started it."""
        p = self.d.start("status")
        p.communicate(timeout=60)  # ends: nobody keeps the pipes open
        pid = self.d.pid()
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        for fd in ("0", "1"):
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/{fd}"), "/dev/null")
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        self.assertEqual(fields[4], "0", "it has a controlling terminal")
        self.assertTrue(os.readlink(f"/proc/{pid}/fd/2").endswith("towlined.log"))


class Output(unittest.TestCase):
    def setUp(self):
        self.d = Daemon(test=self)

    def test_unknown_host(self):
        r = self.d.towline("status", "nowhere", check=False)
        self.assertEqual(r.returncode, errors()["not_connected"])
        r = self.d.towline("close", "nowhere", check=False)
        self.assertEqual((r.returncode, r.stdout), (errors()["not_connected"], ""))
        self.assertIn("nowhere", r.stderr)

    def test_log(self):
        r = self.d.towline("log", check=False)
        self.assertEqual(r.returncode, errors()["not_found"])
        self.assertIn("towlined.log", r.stderr)
        path = os.path.join(self.d.state_home, "towline", "towlined.log")
        os.makedirs(os.path.dirname(path))
        with open(path, "w") as f:
            for i in range(1000):
                f.write(f"2026-01-01 00:00:00.000 info [h{i % 2}] line {i}\n")
        self.assertEqual(len(self.d.towline("log").stdout.splitlines()), 200)
        self.assertEqual(self.d.towline("log", "-n", "0").stdout, "")
        self.assertEqual(len(self.d.towline("log", "-n", "5000").stdout.splitlines()), 1000)
        lines = self.d.towline("log", "-n3", "h0").stdout.splitlines()
        self.assertEqual([x.split()[-1] for x in lines], ["994", "996", "998"])
        self.assertEqual(self.d.towline("log", "--lines=2", "h").stdout, "")
        with open(path, "a") as f:
            f.write("without an end")
        self.assertTrue(self.d.towline("log", "-n", "1").stdout.endswith("without an end"))

    def test_log_follows(self):
        path = os.path.join(self.d.state_home, "towline", "towlined.log")
        os.makedirs(os.path.dirname(path))
        with open(path, "w") as f:
            f.write("one\n")
        p = self.d.start("log", "-f", text=True)
        self.assertEqual(p.stdout.readline(), "one\n")
        with open(path, "a", buffering=1) as f:
            f.write("two\nthr")
            self.assertEqual(p.stdout.readline(), "two\n")
            f.write("ee\n")
            self.assertEqual(p.stdout.readline(), "three\n")
        os.rename(path, path + ".1")
        with open(path, "w") as f:
            f.write("four\n")
        self.assertEqual(p.stdout.readline(), "four\n")
        p.terminate()
        p.wait(30)

    def test_reader_that_had_enough(self):
        p = subprocess.run(f"{TOWLINE} status --json | true; exit ${{PIPESTATUS[0]}}", shell=True, executable="/bin/bash", env=self.d.env, capture_output=True, text=True)
        self.assertIn(p.returncode, (0, 141))
        self.assertEqual(p.stderr, "")

    def test_full_disk(self):
        with open("/dev/full", "w") as full:
            r = subprocess.run([TOWLINE, "version"], env=self.d.env, stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(r.returncode, errors()["no_space"], r.stderr)
        self.assertIn("standard output", r.stderr)

    def test_local_host_end_to_end(self):
        r = self.d.towline("open", "--no-browser", f"local:{self.d.home}")
        self.assertRegex(r.stdout, r"^window: http://localhost:\d+/\?host=local:&folder=\S+#token=[0-9a-z]+\n$")
        self.assertEqual(r.stderr, "")
        self.assertIn("connected", self.d.towline("status").stdout)
        m = json.loads(self.d.towline("--json", "status", "local:").stdout)
        self.assertEqual((m["phase"], m["terminals"]), ("connected", []))
        self.assertRegex(self.d.towline("connect", "local:").stdout, r"^connected: local: \(\w+ on \S+, Linux \w+\)\n$")
        self.assertEqual(json.loads(self.d.towline("--json", "connect", "local:").stdout)["uid"], os.getuid())
        self.assertIn("url", json.loads(self.d.towline("--json", "open", "local:").stdout))
        for path, name in (("/nonexistent", "not_found"), ("/etc/hostname/x", "not_a_folder")):
            r = self.d.towline("open", f"local:{path}", check=False)
            self.assertIn(r.returncode, (errors()[name], errors()["not_found"]), r.stderr)
            self.assertIn(path, r.stderr)
        self.assertEqual(self.d.towline("close", "local:").stdout, "closed\n")
        self.assertEqual(self.d.towline("status", "local:", check=False).returncode, errors()["not_connected"])

    def test_verbose_shows_steps(self):
        r = self.d.towline("-v", "connect", "local:")
        self.assertGreater(r.stderr.count("\n"), 1)
        self.assertLess(r.stderr.count("\n"), 12)

    def test_browser_gets_no_token(self):
        seen = os.path.join(self.d.dir, "seen")
        browser = os.path.join(self.d.dir, "firefox-test")
        with open(browser, "w") as f:
            f.write(f'#!/bin/sh\nprintf "%s\\n" "$@" >{seen}.new && mv {seen}.new {seen}\n')
        os.chmod(browser, 0o755)
        self.d.env["BROWSER"] = "/nonexistent/browser:" + browser
        url = self.d.towline("open", "--new-window").stdout.split()[1]
        wait_for(lambda: os.path.exists(seen), what="the browser to start")
        with open(seen) as f:
            args = f.read().splitlines()
        self.assertEqual(args[0], "--new-window")
        self.assertRegex(args[1], r"^http://localhost:\d+/open/\w+$")
        port = int(re.search(r":(\d+)/", args[1])[1])
        with socket.create_connection(("127.0.0.1", port), 60) as s:
            s.sendall(f"GET /open/{args[1].rsplit('/', 1)[1]} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
            self.assertIn(f"location: {url.split(str(port), 1)[1]}\r\n", s.recv(65536).decode())
        os.unlink(seen)
        self.d.env["BROWSER"] = browser + " --private %s --last"
        self.d.towline("open")
        wait_for(lambda: os.path.exists(seen), what="the browser to start")
        with open(seen) as f:
            args = f.read().splitlines()
        self.assertEqual((args[0], args[2]), ("--private", "--last"))


class Manual(unittest.TestCase):
    """What is written about the command is what the command does."""

    def setUp(self):
        with open(os.path.join(ROOT, "man/towline.1")) as f:
            self.text = f.read()

    def test_exit_statuses(self):
        table = {}
        for code, names in re.findall(r"(?m)^\.It (\d+)\n((?:.*\n)*?)(?=\.It|\.El)", self.text.split(".Sh EXIT STATUS")[1]):
            for name in re.findall(r"\.Li (\w+)", names):
                table[name] = int(code)
        self.assertEqual(table, errors())

    def test_commands(self):
        for c in COMMANDS:
            self.assertRegex(self.text, rf"(?m)^\.(It )?(Ic|Cm|Ss towline|Ic towline)? ?{c}\b", c)

    def test_they_are_well_formed(self):
        if not shutil.which("mandoc"):
            self.skipTest("mandoc is not installed")
        for page in ("towline.1", "towlined.8"):
            r = subprocess.run(["mandoc", "-Tlint", "-Wwarning", os.path.join(ROOT, "man", page)], capture_output=True, text=True)
            self.assertEqual(r.stdout, "")


if __name__ == "__main__":
    unittest.main()
