"""The R package: every example of the document, errors, interruption, forgotten sessions, R CMD check."""
# deadline: 400
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import ROOT, Sshd, free_port, run, scratch, spawn, wait_for
from harness.proc import end

PREFIX = os.path.join(ROOT, "build", "stage")
PACKAGE = os.path.join(ROOT, "bindings", "r", "towline")
MISSING = ("R is missing: r-base-core" if not shutil.which("R") else
           None if os.path.exists(os.path.join(PREFIX, "lib/libtowline.so")) else "build/stage/lib/libtowline.so is missing: make lib")
SHARED = {}


def environment():
    return dict(os.environ, PKG_CONFIG_PATH=os.path.join(PREFIX, "lib/pkgconfig"), TOWLINE_PREFIX=PREFIX,
                R_LIBS=SHARED["lib"], XDG_RUNTIME_DIR=SHARED["dir"], LC_ALL="C.UTF-8", _R_CHECK_FORCE_SUGGESTS_="false")


def setUpModule():
    if MISSING:
        raise unittest.SkipTest(MISSING)
    SHARED["dir"] = scratch("tlR-")
    SHARED["lib"] = os.path.join(SHARED["dir"], "lib")
    os.mkdir(SHARED["lib"])
    shutil.copytree(PACKAGE, os.path.join(SHARED["dir"], "towline"))
    r = run(["R", "CMD", "build", "towline"], cwd=SHARED["dir"], env=environment(), check=False, timeout=120)
    SHARED["tar"] = os.path.join(SHARED["dir"], "towline_0.1.0.tar.gz")
    if not os.path.exists(SHARED["tar"]):
        raise AssertionError(r.stdout + r.stderr)
    r = run(["R", "CMD", "INSTALL", "--library=" + SHARED["lib"], SHARED["tar"]], env=environment(), check=False, timeout=200)
    if r.returncode:
        raise AssertionError(r.stdout + r.stderr)


def tearDownModule():
    shutil.rmtree(SHARED.get("dir", "/nonexistent"), True)


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Sshd()
        cls.dir = scratch("tlRt-")

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()
        shutil.rmtree(cls.dir, True)

    def start(self, code, connect=True):
        text = "library(towline)\n"
        if connect:
            text += f'session <- ssh_connect("{self.host.alias}", config = "{self.host.config}")\n'
        path = os.path.join(self.dir, "script.R")
        with open(path, "w") as f:
            f.write(text + code)
        p = spawn(["Rscript", "--vanilla", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                  text=True, env=environment(), cwd=self.dir)
        self.addCleanup(end, p)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stderr.close)
        return p

    def r(self, code, status=0, **kw):
        p = self.start(code, **kw)
        out, err = p.communicate(timeout=90)
        self.assertEqual(p.returncode, status, out + err)
        return out, err


class Document(Base):
    def test_session(self):
        out, err = self.r("session\ncat(ssh_session_info(session)$sha256, '\\n')\nstr(ssh_info(session)[1:6])\n"
                          "ssh_disconnect(session)\nsession\n"
                          "cat(tryCatch(ssh_disconnect(session), error = conditionMessage), '\\n')\n")
        self.assertRegex(out, r"<ssh session>\n\S+@\S+:\d+ \(connected\)\nserver: ([0-9a-f]{2}:){19}[0-9a-f]{2}\n")
        self.assertIn(self.host.fingerprint(), out)
        self.assertIn("(disconnected)", out)
        self.assertIn("has been disconnected", out)
        self.assertEqual(err, "")

    def test_commands(self):
        out, err = self.r("""
out <- ssh_exec_wait(session, command = 'whoami')
print(out)
ssh_exec_wait(session, command = c('cd /tmp', 'x=carried', 'echo "$PWD $x"', 'echo to err >&2'))
print(ssh_exec_wait(session, 'exit 7'))
print(attr(ssh_exec_wait(session, 'kill -9 $$'), 'signal'))
got <- ssh_exec_internal(session, "echo out; echo err >&2; printf 'a\\\\000b'")
stopifnot(identical(got$stdout, as.raw(c(0x6f,0x75,0x74,0x0a,0x61,0,0x62))), identical(rawToChar(got$stderr), 'err\\n'), got$status == 0)
e <- tryCatch(ssh_exec_internal(session, 'echo why >&2; exit 3'), error = identity)
stopifnot(inherits(e, 'towline_status'), rawToChar(e$output$stderr) == 'why\\n')
cat(conditionMessage(e), '\\n')
stopifnot(ssh_exec_internal(session, 'exit 3', error = FALSE)$status == 3)
stopifnot(ssh_exec_internal(session, 'read -r p; [ "$p" = "mypassword!" ]', std_in = 'mypassword!')$status == 0)
stopifnot(length(ssh_exec_internal(session, 'cat')$stdout) == 0)
ssh_exec_wait(session, 'printf "h\\303\\244\\342\\202\\254 wide\\n"')
ssh_disconnect(session)
""")
        self.assertTrue(out.startswith(f"{self.host.user}\n[1] 0\n/tmp carried\n"), out)
        self.assertIn("[1] 7\n[1] 9\n", out)
        self.assertIn("Executing 'echo why >&2; exit 3' failed with status 3", out)
        self.assertIn("hä€ wide", out)
        self.assertIn("to err", err)

    def test_outputs(self):
        self.r("""
got <- raw()
ssh_exec_wait(session, 'echo one; echo two >&2', std_out = function(x) got <<- c(got, x), std_err = FALSE)
stopifnot(rawToChar(got) == 'one\\n')
ssh_exec_wait(session, 'echo file', std_out = 'out.txt')
stopifnot(readLines('out.txt') == 'file')
con <- file('con.bin', 'wb'); ssh_exec_wait(session, "printf 'a\\\\000'", std_out = con); close(con)
stopifnot(file.size('con.bin') == 2)
e <- tryCatch(ssh_exec_wait(session, 'echo x; sleep 100', std_out = function(x) stop('mine')), error = identity)
stopifnot(conditionMessage(e) == 'mine')
e <- tryCatch(ssh_exec_wait(session, 'echo x; sleep 100', std_out = function(x) ssh_disconnect(session)), error = identity)
stopifnot(grepl('in use', conditionMessage(e)))
e <- tryCatch(ssh_exec_wait(session, 'sleep 100', timeout = 0.3), error = identity)
stopifnot(inherits(e, 'towline_timeout'))
stopifnot(ssh_exec_wait(session, 'true') == 0)
ssh_disconnect(session)
""")

    def test_copies(self):
        self.r("""
file_path <- R.home("COPYING")
if (!file.exists(file_path)) { file_path <- file.path(getwd(), 'COPYING'); writeLines('a licence', file_path) }
stopifnot(scp_upload(session, file_path) == '.')
dir.create('back')
stopifnot(is.null(scp_download(session, "COPYING", to = 'back')))
stopifnot(tools::md5sum('back/COPYING') == tools::md5sum(file_path))
dir.create('tree/sub', recursive = TRUE); writeLines('x', 'tree/.hidden'); writeLines('y', 'tree/sub/with space')
scp_upload(session, 'tree', to = '~', verbose = FALSE)
scp_download(session, '~/tre*', to = 'back')
stopifnot(readLines('back/tree/.hidden') == 'x', readLines('back/tree/sub/with space') == 'y')
e <- tryCatch(scp_upload(session, '/no/such/file'), error = identity)
stopifnot(inherits(e, 'towline_not_found'), grepl('/no/such/file', conditionMessage(e)))
e <- tryCatch(scp_download(session, 'no such file'), error = identity)
stopifnot(inherits(e, 'towline_error'))
ssh_disconnect(session)
""")

    def test_tunnel(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            def serve():
                c, _ = server.accept()
                with c:
                    c.sendall(c.recv(100).upper())
            threading.Thread(target=serve, daemon=True).start()
            port = free_port()
            p = self.start(f"ssh_tunnel(session, port = {port}, target = '127.0.0.1:{server.getsockname()[1]}')\n"
                           "cat('over\\n')\nssh_disconnect(session)\n")
            self.assertIn(f"port {port}", p.stderr.readline())
            with socket.create_connection(("127.0.0.1", port)) as c:
                c.sendall(b"hello")
                self.assertEqual(c.recv(100), b"HELLO")
            self.assertEqual(p.communicate(timeout=60)[0], "over\n")

    def test_keys(self):
        out, _ = self.r("""
k <- ssh_keygen('id_new', comment = 'a test')
stopifnot(file.exists(k$key), grepl('^ssh-ed25519 ', k$pubkey))
l <- ssh_key_list('.')
stopifnot(nrow(l[l$comment == 'a test', ]) >= 1)
stopifnot(inherits(tryCatch(ssh_keygen('id_new'), error = identity), 'towline_error'))
stopifnot(ssh_key_copy(session, 'id_new'), !ssh_key_copy(session, 'id_new'))
cat(ssh_home(), libtowline_version(), '\\n')
ssh_disconnect(session)
""")
        self.assertIn("/.ssh ", out)

    def test_password_and_host_key(self):
        host = Sshd(password="s3cret word", known=False, test=self)
        self.r(f"""
e <- tryCatch(ssh_connect("{host.alias}", config = "{host.config}"), error = identity)
stopifnot(inherits(e, 'towline_host_key_rejected') || inherits(e, 'towline_canceled'))
asked <- 0
s <- ssh_connect("{host.alias}", config = "{host.config}", hostkey = function(text) TRUE, passwd = function(text) {{
  asked <<- asked + 1
  if (asked == 1) 'wrong' else 's3cret word'
}})
stopifnot(asked == 2)
ssh_disconnect(s)
s <- ssh_connect("{host.alias}", config = "{host.config}", passwd = 's3cret word')
ssh_disconnect(s)
e <- tryCatch(ssh_connect("{host.alias}", config = "{host.config}", passwd = function(text) stop('no idea')), error = identity)
stopifnot(conditionMessage(e) == 'no idea')
e <- tryCatch(ssh_connect("127.0.0.1:{free_port()}", config = "/dev/null"), error = identity)
stopifnot(inherits(e, 'towline_connection_refused'))
""", connect=False)


class Ends(Base):
    def remote(self, mark):
        return [p for p in self.host.processes() if mark in open(f"/proc/{p}/cmdline", errors="replace").read()]

    def test_interrupt_ends_the_remote_command(self):
        p = self.start("tryCatch(ssh_exec_wait(session, 'exec sleep 4322'), interrupt = function(e) cat('interrupted\\n'))\n"
                       "invisible(ssh_exec_wait(session, 'echo still'))\nssh_disconnect(session)\n")
        wait_for(lambda: self.remote("4322"), 60, "the remote command")
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual(out.split(), ["interrupted", "still"], err)
        wait_for(lambda: not self.remote("4322"), 60, "the end of the remote command")

    def test_interrupt_while_connecting(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            p = self.start(f"tryCatch(ssh_connect('127.0.0.1:{silent.getsockname()[1]}', config = '/dev/null'),\n"
                           "  interrupt = function(e) cat('interrupted\\n'))\n", connect=False)
            peer = silent.accept()[0]
            self.addCleanup(peer.close)
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.communicate(timeout=60)[0], "interrupted\n")

    def test_forgotten(self):
        out, err = self.r("rm(session)\ninvisible(gc())\ncat('on\\n')\n")
        self.assertEqual(out, "on\n")
        self.assertIn("was forgotten and is closed now", err)

    def test_forgotten_at_the_end(self):
        _, err = self.r("cat('on\\n')\n")
        self.assertIn("was forgotten and is closed now", err)


class Check(unittest.TestCase):
    def test_r_cmd_check(self):
        r = run(["R", "CMD", "check", "--no-manual", SHARED["tar"]], cwd=SHARED["dir"], env=environment(), check=False, timeout=300)
        bad = [x for x in r.stdout.splitlines() if x.endswith(("WARNING", "ERROR", "NOTE"))]
        self.assertEqual((r.returncode, bad), (0, []), r.stdout[-6000:])
        self.assertIn("Status: OK", r.stdout)


if __name__ == "__main__":
    unittest.main()
