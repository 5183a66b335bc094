"""Names of shared memory through ctypes, and their twin in the standard library: multiprocessing.shared_memory."""

import ctypes
import os
import subprocess
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

import library
from library import CREATE, EXCLUSIVE, READ_ONLY, READ_WRITE, UNLINK_LAST, Info, open_named, read, write
from test_mapshare import Test

mapshare = library.library


class Names(Test):
    def setUp(self):
        super().setUp()
        self.name = f"mapshare-python-test-{os.getpid()}-{self.id()}"
        self.addCleanup(lambda: os.path.exists(self.place()) and os.unlink(self.place()))

    def place(self):
        return "/dev/shm/" + self.name

    def named(self, name=None, **options):
        region = open_named(name or self.name, **options)
        self.addCleanup(self.close, region)
        return region

    def test_what_mapshare_made_is_there_for_shared_memory(self):
        region = self.named(flags=CREATE, access=READ_WRITE, length=5000)
        write(region, 4000, b"from mapshare")
        # In a process of its own that knows the standard library only.
        script = (
            "import sys; from multiprocessing import resource_tracker, shared_memory\n"
            "memory = shared_memory.SharedMemory(sys.argv[1])\n"
            "resource_tracker.unregister('/' + memory.name, 'shared_memory')\n"
            "assert memory.size == 5000 and bytes(memory.buf[4000:4013]) == b'from mapshare'\n"
            "memory.buf[0:11] = b'from Python'; memory.close()\n"
        )
        subprocess.run([sys.executable, "-B", "-c", script, self.name], check=True)
        self.assertEqual(read(region, 0, 11), b"from Python")

    def test_what_shared_memory_made_is_there_for_mapshare(self):
        memory = SharedMemory(self.name, create=True, size=6000)
        try:
            memory.buf[10:15] = b"hello"
            for name in self.name, "/" + self.name:
                region = self.named(name, access=READ_WRITE)
                self.assertEqual((mapshare.mapshare_length(region), read(region, 10, 5)), (6000, b"hello"))
            write(region, 20, b"answer")
            self.assertEqual(bytes(memory.buf[20:26]), b"answer")
            info = Info()
            mapshare.mapshare_info(region, ctypes.byref(info), ctypes.sizeof(info))
            self.assertEqual((info.backing, info.inode), (2, os.stat(self.place()).st_ino))
            exists = {"flags": CREATE | EXCLUSIVE, "access": READ_WRITE, "length": 1}
            self.refused("EEXIST", [self.name], open_named, self.name, **exists)
            last = {"flags": CREATE | UNLINK_LAST, "access": READ_WRITE, "length": 1}
            self.refused("EEXIST", ["MAPSHARE_UNLINK_LAST"], open_named, self.name, **last)
        finally:
            memory.close()
            resource_tracker.unregister("/" + memory.name, "shared_memory")
        mapshare.mapshare_unlink_named(self.name.encode())
        with self.assertRaises(FileNotFoundError):
            SharedMemory(self.name)

    def test_the_name_goes_with_the_last_user(self):
        region = self.named(flags=CREATE | UNLINK_LAST, access=READ_WRITE, length=100)
        other = self.named(access=READ_ONLY)
        mapshare.mapshare_unmap(region)
        self.assertEqual(mapshare.mapshare_sweep_named(self.name.encode()), 0)
        self.assertTrue(os.path.exists(self.place()))
        mapshare.mapshare_unmap(other)
        self.assertFalse(os.path.exists(self.place()))

    def test_a_sweep_takes_what_the_killed_have_left(self):
        script = (
            "import os, signal, sys; sys.path.insert(0, sys.argv[1]); import library as l\n"
            "l.open_named(sys.argv[2], flags=l.CREATE | l.UNLINK_LAST, access=1, length=100)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        here = os.path.dirname(os.path.abspath(__file__))
        environment = dict(os.environ, MAPSHARE_LIBRARY=library.find())
        done = subprocess.run([sys.executable, "-B", "-c", script, here, self.name], env=environment)
        self.assertEqual((done.returncode, os.path.exists(self.place())), (-9, True))
        self.assertEqual(mapshare.mapshare_sweep_named(self.name.encode()), 1)
        self.assertFalse(os.path.exists(self.place()))

    def test_codes(self):
        os.symlink("/etc/passwd", self.place())
        self.refused("ELOOP", ["symbolic link"], open_named, self.name)
        self.refused("ELOOP", ["symbolic link"], mapshare.mapshare_unlink_named, self.name.encode())
        os.unlink(self.place())
        os.mkfifo(self.place())
        self.refused("ENODEV", ["FIFO"], open_named, self.name, access=READ_WRITE)
        os.unlink(self.place())
        for code, name in [("EINVAL", ""), ("EINVAL", "a/b"), ("EINVAL", ".."), ("ENAMETOOLONG", "x" * 256)]:
            self.refused(code, [], open_named, name)
            self.refused(code, [], mapshare.mapshare_unlink_named, name.encode())
        self.refused("ENOENT", [self.name], open_named, self.name)
        self.refused("ENOENT", [self.name], mapshare.mapshare_unlink_named, self.name.encode())
        self.refused("EINVAL", ["slash"], mapshare.mapshare_sweep_named, b"a/b")
        self.refused("EINVAL", ["NULL"], mapshare.mapshare_sweep_named, None)
        mode = {"flags": CREATE | UNLINK_LAST, "access": READ_WRITE, "length": 1, "mode": 0o777}
        self.refused("EINVAL", ["MAPSHARE_UNLINK_LAST"], open_named, self.name, **mode)
