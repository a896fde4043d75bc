"""Completion in real shells: bash, zsh and fish load it, offer commands, options, hosts, and paths of a connected host."""
# parallel: ok

import os
import shutil
import subprocess
import unittest

from harness import ROOT, STAGE, Daemon

FILES = os.path.join(ROOT, "tools/completion")

BASH = r'''
. "$1/towline.bash"
COMP_LINE=$2 COMP_POINT=${#2}
COMP_WORDS=()
# as readline does it: at blanks, and : is a word of its own
for w in $COMP_LINE; do
	while [[ $w == ?*:* || $w == :?* ]]; do
		if [[ $w == :* ]]; then COMP_WORDS+=(:); w=${w#:}; else COMP_WORDS+=("${w%%:*}"); w=:${w#*:}; fi
	done
	COMP_WORDS+=("$w")
done
[[ $COMP_LINE == *' ' || $COMP_LINE == *: ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_towline
printf '%s\n' "${COMPREPLY[@]}"
'''


class Shell:
    def setUp(self):
        if not shutil.which(self.shell):
            self.skipTest(f"no {self.shell}")
        self.d = Daemon(test=self)
        self.d.env["PATH"] = os.path.join(STAGE, "bin") + ":" + self.d.env["PATH"]
        os.mkdir(os.path.join(self.d.home, ".ssh"))
        with open(os.path.join(self.d.home, ".ssh/config"), "w") as f:
            f.write("Host alpha beta\n  User u\nHost *.example !no\n  Port 1\nhost gamma\n")

    def test_commands(self):
        got = self.complete("towline ")
        for c in ("open", "shell", "ls", "status", "help"):
            self.assertIn(c, got)
        self.assertEqual(self.complete("towline op"), ["open"])
        self.assertEqual(self.complete("towline -F x -v stat"), ["status"])
        self.assertIn("connect", self.complete("towline help c"))

    def test_options(self):
        self.assertIn("--no-browser", self.complete("towline open --"))
        self.assertIn("--attach", self.complete("towline shell --"))
        self.assertNotIn("--attach", self.complete("towline open --"))

    def test_ssh_from_the_shell(self):
        """upload, download, exec, tunnel, info and key, with their options, words and hosts."""
        commands = self.complete("towline ")
        for command, option in (("upload", "--verify"), ("download", "--resume"), ("exec", "--script"), ("tunnel", "--once")):
            self.assertIn(command, commands)
            self.assertIn(option, self.complete(f"towline {command} --"), command)
            self.assertIn("alpha", self.complete(f"towline {command} al"), command)
        self.assertIn("alpha", self.complete("towline info al"))
        self.assertEqual(sorted(w for w in self.complete("towline key ") if w in ("list", "new", "add", "copy")), ["add", "copy", "list", "new"])

    def test_hosts_without_a_daemon(self):
        got = self.complete("towline connect ")
        self.assertEqual([h for h in got if h in ("alpha", "beta", "gamma")], ["alpha", "beta", "gamma"])
        self.assertFalse([h for h in got if "*" in h or "!" in h])
        self.assertEqual(self.complete("towline close al"), ["alpha"])
        self.assertEqual(self.complete("towline cat al"), ["alpha:"])
        self.assertIsNone(self.d.pid(), "pressing Tab started the daemon")

    def test_paths(self):
        base = os.path.join(self.d.home, "far")
        os.makedirs(os.path.join(base, "folder one"))
        for name in ("file.txt", "file2.txt", ".hidden"):
            with open(os.path.join(base, name), "w"):
                pass
        line = f"towline cat local:{base}/"
        self.assertEqual(self.paths(line), [], "not connected")
        self.d.towline("connect", "local:")
        self.assertEqual(self.paths(line + "fi"), [f"{base}/file.txt", f"{base}/file2.txt"])
        self.assertIn(f"{base}/folder one/", self.paths(line + "fo"))
        self.assertIn(f"{base}/.hidden", self.paths(line))
        self.assertNotIn(f"{base}/./", self.paths(line))
        self.assertEqual(self.paths(f"towline cat local:{base}/nothing/here/"), [])

    def paths(self, line):
        return [x.replace("\\", "").removeprefix("local:") for x in self.complete(line) if "/" in x]


class Bash(Shell, unittest.TestCase):
    shell = "bash"

    def complete(self, line):
        r = subprocess.run(["bash", "-c", BASH, "bash", FILES, line], env=self.d.env, cwd=self.d.dir, capture_output=True, text=True, timeout=60)
        self.assertEqual(r.stderr, "")
        return sorted(x for x in r.stdout.splitlines() if x)


class Fish(Shell, unittest.TestCase):
    shell = "fish"

    def complete(self, line):
        r = subprocess.run(["fish", "-N", "-c", 'source $argv[1]/towline.fish; complete -C $argv[2]', FILES, line], env=self.d.env, cwd=self.d.dir,
                           capture_output=True, text=True, timeout=60)
        self.assertEqual(r.stderr, "")
        return sorted(x.split("\t")[0] for x in r.stdout.splitlines() if x)


class Zsh(unittest.TestCase):
    """Only that it loads: zsh completes inside its line editor alone."""

    def test_it_is_valid(self):
        if not shutil.which("zsh"):
            self.skipTest("no zsh")
        subprocess.run(["zsh", "-n", os.path.join(FILES, "_towline")], check=True)
        r = subprocess.run(["zsh", "-fc", "fpath=($1 $fpath); autoload -Uz compinit; compinit -u -D; print -r -- $_comps[towline]; autoload +X _towline", "zsh", FILES],
                           capture_output=True, text=True)
        self.assertEqual((r.stdout, r.stderr), ("_towline\n", ""))


if __name__ == "__main__":
    unittest.main()
