"""What `towline-host kernels` finds: places, order, reasons; interpreters are made of files here.
# parallel: ok
"""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from harness.link import host_program


class Kernels(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="tlk")
        self.addCleanup(shutil.rmtree, self.home)
        self.env = {"HOME": self.home, "PATH": "/usr/bin:/bin", "USER": "tester"}

    def find(self, folder=None):
        r = subprocess.run([host_program(), "kernels", *([folder] if folder else [])], env=self.env, capture_output=True,
                           text=True, timeout=120)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.all = json.loads(r.stdout)
        return {s["id"]: s for s in self.all["specs"]}

    def file(self, path, text="", mode=0o644):
        path = os.path.join(self.home, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def python(self, prefix, ready=True, cfg=None, version="3.11"):
        """An environment around the system's interpreter; its own path is returned."""
        exe = os.path.join(self.home, prefix, "bin/python")
        os.makedirs(os.path.dirname(exe))
        os.symlink("/usr/bin/python3", exe)
        packages = f"{prefix}/lib/python{version}/site-packages/"
        self.file(packages + ("ipykernel_launcher.py" if ready else "other.py"))
        if cfg is not None:
            self.file(f"{prefix}/pyvenv.cfg", f"home = /usr/bin\nversion = {version}.2\ninclude-system-site-packages = false\n{cfg}")
        return exe

    def test_system_kernels_and_default(self):
        found = self.find()
        self.assertTrue(found["python3"]["ready"])
        self.assertTrue(found["ir"]["ready"])
        self.assertRegex(found["ir"]["version"], r"^4\.\d+\.\d+$")
        self.assertEqual(self.all["default"], "python3")
        self.assertTrue(self.all["complete"])
        self.assertNotIn("/usr/bin/python3", found, "it has a kernelspec")

    def test_environments_of_every_kind(self):
        ids = {self.python(".virtualenvs/a", cfg=""): "venv", self.python("miniconda3/envs/b"): "conda",
               self.python(".pyenv/versions/3.11.2"): "pyenv", self.python(".local/share/uv/python/cpython"): "uv",
               self.python("elsewhere/c"): "conda", self.python("proj/.venv", cfg=""): "venv"}
        self.file(".conda/environments.txt", f"{self.home}/elsewhere/c\n{self.home}/gone\n")
        found = self.find(self.home + "/proj")
        self.assertEqual({i: found[i]["source"] for i in ids}, ids)
        self.assertTrue(all(found[i]["ready"] for i in ids))
        mine = self.home + "/proj/.venv/bin/python"
        self.assertEqual((found[mine]["displayName"], found[mine]["argv"][1:]),
                         ("Python 3.11.2 (.venv)", ["-m", "ipykernel_launcher", "-f", "{connection_file}"]))
        self.assertNotIn(mine, self.find(), "only for its project")

    def test_what_is_missing_and_how_to_install_it(self):
        venv, uv = self.python(".virtualenvs/a", False, ""), self.python(".virtualenvs/u", False, "uv = 0.4\n")
        conda = self.python("miniconda3/envs/b", False, "")
        self.file("miniconda3/envs/b/conda-meta/history")
        found = self.find()
        self.assertEqual([found[i]["ready"] for i in (venv, uv, conda)], [False] * 3)
        self.assertEqual(found[venv]["install"], f"{venv} -m pip install ipykernel")
        self.assertEqual(found[uv]["install"], f"uv pip install --python {uv} ipykernel")
        self.assertEqual(found[conda]["install"], f"conda install -y -p {self.home}/miniconda3/envs/b ipykernel")
        self.assertIn("ipykernel is not installed for " + venv, found[venv]["reason"])

    def test_a_venv_that_says_nothing_sees_the_systems_packages(self):
        exe = self.python(".virtualenvs/a", False)
        self.file(".virtualenvs/a/pyvenv.cfg", "home = /usr/bin\nversion = 3.11.2\n")
        self.assertTrue(self.find()[exe]["ready"])

    def test_an_interpreter_knows_better_than_files(self):
        exe = self.python(".virtualenvs/a", False, "")
        packages = f"{self.home}/.virtualenvs/a/lib/python3.11/site-packages"
        self.file("source/ipykernel_launcher.py")
        self.file(packages + "/editable.pth", f"{self.home}/source\n")
        self.assertTrue(self.find()[exe]["ready"])

    def test_scripts_and_shims_are_never_run(self):
        mark = self.home + "/was-run"
        script = f"#!/bin/sh\ntouch {mark}\n"
        self.file("shims/python3", script, 0o755)
        odd = self.file(".virtualenvs/x/bin/python", script, 0o755)
        self.env["PATH"] = self.home + "/shims:/usr/bin:/bin"
        found = self.find()
        self.assertFalse(os.path.exists(mark))
        self.assertFalse(found[odd]["ready"])

    def test_kernelspecs_nearer_ones_first_and_broken_ones_left_out(self):
        spec = {"argv": ["/usr/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": "Mine", "language": "python", "interrupt_mode": "message", "metadata": {"a": 1}}
        self.file(".local/share/jupyter/kernels/python3/kernel.json", json.dumps(spec))
        self.file(".local/share/jupyter/kernels/gone/kernel.json", json.dumps({**spec, "argv": ["/no/such/program"]}))
        for name, text in (("broken", "{"), ("list", "[]"), ("noargv", "{}"), ("numbers", '{"argv":[1]}')):
            self.file(f".local/share/jupyter/kernels/{name}/kernel.json", text)
        found = self.find()
        self.assertEqual((found["python3"]["displayName"], found["python3"]["interruptMode"], found["python3"]["metadata"]),
                         ("Mine", "message", {"a": 1}))
        self.assertEqual(found["gone"]["reason"], "the program /no/such/program of its kernelspec is not there")
        self.assertFalse({"broken", "list", "noargv", "numbers"} & set(found))

    def test_r_without_irkernel(self):
        r = self.file("miniconda3/envs/r/bin/R", "#!/bin/sh\nexit 1\n", 0o755)
        self.file("miniconda3/envs/r/lib/R/library/base/DESCRIPTION", "Package: base\nVersion: 4.3.1\n")
        self.file("miniconda3/envs/r/lib/R/library/IRkernel/DESCRIPTION", "Package: IRkernel\n")
        found = self.find()
        self.assertEqual((found[r]["version"], found[r]["language"], found[r]["ready"]), ("4.3.1", "R", True))


if __name__ == "__main__":
    unittest.main()
