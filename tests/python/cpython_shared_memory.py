"""Runs CPython's own tests of multiprocessing.shared_memory with mapshare.shared_memory in its place.

`python3 cpython_shared_memory.py`: on the test package of the running Python, with the start method fork, since a
Python that is started anew would take the standard library's.
"""

import multiprocessing
import sys
import unittest

import package  # noqa: F401

import mapshare.shared_memory

TRACKER = "is about the resource tracker, which there is none of here: nothing is removed but by unlink"
SKIPPED = {
    "test_shared_memory_cleaned_after_process_termination": TRACKER,
    "test_shared_memory_untracking": TRACKER,
    "test_shared_memory_tracking": TRACKER,
}


def main():
    sys.modules["multiprocessing.shared_memory"] = multiprocessing.shared_memory = mapshare.shared_memory
    try:
        from test import _test_multiprocessing as theirs
    except ImportError as error:
        print(f"SKIPPED: {error}: this Python has no test package (Debian: libpython3-testsuite)")
        return 0
    assert theirs.shared_memory is mapshare.shared_memory
    assert multiprocessing.managers.shared_memory is mapshare.shared_memory
    for name, reason in SKIPPED.items():
        if hasattr(theirs._TestSharedMemory, name):  # some came with later versions
            setattr(theirs._TestSharedMemory, name, unittest.skip(reason)(getattr(theirs._TestSharedMemory, name)))
    names = {"__name__": __name__}
    theirs.install_tests_in_module_dict(names, "fork")
    case = names["WithProcessesTestSharedMemory"]
    names["setUpModule"]()
    try:
        result = unittest.TextTestRunner(verbosity=2).run(unittest.TestLoader().loadTestsFromTestCase(case))
    finally:
        names["tearDownModule"]()
    print(f"{result.testsRun} run, {len(result.skipped)} skipped, {len(result.failures) + len(result.errors)} failed")
    for test, reason in result.skipped:
        print(f"skipped {test.id()}: {reason}")
    return 0 if result.wasSuccessful() and result.testsRun >= 8 else 1


if __name__ == "__main__":
    sys.exit(main())
