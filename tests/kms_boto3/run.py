"""Runs every test of this folder and writes what came of each as JSON.

Usage: run.py RESULT. The environment says where the daemons are (see support.py).
"""

import json
import pathlib
import sys
import time
import unittest


class Result(unittest.TextTestResult):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.outcomes = {}

    def startTest(self, test):
        super().startTest(test)
        self.outcomes[test.id()] = "passed"

    def addSuccess(self, test):
        super().addSuccess(test)

    def _bad(self, test, outcome):
        # A subtest counts as its test.
        test = getattr(test, "test_case", test)
        self.outcomes[test.id()] = outcome

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._bad(test, "failed")

    def addError(self, test, err):
        super().addError(test, err)
        self._bad(test, "error")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._bad(test, "skipped")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._bad(test, "failed")


def main(result_path):
    here = pathlib.Path(__file__).parent
    loader = unittest.TestLoader()
    # Cases by their number, the rest by what they promise.
    loader.testMethodPrefix = ("case_", "test_")
    suite = loader.discover(str(here), pattern="test_*.py", top_level_dir=str(here))
    started = time.monotonic()
    runner = unittest.TextTestRunner(stream=sys.stderr, verbosity=2, resultclass=Result)
    result = runner.run(suite)
    tests = [{"name": name.rsplit(".", 1)[-1], "outcome": outcome}
             for name, outcome in sorted(result.outcomes.items())]
    # What failed outside of a test, such as an import.
    broken = [str(error) for error in loader.errors]
    seconds = round(time.monotonic() - started, 1)
    report = {"tests": tests, "broken": broken, "seconds": seconds}
    pathlib.Path(result_path).write_text(json.dumps(report, indent=1), encoding="utf-8")
    return 0 if result.wasSuccessful() and not broken else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
