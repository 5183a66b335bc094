"""Anonymous memory, hand-over and seals through ctypes: each code, and a Python that is handed memory by another.

Run: MAPSHARE_LIBRARY=target/debug/libmapshare.so python3 -m unittest discover -s tests/python
"""

import array
import ctypes
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import library
from library import READ_ONLY, READ_WRITE, SEAL_FUTURE_WRITE, SEAL_GROW, SEAL_SEAL, SEAL_SHRINK, SEAL_WRITE
from library import Info, MapshareError, open_anonymous, open_region, read, receive, write

mapshare = library.library
FIXED = SEAL_FUTURE_WRITE | SEAL_SHRINK


class Test(unittest.TestCase):
    def setUp(self):
        self.one, self.other = socket.socketpair()
        self.addCleanup(self.one.close)
        self.addCleanup(self.other.close)

    def memory(self, length=4096, **options):
        region = open_anonymous(access=READ_WRITE, length=length, **options)
        self.addCleanup(mapshare.mapshare_unmap, region)
        return region

    def refused(self, code, words, function, *arguments, **options):
        with self.assertRaises(MapshareError) as caught:
            function(*arguments, **options)
        self.assertEqual(caught.exception.name, code, caught.exception.text)
        for word in words:
            self.assertIn(word, caught.exception.text)

    def send(self, region, access=READ_WRITE):
        mapshare.mapshare_send(region, self.one.fileno(), access)

    def receive(self, **options):
        region = receive(self.other.fileno(), **options)
        self.addCleanup(mapshare.mapshare_unmap, region)
        return region

    def test_memory_is_handed_over(self):
        region = self.memory()
        write(region, 0, b"memory")
        self.send(region)
        received, info = self.receive(access=READ_WRITE), Info()
        write(received, 6, b" shared")
        self.assertEqual(read(region, 0, 13), b"memory shared")
        mapshare.mapshare_info(received, ctypes.byref(info), ctypes.sizeof(info))
        self.assertEqual((info.backing, info.seals & 31), (3, 0))

    def test_an_unrelated_python_reads_sealed_memory_and_cannot_write(self):
        region = self.memory(reserve=1 << 20)
        write(region, 0, b"memory")
        mapshare.mapshare_seal(region, FIXED)
        self.send(region, READ_ONLY)
        script = (
            "import sys, os, mmap; sys.path.insert(0, sys.argv[1]); import library as l\n"
            "region = l.receive(int(sys.argv[2])); assert l.read(region, 0, 6) == b'memory'\n"
            "fd = l.library.mapshare_fd(region)\n"
            "for trial in (lambda: l.write(region, 0, b'x'), lambda: l.library.mapshare_protect(region, 1),\n"
            "              lambda: mmap.mmap(fd, 4096), lambda: os.pwrite(fd, b'x', 0),\n"
            "              lambda: mmap.mmap(os.open(f'/proc/self/fd/{fd}', os.O_RDWR), 4096),\n"
            "              lambda: os.pwrite(os.open(f'/proc/self/fd/{fd}', os.O_RDWR), b'x', 0)):\n"
            "    try: trial(); sys.exit('it went through')\n"
            "    except (l.MapshareError, OSError): pass\n"
        )
        here = os.path.dirname(os.path.abspath(__file__))
        environment = dict(os.environ, MAPSHARE_LIBRARY=library.find())
        command = [sys.executable, "-B", "-c", script, here, str(self.other.fileno())]
        subprocess.run(command, env=environment, check=True, pass_fds=[self.other.fileno()])
        mapshare.mapshare_resize(region, 1 << 20)
        write(region, (1 << 20) - 1, b"!")
        self.assertEqual(read(region, 0, 6), b"memory")

    def test_a_child_shares_it(self):
        region = self.memory()
        child = os.fork()
        if child == 0:
            write(region, 0, b"child")
            os._exit(0)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(read(region, 0, 5), b"child")

    def test_codes_of_open_anonymous(self):
        self.refused("EINVAL", ["MAPSHARE_READ_WRITE"], open_anonymous, length=1)
        self.refused("EINVAL", ["length is 0"], open_anonymous, access=READ_WRITE)
        self.refused("EINVAL", ["offset"], open_anonymous, access=READ_WRITE, length=1, offset=mmap.PAGESIZE)
        self.refused("ENOMEM", [], open_anonymous, access=READ_WRITE, length=1 << 45)
        self.refused("E2BIG", [], mapshare.mapshare_open_anonymous, b"\1" * 48, 48, ctypes.byref(ctypes.c_void_p()))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            self.refused("EMFILE", [], open_anonymous, access=READ_WRITE, length=1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_codes_of_send(self):
        region, fd = self.memory(), self.one.fileno()
        send = mapshare.mapshare_send
        self.refused("EBADF", [], send, None, fd, READ_WRITE)
        self.refused("EBADF", ["-1"], send, region, -1, READ_WRITE)
        self.refused("EINVAL", ["access is 7"], send, region, fd, 7)
        self.refused("EPERM", ["MAPSHARE_SEAL_FUTURE_WRITE"], send, region, fd, READ_ONLY)
        with tempfile.TemporaryFile() as file, socket.socket() as internet:
            self.refused("ENOTSOCK", [], send, region, file.fileno(), READ_WRITE)
            self.refused("EINVAL", ["Unix"], send, region, internet.fileno(), READ_WRITE)
        self.one.setblocking(False)
        with self.assertRaises(MapshareError) as full:
            while True:
                self.send(region)
        self.assertEqual(full.exception.name, "EAGAIN")
        mapshare.mapshare_seal(region, FIXED)
        self.refused("EPERM", ["MAPSHARE_SEAL_FUTURE_WRITE"], send, region, fd, READ_WRITE)
        self.other.close()
        self.refused("EPIPE", ["closed"], send, region, fd, READ_ONLY)
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(4096)
            reading = open_region(file.name)
            self.refused("EACCES", ["reading only"], send, reading, fd, READ_WRITE)
            mapshare.mapshare_unmap(reading)

    def test_codes_of_receive(self):
        region, fd = self.memory(), self.other.fileno()
        self.refused("EBADF", [], receive, -1)
        self.refused("EINVAL", ["'ret_region'"], mapshare.mapshare_receive, fd, None, 0, None)
        self.refused("EINVAL", ["flags"], receive, fd, flags=1 << 60)
        self.refused("E2BIG", [], mapshare.mapshare_receive, fd, b"\1" * 48, 48, ctypes.byref(ctypes.c_void_p()))
        self.send(region)
        self.refused("ERANGE", ["4096"], receive, fd, length=4097)
        self.send(region)
        self.refused("EINVAL", ["page size"], receive, fd, offset=1)
        self.send(region)
        self.refused("EEXIST", [], receive, fd, flags=library.CREATE | library.EXCLUSIVE, access=READ_WRITE)
        self.one.send(b"x" * 32)
        self.refused("EPROTO", ["mapshare_send"], receive, fd)
        message = b"mapshare" + (1).to_bytes(4, "little") + bytes(12) + (10).to_bytes(8, "little")
        with open("/dev/null") as device:
            rights = array.array("i", [device.fileno()])
            self.one.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self.refused("EPROTO", ["descriptor"], receive, fd)
        with tempfile.TemporaryFile() as file:
            file.truncate(4096)
            opened = open_region(file.fileno(), access=READ_WRITE)
            self.send(opened, READ_ONLY)
            self.refused("EACCES", ["handed over"], receive, fd, access=READ_WRITE)
            self.send(opened)
            file.truncate(5)
            self.refused("ENXIO", ["5 bytes", "cut short", "sent anew"], receive, fd)
            mapshare.mapshare_unmap(opened)
        self.send(region)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            self.refused("EMFILE", [], receive, fd)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.other.setblocking(False)
        self.refused("EAGAIN", [], receive, fd)
        self.one.close()
        self.refused("EPIPE", [], receive, fd)

    def test_a_signal_ends_the_waiting(self):
        before = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            for interrupts in True, False:  # without SA_RESTART and with it
                signal.siginterrupt(signal.SIGALRM, interrupts)
                self.refused("EINTR", ["signal"], receive, self.other.fileno())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def test_codes_of_seal(self):
        region, seal = self.memory(), mapshare.mapshare_seal
        self.refused("EBADF", [], seal, None, SEAL_GROW)
        self.refused("EINVAL", ["0x20"], seal, region, 0x20)
        self.refused("EBUSY", ["MAPSHARE_SEAL_FUTURE_WRITE"], seal, region, SEAL_WRITE)
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(4096)
            opened = open_region(file.name, access=READ_WRITE)
            self.refused("ENOTSUP", ["file", "(EOPNOTSUPP)"], seal, opened, SEAL_GROW)
            mapshare.mapshare_unmap(opened)
        seal(region, FIXED)
        self.send(region, READ_ONLY)
        self.refused("EACCES", ["reading only"], seal, self.receive(), SEAL_GROW)
        self.refused("EPERM", ["MAPSHARE_SEAL_SHRINK"], mapshare.mapshare_resize, region, 1)
        seal(region, SEAL_GROW | SEAL_SEAL)
        self.refused("EPERM", ["MAPSHARE_SEAL_GROW"], mapshare.mapshare_resize, region, 8192)
        self.refused("EPERM", ["MAPSHARE_SEAL_SEAL"], seal, region, SEAL_GROW)


if __name__ == "__main__":
    unittest.main()
