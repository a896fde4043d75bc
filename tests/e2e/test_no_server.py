"""Hosts that cannot run our program, through the daemon: windows and commands go on over plain ssh (row C9).

deadline: 600
"""
# parallel: ok
import json
import os
import pwd
import shutil
import socket
import stat
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "api"))

from harness import Daemon, Sshd, find_processes, wait_for
from harness.control import RpcError
from harness.sftp import NO_FILE, SAVE, SftpClient, SftpError, string, u32, u64
from test_plain import Mac


def sftp_of(client, alias="demo"):
    sock = client.stream(alias, {"open": "sftp"})
    return SftpClient(sock.makefile("rb"), sock.makefile("wb"))


class Odd(Mac):
    """A host with another `uname -sm`."""

    def __init__(self, platform, **kw):
        super().__init__(**kw)
        self.put("bin/uname", f"#!/bin/sh\n[ \"$*\" = -sm ] && echo {platform} || exec /bin/uname \"$@\"\n", 0o755)


class Silent(Odd):
    subsystems = ()


class Useless(Sshd):
    subsystems = ()


class Served(unittest.TestCase):
    """One host and one daemon for the cases of a class; each case has a folder of its own."""

    @classmethod
    def make(cls):
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        if cls is Served:
            raise unittest.SkipTest("what the classes below share")
        cls.host = cls.make()
        cls.addClassCleanup(cls.host.stop)
        cls.local = Daemon(cls.host)
        cls.addClassCleanup(cls.local.stop)

    def setUp(self):
        self.dir = os.path.join(self.host.home, self.id().rsplit(".", 1)[1])
        os.makedirs(self.dir)
        self.own(self.dir)

    def own(self, path):
        """As if the user had made it himself."""
        os.chown(path, self.host.uid, pwd.getpwnam(self.host.user).pw_gid)

    def far(self, name=""):
        return f"demo:{os.path.join(self.dir, name)}"

    def towline(self, *argv, **kw):
        return self.local.towline(*argv, **kw)

    def info(self):
        hosts = json.loads(self.towline("status", "--json").stdout)["hosts"]
        return [h for h in hosts if h["host"] == "demo"][0]["info"]

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, data=b""):
        with open(self.path(name), "wb") as f:
            f.write(data)
        self.own(self.path(name))
        return self.path(name)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def files(self):
        self.towline("connect", "demo")
        return sftp_of(self.local.client())


class FilesOnly(Served):
    @classmethod
    def make(cls):
        return Sshd(extra="ForceCommand internal-sftp")

    # ---- what a person sees

    def test_it_connects_and_says_what_is_missing_and_why(self):
        out = self.towline("connect", "demo").stdout
        self.assertIn("without a server of ours: demo runs no commands: it allows files only (SFTP)", out)
        self.assertIn("There are no terminals and no commands", out)
        self.assertIn("without a server of ours: demo runs no commands", self.towline("status").stdout)
        self.assertIn("it allows files only (SFTP)", self.towline("info", "demo").stdout)
        plain = self.info()["plain"]
        self.assertEqual((plain["error"], plain["files"], plain["commands"]), ("no_shell", True, False))

    def test_commands_of_files_work(self):
        blob = os.urandom(300_001)
        near = os.path.join(self.local.dir, "blob")
        with open(near, "wb") as f:
            f.write(blob)
        self.towline("put", near, self.far("up name.bin"))
        self.assertEqual(self.read("up name.bin"), blob)
        self.towline("get", self.far("up name.bin"), near + ".back")
        with open(near + ".back", "rb") as f:
            self.assertEqual(f.read(), blob)
        self.assertEqual(self.towline("cat", self.far("up name.bin"), text=False).stdout, blob)
        names = [e["name"] for e in json.loads(self.towline("ls", "--json", self.far()).stdout)["entries"]]
        self.assertEqual(names, ["up name.bin"])
        self.assertRegex(self.towline("open", "--no-browser", self.far()).stdout, r"^window: http://localhost:\d+/\?host=demo")
        self.towline("rm", self.far("up name.bin"))
        self.assertEqual(os.listdir(self.dir), [])

    def test_what_needs_a_shell_is_refused_with_the_reason(self):
        for words in (["shell", "demo", "--", "true"], ["shell", "demo"], ["exec", "demo", "true"]):
            r = self.towline(*words, check=False)
            self.assertNotEqual(r.returncode, 0, words)
            self.assertIn("it allows files only (SFTP)", r.stderr, words)
        r = self.towline("ports", "demo", check=False)
        self.assertIn("served by plain ssh", r.stderr)

    def test_one_connection_for_everything(self):
        def logins():
            with open(self.host.log, errors="replace") as f:
                return f.read().count("Accepted publickey for ")
        self.towline("connect", "demo")
        before = logins()
        for _ in range(3):
            self.towline("ls", self.far())
        self.assertEqual(logins(), before)

    # ---- the window's file service

    def test_list_and_stat_tell_types_links_and_sizes(self):
        self.write("file", b"12345")
        os.mkdir(self.path("folder"))
        os.symlink("file", self.path("to-file"))
        os.symlink("folder", self.path("to-folder"))
        os.symlink("nowhere", self.path("broken"))
        c = self.files()
        got = c.list(self.dir)
        self.assertEqual({n: e[0] for n, e in got.items()},
                         {"file": 1, "folder": 2, "to-file": 3, "to-folder": 4, "broken": 5})
        self.assertEqual(got["file"][1], 5)
        self.assertEqual(c.list(self.dir, 1)["to-file"][1], 5)
        s = c.stat(self.path("to-file"))
        self.assertEqual((s["type"], s["size"]), (3, 5))
        with self.assertRaises(SftpError) as e:
            c.stat(self.path("none"))
        self.assertEqual(e.exception.word, "not_found")

    def test_a_long_folder_comes_whole(self):
        for i in range(1500):
            open(self.path(f"n{i:04d}"), "w").close()
        self.assertEqual(len(self.files().list(self.dir)), 1500)

    def test_reading_from_the_middle_and_more_than_one_piece(self):
        data = os.urandom(1_234_567)
        self.write("big", data)
        c = self.files()
        parts = list(c.streamed("read-file@towline", string(self.path("big")) + u64(0) + u64(0)))
        parts[0].take(24)
        self.assertEqual(parts[0].u64(), len(data))
        self.assertEqual(b"".join(p.string() for p in parts), data)
        parts = list(c.streamed("read-file@towline", string(self.path("big")) + u64(1000) + u64(70000)))
        parts[0].take(32)
        self.assertEqual(b"".join(p.string() for p in parts), data[1000:71000])
        with self.assertRaises(SftpError) as e:
            list(c.streamed("read-file@towline", string(self.dir) + u64(0) + u64(0)))
        self.assertEqual(e.exception.word, "is_a_folder")

    def save(self, c, name, data, flags=SAVE.CREATE | SAVE.OVERWRITE, etag=NO_FILE, total=None, off=0):
        r = c.extended("save@towline", string(self.path(name)) + u32(flags) + u32(0) + etag +
                       u64(len(data) if total is None else total) + u64(off) + u32(len(data)) + data)
        return r.u8(), r.take(24)

    def test_save_replaces_keeps_the_mode_and_leaves_nothing(self):
        path = self.write("a", b"old")
        os.chmod(path, 0o640)
        inode = os.stat(path).st_ino
        done, etag = self.save(self.files(), "a", b"new content")
        self.assertEqual((done, self.read("a"), stat.S_IMODE(os.stat(path).st_mode)), (1, b"new content", 0o640))
        self.assertNotEqual(os.stat(path).st_ino, inode)
        self.assertEqual(os.listdir(self.dir), ["a"])
        self.assertNotEqual(etag, NO_FILE)

    def test_save_through_a_link_keeps_the_link(self):
        self.write("real", b"old")
        os.symlink("real", self.path("link"))
        self.save(self.files(), "link", b"new")
        self.assertTrue(os.path.islink(self.path("link")))
        self.assertEqual(self.read("real"), b"new")

    def test_somebody_elses_change_is_a_conflict(self):
        self.write("a", b"old")
        c = self.files()
        etag = c.stat(self.path("a"))["etag"]
        self.write("a", b"somebody else")
        with self.assertRaises(SftpError) as e:
            self.save(c, "a", b"mine", SAVE.CREATE | SAVE.OVERWRITE | SAVE.COMPARE, etag)
        self.assertEqual(e.exception.word, "conflict")
        self.assertEqual((self.read("a"), os.listdir(self.dir)), (b"somebody else", ["a"]))
        with self.assertRaises(SftpError) as e:
            self.save(c, "a", b"mine", SAVE.CREATE)
        self.assertEqual(e.exception.word, "exists")
        with self.assertRaises(SftpError) as e:
            self.save(c, "none", b"mine", SAVE.OVERWRITE)
        self.assertEqual(e.exception.word, "not_found")

    def test_a_large_file_comes_in_pieces_sent_at_once(self):
        data = os.urandom(900_000)
        c = self.files()
        ids, at = [], 0
        while at < len(data):
            part = data[at:at + 131072]
            ids.append(c.send(200, string("save@towline") + string(self.path("big")) + u32(3) + u32(0o600) + NO_FILE +
                              u64(len(data)) + u64(at) + u32(len(part)) + part))
            at += len(part)
        answers = {}
        while len(answers) < len(ids):
            t, body = c.recv_packet()
            self.assertEqual(t, 201, body)
            answers[int.from_bytes(body[:4], "big")] = body[4]
        self.assertEqual(sum(answers.values()), 1)
        self.assertEqual((self.read("big"), os.listdir(self.dir)), (data, ["big"]))
        self.assertEqual(stat.S_IMODE(os.stat(self.path("big")).st_mode), 0o600)

    def test_a_client_that_leaves_in_the_middle_leaves_nothing(self):
        self.write("a", b"old")
        self.towline("connect", "demo")
        client = self.local.client()
        c = sftp_of(client)
        self.assertEqual(self.save(c, "a", b"x" * 100000, total=200000)[0], 0)
        self.assertEqual(len(os.listdir(self.dir)), 2)
        client.close()
        wait_for(lambda: os.listdir(self.dir) == ["a"], 60, "the temporary file to go")
        self.assertEqual(self.read("a"), b"old")

    def test_a_folder_that_may_not_be_written_gets_its_files_saved_in_place(self):
        path = self.write("a", b"a longer old content")
        os.chmod(self.dir, 0o555)
        c = self.files()
        self.save(c, "a", b"new")
        self.assertEqual(self.read("a"), b"new")
        with self.assertRaises(SftpError) as e:
            self.save(c, "b", b"new")
        self.assertEqual(e.exception.word, "no_permission")
        os.chmod(path, 0o444)
        with self.assertRaises(SftpError) as e:
            self.save(c, "a", b"newer")
        self.assertEqual(e.exception.word, "no_permission")
        os.chmod(self.dir, 0o755)

    def test_changes_of_names_and_trees(self):
        c = self.files()
        c.mkdir(self.path("d"))
        with self.assertRaises(SftpError) as e:
            c.mkdir(self.path("d"))
        self.assertEqual(e.exception.word, "exists")
        c.request(200, string("touch-mkdirs@towline") + string(self.path("d/e/f")) + u32(0))
        self.save(c, "d/e/f/file", b"deep")
        os.symlink("f/file", self.path("d/e/link"))
        with self.assertRaises(SftpError) as e:
            c.request(15, string(self.path("d")))
        self.assertEqual(e.exception.word, "not_empty")
        c.request(200, string("copy-tree@towline") + string(self.path("d")) + string(self.path("copy")) + u32(0))
        self.assertEqual((self.read("copy/e/f/file"), os.readlink(self.path("copy/e/link"))), (b"deep", "f/file"))
        with self.assertRaises(SftpError) as e:
            c.request(200, string("copy-tree@towline") + string(self.path("d")) + string(self.path("copy")) + u32(0))
        self.assertEqual(e.exception.word, "exists")
        with self.assertRaises(SftpError) as e:
            c.request(200, string("copy-tree@towline") + string(self.path("d")) + string(self.path("d/inside")) + u32(0))
        self.assertIn("into itself", e.exception.text)
        with self.assertRaises(SftpError) as e:
            c.request(18, string(self.path("d")) + string(self.path("copy")))
        self.assertEqual(e.exception.word, "exists")
        self.save(c, "x", b"x")
        self.save(c, "y", b"y")
        c.request(200, string("posix-rename@openssh.com") + string(self.path("x")) + string(self.path("y")))
        self.assertEqual(self.read("y"), b"x")
        c.request(200, string("remove-tree@towline") + string(self.path("d")))
        self.assertEqual(sorted(os.listdir(self.dir)), ["copy", "y"])

    def test_many_requests_at_once_are_all_answered(self):
        for i in range(40):
            self.write(f"n{i}", b"x" * i)
        c = self.files()
        ids = {c.send(200, string("stat@towline") + string(self.path(f"n{i}"))): i for i in range(40)}
        for _ in range(40):
            t, body = c.recv_packet()
            i = ids.pop(int.from_bytes(body[:4], "big"))
            self.assertEqual((t, int.from_bytes(body[5:13], "big")), (201, i))

    def test_changes_are_seen_by_looking(self):
        self.towline("connect", "demo")
        sock = self.local.client().stream("demo", {"open": "watch"})
        f = sock.makefile("rwb")

        def send(**m):
            body = json.dumps(dict(jsonrpc="2.0", **m)).encode()
            f.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            f.flush()

        def message():
            n = int(f.readline().split(b":")[1])
            while f.readline().strip():
                pass
            return json.loads(f.read(n))
        sock.settimeout(60)
        send(id=1, method="watch/add", params={"id": 7, "path": self.dir, "recursive": True})
        self.assertEqual(message()["result"]["mode"], "polling")
        os.mkdir(self.path("sub"))
        self.write("sub/new", b"1")
        seen = set()
        while (2, self.path("sub/new")) not in seen:
            m = message()
            if m.get("method") == "watch/changed":
                seen |= {tuple(x) for x in m["params"]["changes"]}
        self.write("sub/new", b"22")
        while (1, self.path("sub/new")) not in seen:
            m = message()
            if m.get("method") == "watch/changed":
                seen |= {tuple(x) for x in m["params"]["changes"]}

    def test_ports_are_forwarded_all_the_same(self):
        """What the server allows is not only commands."""
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        self.addCleanup(listener.close)
        threading.Thread(target=lambda: [s.sendall(b"from there") or s.close() for s, _ in [listener.accept()]], daemon=True).start()
        self.towline("connect", "demo")
        r = self.local.client().call("forward/add", host="demo", targetHost="localhost", targetPort=listener.getsockname()[1])
        s = socket.create_connection(("127.0.0.1", r["localPort"]), 30)
        self.addCleanup(s.close)
        s.settimeout(30)
        self.assertEqual(s.recv(100), b"from there")


class Commands(Served):
    """Another operating system, with a shell."""

    @classmethod
    def make(cls):
        return Mac()

    def test_commands_and_terminals_in_their_folder(self):
        r = self.towline("shell", "demo", "--", "sh", "-c", "echo far; exit 7", check=False, errors="replace")
        self.assertEqual((r.returncode, r.stdout.strip()), (7, "far"))
        self.assertEqual(self.towline("exec", "demo", "-c", "echo $((6*7))").stdout, "42\n")
        c = self.local.client()
        made = c.call("host/call", host="demo", method="term/create",
                      params={"cwd": self.dir, "env": {"TL_X": "it's"}, "cols": 91, "rows": 17})
        self.assertIn(made["id"], [t["id"] for t in c.call("host/call", host="demo", method="term/list", params={})["terminals"]])
        t = self.local.terminal("shell", "demo", "--attach", made["id"])
        t.send("stty size; pwd; echo \"<$TL_X>\"; exit 5\n")
        t.expect("<it's>", 60)
        self.assertIn(self.dir, t.text)
        self.assertEqual(t.wait(60), 5)

    def test_one_login_and_nothing_of_ours_there(self):
        logins, home = self.host.logins(), sorted(os.listdir(self.host.home))
        self.towline("close", "demo", check=False)
        self.towline("connect", "demo")
        self.towline("ls", self.far())
        self.towline("shell", "demo", "--", "true")
        self.assertEqual(self.host.logins(), logins + 1)
        self.assertEqual(sorted(os.listdir(self.host.home)), home)
        self.assertEqual(self.host.processes(argv0="towline-host"), [])
        self.assertEqual(self.info()["plain"]["error"], "unsupported_platform")
        self.assertEqual((self.info()["os"], self.info()["arch"]), ("Darwin", "arm64"))

    def test_paths_are_resolved(self):
        self.towline("connect", "demo")
        c = self.local.client()

        def resolve(path):
            return c.call("host/call", host="demo", method="path/resolve", params={"path": path})
        self.assertEqual(resolve("~")["path"], self.host.home)
        self.assertEqual((resolve(os.path.basename(self.dir))["path"], resolve("/etc/passwd")["type"]), (self.dir, "file"))
        with self.assertRaises(RpcError) as e:
            resolve("/none")
        self.assertEqual(e.exception.name, "not_found")
        for method in ("kernel/list", "ports/list"):
            with self.assertRaises(RpcError) as e:
                c.call("host/call", host="demo", method=method, params={})
            self.assertEqual(e.exception.name, "unsupported")

    def test_a_lost_connection_comes_back_and_ended_terminals_say_so(self):
        self.towline("connect", "demo")
        c = self.local.client()
        made = c.call("host/call", host="demo", method="term/create", params={})

        def term():
            terms = c.call("host/call", host="demo", method="term/list", params={})["terminals"]
            return {t["id"]: t for t in terms}[made["id"]]
        wait_for(lambda: term()["end"] > 0, 60, "its shell to say something")
        before = self.host.logins()
        self.host.drop_connections()

        def there():
            state = [h for h in json.loads(self.towline("status", "--json").stdout)["hosts"] if h["host"] == "demo"][0]
            return state["phase"] == "connected" and self.host.logins() > before
        wait_for(there, 90, "the connection to come back")
        self.assertEqual(self.host.logins(), before + 1)
        self.towline("ls", self.far())
        self.assertEqual(term()["exit"], {"kind": "exit", "value": 255})


class Ends(unittest.TestCase):
    def test_nothing_is_left_here_or_there(self):
        host = Mac(test=self)
        local = Daemon(host, test=self)
        local.towline("connect", "demo")
        local.client().call("host/call", host="demo", method="term/create", params={})
        local.towline("close", "demo")
        wait_for(lambda: not host.connections(), 60, "the login to end")
        wait_for(lambda: not find_processes(local.mark, argv0="towline-host"), 60, "the terminal to end")
        run = os.path.join(local.runtime_dir, "towline")
        wait_for(lambda: not [n for n in os.listdir(run) if n.startswith("plain-")], 60, "its folder to go")
        local.towline("connect", "demo")
        os.kill(local.pid(), 9)
        wait_for(lambda: not host.connections(), 60, "the login to end with a daemon that was killed")

    def test_a_platform_we_have_no_program_for(self):
        host = Odd("Linux riscv64", test=self)
        local = Daemon(host, test=self)
        self.assertIn("its platform is Linux riscv64", local.towline("connect", "demo").stdout)
        self.assertEqual(local.towline("exec", "demo", "-c", "echo on").stdout, "on\n")
        local.towline("ls", "demo:")

    def test_commands_without_an_sftp_server(self):
        host = Silent("OpenBSD amd64", test=self)
        local = Daemon(host, test=self)
        self.assertIn("There are no files: the host has no SFTP server", local.towline("connect", "demo").stdout)
        self.assertEqual(local.towline("shell", "demo", "--", "echo", "on").stdout.strip(), "on")
        r = local.towline("ls", "demo:", check=False)
        self.assertIn("it has no SFTP server", r.stderr)

    def test_neither_shell_nor_files_keeps_the_first_reason(self):
        host = Useless(shell="/usr/sbin/nologin", test=self)
        local = Daemon(host, test=self)
        r = local.towline("connect", "demo", check=False)
        self.assertEqual(r.returncode, 66, r.stderr)
        self.assertIn("This account is currently not available", r.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "a chroot needs root")
    def test_a_folder_for_files_only_as_root_of_everything(self):
        host = Sshd(extra="ForceCommand internal-sftp", test=self)
        # sshd wants every folder above to be root's alone, which /tmp is not
        jail = f"/run/towline-jail-{os.getpid()}"
        self.addCleanup(shutil.rmtree, jail, True)
        os.makedirs(os.path.join(jail, "data"))
        os.chown(os.path.join(jail, "data"), host.uid, -1)
        host.shut()
        host.extra += f"\nChrootDirectory {jail}"
        host._write_server_config()
        host.start()
        local = Daemon(host, test=self)
        local.towline("connect", "demo")
        with open(os.path.join(local.home, "a"), "w") as f:
            f.write("in the jail")
        local.towline("put", "a", "demo:/data/a")
        self.assertEqual(local.towline("cat", "demo:/data/a").stdout, "in the jail")
        self.assertEqual([e["name"] for e in json.loads(local.towline("ls", "--json", "demo:/").stdout)["entries"]], ["data"])

    def test_a_password_is_asked_for_once(self):
        host = Sshd(password="s3cret", extra="ForceCommand internal-sftp", test=self)
        local = Daemon(host, test=self)
        asked = []

        def answer(params):
            asked.append(params)
            return "s3cret"
        c = local.client(answers=answer)
        c.call("host/connect", host="demo", options={"configFile": host.config})
        self.assertEqual(len(asked), 1, asked)


if __name__ == "__main__":
    unittest.main()
