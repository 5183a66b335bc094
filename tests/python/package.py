"""The package `mapshare`: of this source tree, or with MAPSHARE_INSTALLED=1 the one that is installed."""

import errno
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

if not os.environ.get("MAPSHARE_INSTALLED"):
    import library

    os.environ["MAPSHARE_LIBRARY"] = library.find()
    sys.path.insert(0, str(ROOT / "python"))
    # For the Pythons that tests start.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "python"), os.environ.get("PYTHONPATH", "")])

import mapshare  # noqa: E402

# Where a shell has started this in the background, Ctrl-C is ignored, and would be in the Pythons that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

PAGE = os.sysconf("SC_PAGESIZE")


class Test(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name="file"):
        return os.path.join(self.folder, name)

    def file(self, data=b"", name="file"):
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def region(self, pages=1, name="file", **options):
        """A new file's region."""
        options = {"create": True, "length": pages * PAGE, **options}
        return mapshare.open(self.path(name), "r+", **options)

    def until(self, true, what):
        """Waits for a condition that other threads or processes bring about."""
        end = time.monotonic() + 60
        while not true():
            self.assertLess(time.monotonic(), end, f"waited for a minute, until {what}")
            time.sleep(0.001)

    def refused(self, code, function, *arguments, **options):
        """The call raises OSError with the code, and the library's sentence, which ends with the code's name."""
        with self.assertRaises(OSError) as caught:
            function(*arguments, **options)
        self.assertEqual(caught.exception.errno, getattr(errno, code), caught.exception)
        self.assertTrue(caught.exception.strerror.startswith("mapshare_"), caught.exception)
        self.assertTrue(caught.exception.strerror.endswith(f"({code})"), caught.exception)
        return caught.exception


class Script:
    """Another Python, which tells by lines where it is, and goes on when it gets one."""

    def __init__(self, case, text, *arguments, **options):
        command = [sys.executable, "-c", "import mapshare, os, socket, sys\n" + text, *map(str, arguments)]
        self.process = subprocess.Popen(
            command, cwd=case.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
        )
        case.addCleanup(self.end)

    def line(self):
        """Its next line: empty when it has ended."""
        return self.process.stdout.readline().rstrip("\n")

    def tell(self, text="go on"):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def kill(self):
        """Returns when it is dead, so that the kernel has freed all that was its."""
        self.process.kill()
        self.process.wait(60)

    def end(self):
        self.process.kill()
        self.process.communicate()
