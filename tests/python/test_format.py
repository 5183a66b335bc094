"""A second reader of what docs/format.md describes: it has no library, only the page and the file's bytes."""

import os
import random
import struct
import tempfile
import unittest

import library as lib
from library import CONSUMER, CREATE, PRODUCER, READ_WRITE, library, open_queue, open_region, pop

MASK = (1 << 64) - 1
K = 0x9E3779B97F4A7C15
CELL, QUEUE = 2, 3


def u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def identity(data, kind):
    """Length and options of the object that begins there."""
    assert struct.unpack_from("<BHB4s", data) == (64, 1, kind, b"mshO")
    head, length, options, check = struct.unpack_from("<QQII", data)
    turned = (length << 32 | length >> 32) & MASK
    assert check == ((((head ^ turned) * K & MASK) ^ options) * K & MASK) >> 32
    return length, options


def read_cell(data):
    """Version and value."""
    length, slots = identity(data, CELL)
    version = u64(data, 24)
    slot = 128 + version % slots * (-(-length // 64) * 64)
    return version, data[slot : slot + length]


def read_queue(data):
    """The messages that are in it."""
    capacity, _ = identity(data, QUEUE)
    ring = -(-(capacity + 16) // 64) * 64
    head, messages = u64(data, 256), []
    while True:
        at = 512 + head % ring
        word = u64(data, at)
        if word == 0:
            break
        assert word >> 63 == 1
        length = word & ~(3 << 62)
        if word >> 62 & 1:
            assert head % ring != 0 and head % ring + 8 + length == ring
        else:
            messages.append(data[at + 8 : at + 8 + length])
        head += 8 + -(-length // 8) * 8
    assert u64(data, 128) == head and u64(data, 136) - u64(data, 264) == len(messages)
    return messages


class Format(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "file")
        self.region = open_region(self.path, flags=CREATE, access=READ_WRITE, length=65536)
        self.addCleanup(library.mapshare_unmap, self.region)

    def bytes(self, offset):
        with open(self.path, "rb") as file:
            return file.read()[offset:]

    def test_cells_of_all_sizes(self):
        for length in (1, 64, 65, 256, 257, 1024, 5000):
            lib.write(self.region, 0, bytes(65536))
            library.mapshare_cell_init(self.region, 64, length)
            self.assertEqual(read_cell(self.bytes(64)), (0, bytes(length)))
            for version in range(1, 40):
                value = os.urandom(length)
                library.mapshare_cell_publish(self.region, 64, value, length)
                self.assertEqual(read_cell(self.bytes(64)), (version, value))

    def test_queues_of_random_messages(self):
        seed = int(os.environ.get("MAPSHARE_SEED", random.randrange(1 << 32)))
        print(f"MAPSHARE_SEED={seed}")
        chance = random.Random(seed)
        for capacity in (8, 100, 240, 1000, 30000):
            lib.write(self.region, 0, bytes(65536))
            library.mapshare_queue_init(self.region, 128, capacity, chance.randrange(4))
            producer, consumer = (open_queue(self.region, 128, role) for role in (PRODUCER, CONSUMER))
            inside = []
            for _ in range(300):
                message = chance.randbytes(chance.randrange(min(capacity, 500) + 1))
                try:
                    library.mapshare_queue_push(producer, message, len(message), 0)
                    inside.append(message)
                except lib.MapshareError as error:
                    self.assertEqual(error.name, "ETIMEDOUT")
                    while inside and chance.randrange(4):
                        self.assertEqual(pop(consumer), inside.pop(0))
                self.assertEqual(read_queue(self.bytes(128)), inside)
            self.assertEqual(u32(self.bytes(128), 192), u32(self.bytes(128), 320))
            library.mapshare_queue_close(producer)
            library.mapshare_queue_close(consumer)


if __name__ == "__main__":
    unittest.main()
