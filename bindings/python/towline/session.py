"""Sessions, tunnels, and what they return."""
import atexit
import os
import socket
import sys
import threading
import warnings
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from . import _native as N
from ._call import Call, Cancel
from .errors import CommandError, Error, PartialError, error_of
from .prompts import Prompt, prompt_function, terminal_prompt
from .streams import Sink, Streams, standard

Path = Union[str, bytes, "os.PathLike[str]"]
Log = Callable[[int, str], Any]
_VIA = {"auto": 0, "daemon": 1, "direct": 2, "installed": 3, "plain": 4}
_open: "weakref.WeakSet[Session]" = weakref.WeakSet()


@dataclass(frozen=True)
class Exit:
    """How a command ended: `signal` 0 and its status, or the number of the signal that ended it."""

    status: int
    signal: int = 0

    @property
    def ok(self) -> bool:
        return self.status == 0 and self.signal == 0


@dataclass(frozen=True)
class Output:
    """What a command printed, as bytes, and how it ended."""

    stdout: bytes
    stderr: bytes
    exit: Exit

    @property
    def status(self) -> int:
        return self.exit.status

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode("utf-8", "replace")


@dataclass(frozen=True)
class Progress:
    """A copy under way; totals grow while folders are walked."""

    path: str
    file_done: int
    file_total: int
    done: int
    total: int
    files_done: int
    files_total: int


@dataclass(frozen=True)
class Info:
    """Facts about a session; "" where unknown."""

    host: str
    user: str
    address: str
    port: int
    connected: bool
    via: str
    identity: str
    auth_method: str
    fingerprint_sha256: str
    fingerprint_sha1: str
    host_key_type: str
    cipher: str
    kex: str
    server_version: str
    jump: str
    platform: str
    home: str
    plain_why: str


def _many(paths: Union[Path, Sequence[Path]]) -> Any:
    one = isinstance(paths, (str, bytes, os.PathLike))
    return N.strings([N.raw(p) for p in ([paths] if one else list(paths))])  # type: ignore[list-item,arg-type]


def _environment(env: Optional[Mapping[str, Optional[str]]]) -> Any:
    if env is None:
        return None
    return N.strings([N.raw(k) if v is None else N.raw(f"{k}={v}") for k, v in env.items()])


def _log_function(log: Optional[Log], call: Call) -> Any:
    if log is None:
        return N.LOG_FN()
    f = log
    return N.LOG_FN(lambda _ctx, level, line: call.do(lambda: f(level, N.text(line)) and None, None))


class Session:
    """One login to a host, through the user's own ssh with its configuration, agent and jump hosts.

    host         alias of the ssh configuration, host, user@host, user@host:port, [v6]:port or ssh:// URL
    key_file     a private key that is tried first; config_file: instead of ~/.ssh/config
    ssh_options  "Name=value" as ssh's -o; ssh_program: instead of ssh on PATH
    timeout      seconds for the whole attempt, without the time a person needs for questions
    verbosity    0 to 4: what reaches log(level, line); 2 shows methods and keys tried
    via          auto (a connection of towlined where there is one, else our own), daemon, direct, installed
    prompt       answers questions: function(kind, text, attempt) -> text or None to cancel; kind is hostkey, passphrase,
                 password, question, pin or touch. A text is the secret itself. Default: asks on the terminal

    Use it as a context manager, or close() it. A forgotten one is closed with a ResourceWarning. All methods may be used
    from several threads at once; Ctrl-C ends the remote command and removes half-written files before it is raised.
    """

    def __init__(self, host: str, *, key_file: Optional[Path] = None, config_file: Optional[Path] = None,
                 ssh_options: Sequence[str] = (), ssh_program: Optional[Path] = None, port: int = 0,
                 timeout: Optional[float] = None, verbosity: int = 0, via: str = "auto",
                 prompt: Prompt = terminal_prompt, log: Optional[Log] = None) -> None:
        self._p: Optional[int] = None
        self.host = host
        self._calls: List[Tuple[Call, int]] = []  # under way, with their threads
        self._changed = threading.Condition()
        self._closing: Optional[int] = None  # closed, but calls are still under way
        if via not in _VIA:
            raise ValueError(f"cannot connect to {host}: via is {via!r}, not one of {', '.join(_VIA)}")
        if verbosity and log is None:
            log = _log_to_stderr
        call, p = Call(), N.C.c_void_p()
        o = N.Options(config_file=N.raw_or_null(config_file), key_file=N.raw_or_null(key_file),
                      ssh_options=N.strings([N.raw(x) for x in ssh_options]), ssh_program=N.raw_or_null(ssh_program), port=port,
                      timeout_ms=_ms(timeout), verbosity=verbosity, via=_VIA[via], prompt=prompt_function(call, prompt),
                      log=_log_function(log, call), cancel=call.cancel._p)
        # the session may call prompt and log as long as it lives
        self._keep = (call, o, p)
        try:
            call.check(call.run(N.lib.tl_connect, N.raw(host), N.C.byref(o), N.C.byref(p)))
        except BaseException:
            # the connection was up in the moment of the interrupt
            if p.value:
                N.lib.tl_disconnect(p)
            raise
        self._p = p.value
        _open.add(self)

    # ---- life ----

    def _session(self) -> int:
        if self._p is None:
            raise Error(f"the session to {self.host} has been closed", -6, "closed", "Connect again.")
        return self._p

    @contextmanager
    def _use(self, call: Call) -> Iterator[int]:
        """The library's session for one call; it lives at least as long as that."""
        with self._changed:
            p = self._session()
            entry = (call, threading.get_ident())
            self._calls.append(entry)
        try:
            yield p
        finally:
            with self._changed:
                self._calls.remove(entry)
                last = self._closing if not self._calls else None
            if last is not None:
                N.lib.tl_disconnect(last)
                with self._changed:
                    self._closing = None
                    self._changed.notify_all()

    def close(self) -> None:
        """Ends the session and everything that runs in it; calls of other threads raise Canceled. A second time does
        nothing."""
        with self._changed:
            p, self._p = self._p, None
            _open.discard(self)
            if p is None:
                return
            if self._calls:
                self._closing = p
                for call, _ in self._calls:
                    call.cancel.cancel()
                # called by a function that one of them runs: it has to return first
                if all(thread != threading.get_ident() for _, thread in self._calls):
                    self._changed.wait_for(lambda: self._closing is None)
                return
        N.lib.tl_disconnect(p)

    def __enter__(self) -> "Session":
        self._session()
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_p", None) is not None:
            warnings.warn(f"the session to {self.host} was forgotten and is closed now", ResourceWarning, source=self)
            self.close()

    def __repr__(self) -> str:
        return f"<towline.Session {self.host} ({'connected' if self.connected else 'disconnected'})>"

    @property
    def connected(self) -> bool:
        with self._changed:
            return self._p is not None and bool(N.lib.tl_is_connected(self._p))

    def info(self) -> Info:
        """User, host, port, identity, fingerprints, cipher, server version, jump hosts."""
        call, i = Call(), N.Info()
        with self._use(call) as p:
            call.check(N.lib.tl_session_info(p, N.C.byref(i), N.C.byref(call.error)))
            values: Dict[str, Any] = {name: getattr(i, name) for name, *_ in N.Info._fields_ if name != "size"}
        return Info(**{k: bool(v) if k == "connected" else v if k == "port" else N.text(v) for k, v in values.items()})

    # ---- commands ----

    def _exec(self, call: Call, commands: Sequence[str], argv: Optional[Sequence[str]], cwd: Optional[Path],
              env: Optional[Mapping[str, Optional[str]]], pty: Union[bool, Tuple[int, int]],
              timeout: Optional[float]) -> N.Exec:
        if bool(commands) == (argv is not None):
            raise ValueError("cannot run a command: either command lines or argv=[program, argument, …] are needed")
        cols, rows = pty if isinstance(pty, tuple) else (80, 24)
        return N.Exec(argv=None if argv is None else N.strings([N.raw(a) for a in argv]),
                      commands=N.strings([N.raw(c) for c in commands]) if commands else None, cwd=N.raw_or_null(cwd),
                      env=_environment(env), pty=int(bool(pty)), cols=cols, rows=rows, cancel=call.cancel._p,
                      timeout_ms=_ms(timeout))

    def exec(self, *commands: str, argv: Optional[Sequence[str]] = None, stdin: Any = None, stdout: Sink = None,
             stderr: Sink = None, cwd: Optional[Path] = None, env: Optional[Mapping[str, Optional[str]]] = None,
             pty: Union[bool, Tuple[int, int]] = False, timeout: Optional[float] = None,
             cancel: Optional[Cancel] = None) -> Exit:
        """Runs command lines as one script of the login shell (state carries over, the last status counts), or the program
        argv, and waits. A status other than 0 is no error.

        stdin           text, bytes, descriptor, file; default: nothing
        stdout, stderr  function(bytes) (False ends the command), file, descriptor, path, subprocess.DEVNULL; default: ours
        env             name: value, or None to remove it; pty: True or (columns, rows)
        """
        call = Call(cancel)
        x = self._exec(call, commands, argv, cwd, env, pty, timeout)
        how, streams = N.Exit(), Streams(call, x)
        try:
            streams.input(stdin)
            streams.output("stdout", stdout, standard("stdout"))
            streams.output("stderr", stderr, standard("stderr"))
            with self._use(call) as p:
                call.check(call.run(N.lib.tl_exec, p, N.C.byref(x), N.C.byref(how)))
        finally:
            streams.close()
        return Exit(how.status, how.signal)

    def run(self, command: str, **options: Any) -> Exit:
        """One command line with our standard streams; raises CommandError when its status is not 0."""
        how = self.exec(command, **options)
        if not how.ok:
            raise _command_error(command, self.host, how, None)
        return how

    def capture(self, *commands: str, argv: Optional[Sequence[str]] = None, stdin: Any = None,
                cwd: Optional[Path] = None, env: Optional[Mapping[str, Optional[str]]] = None,
                pty: Union[bool, Tuple[int, int]] = False, timeout: Optional[float] = None, check: bool = True,
                max_bytes: int = 0, cancel: Optional[Cancel] = None) -> Output:
        """As exec, with both outputs in memory (max_bytes each; 0: 256 MiB). check: CommandError for a status other
        than 0."""
        call = Call(cancel)
        x = self._exec(call, commands, argv, cwd, env, pty, timeout)
        streams, out = Streams(call, x), N.Output()
        try:
            streams.input(stdin)
            with self._use(call) as p:
                call.check(call.run(N.lib.tl_capture, p, N.C.byref(x), max_bytes, 0, N.C.byref(out)))
            got = Output(N.C.string_at(out.out, out.out_n), N.C.string_at(out.errout, out.errout_n),
                         Exit(out.exit.status, out.exit.signal))
        finally:
            streams.close()
            N.lib.tl_output_free(N.C.byref(out))
        if check and not got.exit.ok:
            raise _command_error((list(commands) or list(argv or [""]))[0], self.host, got.exit, got)
        return got

    # ---- copies ----

    def _copy(self, fn: Any, files: Any, to: Path, preserve: bool, follow_links: bool, overwrite: bool, resume: bool,
              verify: bool, progress: Optional[Callable[[Progress], Any]], cancel: Optional[Cancel]) -> None:
        call = Call(cancel)
        problems: List[Tuple[str, Error]] = []

        def on_progress(_ctx: Any, p: Any) -> int:
            s = p.contents
            now = Progress(N.text(s.path), s.file_done, s.file_total, s.done, s.total, s.files_done, s.files_total)
            return call.do(lambda: 1 if progress and progress(now) is False else 0, 1)

        def on_problem(_ctx: Any, path: bytes, why: Any) -> None:
            problems.append((N.text(path), error_of(why.contents)))

        c = N.Copy(preserve=preserve, follow_links=follow_links, no_overwrite=not overwrite, resume=resume, verify=verify,
                   progress=N.PROGRESS_FN(on_progress) if progress else N.PROGRESS_FN(), problem=N.PROBLEM_FN(on_problem),
                   cancel=call.cancel._p)
        with self._use(call) as p:
            rc = call.run(fn, p, _many(files), N.raw(to), N.C.byref(c))
        try:
            call.check(rc)
        except PartialError as e:
            e.problems = problems
            raise

    def upload(self, files: Union[Path, Sequence[Path]], to: Path = ".", *, preserve: bool = False,
               follow_links: bool = False, overwrite: bool = True, resume: bool = False, verify: bool = False,
               progress: Optional[Callable[[Progress], Any]] = None, cancel: Optional[Cancel] = None) -> None:
        """Copies files and folders (recursively, with dot-files) into the folder `to` on the host, or onto that name.
        Every file appears whole or not at all. PartialError: some could not be copied. progress may return False."""
        self._copy(N.lib.tl_upload, files, to, preserve, follow_links, overwrite, resume, verify, progress, cancel)

    def download(self, files: Union[Path, Sequence[Path]], to: Path = ".", *, preserve: bool = False,
                 follow_links: bool = False, overwrite: bool = True, resume: bool = False, verify: bool = False,
                 progress: Optional[Callable[[Progress], Any]] = None, cancel: Optional[Cancel] = None) -> None:
        """The other way; ~ and patterns such as *.txt are expanded on the host."""
        self._copy(N.lib.tl_download, files, to, preserve, follow_links, overwrite, resume, verify, progress, cancel)

    # ---- connections ----

    def tunnel(self, listen: Union[int, str], target: Optional[str], *, reverse: bool = False, once: bool = False,
               log: Optional[Callable[[str], Any]] = None) -> "Tunnel":
        """Listens here and connects to target as seen from the host; returns at once. listen: port (0: any, loopback),
        "address:port" or the path of a socket; target: "host:port", a path, None for SOCKS5. reverse: listens on the host
        and connects from here. once: one connection. Tunnel.wait() blocks until its end."""
        return Tunnel(self, str(listen), target, reverse, once, log)

    def dial(self, target: str) -> socket.socket:
        """One connection to target ("host:port" or the path of a socket as seen from the host) as a socket of ours."""
        call, fd = Call(), N.C.c_int(-1)
        with self._use(call) as p:
            call.check(call.run(N.lib.tl_dial, p, N.raw(target), N.C.byref(fd)))
        return socket.socket(fileno=fd.value)

    def copy_key(self, path: Path) -> bool:
        """Appends a public key to ~/.ssh/authorized_keys of the host. False: it was there."""
        call = Call()
        with self._use(call) as p:
            return bool(call.check(call.run(N.lib.tl_key_copy, p, N.raw(path))))


class Tunnel:
    """A listener whose connections a thread of the library carries. Use as a context manager, or close() it."""

    def __init__(self, session: Session, listen: str, target: Optional[str], reverse: bool, once: bool,
                 log: Optional[Callable[[str], Any]]) -> None:
        self._p: Optional[int] = None
        call, p = Call(), N.C.c_void_p()
        f = log
        fn = N.LOG_FN(lambda _ctx, _level, line: call.do(lambda: f and f(N.text(line)) and None, None)) if f else N.LOG_FN()
        o = N.TunnelOptions(listen=N.raw(listen), target=N.raw_or_null(target), reverse=reverse, once=once, log=fn)
        with session._use(call) as s:
            call.check(call.run(N.lib.tl_tunnel_open, s, N.C.byref(o), N.C.byref(p)))
        self._p, self._keep = p.value, (call, o)

    @property
    def port(self) -> int:
        """The port it listens on; 0 for a socket path."""
        return N.lib.tl_tunnel_port(self._p) if self._p else 0

    def wait(self, cancel: Optional[Cancel] = None) -> None:
        """Blocks until a tunnel for one connection is over, or the session ends."""
        if self._p:
            call = Call(cancel)
            call.check(call.run(N.lib.tl_tunnel_wait, self._p, call.cancel._p))

    def close(self) -> None:
        p, self._p = self._p, None
        if p:
            N.lib.tl_tunnel_close(p)

    def __enter__(self) -> "Tunnel":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_p", None):
            self.close()


def _ms(seconds: Optional[float]) -> int:
    return 0 if seconds is None else max(1, round(seconds * 1000))


def _log_to_stderr(_level: int, line: str) -> None:
    print(line, file=sys.stderr)


def _command_error(command: str, host: str, how: Exit, output: Optional[Output]) -> CommandError:
    ended = f"was ended by signal {how.signal}" if how.signal else f"failed with status {how.status}"
    e = CommandError(f"“{command[:200]}” on {host} {ended}", -91 if how.signal else -90,
                     "signaled" if how.signal else "status", "See its output.")
    e.output = output
    return e


def _at_exit() -> None:
    """Python's own shutdown is too late: callbacks of the library need a living interpreter."""
    for s in list(_open):
        warnings.warn(f"the session to {s.host} was forgotten and is closed now", ResourceWarning, source=s)
        s.close()


atexit.register(_at_exit)
__all__ = ["Session", "Tunnel", "Exit", "Output", "Progress", "Info"]
