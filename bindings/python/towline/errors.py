"""Exceptions. Each carries number, name, message and todo of docs/errors.md."""
from typing import Any, Dict, List, Optional, Tuple, Type

from . import _native as N


class Error(Exception):
    """Something failed. str() is the message; `todo` says the next step."""

    def __init__(self, message: str, number: int = 0, name: str = "", todo: str = "", sys_errno: int = 0) -> None:
        super().__init__(message)
        self.message, self.number, self.name, self.todo, self.sys_errno = message, number, name, todo, sys_errno

    def __str__(self) -> str:
        return f"{self.message} ({self.todo})" if self.todo else self.message


class AuthenticationError(Error):
    """The host did not accept the login."""


class HostKeyError(Error):
    """The host key has changed, is revoked, or was not confirmed. No secret was sent."""


class ConnectionError(Error):  # noqa: A001: towline.ConnectionError, like the builtin's meaning
    """The host cannot be reached, or the connection was lost."""


class Timeout(Error):
    """It took longer than allowed."""


class Canceled(Error):
    """A cancel token was set, or a question was not answered."""


class CommandError(Error):
    """A command ended with a status other than 0, or by a signal; `output` is what it printed."""

    output: Any = None


class PartialError(Error):
    """Some files could not be copied; the others are there. `problems` has pairs of path and Error."""

    problems: List[Tuple[str, Error]] = []


_KINDS: Dict[str, Type[Error]] = {
    "authentication_failed": AuthenticationError, "host_key_changed": HostKeyError, "host_key_rejected": HostKeyError,
    "unknown_host": ConnectionError, "connection_refused": ConnectionError, "unreachable": ConnectionError,
    "connection_lost": ConnectionError, "closed": ConnectionError, "ssh_failed": ConnectionError, "timeout": Timeout,
    "canceled": Canceled, "status": CommandError, "signaled": CommandError, "partial": PartialError}


def error_of(e: Any, rc: Optional[int] = None) -> Error:
    """The exception for a filled struct tl_error."""
    name = N.text(e.name)
    number = e.number or rc or 0
    message = N.text(e.message) or f"error {number}"
    return _KINDS.get(name, Error)(message, number, name, N.text(e.todo), e.sys_errno)
