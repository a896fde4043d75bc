"""include/towline.h for ctypes: structures, function types and the loaded library. Nothing here is public."""
import ctypes as C
import os
from typing import Any, List, Optional

CANCELED = -7


class Error(C.Structure):
    _fields_ = [("number", C.c_int), ("sys_errno", C.c_int), ("name", C.c_char * 32), ("message", C.c_char * 600),
                ("todo", C.c_char * 256)]


PROMPT_FN = C.CFUNCTYPE(C.c_int, C.c_void_p, C.c_int, C.c_char_p, C.c_int, C.c_void_p, C.c_size_t)
LOG_FN = C.CFUNCTYPE(None, C.c_void_p, C.c_int, C.c_char_p)
BYTES_FN = C.CFUNCTYPE(C.c_int, C.c_void_p, C.c_void_p, C.c_size_t)


class Sized(C.Structure):
    """A structure that the caller fills: its first member says how large the caller believes it to be."""

    def __init__(self, **members: Any) -> None:
        super().__init__(C.sizeof(self), **members)


class Options(Sized):
    _fields_ = [("size", C.c_size_t), ("config_file", C.c_char_p), ("key_file", C.c_char_p),
                ("ssh_options", C.POINTER(C.c_char_p)), ("ssh_program", C.c_char_p), ("port", C.c_int),
                ("timeout_ms", C.c_int), ("verbosity", C.c_int), ("via", C.c_int), ("prompt", PROMPT_FN), ("log", LOG_FN),
                ("ctx", C.c_void_p), ("cancel", C.c_void_p)]


class Info(Sized):
    _fields_ = [("size", C.c_size_t), ("host", C.c_char_p), ("user", C.c_char_p), ("address", C.c_char_p),
                ("port", C.c_int), ("connected", C.c_int), ("via", C.c_char_p), ("identity", C.c_char_p),
                ("auth_method", C.c_char_p), ("fingerprint_sha256", C.c_char_p), ("fingerprint_sha1", C.c_char_p),
                ("host_key_type", C.c_char_p), ("cipher", C.c_char_p), ("kex", C.c_char_p), ("server_version", C.c_char_p),
                ("jump", C.c_char_p), ("platform", C.c_char_p), ("home", C.c_char_p), ("plain_why", C.c_char_p)]


class Exec(Sized):
    _fields_ = [("size", C.c_size_t), ("argv", C.POINTER(C.c_char_p)), ("commands", C.POINTER(C.c_char_p)),
                ("cwd", C.c_char_p), ("env", C.POINTER(C.c_char_p)), ("pty", C.c_int), ("cols", C.c_int),
                ("rows", C.c_int), ("stdin_fd", C.c_int), ("stdin_data", C.c_char_p), ("stdin_n", C.c_size_t),
                ("stdout_fd", C.c_int), ("stderr_fd", C.c_int), ("on_stdout", BYTES_FN), ("on_stderr", BYTES_FN),
                ("ctx", C.c_void_p), ("cancel", C.c_void_p), ("timeout_ms", C.c_int),
                ("resized", C.c_void_p), ("tty_fd", C.c_int)]


class Exit(C.Structure):
    _fields_ = [("status", C.c_int), ("signal", C.c_int)]


class Output(C.Structure):
    _fields_ = [("out", C.c_void_p), ("errout", C.c_void_p), ("out_n", C.c_size_t), ("errout_n", C.c_size_t),
                ("exit", Exit)]


class Progress(C.Structure):
    _fields_ = [("path", C.c_char_p), ("file_done", C.c_uint64), ("file_total", C.c_uint64), ("done", C.c_uint64),
                ("total", C.c_uint64), ("files_done", C.c_uint64), ("files_total", C.c_uint64)]


PROGRESS_FN = C.CFUNCTYPE(C.c_int, C.c_void_p, C.POINTER(Progress))
PROBLEM_FN = C.CFUNCTYPE(None, C.c_void_p, C.c_char_p, C.POINTER(Error))


class Copy(Sized):
    _fields_ = [("size", C.c_size_t), ("preserve", C.c_int), ("follow_links", C.c_int), ("no_overwrite", C.c_int),
                ("resume", C.c_int), ("verify", C.c_int), ("progress", PROGRESS_FN), ("problem", PROBLEM_FN),
                ("ctx", C.c_void_p), ("cancel", C.c_void_p)]


class TunnelOptions(Sized):
    _fields_ = [("size", C.c_size_t), ("listen", C.c_char_p), ("target", C.c_char_p), ("reverse", C.c_int),
                ("once", C.c_int), ("log", LOG_FN), ("ctx", C.c_void_p)]


class Key(C.Structure):
    _fields_ = [("path", C.c_char_p), ("type", C.c_char_p), ("fingerprint", C.c_char_p), ("comment", C.c_char_p),
                ("public_key", C.c_char_p), ("bits", C.c_int), ("in_agent", C.c_int), ("encrypted", C.c_int)]


class Keys(C.Structure):
    _fields_ = [("v", C.POINTER(Key)), ("n", C.c_size_t)]


# structures by their names in C: the tests compare their sizes with the header's
STRUCTS = {"tl_error": Error, "tl_options": Options, "tl_info": Info, "tl_exec": Exec, "tl_exit": Exit,
           "tl_output": Output, "tl_progress": Progress, "tl_copy": Copy, "tl_tunnel_options": TunnelOptions,
           "tl_key": Key, "tl_keys": Keys}

_P, _S, _I, _E = C.c_void_p, C.c_char_p, C.c_int, C.POINTER(Error)
_L = C.POINTER(C.c_char_p)
FUNCTIONS = {
    "tl_version": (_S, []),
    "tl_connect": (_I, [_S, C.POINTER(Options), C.POINTER(_P), _E]),
    "tl_disconnect": (None, [_P]),
    "tl_is_connected": (_I, [_P]),
    "tl_session_info": (_I, [_P, C.POINTER(Info), _E]),
    "tl_cancel_new": (_P, []),
    "tl_cancel_free": (None, [_P]),
    "tl_cancel": (None, [_P]),
    "tl_cancel_reset": (None, [_P]),
    "tl_exec": (_I, [_P, C.POINTER(Exec), C.POINTER(Exit), _E]),
    "tl_capture": (_I, [_P, C.POINTER(Exec), C.c_size_t, _I, C.POINTER(Output), _E]),
    "tl_output_free": (None, [C.POINTER(Output)]),
    "tl_upload": (_I, [_P, _L, _S, C.POINTER(Copy), _E]),
    "tl_download": (_I, [_P, _L, _S, C.POINTER(Copy), _E]),
    "tl_tunnel_open": (_I, [_P, C.POINTER(TunnelOptions), C.POINTER(_P), _E]),
    "tl_tunnel_port": (_I, [_P]),
    "tl_tunnel_wait": (_I, [_P, _P, _E]),
    "tl_tunnel_close": (None, [_P]),
    "tl_dial": (_I, [_P, _S, C.POINTER(_I), _E]),
    "tl_keys_list": (_I, [_S, C.POINTER(Keys), _E]),
    "tl_keys_free": (None, [C.POINTER(Keys)]),
    "tl_key_new": (_I, [_S, _S, _S, _S, _E]),
    "tl_key_add": (_I, [_S, PROMPT_FN, _P, _E]),
    "tl_key_copy": (_I, [_P, _S, _E]),
}


def _load() -> Any:
    named = os.environ.get("TOWLINE_LIBRARY")
    beside = os.path.join(os.path.dirname(__file__), "libtowline.so.0")
    ours = os.path.join(os.path.dirname(__file__), "..", "..", "..", "libtowline.so.0")  # PREFIX/lib
    path = named or next((p for p in (beside, ours) if os.path.exists(p)), "libtowline.so.0")
    try:
        lib = C.CDLL(path)
    except OSError as e:
        raise ImportError(f"towline needs the library libtowline: {e}. Install it, or set TOWLINE_LIBRARY to its file.") from e
    for name, (result, arguments) in FUNCTIONS.items():
        fn = getattr(lib, name, None)
        if fn is None:  # an older library: what it has not fails when it is used
            continue
        fn.restype, fn.argtypes = result, arguments
    return lib


lib = _load()


def strings(values: List[bytes]) -> Any:
    """A NULL-terminated array; keep it as long as the call lasts."""
    return (C.c_char_p * (len(values) + 1))(*values, None)


def text(value: Optional[bytes]) -> str:
    """Text of the library; bytes that are not UTF-8 survive as in os.fsdecode."""
    return (value or b"").decode("utf-8", "surrogateescape")


def raw(value: Any) -> bytes:
    """What the library gets for a text, path or bytes. A NUL inside would cut it short silently."""
    b: bytes = os.fspath(value) if not isinstance(value, (str, bytes)) else value
    b = b.encode("utf-8", "surrogateescape") if isinstance(b, str) else b
    if b"\0" in b:
        raise ValueError(f"{value!r} has a NUL inside; texts for a host cannot")
    return b


def raw_or_null(value: Any) -> Optional[bytes]:
    return None if value is None else raw(value)
