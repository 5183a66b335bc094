"""Runs CPython's own tests of mmap with mapshare.mmap in its place.

`python3 cpython_mmap.py`: on the test package of the running Python, in the working directory, where they leave
nothing.
"""

import contextlib
import io
import sys
import unittest

import package  # noqa: F401

import mapshare.mmap

# Test, whether it is skipped, why.
SKIPPED = [
    (
        "MmapTests.test_basic",
        sys.version_info < (3, 12),
        "searches with re, which needs a buffer: pure Python has those since 3.12",
    ),
]


def main():
    sys.modules["mmap"] = mapshare.mmap
    try:
        from test import support, test_mmap
    except ImportError as error:
        print(f"SKIPPED: {error}: this Python has no test package (Debian: libpython3-testsuite)")
        return 0
    assert test_mmap.mmap is mapshare.mmap
    support.verbose = False
    for name, is_skipped, reason in SKIPPED:
        if is_skipped:
            case, method = name.split(".")
            getattr(test_mmap, case)  # a name that is no more is an error
            setattr(getattr(test_mmap, case), method, unittest.skip(reason)(getattr(getattr(test_mmap, case), method)))
    suite = unittest.TestSuite()
    loader = unittest.TestLoader()
    for case in (test_mmap.MmapTests, test_mmap.LargeMmapTests):
        suite.addTests(loader.loadTestsFromTestCase(case))
    with contextlib.redirect_stdout(io.StringIO()):  # the large ones tell what they do
        result = unittest.TextTestRunner(verbosity=2).run(suite)
    print(f"{result.testsRun} run, {len(result.skipped)} skipped, {len(result.failures) + len(result.errors)} failed")
    for test, reason in result.skipped:
        print(f"skipped {test.id()}: {reason}")
    return 0 if result.wasSuccessful() and result.testsRun > 30 else 1


if __name__ == "__main__":
    sys.exit(main())
