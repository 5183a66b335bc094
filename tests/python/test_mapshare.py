"""Each trap and code through ctypes, from a Python that knows only the header.

Run: MAPSHARE_LIBRARY=target/debug/libmapshare.so python3 -m unittest discover -s tests/python
"""

import ctypes
import errno
import mmap
import os
import resource
import socket
import subprocess
import sys
import tempfile
import unittest

import library
from library import COPY_ON_WRITE, CREATE, READ_ONLY, READ_WRITE, Info, MapshareError, Options, open_region, read, write

mapshare = library.library


class Test(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o777)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def file(self, name, data=b""):
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def region(self, path, **options):
        region = open_region(path, **options)
        self.addCleanup(self.close, region)
        return region

    @staticmethod
    def close(region):
        try:
            mapshare.mapshare_unmap(region)
        except MapshareError:
            pass  # the test has unmapped it

    def refused(self, code, words, function, *arguments, **options):
        """The call gives the code, and the last error has the words and the code's name."""
        with self.assertRaises(MapshareError) as caught:
            function(*arguments, **options)
        error = caught.exception
        self.assertEqual(error.name, code, error.text)
        self.assertTrue(error.text.startswith("mapshare_") and error.text.endswith(f"({code})"), error.text)
        for word in words:
            self.assertIn(word, error.text)


class Traps(Test):
    def test_1_an_empty_file_with_a_length_is_enxio_or_extended(self):
        path = self.file("empty")
        self.refused("ENXIO", ["0 bytes", "4096", "MAPSHARE_CREATE"], open_region, path, length=4096)
        region = self.region(path, length=4096, flags=CREATE, access=READ_WRITE)
        self.assertEqual(read(region, 0, 4096), bytes(4096))

    def test_2_an_empty_file_without_a_length_is_einval(self):
        self.refused("EINVAL", ["no byte", "length"], open_region, self.file("empty"))

    def test_3_and_10_a_file_that_may_only_be_read(self):
        path = self.file("readable", b"f" * 4096)
        os.chmod(path, 0o444)
        script = (
            "import os, sys; sys.path.insert(0, sys.argv[1]); import library as l\n"
            "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "try: l.open_region(sys.argv[2], access=1); sys.exit('it opened')\n"
            "except l.MapshareError as error: print(error.text)\n"
            "region = l.open_region(sys.argv[2], access=2)\n"
            "l.write(region, 0, b'mine'); assert l.read(region, 0, 5) == b'minef'\n"
        )
        here = os.path.dirname(os.path.abspath(__file__))
        environment = dict(os.environ, MAPSHARE_LIBRARY=library.find())
        command = [sys.executable, "-B", "-c", script, here, path]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if "PermissionError" in done.stderr or "ModuleNotFoundError" in done.stderr:
            self.skipTest("the user nobody cannot read Python or this directory")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("(EACCES)", done.stdout)
        self.assertIn("MAPSHARE_COPY_ON_WRITE", done.stdout)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"f" * 4096)

    def test_4_a_descriptor_that_grants_less_is_eacces(self):
        path = self.file("file", bytes(4096))
        writing, reading = os.open(path, os.O_WRONLY), os.open(path, os.O_RDONLY)
        for access in READ_ONLY, READ_WRITE, COPY_ON_WRITE:
            self.refused("EACCES", ["writing only", "O_RDWR"], open_region, writing, access=access)
        self.refused("EACCES", ["reading only", "O_RDWR"], open_region, reading, access=READ_WRITE)
        os.close(writing)
        os.close(reading)

    def test_5_the_descriptor_may_be_closed_after_mapping(self):
        path = self.file("file", bytes(4096))
        descriptor = os.open(path, os.O_RDWR)
        region = self.region(descriptor, access=READ_WRITE)
        os.close(descriptor)
        write(region, 0, b"open")
        with open(path, "rb") as file:
            self.assertEqual(file.read(4), b"open")

    def test_6_a_misaligned_offset_is_einval_and_the_nearest_are_named(self):
        page = mmap.PAGESIZE
        path = self.file("file", bytes(3 * page))
        words = [str(page + 1), str(page), str(2 * page)]
        self.refused("EINVAL", words, open_region, path, offset=page + 1)

    def test_7_an_access_past_the_region_is_erange(self):
        region = self.region(self.file("file", b"x" * 100), access=READ_WRITE)
        for offset, length in [(0, 101), (100, 1), (2**64 - 1, 1), (2**64 - 1, 2)]:
            words = [str(offset), str(length), "100 bytes"]
            self.refused("ERANGE", words, read, region, offset, length)
            self.refused("ERANGE", words, write, region, offset, b"y" * length)
        self.assertEqual(read(region, 0, 100), b"x" * 100)

    def test_8_unmap_twice_or_of_something_else_is_ebadf(self):
        region = open_region(self.file("file", b"x"))
        mapshare.mapshare_unmap(region)
        for token in [region, None, 1, 2**64 - 1]:
            self.refused("EBADF", ["not an open region"], mapshare.mapshare_unmap, token)

    def test_9_private_writes_stay_and_flush_says_so(self):
        path = self.file("file", b"f" * 4096)
        region = self.region(path, access=COPY_ON_WRITE)
        write(region, 0, b"mine")
        self.refused("EINVAL", ["never reach the file"], mapshare.mapshare_flush, region, 0, 0, 0)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"f" * 4096)


class Codes(Test):
    def test_arguments(self):
        path = self.file("file", bytes(4096))
        region = self.region(path, access=READ_WRITE)
        for words, call, *arguments in [
            (["'buffer' is NULL"], mapshare.mapshare_read, region, 0, None, 1),
            (["'buffer' is NULL"], mapshare.mapshare_write, region, 0, None, 1),
            (["256"], mapshare.mapshare_fill, region, 0, 1, 256),
            (["0x2"], mapshare.mapshare_flush, region, 0, 0, 2),
            (["advice is 6"], mapshare.mapshare_advise, region, 0, 0, 6),
            (["access is 3"], mapshare.mapshare_protect, region, 3),
            (["shared"], mapshare.mapshare_protect, region, COPY_ON_WRITE),
            (["length is 0"], mapshare.mapshare_resize, region, 0),
            (["'ret_pointer' is NULL"], mapshare.mapshare_view, region, 0, 1, None),
            (["0x7"], mapshare.mapshare_release, region, 7),
            (["'ret_info' is NULL"], mapshare.mapshare_info, region, None, 88),
            (["'path' is NULL"], open_region, None),
            (["'ret_region' is NULL"], mapshare.mapshare_open, os.fsencode(path), None, 0, None),
        ]:
            self.refused("EINVAL", words, call, *arguments)
        self.refused("EINVAL", ["0x40000000"], open_region, path, flags=1 << 30)

    def test_options_of_a_newer_header(self):
        path, region = os.fsencode(self.file("file", bytes(4096))), ctypes.c_void_p()
        newer = ctypes.create_string_buffer(48)
        mapshare.mapshare_open(path, newer, 48, ctypes.byref(region))
        mapshare.mapshare_unmap(region)
        newer[47] = b"\x01"
        words = ["48 bytes", "first 40"]
        self.refused("E2BIG", words, mapshare.mapshare_open, path, newer, 48, ctypes.byref(region))

    def test_paths(self):
        file = self.file("file", bytes(10))
        os.symlink("file", self.path("link"))
        os.symlink("circle", self.path("circle"))
        os.mkfifo(self.path("fifo"))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path("socket"))
        for code, path, options in [
            ("ENOENT", self.path("missing"), {}),
            ("ENOTDIR", self.path("file/below"), {}),
            ("ENAMETOOLONG", self.path("x" * 256), {}),
            ("ELOOP", self.path("circle"), {}),
            ("ELOOP", self.path("link"), {"flags": library.NO_FOLLOW}),
            ("EEXIST", file, {"flags": CREATE | library.EXCLUSIVE, "access": READ_WRITE, "length": 1}),
            ("ENODEV", self.folder, {}),
            ("ENODEV", self.path("fifo"), {"access": READ_WRITE}),
            ("ENODEV", self.path("socket"), {}),
            ("ENODEV", "/dev/null", {}),
            ("ENODEV", "/proc/self/maps", {}),
        ]:
            self.refused(code, [path], open_region, path, **options)

    def test_descriptors(self):
        self.refused("EBADF", ["999999"], open_region, 999999)
        region = ctypes.c_void_p()
        self.refused("EBADF", [], mapshare.mapshare_open_at, -1, b"file", None, 0, ctypes.byref(region))

    def test_limits(self):
        region = self.region(self.file("file", bytes(4096)), access=READ_WRITE)
        reserve = {"flags": CREATE, "access": READ_WRITE, "length": 10, "reserve": 1 << 60}
        self.refused("ENOMEM", ["address space"], open_region, self.path("new"), **reserve)
        huge = {"flags": CREATE, "access": READ_WRITE, "length": 1 << 62}
        with self.assertRaises(MapshareError) as caught:
            open_region(self.path("new"), **huge)
        self.assertIn(caught.exception.name, ["ENOSPC", "ENOMEM"])
        self.assertEqual(os.listdir(self.folder), ["file"])
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))  # stdin has taken it
        try:
            self.refused("EMFILE", [], mapshare.mapshare_fd, region)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_views_and_rights(self):
        region = self.region(self.path("file"), flags=CREATE, access=READ_WRITE, length=4096)
        view = ctypes.c_void_p()
        mapshare.mapshare_view(region, 0, 4096, ctypes.byref(view))
        self.refused("EBUSY", ["1 view"], mapshare.mapshare_unmap, region)
        self.refused("EBUSY", ["1 view"], mapshare.mapshare_resize, region, 100)
        self.refused("EBUSY", ["1 view"], mapshare.mapshare_protect, region, READ_ONLY)
        memory = (ctypes.c_char * 4096).from_address(view.value)
        memory[0:5] = b"hello"
        self.assertEqual(read(region, 0, 5), b"hello")
        mapshare.mapshare_release(region, view)
        self.refused("EINVAL", [], mapshare.mapshare_release, region, view)
        mapshare.mapshare_protect(region, READ_ONLY)
        self.refused("EACCES", ["MAPSHARE_READ_ONLY"], write, region, 0, b"x")
        self.refused("EACCES", ["MAPSHARE_READ_ONLY"], mapshare.mapshare_resize, region, 100)

    def test_each_code_has_a_sentence(self):
        for code in [errno.EINVAL, errno.EBADF, errno.ENXIO, errno.ERANGE, errno.ENOSPC, errno.EBUSY, errno.ENODEV]:
            self.assertEqual(mapshare.mapshare_strerror(code), mapshare.mapshare_strerror(-code))
            self.assertNotIn(b"errno(3)", mapshare.mapshare_strerror(code))
        self.assertEqual(mapshare.mapshare_strerror(0), b"success")


class Sharing(Test):
    def test_python_and_another_process_share_bytes(self):
        path = self.path("file")
        region = self.region(path, flags=CREATE, access=READ_WRITE, length=4096, reserve=1 << 20)
        script = (
            "import sys; sys.path.insert(0, sys.argv[1]); import library as l\n"
            "region = l.open_region(sys.argv[2], access=1)\n"
            "assert l.read(region, 0, 6) == b'parent'\n"
            "l.library.mapshare_resize(region, 10000); l.write(region, 9995, b'child')\n"
        )
        write(region, 0, b"parent")
        here = os.path.dirname(os.path.abspath(__file__))
        environment = dict(os.environ, MAPSHARE_LIBRARY=library.find())
        subprocess.run([sys.executable, "-B", "-c", script, here, path], env=environment, check=True)
        self.assertEqual(mapshare.mapshare_length(region), 4096)
        self.assertEqual(read(region, 9995, 5), b"child")
        self.assertEqual((mapshare.mapshare_length(region), mapshare.mapshare_refresh(region)), (10000, 0))

    def test_info(self):
        path = self.file("file", bytes(10000))
        region, info = self.region(path, length=5000, offset=4096), Info()
        mapshare.mapshare_info(region, ctypes.byref(info), ctypes.sizeof(info))
        self.assertEqual((info.length, info.offset, info.file_length), (5000, 4096, 10000))
        self.assertEqual(info.inode, os.stat(path).st_ino)

    def test_beneath(self):
        self.file("file", b"bytes")
        os.symlink("file", self.path("link"))
        directory = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        self.addCleanup(os.close, directory)

        def open_at(path):
            options, region = Options(flags=library.BENEATH), ctypes.c_void_p()
            arguments = ctypes.byref(options), ctypes.sizeof(options), ctypes.byref(region)
            mapshare.mapshare_open_at(directory, path, *arguments)
            self.addCleanup(self.close, region)
            return region

        self.assertEqual(read(open_at(b"file"), 0, 5), b"bytes")
        self.refused("ELOOP", ["symbolic link", "MAPSHARE_BENEATH"], open_at, b"link")
        self.refused("EACCES", ["leads out"], open_at, b"../file")
        self.refused("EACCES", ["leads out"], open_at, os.fsencode(self.path("file")))

    def test_the_rest(self):
        region = self.region(self.path("file"), flags=CREATE, access=READ_WRITE, length=100)
        mapshare.mapshare_fill(region, 0, 10, ord("a"))
        mapshare.mapshare_copy(region, 5, region, 0, 10)
        self.assertEqual(read(region, 0, 16), b"a" * 15 + b"\0")
        mapshare.mapshare_flush(region, 0, 0, library.FLUSH_ASYNC)
        descriptor = mapshare.mapshare_fd(region)
        self.assertFalse(os.get_inheritable(descriptor))
        os.close(descriptor)
        self.assertEqual(ctypes.sizeof(Options), 40)
        self.assertRegex(mapshare.mapshare_version(), rb"^\d+\.\d+\.\d+$")


if __name__ == "__main__":
    unittest.main()
