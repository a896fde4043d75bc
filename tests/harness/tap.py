"""Runs the unittest cases of one file and prints TAP, one line per test as soon as it ended.

usage: python3 -m harness.tap FILE [NAME...]     NAME: Class or Class.test
"""
import importlib.util
import os
import sys
import unittest


class TapResult(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.count = self.bad = 0
        self._subs = []

    def _line(self, ok, test, note=""):
        self.count += 1
        self.bad += not ok
        name = test.id() if hasattr(test, "id") else str(test)
        name = name.split(".", 1)[-1] if name.startswith("suite.") else name
        print(f"{'ok' if ok else 'not ok'} {self.count} - {name}{note}", flush=True)

    def _why(self, test, err):
        # unittest's own way: without its own frames
        for line in self._exc_info_to_string(err, test).rstrip().splitlines():
            print(f"#   {line}", flush=True)

    def startTest(self, test):
        super().startTest(test)
        self._subs = []

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._subs.append(str(subtest))
            print(f"#   {subtest}", flush=True)
            self._why(test, err)

    def stopTest(self, test):
        # a test with failed subtests gets neither addSuccess nor addFailure
        if self._subs:
            self._line(False, test)
        self._subs = []
        super().stopTest(test)

    def addSuccess(self, test):
        if not self._subs:
            self._line(True, test)

    def addFailure(self, test, err):
        self._why(test, err)
        self._subs = []
        self._line(False, test)

    addError = addFailure

    def addSkip(self, test, reason):
        self._line(True, test, f" # SKIP {reason}")

    def addExpectedFailure(self, test, err):
        self._line(True, test)

    def addUnexpectedSuccess(self, test):
        self._line(False, test, " (was expected to fail)")


def main(path, names):
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    spec = importlib.util.spec_from_file_location("suite", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["suite"] = module
    spec.loader.exec_module(module)
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = TapResult()
    suite.run(result)
    print(f"1..{result.count}", flush=True)
    return 1 if result.bad or not result.count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
