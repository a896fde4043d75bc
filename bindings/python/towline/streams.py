"""What standard input and output of a remote command may be, turned into what the library takes."""
import io
import os
import subprocess
import sys
from typing import Any, Callable, List, Optional, Union

from . import _native as N
from ._call import Call

Sink = Union[None, int, str, "os.PathLike[str]", Any, Callable[[bytes], Any]]


def _descriptor(f: Any) -> Optional[int]:
    """The descriptor behind a file object, after what it has buffered; None where there is none."""
    try:
        fd: int = f.fileno()
        f.flush()
        return fd
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return None


class Streams:
    """Fills stdin, stdout and stderr of a struct tl_exec; owns the files it opens."""

    def __init__(self, call: Call, x: N.Exec) -> None:
        self.call, self.x = call, x
        self._opened: List[Any] = []
        self._keep: List[Any] = []
        x.stdin_fd = x.stdout_fd = x.stderr_fd = -1

    def close(self) -> None:
        for f in self._opened:
            f.close()

    def input(self, source: Any) -> None:
        if source is None or source is subprocess.DEVNULL:
            return
        if isinstance(source, str):
            source = source.encode()
        if isinstance(source, (bytes, bytearray, memoryview)):
            data = bytes(source)
            self._keep.append(data)
            self.x.stdin_data, self.x.stdin_n = data, len(data)
            return
        fd = source if isinstance(source, int) else _descriptor(source)
        if fd is None:
            self.input(source.read())
        else:
            self.x.stdin_fd = fd

    def output(self, name: str, sink: Sink, default: Any) -> None:
        """name: stdout or stderr; sink None: default (sys.stdout, sys.stderr)."""
        if sink is subprocess.DEVNULL or sink is False:
            return
        sink = default if sink is None or sink is True else sink
        if isinstance(sink, (str, os.PathLike)):
            sink = open(sink, "wb")  # closed by close()
            self._opened.append(sink)
        fd = sink if isinstance(sink, int) else _descriptor(sink)
        if fd is not None:
            setattr(self.x, f"{name}_fd", fd)
            return
        self._function(name, sink if callable(sink) else _writer(sink))

    def _function(self, name: str, take: Callable[[bytes], Any]) -> None:
        def on_bytes(_ctx: Any, p: int, n: int) -> int:
            data = N.C.string_at(p, n)
            return self.call.do(lambda: 1 if take(data) is False else 0, 1)

        fn = N.BYTES_FN(on_bytes)
        self._keep.append(fn)
        setattr(self.x, f"on_{name}", fn)


def _writer(f: Any) -> Callable[[bytes], Any]:
    """For file objects without a descriptor: notebooks, io.BytesIO, io.StringIO, captured output of tests."""
    if isinstance(f, io.TextIOBase) or isinstance(getattr(f, "encoding", None), str):
        buffer = getattr(f, "buffer", None)
        if buffer is not None:
            f.flush()
            return lambda b: buffer.write(b) and None
        import codecs
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda b: f.write(decoder.decode(b)) and None
    return lambda b: f.write(b) and None


def standard(name: str) -> Any:
    return getattr(sys, name)
