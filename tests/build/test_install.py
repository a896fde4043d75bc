"""make install: the layout that programs expect, and an installed program that finds its files.

needs: full build
parallel: ok
deadline: 600
"""
import os
import subprocess
import unittest

from harness import ROOT, Daemon, Sshd, run, scratch


class Install(unittest.TestCase):
    def test_layout_and_use(self):
        d = scratch()
        env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        r = subprocess.run(["make", "-s", "install", "PREFIX=/opt/towline", f"DESTDIR={d}"], cwd=ROOT, env=env,
                           capture_output=True, text=True, timeout=500)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        top = os.path.join(d, "opt/towline")
        for path in ("bin/towline", "bin/towlined", "lib/towline/host/towline-host-x86_64", "share/towline/ui/index.html",
                     "share/man/man1/towline.1", "share/man/man8/towlined.8",
                     "lib/libtowline.so.0", "lib/libtowline.so", "lib/libtowline.a", "lib/pkgconfig/towline.pc", "include/towline.h",
                     "share/man/man3/tl_connect.3", "share/towline/r/towline/DESCRIPTION"):
            self.assertTrue(os.path.exists(os.path.join(top, path)), path)
        self.assertEqual(os.readlink(os.path.join(top, "bin/towline-askpass")), "towline")
        self.assertIn("towline", run([os.path.join(top, "bin/towline"), "--version"]).stdout)
        python = os.path.join(top, "lib/python3/dist-packages")
        r = run(["/usr/bin/python3", "-c", "import towline; print(towline.__version__)"], env=dict(env, PYTHONPATH=python), check=False)
        self.assertRegex(r.stdout, r"^\d+\.\d+", r.stderr)
        host = Sshd(test=self)
        local = Daemon(host, stage=top, test=self)
        local.towline("connect", host.alias)
        r = local.towline("shell", host.alias, "--", "echo", "far")
        self.assertIn("far", r.stdout)


if __name__ == "__main__":
    unittest.main()
