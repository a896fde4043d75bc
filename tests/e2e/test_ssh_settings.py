"""What the window does with hosts: settings remote.SSH.* that the daemon obeys, the files of the ssh configuration as an editor gets them,
and leaving a host (rows B1 B2 B3 B5 B9)."""
# parallel: ok
import json
import os
import stat
import unittest

from harness import Daemon, RpcError, Sshd, wait_for


class Base(unittest.TestCase):
    def setUp(self):
        self.host = Sshd(test=self)
        self.local = Daemon(test=self)

    def settings(self, **values):
        folder = os.path.join(self.local.config_home, "towline", "User")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "settings.json"), "w") as f:
            json.dump({f"remote.SSH.{k}": v for k, v in {"configFile": self.host.config, **values}.items()}, f)

    def wrapper(self):
        """An ssh of the user's own that notes its arguments."""
        path, self.notes = os.path.join(self.local.dir, "my-ssh"), os.path.join(self.local.dir, "notes")
        with open(path, "w") as f:
            f.write(f'#!/bin/sh\necho "$@" >>{self.notes}\nexec ssh "$@"\n')
        os.chmod(path, 0o755)
        return path


class Settings(Base):
    def test_config_file_is_that_of_the_connection(self):
        r = self.local.towline("connect", "demo", check=False)
        self.assertNotEqual(r.returncode, 0, "demo stands in no other file")
        self.settings()
        self.local.towline("connect", "demo")

    def test_ssh_of_the_users_own(self):
        self.settings(path=self.wrapper())
        self.local.towline("connect", "demo")
        with open(self.notes) as f:
            self.assertIn(f"-F {self.host.config}", f.read())

    def test_an_ssh_that_is_not_there_is_named(self):
        self.settings(path="/nowhere/ssh")
        r = self.local.towline("connect", "demo", check=False)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("/nowhere/ssh", r.stderr)

    def test_attempts_to_reconnect_are_counted(self):
        self.settings(maxReconnectionAttempts=1)
        self.local.towline("connect", "demo")
        c = self.local.client()

        def state():
            return next(h for h in c.call("host/list")["hosts"] if h["host"] == "demo")

        self.host.shut()
        self.host.drop_connections()
        wait_for(lambda: state()["phase"] == "failed", 60, "the end of the attempts")
        self.assertEqual(state()["error"]["name"], "connection_refused")
        self.host.start()
        self.local.towline("connect", "demo")
        self.assertEqual(state()["phase"], "connected")


class Closing(Base):
    def test_the_last_one_closes(self):
        """*Close Remote Connection* in one window leaves the others alone."""
        self.settings()
        self.local.towline("connect", "demo")
        a, b = self.local.client(), self.local.client()
        for c in (a, b):
            c.call("host/subscribe", host="demo")
        b.call("host/close", host="demo", ifUnused=True)
        self.assertEqual(b.call("host/subscribe", host="demo")["phase"], "connected")
        a.close()
        wait_for(lambda: b.call("host/close", host="demo", ifUnused=True) == {} and not b.call("host/list")["hosts"], 60,
                 "the end of the session")


class Files(Base):
    def setUp(self):
        super().setUp()
        self.settings()
        self.c = self.local.client()

    def read(self):
        with open(self.host.config) as f:
            return f.read()

    def test_read_and_write(self):
        os.chmod(self.host.config, 0o640)
        r = self.c.call("config/read")
        self.assertEqual((r["file"], r["text"], r["exists"]), (self.host.config, self.read(), True))
        self.assertEqual(r["mtime"], os.stat(self.host.config).st_mtime_ns // 1000000)
        self.c.call("config/write", text=r["text"] + "# more\n", was=r["text"])
        self.assertEqual(self.read(), r["text"] + "# more\n")
        self.assertEqual(stat.S_IMODE(os.stat(self.host.config).st_mode), 0o640)

    def test_what_changed_meanwhile_is_not_overwritten(self):
        was = self.c.call("config/read")["text"]
        with open(self.host.config, "a") as f:
            f.write("# somebody else\n")
        with self.assertRaises(RpcError) as e:
            self.c.call("config/write", text="mine\n", was=was)
        self.assertEqual(e.exception.name, "conflict")
        self.assertEqual(self.read(), was + "# somebody else\n")

    def test_a_file_that_is_not_there_yet(self):
        file = os.path.join(self.local.dir, "new", "config")
        self.settings(configFile=file)
        r = self.c.call("config/read")
        self.assertEqual((r["text"], r["exists"]), ("", False))
        self.c.call("config/write", text="Host a\n", was="")
        with open(file) as f:
            self.assertEqual(f.read(), "Host a\n")

    def test_included_files_and_no_others(self):
        more = os.path.join(self.host.dir, "more.conf")
        for path in (more, os.path.join(self.host.dir, "other.conf")):
            with open(path, "w") as f:
                f.write("Host b\n")
        with open(self.host.config, "a") as f:
            f.write(f"Host *\nInclude {more}\n")
        self.assertEqual(self.c.call("config/read", file=more)["text"], "Host b\n")
        for file in (os.path.join(self.host.dir, "other.conf"), "/etc/passwd", self.host.key):
            with self.assertRaises(RpcError) as e:
                self.c.call("config/read", file=file)
            self.assertEqual(e.exception.name, "invalid")
            with self.assertRaises(RpcError):
                self.c.call("config/write", file=file, text="", was="")


if __name__ == "__main__":
    unittest.main()
