"""Questions of ssh."""
import getpass
import os
import sys
from typing import Any, Callable, Optional, Union

from . import _native as N
from ._call import Call

KINDS = ("hostkey", "passphrase", "password", "question", "pin", "touch")
Prompt = Union[None, str, Callable[[str, str, int], Optional[str]]]


def terminal_prompt(kind: str, text: str, attempt: int) -> Optional[str]:
    """Asks on the terminal; cancels where there is none."""
    if kind == "touch":
        print(text, file=sys.stderr)
        return ""
    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    os.close(tty)
    try:
        if kind == "hostkey":
            with open("/dev/tty", "r+b", buffering=0) as f:
                f.write(text.encode())
                return f.readline().decode().strip()
        if attempt > 1:
            print("That was not right; once more.", file=sys.stderr)
        return getpass.getpass(text)
    except EOFError:
        return None


def _constant(secret: str) -> Callable[[str, str, int], Optional[str]]:
    def answer(kind: str, text: str, attempt: int) -> Optional[str]:
        # a fixed secret confirms no host key, and a wrong one is not tried twice
        return secret if kind in ("passphrase", "password", "question", "pin") and attempt == 1 else None
    return answer


def prompt_function(call: Call, prompt: Prompt) -> Any:
    """A tl_prompt_fn, or NULL. prompt: function(kind, text, attempt) -> answer or None, or a fixed secret."""
    if prompt is None:
        return N.PROMPT_FN()
    ask = _constant(prompt) if isinstance(prompt, str) else prompt

    def fn(_ctx: Any, kind: int, text: bytes, attempt: int, answer: int, n: int) -> int:
        said = call.do(lambda: ask(KINDS[kind], N.text(text), attempt), None)
        if said is None:
            return 1
        b = said.encode() + b"\0"
        if len(b) > n or b"\0" in b[:-1]:
            return 1
        N.C.memmove(answer, b, len(b))
        return 0

    return N.PROMPT_FN(fn)
