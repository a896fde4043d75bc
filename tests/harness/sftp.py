"""A small SFTP version 3 client with Towline's extensions, over two pipes or a socket.

    c = SftpClient.spawn([host_program, "sftp-server"], cwd=folder)     # or SftpClient(read_file, write_file)
    c.list("/etc"); c.read_file("/etc/passwd"); c.save("/tmp/x", b"content", SAVE.CREATE | SAVE.OVERWRITE)
    c.raw(type, body)                                                    # any packet; answers (type, body)

Failures raise SftpError with .code (SFTP), .word (proto/errors.def) and .text.
"""
import os
import struct
import subprocess

from .proc import end, sanitizer_env, spawn

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, \
    REALPATH, STAT, RENAME, READLINK, SYMLINK = range(1, 21)
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED, EXTENDED_REPLY = 101, 102, 103, 104, 105, 200, 201
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE = range(6)
OP_UNSUPPORTED = 8
NO_FILE = bytes(24)


class SAVE:
    CREATE, OVERWRITE, COMPARE, FSYNC, ATOMIC = 1, 2, 4, 8, 16


class SftpError(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text
        self.word = text.split(":")[0]


def u32(n):
    return struct.pack(">I", n)


def u64(n):
    return struct.pack(">Q", n)


def string(s):
    b = os.fsencode(s)
    return u32(len(b)) + b


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if len(self.data) - self.at < n:
            raise AssertionError("a reply ends too early")
        self.at += n
        return self.data[self.at - n:self.at]

    def u8(self):
        return self.take(1)[0]

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def u64(self):
        return struct.unpack(">Q", self.take(8))[0]

    def string(self):
        return self.take(self.u32())

    def attrs(self):
        a = {"flags": self.u32()}
        if a["flags"] & 1:
            a["size"] = self.u64()
        if a["flags"] & 2:
            a["uid"], a["gid"] = self.u32(), self.u32()
        if a["flags"] & 4:
            a["mode"] = self.u32()
        if a["flags"] & 8:
            a["atime"], a["mtime"] = self.u32(), self.u32()
        return a

    def rest(self):
        return self.data[self.at:]


class SftpClient:
    def __init__(self, rfile, wfile, process=None, greet=True):
        self.r, self.w, self.process = rfile, wfile, process
        self.next_id = 0
        self.extensions = {}
        if greet:
            self.greet()

    @classmethod
    def spawn(cls, argv, greet=True, env=None, **kw):
        """Runs a server on pipes; HOME is its working folder, where it is given."""
        full = {**os.environ, **sanitizer_env(), **(env or {})}
        if "cwd" in kw:
            full["HOME"] = str(kw["cwd"])
        p = spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=full, **kw)
        return cls(p.stdout, p.stdin, p, greet)

    def close(self):
        """Ends the stream; the exit status of a spawned server."""
        self.w.close()
        status = self.process.wait(20) if self.process else None
        self.r.close()
        if self.process:
            end(self.process)
        return status

    def kill(self):
        end(self.process)

    def greet(self):
        self.send_packet(bytes([INIT]) + u32(3))
        t, body = self.recv_packet()
        assert t == VERSION, t
        r = Reader(body)
        self.version = r.u32()
        while r.rest():
            name = r.string()
            self.extensions[name.decode()] = r.string().decode()

    def send_packet(self, packet):
        self.w.write(u32(len(packet)) + packet)
        self.w.flush()

    def recv_packet(self):
        head = self._exactly(4)
        n = struct.unpack(">I", head)[0]
        body = self._exactly(n)
        return body[0], body[1:]

    def _exactly(self, n):
        parts = []
        while n:
            b = self.r.read(n)
            if not b:
                raise EOFError("the server closed the stream")
            parts.append(b)
            n -= len(b)
        return b"".join(parts)

    def send(self, type_, body):
        self.next_id += 1
        self.send_packet(bytes([type_]) + u32(self.next_id) + body)
        return self.next_id

    def recv(self, id_):
        t, body = self.recv_packet()
        got = struct.unpack(">I", body[:4])[0]
        assert got == id_, f"an answer to {got} instead of {id_}"
        return t, body[4:]

    def raw(self, type_, body):
        return self.recv(self.send(type_, body))

    @staticmethod
    def _fail(body):
        r = Reader(body)
        code = r.u32()
        raise SftpError(code, r.string().decode(errors="replace"))

    def request(self, type_, body, want=STATUS):
        t, reply = self.raw(type_, body)
        if t == STATUS:
            if Reader(reply).u32() != OK:
                self._fail(reply)
            assert want == STATUS, f"success without the answer {want}"
            return None
        assert t == want, f"an answer of type {t} instead of {want}"
        return Reader(reply)

    def extended(self, name, body, want=EXTENDED_REPLY):
        return self.request(EXTENDED, string(name) + body, want)

    def streamed(self, name, body):
        """The readers of every reply, after their `more`."""
        id_ = self.send(EXTENDED, string(name) + body)
        while True:
            t, reply = self.recv(id_)
            if t == STATUS:
                self._fail(reply)
            assert t == EXTENDED_REPLY, t
            r = Reader(reply)
            more = r.u8()
            yield r
            if not more:
                return

    # ---- the draft

    def open(self, path, flags, attrs=u32(0)):
        return self.request(OPEN, string(path) + u32(flags) + attrs, HANDLE).string()

    def close_handle(self, handle):
        self.request(CLOSE, string(handle))

    def read(self, handle, off, n):
        return self.request(READ, string(handle) + u64(off) + u32(n), DATA).string()

    def write(self, handle, off, data):
        self.request(WRITE, string(handle) + u64(off) + string(data))

    def stat_(self, path):
        return self.request(STAT, string(path), ATTRS).attrs()

    def lstat(self, path):
        return self.request(LSTAT, string(path), ATTRS).attrs()

    def mkdir(self, path):
        self.request(MKDIR, string(path) + u32(0))

    def symlink(self, target, path):
        self.request(SYMLINK, string(target) + string(path))

    def readlink(self, path):
        r = self.request(READLINK, string(path), NAME)
        r.u32()
        return os.fsdecode(r.string())

    def realpath(self, path):
        r = self.request(REALPATH, string(path), NAME)
        r.u32()
        return os.fsdecode(r.string())

    def remove(self, path):
        self.request(REMOVE, string(path))

    def readdir(self, path):
        """[(name, longname, attrs)]"""
        h = self.request(OPENDIR, string(path), HANDLE).string()
        out = []
        while True:
            try:
                r = self.request(READDIR, string(h), NAME)
            except SftpError as e:
                self.close_handle(h)
                if e.code == EOF:
                    return out
                raise
            out += [(os.fsdecode(r.string()), os.fsdecode(r.string()), r.attrs()) for _ in range(r.u32())]

    # ---- ours

    def list(self, path, flags=0):
        """{name: (type, size, mtime_ms, mode)}"""
        out = {}
        for r in self.streamed("list@towline", string(path) + u32(flags)):
            for _ in range(r.u32()):
                name = os.fsdecode(r.string())
                assert name not in out, name
                out[name] = (r.u8(), r.u64(), r.u64(), r.u32())
        return out

    def stat(self, path):
        r = self.extended("stat@towline", string(path))
        return {"type": r.u8(), "size": r.u64(), "mtime": r.u64(), "ctime": r.u64(), "mode": r.u32(), "access": r.u8(),
                "etag": r.take(24)}

    def read_file(self, path, off=0, n=0):
        """(etag, size, bytes)"""
        etag, size, parts = None, None, []
        for r in self.streamed("read-file@towline", string(path) + u64(off) + u64(n)):
            if etag is None:
                etag, size = r.take(24), r.u64()
            parts.append(r.string())
        return etag, size, b"".join(parts)

    def save_piece(self, path, flags, mode, etag, total, off, data):
        return self.extended("save@towline", string(path) + u32(flags) + u32(mode) + etag + u64(total) + u64(off) + string(data))

    def save(self, path, data, flags=SAVE.CREATE | SAVE.OVERWRITE, mode=0, etag=NO_FILE, chunk=128 * 1024):
        """The new etag."""
        off = 0
        while True:
            part = data[off:off + chunk]
            r = self.save_piece(path, flags, mode, etag, len(data), off, part)
            off += len(part)
            done = r.u8()
            if off >= len(data):
                assert done == 1
                return r.take(24)
            assert done == 0

    def remove_tree(self, path):
        self.extended("remove-tree@towline", string(path), STATUS)

    def copy_tree(self, a, b, flags=0):
        self.extended("copy-tree@towline", string(a) + string(b) + u32(flags), STATUS)

    def mkdirs(self, path, mode=0):
        self.extended("touch-mkdirs@towline", string(path) + u32(mode), STATUS)

    def digest(self, path, off=0, n=0, algorithm="sha256"):
        """(digest, size)"""
        r = self.extended("digest@towline", string(path) + string(algorithm) + u64(off) + u64(n))
        return r.string(), r.u64()
