"""Atomic words through plain ctypes."""

import os
import subprocess
import sys
import tempfile
import threading
import unittest

from library import CREATE, NO_HANDLER, READ_ONLY, READ_WRITE, MapshareError, atomic, library, open_region, read


class Atomics(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "file")
        self.region = open_region(self.path, flags=CREATE, access=READ_WRITE, length=8192)
        self.addCleanup(library.mapshare_unmap, self.region)

    def refused(self, name, *arguments, region=None, **bits):
        with self.assertRaises(MapshareError) as caught:
            atomic(region or self.region, *arguments, **bits)
        self.assertEqual(caught.exception.name, name, caught.exception.text)

    def test_each_operation_does_what_it_says(self):
        for bits in (32, 64):
            library[f"mapshare_atomic_store_u{bits}"](self.region, 8, 5)
            self.assertEqual(atomic(self.region, 8, "add", -1, bits=bits), (0, 5))
            self.assertEqual(atomic(self.region, 8, "or", 3, bits=bits), (0, 4))
            self.assertEqual(atomic(self.region, 8, "and", 6, bits=bits), (0, 7))
            self.assertEqual(atomic(self.region, 8, "swap", 9, bits=bits), (0, 6))
            self.assertEqual(atomic(self.region, 8, "compare_swap", 8, 1, bits=bits), (0, 9))
            self.assertEqual(atomic(self.region, 8, "compare_swap", 9, 2, bits=bits), (1, 9))
            self.assertEqual(atomic(self.region, 8, "load", bits=bits), (0, 2))
        self.assertEqual(read(self.region, 8, 8), b"\2\0\0\0\0\0\0\0")

    def test_a_thread_sleeps_until_another_wakes_it(self):
        sleeper = threading.Thread(target=library.mapshare_wait, args=(self.region, 8, 0, -1))
        sleeper.start()
        library.mapshare_atomic_store_u32(self.region, 8, 1)
        library.mapshare_wake(self.region, 8, 1)
        sleeper.join(20)
        self.assertFalse(sleeper.is_alive())

    def test_control_c_ends_a_wait(self):
        script = f"""
import library, signal
region = library.open_region({self.path!r})
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
try:
    library.library.mapshare_wait(region, 16, 0, -1)
except library.MapshareError as error:
    print(error.name)
"""
        done = subprocess.run([sys.executable, "-c", script], cwd=os.path.dirname(__file__), capture_output=True, text=True)
        self.assertEqual(done.stdout, "EINTR\n", done.stderr)

    def test_each_code(self):
        self.refused("EINVAL", 4, "load")
        self.refused("EINVAL", 2, "add", 1, bits=32)
        self.refused("ERANGE", 8192, "load")
        self.refused("EBADF", 0, "add", 1, region=1)
        reader = open_region(self.path, access=READ_ONLY)
        self.refused("EACCES", 0, "add", 1, region=reader)
        self.assertEqual(library.mapshare_unmap(reader), 0)
        bare = open_region(self.path, flags=NO_HANDLER, access=READ_WRITE)
        self.refused("ENOTSUP", 0, "add", 1, region=bare)  # Python's name of EOPNOTSUPP
        self.assertEqual(library.mapshare_unmap(bare), 0)
        with self.assertRaises(MapshareError) as caught:
            library.mapshare_wait(self.region, 0, 0, 1000)
        self.assertEqual(caught.exception.name, "ETIMEDOUT")
        os.truncate(self.path, 4096)
        self.refused("ENXIO", 4096, "add", 1)


if __name__ == "__main__":
    unittest.main()
