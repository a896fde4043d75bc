"""The host programs as they are installed: static, small, complete, and each of them runs.

needs: full build
parallel: ok
"""
import gzip
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import unittest

from harness import ROOT, run, scratch

FOLDER = os.path.join(ROOT, "build/stage/lib/towline/host")
LARGEST = 1_300_000
# architecture: (ELF machine, 64 bit, runner on another machine)
ARCHES = {"x86_64": (62, True, "qemu-x86_64-static"), "aarch64": (183, True, "qemu-aarch64-static"),
          "armv7": (40, False, "qemu-arm-static")}


def runner(arch):
    """How to start a program of that architecture here, or None."""
    if os.uname().machine == arch:
        return []
    found = shutil.which(ARCHES[arch][2])
    return [found] if found else None


class Files(unittest.TestCase):
    def each(self):
        return [(arch, os.path.join(FOLDER, f"towline-host-{arch}")) for arch in ARCHES]

    def test_is_there_and_small(self):
        for arch, path in self.each():
            with self.subTest(arch=arch):
                self.assertTrue(os.access(path, os.X_OK), path)
                self.assertLessEqual(os.path.getsize(path), LARGEST)

    def test_is_static_and_stripped(self):
        for arch, path in self.each():
            with self.subTest(arch=arch):
                with open(path, "rb") as f:
                    data = f.read()
                machine, wide, _ = ARCHES[arch]
                self.assertEqual(data[:5], b"\x7fELF" + bytes([2 if wide else 1]))
                self.assertEqual(struct.unpack_from("<H", data, 18)[0], machine)
                offset, = struct.unpack_from("<Q" if wide else "<I", data, 32 if wide else 28)
                size, count = struct.unpack_from("<HH", data, 54 if wide else 42)
                kinds = [struct.unpack_from("<I", data, offset + i * size)[0] for i in range(count)]
                self.assertNotIn(3, kinds, "asks for a dynamic loader")
                self.assertNotIn(b".symtab\0", data)

    def test_copies_agree(self):
        for arch, path in self.each():
            with self.subTest(arch=arch):
                with open(path, "rb") as f:
                    plain = f.read()
                with gzip.open(path + ".gz") as f:
                    self.assertEqual(f.read(), plain)
                with open(path + ".sha256") as f:
                    self.assertEqual(f.read().split(), [hashlib.sha256(plain).hexdigest(), f"towline-host-{arch}"])


class Runs(unittest.TestCase):
    def programs(self):
        return [(arch, runner(arch) + [os.path.join(FOLDER, f"towline-host-{arch}")])
                for arch in ARCHES if runner(arch) is not None]

    def test_probe(self):
        for arch, argv in self.programs():
            with self.subTest(arch=arch):
                facts = json.loads(run(argv + ["probe"]).stdout)
                self.assertIn(arch if arch != "armv7" else "arm", facts["arch"])

    def test_unknown_face(self):
        for arch, argv in self.programs():
            with self.subTest(arch=arch):
                r = run(argv + ["no-such-face"], check=False)
                self.assertEqual(r.returncode, 2)
                self.assertIn("no-such-face", r.stderr)

    def test_finds_listeners(self):
        """Under qemu there is no socket diagnosis: /proc it is, and the reason is told."""
        with socket.create_server(("127.0.0.1", 0)) as s:
            for arch, argv in self.programs():
                with self.subTest(arch=arch):
                    answer = json.loads(run(argv + ["ports", "--once", "--run-dir", scratch()]).stdout)["ok"]
                    found = [p for p in answer["ports"] if p["port"] == s.getsockname()[1]]
                    self.assertEqual([(p["address"], p["pid"]) for p in found], [("127.0.0.1", os.getpid())])
                    self.assertEqual(answer["mode"], "netlink" if len(argv) == 1 else "proc")
                    self.assertEqual("reason" in answer, answer["mode"] == "proc", answer)

    def test_serves_files_to_sftp(self):
        for arch, argv in self.programs():
            with self.subTest(arch=arch):
                d = scratch()
                blob = os.urandom(300_000)
                with open(os.path.join(d, "a"), "wb") as f:
                    f.write(blob)
                batch = f"put {d}/a {d}/b\nrename {d}/b {d}/c\nget {d}/c {d}/e\nls -l {d}\n"
                server = " ".join(argv + ["sftp-server"])
                r = subprocess.run(["sftp", "-q", "-b", "-", "-D", server], input=batch, text=True, capture_output=True, timeout=120)
                self.assertEqual(r.returncode, 0, f"{arch}: {r.stdout}\n{r.stderr}")
                with open(os.path.join(d, "e"), "rb") as f:
                    self.assertEqual(f.read(), blob)


    if __name__ == "__main__":
        unittest.main()
