"""`mapshare.mmap`: CPython's own tests of mmap, and what they cannot ask of mmap."""

import mmap
import os
import subprocess
import sys
import unittest

from package import PAGE, Test

import mapshare.mmap

HERE = os.path.dirname(os.path.abspath(__file__))


class Mmap(Test):
    def test_cpythons_own_tests_pass(self):
        command = [sys.executable, "-B", "-W", "ignore", os.path.join(HERE, "cpython_mmap.py")]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=300)
        if done.stdout.startswith("SKIPPED"):
            self.skipTest(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_name_of_the_standard_module_is_there(self):
        # set_name and the like of later versions would be missing: then this test says so.
        for name in dir(mmap):
            self.assertTrue(hasattr(mapshare.mmap, name), name)
        windows_or_debug = {"_protect"}
        for name in set(dir(mmap.mmap)) - set(dir(object)) - windows_or_debug:
            if name not in {
                "__add__",
                "__mul__",
                "__rmul__",
                "__delitem__",
                "__release_buffer__",
            }:  # all of them refuse
                self.assertTrue(hasattr(mapshare.mmap.mmap, name), name)

    def test_bytes_that_the_file_has_lost_are_an_error_where_mmap_dies(self):
        file = os.open(self.file(b"line\n" * PAGE), os.O_RDWR)
        mapped = mapshare.mmap.mmap(file, 0)
        mapped.seek(2 * PAGE)
        os.ftruncate(file, 0)
        for call in (mapped.read, mapped.readline, mapped.read_byte, lambda: mapped.find(b"line"), lambda: mapped[-1]):
            self.refused("ENXIO", call)
        self.refused("ENXIO", mapped.write, b"x")
        mapped.close()
        os.close(file)

    def test_a_view_keeps_it_open(self):
        with mapshare.mmap.mmap(-1, PAGE) as mapped:
            view = mapped.view()
            view[0] = 65
            self.assertEqual(mapped[0], 65)
            self.assertRaises(BufferError, mapped.close)
            self.assertRaises(BufferError, mapped.resize, 10)
            if sys.version_info >= (3, 12):
                self.assertEqual(bytes(memoryview(mapped)[:1]), b"A")
            del view

    def test_a_child_of_fork_shares_anonymous_bytes(self):
        with mapshare.mmap.mmap(-1, PAGE) as mapped:
            child = os.fork()
            if child == 0:
                mapped[0:5] = b"child"
                os._exit(0)
            os.waitpid(child, 0)
            self.assertEqual(mapped[0:5], b"child")


if __name__ == "__main__":
    unittest.main()
