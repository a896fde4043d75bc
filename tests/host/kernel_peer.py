"""A viewer of a session, for tests: kernel frames and records over a stream of the agent.

Written from docs/protocol.md 11 alone, so it is an independent peer of the C code.
"""
import datetime
import json
import struct
import uuid

ATTACH, SEND, ACKED, CALL, LEAVE = 1, 2, 3, 4, 5
ATTACHED, SNAPSHOT, DATA, GAP, EXIT, ANSWER = 65, 66, 67, 68, 69, 70
MESSAGE, OUTPUT, STATE, LOST = 1, 2, 3, 4
SHELL, CONTROL, IOPUB, STDIN = 0, 1, 2, 3
TAIL = 2**64 - 1
DEADLINE = 90.0


class Over(Exception):
    """The stream ended."""


class Record:
    """One record of the log: kind, channel, time_ms, parts; start and end are offsets."""

    def __init__(self, data, start):
        length, self.kind, self.channel, count, self.time_ms = struct.unpack(">IBBHQ", data[:16])
        assert len(data) == 4 + length
        sizes = struct.unpack(">%dI" % count, data[16:16 + 4 * count])
        at = 16 + 4 * count
        self.parts = []
        for n in sizes:
            self.parts.append(bytes(data[at:at + n]))
            at += n
        assert at == len(data), "lengths of a record do not agree"
        self.start, self.end = start, start + len(data)
        self.type = self.parent = self.session = None
        if self.kind == MESSAGE:
            self.header, parent, self.metadata, self.content = (json.loads(p) for p in self.parts[:4])
            self.buffers = self.parts[4:]
            self.type = self.header["msg_type"]
            self.parent, self.session = parent.get("msg_id"), parent.get("session")
        elif self.kind in (STATE, LOST):
            self.content = json.loads(self.parts[0])
        else:
            self.content = self.parts[0]

    def __repr__(self):
        return f"<{self.kind} {self.type} {self.content!r:.200}>"


class Viewer:
    """stream: of harness.link, of the service "kernel", with its id."""

    def __init__(self, stream, start=None, tail=0, window=0):
        self.s = stream
        self.session = uuid.uuid4().hex
        self.cursor = None       # offset of the next DATA byte
        self.record = bytearray()
        self.records, self.taken = [], 0
        self.gaps, self.exit, self.snapshot, self.answers = [], None, None, []
        self.given = set()  # indexes of records that a caller has got
        self.ended = {}  # what ended each request so far: its reply, its idle status
        self.pieces = {SNAPSHOT: b"", ANSWER: b""}
        self.window = window
        if start is not None:
            self.attach(start, tail, window)

    def send(self, kind, payload=b""):
        self.s.write(struct.pack(">I", kind << 24 | len(payload)) + payload)

    def attach(self, start=0, tail=0, window=0):
        self.window, self.snapshot = window, None
        self.send(ATTACH, struct.pack(">QII", start, tail, window))
        while self.snapshot is None:
            self.step()
        return self.snapshot

    def step(self, deadline=DEADLINE):
        head = self.s.read(4, deadline)
        if len(head) < 4:
            raise Over(f"reset: {self.s.reset}")
        word, = struct.unpack(">I", head)
        kind, body = word >> 24, self.s.read(word & 0xffffff, deadline)
        if kind == ATTACHED:
            self.first, self.cursor, self.end, self.flags, _ = struct.unpack(">QQQII", body)
            self.record.clear()
        elif kind in (SNAPSHOT, ANSWER):
            self.pieces[kind] += body
            if not body:
                whole, self.pieces[kind] = json.loads(self.pieces[kind]), b""
                if kind == SNAPSHOT:
                    self.snapshot = whole
                else:
                    self.answers.append(whole)
        elif kind == DATA:
            assert self.exit is None and 0 < len(body) <= 16384
            self._data(body)
        elif kind == GAP:
            there, = struct.unpack(">Q", body)
            assert there > self.cursor - len(self.record)
            self.gaps.append((self.cursor, there))
            self.cursor = there
            self.record.clear()
        elif kind == EXIT:
            self.exit = struct.unpack(">II", body)
        else:
            raise AssertionError(f"frame {kind}")
        return kind

    def _data(self, body):
        self.record += body
        self.cursor += len(body)
        if self.window:
            self.send(ACKED, struct.pack(">Q", self.cursor))
        at = 0
        while len(self.record) - at >= 4:
            n = 4 + struct.unpack_from(">I", self.record, at)[0]
            if len(self.record) - at < n:
                break
            start = self.cursor - len(self.record) + at
            self.records.append(Record(bytes(self.record[at:at + n]), start))
            at += n
        del self.record[:at]

    def resume_at(self):
        """The cursor a later viewer gives: after the last whole record."""
        return self.cursor - len(self.record)

    def message(self, kind, content, channel=SHELL, buffers=(), parent=None, metadata=None):
        """Sends a request; its msg_id."""
        msg_id = uuid.uuid4().hex
        header = {"msg_id": msg_id, "session": self.session, "username": "tester", "msg_type": kind, "version": "5.3",
                  "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        parts = [json.dumps(p).encode() for p in (header, parent or {}, metadata or {}, content)] + list(buffers)
        sizes = b"".join(struct.pack(">I", len(p)) for p in parts)
        record = struct.pack(">BBHQ", MESSAGE, channel, len(parts), 0) + sizes + b"".join(parts)
        record = struct.pack(">I", len(record)) + record
        for at in range(0, len(record), 16384):
            self.send(SEND, record[at:at + 16384])
        return msg_id

    def execute(self, code, **more):
        return self.message("execute_request", {"code": code, "silent": False, "store_history": True, "allow_stdin": True,
                                                "stop_on_error": True, "user_expressions": {}, **more})

    def next(self, deadline=DEADLINE):
        while self.taken >= len(self.records):
            self.step(deadline)
        self.taken += 1
        r = self.records[self.taken - 1]
        if r.type and (r.type.endswith("_reply") or (r.type == "status" and r.content["execution_state"] == "idle")):
            self.ended.setdefault(r.parent, set()).add(r.type)
        return r

    def until(self, wanted, deadline=DEADLINE):
        """Records up to the one that `wanted` accepts, it included."""
        out = []
        while True:
            out.append(self.next(deadline))
            self.given.add(self.taken - 1)
            if wanted(out[-1]):
                return out

    def until_idle(self, msg_id, deadline=DEADLINE):
        """Everything of a request up to its idle status and reply that was not given out before. Channels have no order among
        each other: a part of it may have come while another request was waited for."""
        while len(self.ended.get(msg_id, ())) < 2:
            self.next(deadline)
        own = [i for i in range(self.taken) if self.records[i].parent == msg_id and i not in self.given]
        self.given.update(own)
        return [self.records[i] for i in own]

    def run(self, code, deadline=DEADLINE):
        return self.until_idle(self.execute(code), deadline)

    def call(self, method, **params):
        n = len(self.answers)
        self.send(CALL, json.dumps({"method": method, "params": params}).encode())
        while len(self.answers) == n:
            self.step()
        return self.answers[-1]


def texts(records, name="stdout"):
    return "".join(r.content["text"] for r in records if r.type == "stream" and r.content["name"] == name)


def result(records):
    for r in records:
        if r.type == "execute_result":
            return r.content["data"]["text/plain"]
    return None


def reply(records):
    return [r for r in records if r.type == "execute_reply"][0].content
