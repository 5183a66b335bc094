"""Cells and queues through plain ctypes."""

import ctypes
import os
import subprocess
import sys
import tempfile
import unittest

import library as lib
from library import CONSUMER, CREATE, PRODUCER, READ_ONLY, READ_WRITE, MapshareError, library, open_queue, open_region, pop

SECOND = 1_000_000_000
QUEUE = 8192
WRITER = """
import library as lib, sys
region = lib.open_region(sys.argv[1], access=lib.READ_WRITE)
lib.library.mapshare_cell_publish(region, 64, b"from afar", 9)
queue = lib.open_queue(region, 8192, lib.PRODUCER)
for number in range(1000):
    lib.library.mapshare_queue_push(queue, b"%d" % number, len(b"%d" % number), -1)
lib.library.mapshare_queue_end(queue)
"""


WAITS = """
import library as lib, ctypes, signal, sys
region = lib.open_region(sys.argv[1], access=lib.READ_WRITE)
producer, consumer = (lib.open_queue(region, 8192, role) for role in (lib.PRODUCER, lib.CONSUMER))
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)

def wait(function, *arguments):
    while True:
        try:
            function(*arguments)
        except lib.MapshareError as error:
            return print(error.name)

wait(lib.library.mapshare_cell_wait, region, 64, 0, -1)
wait(lib.library.mapshare_queue_pop, consumer, None, 0, -1)
wait(lib.library.mapshare_queue_push, producer, b"x" * 500, 500, -1)
"""


class State(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in "messages bytes capacity pushed popped".split()] + [
        (name, ctypes.c_uint32) for name in ("producers", "consumers")
    ]


class CellsAndQueues(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "file")
        self.region = open_region(self.path, flags=CREATE, access=READ_WRITE, length=16384)
        self.addCleanup(library.mapshare_unmap, self.region)
        library.mapshare_cell_init(self.region, 64, 9)
        library.mapshare_queue_init(self.region, QUEUE, 1000, 0)

    def refused(self, name, function, *arguments):
        with self.assertRaises(MapshareError) as caught:
            function(*arguments)
        self.assertEqual(caught.exception.name, name, caught.exception.text)

    def cell(self, region):
        buffer, version = ctypes.create_string_buffer(9), ctypes.c_uint64()
        library.mapshare_cell_read(region, 64, buffer, 9, ctypes.byref(version))
        return buffer.raw, version.value

    def test_a_cell_and_a_queue_between_two_processes(self):
        environment = {**os.environ, "MAPSHARE_LIBRARY": library._name}
        here = os.path.dirname(os.path.abspath(__file__))
        consumer = open_queue(self.region, QUEUE, CONSUMER)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, self.path], cwd=here, env=environment)
        self.addCleanup(writer.kill)
        library.mapshare_cell_wait(self.region, 64, 0, 20 * SECOND)
        self.assertEqual(self.cell(self.region), (b"from afar", 1))
        for number in range(1000):
            self.assertEqual(pop(consumer, 20 * SECOND), b"%d" % number)
        self.refused("EPIPE", pop, consumer, -1)
        self.assertEqual(writer.wait(), 0)
        library.mapshare_queue_close(consumer)

    def test_zero_copy(self):
        producer, consumer = (open_queue(self.region, QUEUE, role) for role in (PRODUCER, CONSUMER))
        room = ctypes.c_void_p()
        library.mapshare_queue_reserve(producer, 100, 0, ctypes.byref(room))
        ctypes.memmove(room.value, b"in place", 8)
        library.mapshare_queue_commit(producer, 8)
        length = library.mapshare_queue_peek(consumer, 0, ctypes.byref(room))
        self.assertEqual(ctypes.string_at(room.value, length), b"in place")
        library.mapshare_queue_cancel(consumer)
        library.mapshare_queue_peek(consumer, 0, ctypes.byref(room))
        library.mapshare_queue_consume(consumer)
        state = State()
        library.mapshare_queue_info(consumer, ctypes.byref(state), ctypes.sizeof(state))
        self.assertEqual((state.pushed, state.popped, state.capacity, state.producers), (1, 1, 1000, 1))
        library.mapshare_queue_close(producer)
        library.mapshare_queue_close(consumer)

    def test_each_code_of_a_cell(self):
        self.refused("EEXIST", library.mapshare_cell_init, self.region, 64, 9)
        self.refused("EINVAL", library.mapshare_cell_footprint, 0)
        self.refused("ERANGE", library.mapshare_cell_footprint, 1 << 60)
        self.refused("EBADMSG", library.mapshare_cell_publish, self.region, 4096, b"x" * 9, 9)
        self.refused("EINVAL", library.mapshare_cell_publish, self.region, 64, b"x" * 8, 8)
        self.refused("EINVAL", library.mapshare_cell_publish, self.region, 64, None, 9)
        self.refused("EINVAL", library.mapshare_cell_publish, self.region, 32, b"x" * 9, 9)
        self.refused("ERANGE", library.mapshare_cell_wait, self.region, 16384, 0, 0)
        self.refused("ETIMEDOUT", library.mapshare_cell_wait, self.region, 64, 0, 1000)
        self.refused("EBADF", library.mapshare_cell_wait, 1, 64, 0, 0)
        reader = open_region(self.path, access=READ_ONLY)
        self.refused("EACCES", library.mapshare_cell_publish, reader, 64, b"x" * 9, 9)
        self.assertEqual(self.cell(reader), (bytes(9), 0))
        library.mapshare_unmap(reader)
        lib.write(self.region, 64, b"\x20")
        self.refused("EPROTONOSUPPORT", self.cell, self.region)

    def test_a_reader_whom_writers_overtake_64_times(self):
        lib.library.mapshare_cell_init(self.region, 4096, 8)
        version = ctypes.c_void_p()
        library.mapshare_view(self.region, 4096 + 24, 8, ctypes.byref(version))
        # The value is copied over the version, which is another one at each look then.
        for slot in range(16):
            number = 1600 * (slot + 1) + (slot + 1) % 16
            lib.write(self.region, 4096 + 128 + 64 * slot, number.to_bytes(8, "little"))
        self.refused("EAGAIN", library.mapshare_cell_read, self.region, 4096, version, 8, None)
        library.mapshare_release(self.region, version)

    def test_a_signal_ends_the_waits(self):
        environment = {**os.environ, "MAPSHARE_LIBRARY": library._name}
        here = os.path.dirname(os.path.abspath(__file__))
        command = [sys.executable, "-c", WAITS, self.path]
        done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
        self.assertEqual(done.stdout, "EINTR\n" * 3, done.stderr)

    def test_each_code_of_a_queue(self):
        self.refused("EEXIST", library.mapshare_queue_init, self.region, QUEUE, 1000, 0)
        self.refused("EINVAL", library.mapshare_queue_init, self.region, 4096, 1000, 4)
        self.refused("EBADMSG", open_queue, self.region, 4096, PRODUCER)
        self.refused("EINVAL", open_queue, self.region, QUEUE, 0)
        self.refused("EBADF", library.mapshare_queue_push, self.region, b"x", 1, 0)
        producer, consumer = (open_queue(self.region, QUEUE, role) for role in (PRODUCER, CONSUMER))
        self.refused("EINVAL", library.mapshare_queue_push, consumer, b"x", 1, 0)
        self.refused("EMSGSIZE", library.mapshare_queue_push, producer, b"x" * 1001, 1001, 0)
        self.refused("ETIMEDOUT", pop, consumer)
        library.mapshare_queue_push(producer, b"hello", 5, 0)
        self.refused("EMSGSIZE", pop, consumer, 0, 4)
        self.refused("EBUSY", library.mapshare_unmap, self.region)
        self.assertEqual(pop(consumer), b"hello")
        library.mapshare_queue_close(consumer)
        self.refused("EBADF", pop, consumer)
        library.mapshare_queue_close(producer)


if __name__ == "__main__":
    unittest.main()
