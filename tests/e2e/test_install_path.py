"""remote.SSH.serverInstallPath of the user's settings: where the server is installed on which host (row C1)."""
# parallel: ok
import json
import os
import unittest

from harness import Daemon, Sshd


class InstallPath(unittest.TestCase):
    def setUp(self):
        self.host = Sshd(test=self)
        self.local = Daemon(self.host, test=self)

    def settings(self, value):
        folder = os.path.join(self.local.config_home, "towline", "User")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "settings.json"), "w") as f:
            f.write("{ // as the window writes it\n\"remote.SSH.serverInstallPath\": %s, }" % json.dumps(value))

    def there(self, *path):
        return os.path.isdir(os.path.join(self.host.home, *path, "bin"))

    def test_first_pattern_that_fits_counts(self):
        self.settings({"other": "~/wrong", "de*": "~/tools/towline", "*": "~/wrong"})
        self.local.towline("connect", "demo")
        self.assertTrue(self.there("tools", "towline"))
        self.assertFalse(self.there("wrong") or self.there(".towline-server"))
        # the agent lives there, too: what is made now is found again
        id = self.local.towline("shell", "demo", "--detach", "--", "sleep 1000").stdout.strip()
        self.local.towline("stop")
        self.assertIn(id, self.local.towline("shell", "demo", "--list").stdout)
        self.assertFalse(self.there(".towline-server"))

    def test_usual_place_for_the_others(self):
        self.settings({"other": "~/wrong"})
        self.local.towline("connect", "demo")
        self.assertTrue(self.there(".towline-server"))

    def test_absolute_path_and_empty_one(self):
        self.settings({"demo": os.path.join(self.host.home, "abs")})
        self.local.towline("connect", "demo")
        self.assertTrue(self.there("abs"))
        self.local.towline("close", "demo")
        self.settings({"demo": "", "*": "~/wrong"})
        self.local.towline("connect", "demo")
        self.assertTrue(self.there(".towline-server"))
        self.assertFalse(self.there("wrong"))

    def test_programs_that_connect_by_themselves(self):
        self.settings({"demo": "~/tools/towline"})
        self.local.towline("connect", "demo")
        self.local.stop_daemon()
        r = self.local.towline("exec", "demo", "-c", "readlink /proc/$PPID/exe")
        self.assertIn("/tools/towline/bin/", r.stdout)
        self.assertFalse(self.there(".towline-server"))

    def test_what_makes_no_sense_is_said(self):
        for value, words in (("~/x", "is not a map"), ({"demo": 7}, "has no path for"), ({"demo": "x/y"}, "absolute path")):
            self.settings(value)
            r = self.local.towline("connect", "demo", check=False)
            self.assertNotEqual(r.returncode, 0, value)
            self.assertIn(words, r.stderr)
        self.settings({"demo": "~/fine"})
        self.local.towline("connect", "demo")
        self.assertTrue(self.there("fine"))


if __name__ == "__main__":
    unittest.main()
