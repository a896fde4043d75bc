"""End-to-end tests of `towline-host hold` over its socket: real shells, real floods."""
# parallel: ok

import json
import os
import re
import shutil
import signal
import stat
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from hold_peer import (ACKED, ATTACH, ATTACHED, DATA, DROP, INFO, INPUT, INPUT_ACKED, INPUT_ID,
                       SIGNAL, SIZE, TAIL, Ended, Hold, Refused, Viewer)

SH = {"shell": "/bin/sh", "env": {"PS1": "$ ", "ENV": None}}
LOG = 4 << 20
STATIC = os.path.abspath(os.environ.get(
    "TOWLINE_STATIC_HOST", "build/stage/lib/towline/host/towline-host-x86_64"))


def wait_for(what, predicate, deadline=60.0):
    end = time.monotonic() + deadline
    while not predicate():
        if time.monotonic() > end:
            raise AssertionError("never happened: " + what)
        time.sleep(0.01)


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def run(command, **more):
    """A terminal that runs one command."""
    return Hold(dict(SH, args=["-c", command], **more))


def seq(n):
    return "".join("%d\r\n" % i for i in range(1, n + 1)).encode()


class Basics(unittest.TestCase):
    def test_tty_size_and_resize(self):
        with Hold(dict(SH, cols=101, rows=33)) as h:
            v = h.view()
            self.assertEqual((v.attached["cols"], v.attached["rows"]), (101, 33))
            v.type("tty && stty size; echo ok-$((1+1))\n")
            out = v.until("ok-2\r\n")
            self.assertRegex(out, rb"/dev/pts/\d+\r\n33 101\r\n")
            v.resize(132, 50)
            v.type("stty size; echo ok-$((1+2))\n")
            self.assertIn(b"50 132\r\n", v.until("ok-3\r\n"))
            self.assertEqual((v.info()["cols"], v.info()["rows"]), (132, 50))

    def test_resize_signals_the_program(self):
        with run("trap 'stty size; exit 0' WINCH; echo ready; while :; do read x; done") as h:
            v = h.view()
            v.until("ready\r\n")
            v.resize(77, 11)
            v.until("11 77\r\n")

    def test_login_shell_of_the_user(self):
        env = dict(os.environ, SHELL="/bin/bash", LANG="C.UTF-8", SSH_TTY="/dev/pts/77")
        with Hold({"cols": 300}, env=env) as h:
            v = h.view()
            v.type("echo \"0=$0 s=$SHELL t=$TERM c=$COLORTERM p=$TERM_PROGRAM-"
                   "$TERM_PROGRAM_VERSION l=$LANG id=$TOWLINE_TERM x=$SSH_TTY.\"; shopt -q "
                   "login_shell && echo log''in\n")
            out = v.until("login\r\n").decode()
            self.assertIn("0=-bash s=/bin/bash t=xterm-256color c=truecolor p=towline-9.9 "
                          "l=C.UTF-8 id=%s x=." % h.id, out)
            self.assertEqual(h.info["shell"], "/bin/bash")

    def test_shell_that_does_not_exist_is_replaced(self):
        with Hold(env=dict(os.environ, SHELL="/no/such/shell")) as h:
            self.assertTrue(os.access(h.info["shell"], os.X_OK))

    def test_env_overrides_and_unsets(self):
        env = dict(os.environ, GONE="x", KEPT="y")
        with Hold(dict(SH, env={"GONE": None, "NEW": "a=b c", "TERM": "dumb"},
                       args=["-c", "echo [$GONE][$KEPT][$NEW][$TERM]"]), env=env) as h:
            v = h.view()
            v.until("[][y][a=b c][dumb]\r\n")

    def test_command_runs_with_c(self):
        with Hold({"command": "echo $((40+2)); exit 3"}) as h:
            v = h.view()
            self.assertEqual(v.until_exit(), (0, 3))
            self.assertEqual(v.until("42\r\n"), b"42\r\n")

    def test_control_terminal_and_interrupt(self):
        with Hold(SH) as h:
            v = h.view()
            v.type("sh -c 'echo rea''dy; read never'\n")
            v.until("ready\r\n")
            v.type("\x03")
            v.until("$ ")
            v.type("echo status-$?\n")
            v.until("status-130\r\n")

    def test_signal_frame_reaches_the_foreground(self):
        with Hold(SH) as h:
            v = h.view()
            v.type("sh -c 'trap \"echo got-usr1; exit\" USR1; echo rea''dy; while :; do sleep 0.05; "
                   "done'\n")
            v.until("ready\r\n")
            v.send(SIGNAL, bytes([signal.SIGUSR1]))
            v.until("got-usr1\r\n")

    def test_cwd_and_missing_cwd(self):
        with Hold(dict(SH, cwd="/usr/lib")) as h:
            v = h.view()
            v.type("pwd\n")
            v.until("/usr/lib\r\n")
            self.assertEqual(v.info()["cwd"], "/usr/lib")
            v.type("cd /etc; echo mo''ved\n")
            v.until("moved\r\n")
            self.assertEqual(v.info()["cwd"], "/etc")
        home = os.path.realpath(os.environ.get("HOME", "/"))
        with Hold(dict(SH, cwd="/no/such/folder")) as h:
            v = h.view()
            first = v.until("\r\n").decode()
            self.assertIn("/no/such/folder: No such file or directory", first)
            self.assertEqual(os.path.realpath(v.info()["cwd"]), home)

    def test_title_and_facts(self):
        with run("printf '\\033]0;first\\007'; printf '\\033]2;ti'; printf 'tle \\303\\251\\033\\\\'; "
                 "printf '\\033]52;c;AAAA\\007'; echo set; read x", name="N", tag="T") as h:
            v = h.view()
            v.until("set\r\n")
            info = v.info()
            self.assertEqual((info["title"], info["name"], info["tag"]), ("title é", "N", "T"))
            self.assertEqual((info["id"], info["holdPid"]), (h.id, h.proc.pid))
            self.assertEqual(info["viewers"], 1)
            self.assertNotIn("exit", info)

    def test_socket_is_private(self):
        with Hold(SH) as h:
            self.assertEqual(stat.S_IMODE(os.stat(h.path).st_mode), 0o600)

    def test_wrong_parameters_are_explained(self):
        for params, word in (({"cols": 100000}, "cols"), ({"cwd": 5}, "cwd"), ({"args": "x"}, "args"),
                             ({"args": [1]}, "args"), ({"env": []}, "env"),
                             ({"env": {"A=B": "x"}}, "A=B"), ({"env": {"A": 1}}, "A"),
                             ({"shell": "/no/such"}, "/no/such"), ({"name": "a\0b"}, "name")):
            with self.assertRaises(Refused) as e:
                Hold(params)
            self.assertIn(word, str(e.exception))
        for raw in (b"", b"{", b"[]", b'{"id":"../x","runDir":"/tmp"}', b'{"id":"x","runDir":"r"}'):
            with self.assertRaises(Refused):
                Hold(raw=raw)


class Typing(unittest.TestCase):
    """Input that is sent again over another connection reaches the program once."""

    RAW = "stty raw -echo; printf ready; exec cat"

    def start(self):
        h = run(self.RAW)
        self.addCleanup(h.close)
        return h

    def test_bytes_repeated_and_overlapping_are_taken_once(self):
        h = self.start()
        a = h.view()
        a.until("ready")
        self.assertEqual(a.identify(5, 0), 0)
        a.type("0123456789")
        a.until_took(10)
        a.close()
        b = h.view()
        self.assertEqual(b.identify(5, 4), 10)
        b.type("45678")
        b.type("9abc")
        b.until_took(13)
        self.assertEqual(b.until("c"), b"ready0123456789abc")

    def test_acknowledgement_comes_before_attached(self):
        # so a viewer knows with ATTACHED whether the hold counts
        h = self.start()
        v = h.view(attach=False)
        v.send(INPUT_ID, struct.pack(">QQ", 9, 0))
        v.send(ATTACH, struct.pack(">QII", 0, 0, 0))
        self.assertEqual([v.step(), v.step()], [INPUT_ACKED, ATTACHED])

    def test_gap_is_refused(self):
        h = self.start()
        a = h.view()
        a.identify(5, 0)
        a.type("abc")
        a.until_took(3)
        b = h.view()
        b.send(INPUT_ID, struct.pack(">QQ", 5, 4))
        b.until_closed()
        a.type("d")  # who was there stays
        a.until_took(4)

    def test_id_given_twice_or_absurd_is_refused(self):
        h = self.start()
        for frames in (((5, 0), (5, 0)), ((6, 2**63),)):
            v = h.view()
            for f in frames:
                v.send(INPUT_ID, struct.pack(">QQ", *f))
            v.until_closed()

    def test_newer_connection_replaces_the_older(self):
        h = self.start()
        old = h.view()
        old.until("ready")
        old.identify(5, 0)
        old.type("ab")
        old.until_took(2)
        new = h.view()
        self.assertEqual(new.identify(5, 2), 2)
        old.until_closed()
        new.type("c!")
        new.until_took(4)
        self.assertEqual(new.until("!"), b"readyabc!")
        wait_for("one viewer", lambda: new.info()["viewers"] == 1)

    def test_a_viewer_that_comes_again_takes_no_second_place(self):
        # a daemon killed again and again leaves connections that nobody closes
        h = self.start()
        for i in range(40):
            v = h.view(attach=False)
            v.send(INPUT_ID, struct.pack(">QQ", 5, 0))
            v.attach()
        v.type("x")
        v.until_took(1)

    def test_input_stuck_in_the_program_is_taken_over(self):
        # the program reads nothing: the old connection is half way through a frame
        data = b"".join(b"%06d\n" % i for i in range(20000))
        with run("stty raw -echo; printf ready; kill -STOP $$; exec cat") as h:
            old = h.view()
            old.until("ready")
            old.identify(5, 0)
            old.sock.settimeout(1)
            sent = 0
            try:
                while sent < len(data):
                    part = data[sent:sent + 8192]
                    old.type(part)
                    sent += len(part)
            except OSError:
                pass
            new = h.view()
            took = new.identify(5, 0)
            self.assertLess(took, len(data))
            os.kill(h.info["pid"], signal.SIGCONT)
            new.sock.setblocking(True)
            feeder = threading.Thread(target=new.type, args=(data,))
            feeder.start()
            out = new.until(data[-7:])
            feeder.join(60)
            self.assertEqual(out, b"ready" + data)
            new.until_took(len(data))

    def test_the_one_not_heard_of_for_longest_is_forgotten(self):
        h = self.start()
        for id in range(1, 66):
            v = h.view(attach=False)
            self.assertEqual(v.identify(id, 0), 0)
            v.type("x")
            v.until_took(1)
            v.close()
            wait_for("its leaving", lambda: self.left(h))
        v = h.view(attach=False)
        self.assertEqual(v.identify(65, 0), 1)
        v = h.view(attach=False)
        self.assertEqual(v.identify(1, 1), 1)  # begins where the viewer says

    def left(self, h):
        v = Viewer(h.path)
        try:
            return v.info()["viewers"] == 0
        finally:
            v.close()

    def test_without_an_id_nothing_is_acknowledged(self):
        h = self.start()
        v = h.view()
        v.type("ab")
        v.until("b")
        v.info()
        self.assertIsNone(v.took)


class Output(unittest.TestCase):
    def test_flood_arrives_whole_and_in_order(self):
        with run("seq 1 2000000") as h:
            v = h.view()
            self.assertEqual(v.until_exit(), (0, 0))
            self.assertEqual(v.gaps, [])
            self.assertEqual(bytes(v.seen), seq(2000000))
            self.assertLess(h.rss(), 80 << 20)

    def test_flood_with_credit(self):
        with run("seq 1 1000000") as h:
            v = h.view(window=65536)
            self.assertEqual(v.until_exit(), (0, 0))
            self.assertEqual(v.gaps, [])
            self.assertEqual(bytes(v.seen), seq(1000000))

    def test_credit_is_not_exceeded(self):
        with run("seq 1 100000; read x") as h:
            v = h.view(attach=False)
            v.window = 0
            v.send(ATTACH, struct.pack(">QII", 0, 0, 5000))
            while len(v.seen) < 5000:
                v.step()
            self.assertEqual(len(v.seen), 5000)
            # an answer asked for now comes after anything that was allowed
            v.info()
            self.assertEqual(len(v.seen), 5000)
            v.send(ACKED, struct.pack(">Q", 1000))
            while len(v.seen) < 6000:
                v.step()
            v.info()
            self.assertEqual(len(v.seen), 6000)

    def test_slow_viewer_loses_nothing_while_it_moves(self):
        with run("seq 1 1200000") as h:
            v = h.view(rcvbuf=4096)
            done = 0
            while v.exit is None:
                v.step()
                done += 1
                if done % 64 == 0:
                    v.send(INPUT)  # an empty one: only to be busy with something else
            self.assertEqual(v.gaps, [])
            self.assertEqual(bytes(v.seen), seq(1200000))

    def test_absent_viewer_does_not_block_the_program(self):
        with run("seq 1 2000000; echo finished; read x") as h:
            v = h.view(attach=False)
            whole = len(seq(2000000)) + len("finished\r\n")
            wait_for("the program to finish", lambda: v.info()["end"] == whole)
            info = v.info()
            self.assertEqual(info["end"] - info["first"], LOG)
            late = Viewer(h.path)
            late.attach(0)
            self.assertEqual(late.attached["flags"], 1)
            self.assertEqual(late.attached["start"], whole - LOG)
            out = late.until("finished\r\n")
            self.assertEqual(out, (seq(2000000) + b"finished\r\n")[-LOG:])
            late.close()

    def test_silent_viewer_is_told_of_its_gap(self):
        with run("seq 1 2000000; echo finished; read x") as h:
            silent = h.view(rcvbuf=4096)
            watcher = h.view(attach=False)
            whole = len(seq(2000000)) + len("finished\r\n")
            wait_for("the program to run free", lambda: watcher.info()["end"] == whole)
            silent.until("finished\r\n")
            self.assertEqual(len(silent.gaps), 1)
            start, there = silent.gaps[0]
            self.assertEqual(silent.offset, whole)
            self.assertEqual(there, whole - LOG)
            self.assertGreater(start, 0)

    def test_interrupt_skips_what_nobody_waits_for(self):
        with Hold(SH) as h:
            v, w = h.view(window=65536), h.view(attach=False)
            v.type("seq 1 100000000\n")
            wait_for("a flood", lambda: w.info()["end"] > 2 << 20)
            v.type("\x03")
            wait_for("the prompt", lambda: self.tail_of(h).endswith(b"$ "))
            while v.offset < w.info()["end"]:
                v.step()
            self.assertTrue(v.seen.endswith(b"$ "))
            self.assertEqual(len(v.gaps), 1)
            self.assertLess(len(v.seen), 1 << 20)

    @staticmethod
    def tail_of(h):
        v = Viewer(h.path)
        try:
            v.attach(TAIL, tail=2)
            while v.offset < v.attached["end"]:
                v.step()
            return bytes(v.seen)
        finally:
            v.close()

    def test_gap_never_cuts_inside_a_frame(self):
        """What came before the gap and after it is exactly the program's output there."""
        with run("seq 1 2000000; echo finished; read x") as h:
            v = h.view(rcvbuf=4096)
            for _ in range(5):
                v.step()
            watcher = h.view(attach=False)
            text = seq(2000000) + b"finished\r\n"
            wait_for("the program to run free", lambda: watcher.info()["end"] == len(text))
            got = v.until("finished\r\n")
            start, there = v.gaps[0]
            self.assertEqual(got, text[:start] + b"<GAP>" + text[there:])

    def test_two_viewers_see_the_same(self):
        with run("read x; seq 1 300000") as h:
            a, b = h.view(), h.view(window=30000)
            a.type("go\n")
            while a.exit is None or b.exit is None:
                for v in (a, b):
                    if v.exit is None:
                        v.step()
            self.assertEqual(a.seen, b.seen)
            self.assertTrue(a.seen.endswith(b"300000\r\n"))

    def test_attach_at_cursor_and_tail(self):
        with run("printf 0123456789; read x") as h:
            a = h.view()
            a.until("0123456789")
            b = h.view(start=4)
            self.assertEqual(b.until("9"), b"456789")
            c = h.view(start=TAIL, tail=3)
            self.assertEqual(c.attached["start"], 7)
            self.assertEqual(c.until("9"), b"789")
            d = h.view(start=TAIL, tail=1000)
            self.assertEqual((d.attached["start"], d.attached["flags"]), (0, 0))
            e = h.view(start=99)
            self.assertEqual((e.attached["start"], e.attached["end"]), (10, 10))

    def test_second_attach_moves_the_cursor(self):
        with run("printf 0123456789; read x") as h:
            v = h.view()
            v.until("0123456789")
            v.attached = None
            v.attach(2)
            self.assertEqual(v.until("9"), b"23456789")

    def test_alternate_screen_passes_untouched(self):
        raw = bytes(range(0, 256)) + b"\x1b[?1049h\x1b[2J\x1b[H\x1b]0;t\x07\x1b[?1049l\xff\xfe"
        path = "/tmp/tl-raw-%d" % os.getpid()
        with open(path, "wb") as f:
            f.write(raw)
        try:
            with run("stty raw -echo; cat %s; echo end-mark; read x" % path) as h:
                v = h.view()
                self.assertEqual(v.until("end-mark"), raw + b"end-mark")
        finally:
            os.unlink(path)

    @unittest.skipUnless(shutil.which("vim"), "vim is not installed")
    def test_vim(self):
        path = "/tmp/tl-vim-%d" % os.getpid()
        with Hold(dict(SH, args=["-c", "vim -u NONE -i NONE %s; cat %s" % (path, path)])) as h:
            v = h.view()
            v.until(b"\x1b[?1049h")
            v.type("ihello from vim\x1b:wq\r")
            v.until_exit()
            self.assertIn(b"\x1b[?1049l", v.seen)
            self.assertTrue(v.seen.endswith(b"hello from vim\r\n"))
        os.unlink(path)


class Input(unittest.TestCase):
    def test_a_megabyte_pasted(self):
        path = "/tmp/tl-paste-%d" % os.getpid()
        text = "".join("%07d %s\n" % (i, "x" * 55) for i in range(16384)).encode()
        self.assertEqual(len(text), 1 << 20)
        with run("stty -echo; echo ready; cat > %s; echo stored" % path) as h:
            v = h.view()
            v.until("ready\r\n")
            v.type(text + b"\x04")
            v.until("stored\r\n")
            with open(path, "rb") as f:
                self.assertEqual(f.read(), text)
        os.unlink(path)

    def test_a_megabyte_echoed(self):
        """Input and output at once: neither side may wait for the other for ever."""
        text = "".join("%07d %s\n" % (i, "y" * 55) for i in range(4096)).encode()
        with run("stty raw -echo; echo ready; cat") as h:
            v = h.view(window=65536)
            v.until("ready")
            for at in range(0, len(text), 4096):
                v.type(text[at:at + 4096])
                v.step()
            v.until(text[-1000:])

    def test_blocked_input_does_not_grow_the_hold(self):
        with run("stty raw -echo; echo ready; sleep 1000") as h:
            v = h.view()
            v.until("ready")
            before = h.rss()
            v.sock.setblocking(False)
            sent, piece = 0, struct.pack(">I", INPUT << 24 | 16384) + b"z" * 16384
            wait_for("the hold to stop reading", lambda: self.refuses(v, piece))
            self.assertLess(h.rss() - before, 1 << 20)
            # orders of others still work
            w = h.view()
            w.resize(90, 20)
            self.assertEqual(w.info()["cols"], 90)

    @staticmethod
    def refuses(v, piece):
        try:
            for _ in range(1000):
                v.sock.send(piece)
        except BlockingIOError:
            return True
        return False

    def test_input_before_hang_up_is_delivered(self):
        with Hold(SH) as h:
            w = h.view()
            v = Viewer(h.path)
            v.type("echo from-$((2+3))\n")
            v.close()
            w.until("from-5\r\n")

    def test_half_a_frame_blocks_nobody(self):
        with Hold(SH) as h:
            a, b = h.view(), h.view()
            a.sock.sendall(struct.pack(">I", INPUT << 24 | 100) + b"ech")
            b.until("ech")
            b.type("o half-$((3+4))\n")
            b.until("half-7\r\n")

    def test_garbage_closes_only_that_viewer(self):
        for junk in (b"\x00\x00\x00\x00" * 3 + b"\x01\x00\x00\x05xxxxx", b"GET / HTTP/1.1\r\n\r\n",
                     b"\x02\xff\xff\xff", b"\x42\x00\x00\x01x", b"\x03\x00\x00\x03abc"):
            with Hold(SH) as h:
                good = h.view()
                bad = Viewer(h.path)
                bad.sock.sendall(junk)
                bad.until_closed()
                bad.close()
                good.type("echo fine-$((4+4))\n")
                good.until("fine-8\r\n")

    def test_unknown_frames_are_skipped(self):
        with Hold(SH) as h:
            v = h.view()
            v.send(40, b"from the future" * 500)
            v.type("echo on-$((4+5))\n")
            v.until("on-9\r\n")

    def test_at_most_sixteen_viewers(self):
        with Hold(SH) as h:
            all_of_them = [h.view() for _ in range(16)]
            extra = Viewer(h.path)
            with self.assertRaises((Ended, BrokenPipeError)):
                extra.attach()
            extra.close()
            self.assertEqual(h.view(attach=False).info()["viewers"], 16)
            all_of_them[3].close()
            wait_for("a free place", lambda: self.gets_in(h))

    @staticmethod
    def gets_in(h):
        v = Viewer(h.path)
        try:
            v.attach()
            return True
        except (Ended, BrokenPipeError):
            return False
        finally:
            v.close()


class Ends(unittest.TestCase):
    def test_exit_status_after_the_last_byte(self):
        with run("printf last; exit 41") as h:
            v = h.view()
            self.assertEqual(v.until_exit(), (0, 41))
            self.assertEqual(bytes(v.seen), b"last")
            v.close()
            self.assertEqual(h.wait(), 0)
            self.assertFalse(os.path.exists(h.path))

    def test_signal(self):
        with run("kill -KILL $$") as h:
            self.assertEqual(h.view().until_exit(), (1, 9))

    def test_the_end_waits_for_someone_to_read_it(self):
        with run("echo result; exit 5") as h:
            v = h.view(attach=False)
            wait_for("the end", lambda: "exit" in v.info())
            self.assertEqual(v.info()["exit"], {"kind": "exit", "value": 5})
            v.close()
            late = h.view()
            self.assertEqual(late.attached["flags"], 2)
            self.assertEqual(late.until_exit(), (0, 5))
            self.assertEqual(bytes(late.seen), b"result\r\n")
            late.close()
            self.assertEqual(h.wait(), 0)

    def test_background_job_does_not_keep_an_ended_shell(self):
        # ignored before there is a job: else the shell's end may be faster than the job's trap
        with run("trap '' HUP; sleep 1000 & echo $!; exit 0") as h:
            v = h.view()
            self.assertEqual(v.until_exit(), (0, 0))
            os.kill(int(bytes(v.seen).split()[0]), signal.SIGKILL)

    def test_background_writer_does_not_keep_an_ended_shell(self):
        with run("yes & exit 0") as h:
            v = h.view()
            self.assertEqual(v.until_exit(), (0, 0))

    def test_program_that_leaves_its_terminal_and_returns(self):
        with run("exec </dev/null >/dev/null 2>&1; sleep 0.3; echo back >/dev/tty; exit 4") as h:
            v = h.view()
            self.assertEqual(v.until_exit(), (0, 4))
            self.assertIn(b"back", v.seen)

    def test_drop_ends_program_and_hold(self):
        with Hold(SH) as h:
            v = h.view()
            v.type("sleep 1000 & echo bg-$!.; sleep 1001 | cat\n")
            while not re.search(rb"bg-\d+\.", v.seen):
                v.step()
            background = int(re.search(rb"bg-(\d+)\.", v.seen).group(1))
            v.send(DROP)
            v.until_exit()
            v.until_closed()
            self.assertEqual(h.wait(), 0)
            wait_for("the end of the background job", lambda: not alive(background))
            self.assertFalse(alive(h.info["pid"]))
            self.assertFalse(os.path.exists(h.path))

    def test_drop_of_a_stubborn_program(self):
        with run("trap '' HUP TERM INT; echo ready; while :; do sleep 0.2; done") as h:
            v = h.view()
            v.until("ready\r\n")
            v.send(DROP)
            self.assertEqual(v.until_exit(), (1, 9))
            self.assertEqual(h.wait(), 0)

    def test_drop_without_attach(self):
        with Hold(SH) as h:
            v = h.view(attach=False)
            v.send(DROP)
            v.until_closed()
            self.assertEqual(h.wait(), 0)

    def test_drop_of_an_ended_one(self):
        with run("exit 0") as h:
            v = h.view(attach=False)
            wait_for("the end", lambda: "exit" in v.info())
            v.send(DROP)
            v.until_closed()
            self.assertEqual(h.wait(), 0)

    def test_sigterm_is_a_drop(self):
        with Hold(SH) as h:
            h.proc.terminate()
            self.assertEqual(h.wait(), 0)
            wait_for("the shell's end", lambda: not alive(h.info["pid"]))


class Survival(unittest.TestCase):
    def test_lets_go_of_everything(self):
        with Hold(SH) as h:
            for fd in (0, 1, 2):
                at = "/proc/%d/fd/%d" % (h.proc.pid, fd)
                wait_for("letting go", lambda: os.readlink(at) == "/dev/null")
            self.assertEqual(os.readlink("/proc/%d/cwd" % h.proc.pid), "/")
            os.kill(h.proc.pid, signal.SIGHUP)
            os.kill(h.proc.pid, signal.SIGINT)
            v = h.view()
            v.type("echo still-$((5+5))\n")
            v.until("still-10\r\n")

    def test_program_inherits_only_its_terminal(self):
        with run("ls -l /proc/$$/fd; echo done; read x") as h:
            out = h.view().until("done\r\n").decode()
            for line in out.splitlines():
                if "->" in line:
                    self.assertRegex(line, r"-> (/dev/pts/|/dev/tty|/proc/|pipe:)")
            self.assertNotIn("socket", out)
            self.assertNotIn("ptmx", out)

    def test_lost_socket_file_is_made_again(self):
        with Hold(SH) as h:
            a = h.view()
            os.unlink(h.path)
            h.proc.send_signal(signal.SIGUSR1)
            wait_for("the socket", lambda: os.path.exists(h.path))
            b = h.view()
            b.type("echo again-$((5+6))\n")
            for v in (a, b):
                v.until("again-11\r\n")

    def test_nobody_heard_the_answer(self):
        """The agent died while the terminal started: no orphan is left."""
        r, w = os.pipe()
        os.close(r)
        import subprocess
        import tempfile
        from hold_peer import host_program
        with tempfile.TemporaryDirectory() as d:
            p = subprocess.Popen([host_program(), "hold"], stdin=subprocess.PIPE, stdout=w)
            os.close(w)
            p.stdin.write(json.dumps({"id": "x", "runDir": d, "params": SH}).encode())
            p.stdin.close()
            self.assertEqual(p.wait(60), 0)
            self.assertEqual(os.listdir(d), [])

    @unittest.skipUnless(os.path.exists(STATIC), "the static host program is not built")
    def test_small_when_fresh(self):
        with Hold(SH, program=STATIC) as h:
            self.assertLess(h.rss(), 1 << 20)

    def test_idle_hold_sleeps(self):
        with Hold(SH) as h:
            h.view().until("$ ")
            def switches():
                with open("/proc/%d/status" % h.proc.pid) as f:
                    return [int(x.split()[1]) for x in f if "voluntary_ctxt" in x]
            wait_for("it to be asleep", lambda: self.asleep(h.proc.pid))
            before = switches()
            with run("sleep 1") as other:
                other.view().until_exit()
            self.assertLessEqual(sum(switches()) - sum(before), 1)

    @staticmethod
    def asleep(pid):
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "S"

    def test_sizes_are_told_to_others(self):
        with Hold(SH) as h:
            a, b = h.view(), h.view()
            a.resize(66, 22)
            while b.step() != SIZE:
                pass
            self.assertEqual(b.sizes, [(66, 22)])
            a.info()
            self.assertEqual(a.sizes, [])


if __name__ == "__main__":
    unittest.main()
