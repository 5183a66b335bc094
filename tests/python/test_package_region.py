"""Regions through the package: what a user of bytearray, mmap and files expects."""

import doctest
import gc
import importlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import unittest

import package
from package import PAGE, Test

import mapshare


class Bytes(Test):
    def test_indexing_and_slicing_are_those_of_a_bytearray(self):
        data = bytes(range(256)) * (2 * PAGE // 256)
        with self.region(2) as region:
            region.write(0, data)
            same = bytearray(data)
            for key in (0, -1, 5, PAGE, -PAGE, True):
                self.assertEqual(region[key], same[key], key)
            some = [None, 0, 1, -1, 63, 64, PAGE, -PAGE, 2 * PAGE, 3 * PAGE, -3 * PAGE]
            for start in some:
                for stop in some:
                    for step in (None, 1, 2, -1, -3, 100):
                        key = slice(start, stop, step)
                        self.assertEqual(region[key], bytes(same[key]), key)
            for key in (2 * PAGE, -2 * PAGE - 1):
                self.assertRaises(IndexError, region.__getitem__, key)
            self.assertRaises(TypeError, region.__getitem__, "0")
            self.assertRaises(TypeError, region.__getitem__, 1.5)
            self.assertRaises(ValueError, region.__getitem__, slice(0, 9, 0))
            self.assertIs(type(region[0:3]), bytes)
            self.assertEqual(bytes(region), data)
            self.assertIn(200, region)

    def test_assignments_reach_the_file(self):
        with self.region(2) as region, open(self.path(), "rb") as file:
            region[0] = 7
            region[-1] = 9
            region[10:15] = b"hello"
            region[20:25] = bytearray(b"there")
            region[30:38] = memoryview(b"-4-bytes").cast("I")
            region[40:44:2] = b"ab"
            region[2:2] = b""
            bytes_ = file.read()
        self.assertEqual((bytes_[0], bytes_[-1], bytes_[10:15], bytes_[20:25]), (7, 9, b"hello", b"there"))
        self.assertEqual((bytes_[30:38], bytes_[40:44]), (b"-4-bytes", b"a\0b\0"))

    def test_assignments_that_do_not_fit_are_refused_and_change_nothing(self):
        with self.region() as region:
            before = region[:]
            for key, value in (
                (slice(0, 4), b"12345"),
                (slice(0, 4), b"123"),
                (0, 256),
                (0, -1),
                (slice(PAGE, None), b"1"),
            ):
                self.assertRaises(ValueError, region.__setitem__, key, value)
            for key, value in ((0, b"1"), (slice(0, 4), 5), (slice(0, 4), "text"), ("0", 5)):
                self.assertRaises((TypeError, AttributeError), region.__setitem__, key, value)
            self.assertRaises(IndexError, region.__setitem__, PAGE, 1)
            self.assertEqual(region[:], before)

    def test_read_write_fill_and_copy_of_all_lengths(self):
        size = 40 * PAGE  # more than what is copied without a call
        with self.region(40) as region:
            for length in (0, 1, 64, PAGE, size // 2, size):
                data = os.urandom(length)
                region.write(size - length, data)
                self.assertEqual(region.read(size - length, length), data)
                self.assertEqual(region.read(size - length), data)
                into = bytearray(length)
                self.assertEqual(region.read_into(size - length, into), length)
                self.assertEqual(into, data)
                region.write(0, memoryview(data))
                self.assertEqual(region[:length], data)
            region.fill(PAGE, 100, 255)
            self.assertEqual(region.read(PAGE - 1, 102)[1:-1], b"\xff" * 100)
            region[0:5] = b"12345"
            region.copy_from(2, region, 0, 5)
            self.assertEqual(region[0:7], b"1212345")

    def test_buffers_of_every_kind_are_read_into_and_written(self):
        import array

        with self.region() as region:
            numbers = array.array("I", [1, 2, 3])
            region.write(8, numbers)
            back = array.array("I", [0] * 3)
            self.assertEqual(region.read_into(8, back), 12)
            self.assertEqual(back, numbers)
            region.write(8, memoryview(b"a-b-c-")[::2])
            self.assertEqual(region[8:11], b"abc")
            self.assertRaises(TypeError, region.read_into, 0, b"read-only")
            every_other = bytearray(2 * PAGE)
            self.assertEqual(region.read_into(0, memoryview(every_other)[::2]), PAGE)
            self.assertEqual(every_other[16:22], b"a\0b\0c\0")

    def test_a_range_that_leaves_the_region_is_refused_whole(self):
        with self.region() as region:
            for offset, length in ((PAGE, 1), (0, PAGE + 1), (PAGE - 1, 2), (2**64 - 1, 1), (2**63, 100_000)):
                self.refused("ERANGE", region.read_into, offset, bytearray(length))
                self.refused("ERANGE", region.write, offset, b"x" * length)
                self.refused("ERANGE", region.fill, offset, length, 1)
            self.refused("ERANGE", region.read, 0, PAGE + 1)
            self.refused("ERANGE", region.view, 1, PAGE)
            self.refused("EINVAL", region.view, 0, 0)
            self.assertEqual(region[:], bytes(PAGE))

    def test_numbers_that_ctypes_would_cut_are_refused(self):
        with self.region() as region:
            for bad in (-1, 2**64, -(2**64), 2**64 + 1):
                self.assertRaises(ValueError, region.read, bad, 1)
                self.assertRaises(ValueError, region.read_into, bad, bytearray(1))
                self.assertRaises(ValueError, region.write, bad, b"x")
                self.assertRaises(ValueError, region.fill, bad, 1, 0)
                self.assertRaises(ValueError, region.fill, 0, 1, bad)
                self.assertRaises(ValueError, region.view, bad, 1)
                self.assertRaises(ValueError, region.resize, bad)
                self.assertRaises(ValueError, mapshare.open, self.path(), length=bad)
            self.refused("EINVAL", region.fill, 0, 1, 256)
            self.assertRaises(TypeError, mapshare.open, self.path(), lenght=5)
            self.assertRaises(ValueError, mapshare.open, self.path(), "w")
            self.assertRaises(ValueError, mapshare.open, "zero\0byte")
            self.assertRaises(TypeError, mapshare.Region)


class Opening(Test):
    def test_errors_are_the_subclasses_that_python_has_for_them(self):
        self.assertIsInstance(self.refused("ENOENT", mapshare.open, self.path("no")), FileNotFoundError)
        self.region().close()
        self.assertIsInstance(self.refused("EEXIST", self.region, exclusive=True), FileExistsError)
        with mapshare.open(self.path()) as region:
            self.assertIsInstance(self.refused("EACCES", region.write, 0, b"x"), PermissionError)
            self.assertIsInstance(self.refused("EACCES", region.__setitem__, 0, 1), PermissionError)
            self.assertIsInstance(self.refused("EACCES", region.__setitem__, slice(0, 1), b"x"), PermissionError)
        self.refused("EINVAL", mapshare.open, self.path(), offset=100)
        self.refused("ENXIO", mapshare.open, self.path(), length=2 * PAGE)
        self.refused("EINVAL", mapshare.open, self.file(b"", "empty"))
        self.refused("ENODEV", mapshare.open, self.folder)
        os.symlink(self.path(), self.path("link"))
        self.refused("ELOOP", mapshare.open, self.path("link"), no_follow=True)
        self.refused("EBADF", mapshare.open, 9999)

    def test_a_path_is_of_any_kind_and_a_descriptor_stays_the_callers(self):
        import pathlib

        self.file(b"bytes" * PAGE)
        for path in (self.path(), os.fsencode(self.path()), pathlib.Path(self.path())):
            with mapshare.open(path) as region:
                self.assertEqual(region[:5], b"bytes")
        with open(self.path(), "rb") as file:
            region = mapshare.open(file.fileno())
        self.assertEqual(region.info().backing, "fd")
        self.assertEqual(region[:5], b"bytes")
        folder = os.open(self.folder, os.O_RDONLY)
        with mapshare.open("file", dir_fd=folder) as region:
            self.assertEqual(region[:5], b"bytes")
            self.assertIsInstance(
                self.refused("EACCES", mapshare.open, "../file", dir_fd=folder, beneath=True), PermissionError
            )
        os.close(folder)

    def test_modes(self):
        self.file(b"old!" * PAGE)
        with mapshare.open(self.path(), "c") as private, mapshare.open(self.path(), "r+") as shared:
            private[0:4] = b"mine"
            self.assertEqual((private[0:4], shared[0:4]), (b"mine", b"old!"))
            self.refused("EINVAL", private.flush)
            shared[4:8] = b"ours"
            shared.flush()
            shared.flush(0, PAGE, asynchronous=True)
            self.assertEqual([region.info().mode for region in (private, shared)], ["c", "r+"])
            shared.protect("r")
            self.refused("EACCES", shared.__setitem__, 0, 1)
            shared.protect("r+")
            shared[0] = 1
        with open(self.path(), "rb") as file:
            self.assertEqual(file.read(8), b"\x01ld!ours")

    def test_info_and_the_rest(self):
        with self.region(3, reserve=10 * PAGE, permissions=0o640) as region:
            region[0]  # the view that is kept for this does not count
            info, status = region.info(), os.stat(self.path())
            self.assertEqual(
                (info.length, info.reserve, info.file_length, info.views), (3 * PAGE, 10 * PAGE, 3 * PAGE, 0)
            )
            self.assertEqual((info.device, info.inode), (status.st_dev, status.st_ino))
            self.assertEqual(status.st_mode & 0o777 & ~0o640, 0)
            for advice in ("normal", "sequential", "random", "will_need", "dont_need", "huge_pages"):
                region.advise(advice)
            self.assertRaises(ValueError, region.advise, "hurry")
            descriptor = region.fd()
            self.assertFalse(os.get_inheritable(descriptor))
            self.assertEqual(os.fstat(descriptor).st_ino, status.st_ino)
            os.close(descriptor)
            self.assertIn("file", repr(region))
            self.assertTrue(region.name.endswith("file"))
        self.assertIn("closed", repr(region))
        self.assertEqual(mapshare.library_version(), mapshare.__version__)
        mapshare.arm()


class Life(Test):
    def test_a_closed_region_says_so_and_may_be_closed_again(self):
        region = self.region()
        region[0] = 1
        region.close()
        region.close()
        self.assertTrue(region.closed)
        for call in (len, region.flush, region.view, region.info, region.refresh, region.fd, region.read):
            self.refused("EBADF", *([call, region] if call is len else [call]))
        self.refused("EBADF", region.__getitem__, 0)
        self.refused("EBADF", region.__getitem__, slice(0, 5))
        self.refused("EBADF", region.__setitem__, slice(0, 5), b"12345")
        self.refused("EBADF", region.read_into, 0, bytearray(5))

    def test_growing_and_shrinking(self):
        with self.region(1, reserve=8 * PAGE) as region, mapshare.open(self.path(), reserve=8 * PAGE) as other:
            other[0], region[0]
            region.resize(3 * PAGE)
            region[2 * PAGE : 2 * PAGE + 3] = b"new"
            self.assertEqual(other.read(2 * PAGE, 3), b"new", "taken over by the access itself")
            self.assertEqual(other[2 * PAGE : 2 * PAGE + 3], b"new")
            region.resize(20 * PAGE)
            self.assertTrue(other.refresh())
            self.assertFalse(other.refresh())
            self.assertEqual((len(region), len(other)), (20 * PAGE, 20 * PAGE))
            region.resize(10)
            self.assertEqual((len(region), region[0:100]), (10, bytes(10)))

    def test_a_view_is_the_bytes_themselves(self):
        with self.region() as region, mapshare.open(self.path()) as reader:
            view = region.view(8, 16)
            view[0:5] = b"hello"
            self.assertEqual((reader[8:13], len(view), view.format, view.readonly), (b"hello", 16, "B", False))
            with reader.view(8, 5) as shown:
                self.assertTrue(shown.readonly)
                self.assertEqual(bytes(shown), b"hello")
            with self.assertRaises(TypeError):
                reader.view()[0] = 1
            self.refused("EBUSY", region.resize, 10)
            self.refused("EBUSY", region.protect, "r")
            del view

    def test_closing_with_a_view_out_is_a_buffer_error_until_all_of_it_is_gone(self):
        region = self.region()
        view = region.view()
        part = view[10:20]
        region[3] = 4
        for _ in range(2):
            self.assertRaisesRegex(BufferError, "still out", region.close)
            self.assertEqual((region[3], part[0], region.info().views), (4, 0, 1))
            view.release()
        part.release()
        self.assertEqual(region.info().views, 0)
        region.close()

    def test_a_view_outlives_the_last_reference_to_its_region(self):
        view = self.region().view()
        gc.collect()
        view[0:5] = b"still"
        with open(self.path(), "rb") as file:
            self.assertEqual(file.read(5), b"still")
        count = len(os.listdir("/proc/self/fd"))
        del view
        self.assertEqual(len(os.listdir("/proc/self/fd")), count - 1, "the region is gone with its last view")

    def test_numpy_arrays_are_views(self):
        try:
            import numpy
        except ImportError:
            self.skipTest("no numpy")
        region = self.region()
        numbers = numpy.frombuffer(region.view(), dtype="<u4")
        numbers[1] = 0x01020304
        self.assertEqual(region[4:8], b"\x04\x03\x02\x01")
        self.assertRaises(BufferError, region.close)
        del numbers
        region.close()

    def test_the_end_of_a_block_does_not_hide_the_exception_that_leaves_it(self):
        region = self.region()
        with self.assertRaises(KeyError) as caught:
            with region:
                view = region.view()
                raise KeyError("mine")
        if sys.version_info >= (3, 11):
            self.assertIn("failed too", caught.exception.__notes__[0])
        self.assertFalse(region.closed, "it stays open for the view")
        with self.assertRaises(BufferError) as caught:
            with region:
                pass
        self.assertIsInstance(caught.exception.__cause__, OSError)
        view.release()
        region.close()

    def test_a_closed_region_says_that_it_is_closed(self):
        region = self.region()
        region.close()
        self.assertIn("the region is closed", self.refused("EBADF", region.read, 0, 1).strerror)
        self.refused("EBADF", region.__enter__)
        self.assertEqual(self.refused("ENOENT", mapshare.open, self.path("none")).filename, self.path("none"))

    def test_bytes_and_runs_of_bytes_are_looked_for(self):
        with self.region() as region:
            region[10:13] = b"abc"
            self.assertTrue(b"bc" in region and bytearray(b"abc") in region and 97 in region)
            self.assertFalse(b"ac" in region or 98 + 100 in region)
            for wrong in ("abc", None):
                self.assertRaises(TypeError, lambda what=wrong: what in region)
            self.assertRaises(ValueError, lambda: 256 in region)
            self.assertRaisesRegex(TypeError, "region.view", region.__array__)

    def test_pickling_is_refused_with_what_to_do_instead(self):
        with self.region() as region:
            self.assertRaisesRegex(TypeError, "Open it by its path", pickle.dumps, region)

    def test_closing_inside_an_index_does_not_pull_the_bytes_away(self):
        region = self.region()
        region[0:4] = b"1234"

        class Closing:
            def __index__(self):
                try:
                    region.close()
                except BufferError:
                    pass
                return 0

        try:
            self.assertEqual(region[Closing() : 4], b"1234")
        except OSError:
            pass

    def test_what_one_thread_has_used_another_resizes_and_closes_while_the_first_one_waits(self):
        """Without the GIL, objects stay longer than their last use when another thread has made them."""
        region = self.region(8, reserve=16 * PAGE)
        memory = mapshare.anonymous(mapshare.Queue.footprint(64))
        mapshare.Queue.create(memory, 0, 64)
        producer, done = mapshare.Queue(memory, 0, "producer"), []
        with producer.reserve(4):
            self.assertEqual(region[-4:] + region[-4:], bytes(8))
        views = [memory.view()]

        def end():
            region.resize(50 * PAGE)  # it moves
            region.close()
            producer.close()
            views.clear()
            memory.close()
            done.append(True)

        thread = threading.Thread(target=end)
        thread.start()
        thread.join(60)
        self.assertTrue(done)

    def test_threads_that_slice_while_others_resize_and_refresh(self):
        with self.region(2, reserve=8 * PAGE) as region:
            region.fill(0, 100, 7)
            wrong, done = [], threading.Event()

            def slice_it():
                try:
                    while not done.is_set():
                        if region[10:20] != b"\7" * 10 or region[5] != 7:
                            wrong.append("bytes")
                        region[30:40] = b"\7" * 10
                except BaseException as error:
                    wrong.append(error)

            threads = [threading.Thread(target=slice_it) for _ in range(3)]
            [thread.start() for thread in threads]
            for turn in range(300):
                region.resize((2 + turn % 5) * PAGE)
                region.refresh()
            done.set()
            [thread.join() for thread in threads]
            self.assertEqual(wrong, [])

    def test_two_thousand_regions_leave_nothing_behind(self):
        self.region().close()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(2000):
            with mapshare.open(self.path(), "r+") as region:
                region[0], region.view(0, 5)
        mapshare.open(self.path())[0:5]  # not even closed
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class Documentation(unittest.TestCase):
    def test_the_examples_in_the_docstrings_run(self):
        here, examples = os.getcwd(), 0
        self.addCleanup(os.chdir, here)
        for path in sorted((package.ROOT / "python/mapshare").glob("*.py")):
            name = "mapshare" if path.stem == "__init__" else f"mapshare.{path.stem}"
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)
                result = doctest.testmod(importlib.import_module(name), verbose=False, optionflags=doctest.ELLIPSIS)
                os.chdir(here)
                self.assertEqual(result.failed, 0)
                examples += result.attempted
        self.assertGreater(examples, 15)

    def test_the_readmes_program_runs(self):
        text = (package.ROOT / "python/README.md").read_text()
        program = text.partition("```python\n")[2].partition("```")[0]
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", program]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.stdout, done.stderr), ("b'hello' 111 4096\nb'hello'\n", ""))


if __name__ == "__main__":
    unittest.main()
