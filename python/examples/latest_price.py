"""The reading side of c_examples/latest_price.c: the latest price, whenever it is wanted.

Run, with the same FILE as the C program, before or after it starts:
    MAPSHARE_LIBRARY=build/lib/libmapshare.so.0 python3 python/examples/latest_price.py FILE
"""

import ctypes
import errno
import os
import sys

CELL, PRICES, SECOND = 64, 100_000, 1_000_000_000
CREATE, READ_WRITE = 1, 1
library = ctypes.CDLL(os.environ.get("MAPSHARE_LIBRARY", "build/lib/libmapshare.so.0"))
library.mapshare_last_error.restype = ctypes.c_char_p
library.mapshare_cell_footprint.restype = ctypes.c_int64


class Options(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in "flags offset length reserve".split()]
    _fields_ += [("access", ctypes.c_uint32), ("mode", ctypes.c_uint32)]


class Price(ctypes.Structure):
    """What is published; the C program spells out the same."""

    _fields_ = [("number", ctypes.c_uint64), ("price", ctypes.c_double)]


def call(name, *arguments, good=()):
    code = getattr(library, "mapshare_" + name)(*arguments)
    if code < 0 and -code not in good:
        sys.exit(f"Python: {library.mapshare_last_error().decode()}")
    return code


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "prices.bin"
    size = ctypes.c_uint64(ctypes.sizeof(Price))
    length = CELL + call("cell_footprint", size)
    options, region = Options(flags=CREATE, access=READ_WRITE, length=length), ctypes.c_void_p()
    call("open", os.fsencode(path), ctypes.byref(options), ctypes.c_size_t(ctypes.sizeof(options)), ctypes.byref(region))
    cell = region, ctypes.c_uint64(CELL)
    call("cell_init", *cell, size, good=[errno.EEXIST])
    price, version, reads = Price(), ctypes.c_uint64(), 0
    while price.number < PRICES:
        call("cell_wait", *cell, version, ctypes.c_int64(10 * SECOND))
        call("cell_read", *cell, ctypes.byref(price), size, ctypes.byref(version), good=[errno.EAGAIN])
        if price.price != 100 + 0.01 * (price.number % 1000):
            sys.exit(f"Python: {price.number} and {price.price} do not belong together")
        reads += 1
    print(f"Python: the last of {PRICES} prices is {price.price:.2f}; it has looked at {reads} of them")
    call("unmap", region)


if __name__ == "__main__":
    main()
