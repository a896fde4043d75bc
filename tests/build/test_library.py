"""libtowline as somebody else's program sees it: names, pkg-config, the example, C and C++.

needs: full build
parallel: ok
"""
import os
import re
import subprocess
import unittest

from harness import ROOT, Daemon, Sshd, run, scratch

STAGE = os.path.join(ROOT, "build", "stage")
HEADER = os.path.join(ROOT, "include", "towline.h")
EXAMPLE = os.path.join(ROOT, "examples", "hello.c")


def declared():
    with open(HEADER) as f:
        text = re.sub(r"/\*.*?\*/", " ", f.read(), flags=re.S)
    return set(re.findall(r"^TL_API\b[^;]*?\b(tl_\w+)\(", text, re.M))


def symbols(*argv):
    return {line.split()[-1] for line in run(["nm", "--defined-only", *argv]).stdout.splitlines() if len(line.split()) == 3}


class Library(unittest.TestCase):
    def test_exactly_the_header_is_exported(self):
        for names in (symbols("-D", f"{STAGE}/lib/libtowline.so.0"), symbols("-g", f"{STAGE}/lib/libtowline.a")):
            self.assertEqual(names, declared())

    def test_name_and_dependencies(self):
        text = run(["readelf", "-d", f"{STAGE}/lib/libtowline.so.0"]).stdout
        self.assertIn("soname: [libtowline.so.0]", text)
        self.assertEqual(set(re.findall(r"NEEDED.*\[(.*?)\]", text)) - {"libc.so.6", "ld-linux-x86-64.so.2"}, {"libuv.so.1"})

    def test_header_alone(self):
        for language, standard in (("c", "c99"), ("c++", "c++17")):
            r = subprocess.run(["gcc", "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only",
                                HEADER, "-Wno-pragma-once-outside-header"], capture_output=True, text=True)
            self.assertEqual((r.returncode, r.stderr), (0, ""))

    def test_example_shared_and_static(self):
        with open(EXAMPLE) as f:
            body = f.read().split("*/", 1)[1]
        self.assertLessEqual(len([x for x in body.splitlines() if x.strip()]), 21)
        d = scratch()
        host = Sshd(test=self)
        local = Daemon(host, test=self)
        # the example has no options: the test's configuration comes with an ssh of its own on PATH
        with open(os.path.join(d, "ssh"), "w") as f:
            f.write(f'#!/bin/sh\nexec /usr/bin/ssh -F {host.config} "$@"\n')
        os.chmod(os.path.join(d, "ssh"), 0o755)
        env = dict(local.env, PKG_CONFIG_PATH=f"{STAGE}/lib/pkgconfig", PATH=f"{d}:{os.environ['PATH']}")
        flags = run(["pkg-config", "--cflags", "--libs", "towline"], env=env).stdout.split()
        builds = {"shared": [*flags, f"-Wl,-rpath,{STAGE}/lib"],
                  "static": [*(x for x in flags if x != "-ltowline"), f"{STAGE}/lib/libtowline.a", "-luv"]}
        for name, extra in builds.items():
            with self.subTest(name):
                program = os.path.join(d, f"hello-{name}")
                run(["gcc", "-Wall", "-Werror", EXAMPLE, "-o", program, *extra])
                at = dict(env) if name == "shared" else dict(env, TOWLINE_PREFIX=STAGE)
                r = run([program, host.alias, "echo $USER; exit 5"], check=False, env=at, cwd=local.home)
                self.assertEqual((r.returncode, r.stdout, r.stderr), (5, host.user + "\n", ""))
                r = run([program, host.alias + ".invalid", "true"], check=False, env=at, cwd=local.home)
                self.assertEqual(r.returncode, 1)
                self.assertIn("no address is known", r.stderr)


if __name__ == "__main__":
    unittest.main()
