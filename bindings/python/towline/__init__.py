"""SSH from Python, on libtowline.

    import towline

    with towline.Session("user@host") as s:
        s.run("uname -a")
        print(s.capture("whoami").text)
        s.upload("folder", "~/backup")
        with s.tunnel(5555, "database:5432") as t:
            ...
"""
from . import _native as _N
from ._call import Cancel
from .errors import (AuthenticationError, Canceled, CommandError, ConnectionError, Error, HostKeyError, PartialError,
                     Timeout)
from .keys import Key, key_add, key_new, keys
from .prompts import terminal_prompt
from .session import Exit, Info, Output, Progress, Session, Tunnel

__version__: str = _N.text(_N.lib.tl_version())
__all__ = ["AuthenticationError", "Cancel", "Canceled", "CommandError", "ConnectionError", "Error", "Exit", "HostKeyError",
           "Info", "Key", "Output", "PartialError", "Progress", "Session", "Timeout", "Tunnel", "key_add", "key_new", "keys",
           "terminal_prompt"]
