"""SSH keys of this user: list, make, add to the agent. Session.copy_key copies one to a host."""
import os
from dataclasses import dataclass
from typing import List, Optional, Union

from . import _native as N
from ._call import Call
from .prompts import Prompt, prompt_function, terminal_prompt

Path = Union[str, bytes, "os.PathLike[str]"]


@dataclass(frozen=True)
class Key:
    """One key; path is "" for one that only the agent has."""

    path: str
    type: str
    fingerprint: str
    comment: str
    public_key: str
    bits: int
    in_agent: bool
    encrypted: bool


def keys(folder: Optional[Path] = None) -> List[Key]:
    """The keys of a folder (default ~/.ssh) and of the agent."""
    call, found = Call(), N.Keys()
    call.check(call.run(N.lib.tl_keys_list, N.raw_or_null(folder), N.C.byref(found)))
    try:
        return [Key(N.text(k.path), N.text(k.type), N.text(k.fingerprint), N.text(k.comment), N.text(k.public_key), k.bits,
                    bool(k.in_agent), bool(k.encrypted)) for k in (found.v[i] for i in range(found.n))]
    finally:
        N.lib.tl_keys_free(N.C.byref(found))


def key_new(path: Path, type: Optional[str] = None, comment: Optional[str] = None,
            passphrase: Optional[str] = None) -> None:
    """Makes a key pair (default ed25519). Never overwrites one."""
    call = Call()
    call.check(call.run(N.lib.tl_key_new, N.raw(path), N.raw_or_null(type), N.raw_or_null(comment), N.raw_or_null(passphrase)))


def key_add(path: Path, prompt: Prompt = terminal_prompt) -> None:
    """Adds a key to the agent; prompt answers for its passphrase."""
    call = Call()
    fn = prompt_function(call, prompt)
    call.check(call.run(N.lib.tl_key_add, N.raw(path), fn, None))
