"""Calls into the library that a person can interrupt.

A call from the main thread runs in a helper thread while the main thread waits for it: so Ctrl-C is heard at once,
sets the call's cancel token, and is raised when the remote end has been stopped. Functions given by the caller still
run on the caller's thread. Calls from other threads run where they are; KeyboardInterrupt never comes there.
"""
import ctypes as C
import queue
import threading
from typing import Any, Callable, List, Optional, Tuple

from . import _native as N
from .errors import error_of


class Cancel:
    """Ends calls from another thread or a signal handler: they raise Canceled, remote programs are ended and
    half-written files removed. Stays set until reset()."""

    def __init__(self) -> None:
        self._p: Optional[int] = N.lib.tl_cancel_new()
        if not self._p:
            raise MemoryError("no memory for a cancel token")

    def cancel(self) -> None:
        N.lib.tl_cancel(self._p)

    def reset(self) -> None:
        N.lib.tl_cancel_reset(self._p)

    def __del__(self) -> None:
        if getattr(self, "_p", None):
            N.lib.tl_cancel_free(self._p)
            self._p = None


class Call:
    """One call: its error, its cancel token, and the exception a caller's function raised in it."""

    def __init__(self, cancel: Optional[Cancel] = None) -> None:
        self.error = N.Error()
        self.cancel = cancel or Cancel()
        self.raised: Optional[BaseException] = None
        self._worker: Optional[int] = None
        self._todo: "queue.SimpleQueue[Optional[Tuple[Callable[[], Any], List[Any], threading.Event]]]" = queue.SimpleQueue()

    def do(self, fn: Callable[[], Any], failed: Any) -> Any:
        """Runs a caller's function on the caller's thread. What it raises ends the call; then `failed` is returned."""
        if self.raised is not None:
            return failed
        if threading.get_ident() != self._worker:
            return self._try(fn, failed)
        out: List[Any] = [failed]
        done = threading.Event()
        self._todo.put((fn, out, done))
        done.wait()
        return out[0]

    def _try(self, fn: Callable[[], Any], failed: Any) -> Any:
        try:
            return fn()
        except BaseException as e:  # a KeyboardInterrupt as well: it is raised again by run()
            self.raised = self.raised or e
            self.cancel.cancel()
            return failed

    def run(self, fn: Callable[..., int], *arguments: Any) -> int:
        """Calls fn(*arguments, error), which hears the cancel token."""
        arguments = (*arguments, C.byref(self.error))
        if threading.current_thread() is not threading.main_thread():
            rc = fn(*arguments)
        else:
            rc = self._run_beside(fn, arguments)
        if self.raised is not None:
            self.cancel.reset()
            raise self.raised
        return rc

    def _run_beside(self, fn: Callable[..., int], arguments: Tuple[Any, ...]) -> int:
        result: List[int] = []

        def work() -> None:
            self._worker = threading.get_ident()
            result.append(fn(*arguments))
            self._todo.put(None)

        threading.Thread(target=work, name="towline call", daemon=True).start()
        while True:
            try:
                job = self._todo.get()
                if job is None:
                    return result[0]
                f, out, done = job
                try:
                    out[0] = self._try(f, out[0])
                finally:
                    done.set()
            except KeyboardInterrupt as e:
                self.raised = self.raised or e
                self.cancel.cancel()

    def check(self, rc: int) -> int:
        """Raises what a negative result means."""
        if rc < 0:
            raise error_of(self.error, rc)
        return rc
