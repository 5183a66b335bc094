"""The consuming side of c_examples/pipeline.c: looks at each message where it stands, then takes it out.

Run, with the same FILE as the C program, before or after it starts:
    MAPSHARE_LIBRARY=build/lib/libmapshare.so.0 python3 python/examples/pipeline.py FILE
"""

import ctypes
import errno
import os
import sys

QUEUE, CAPACITY, LINES, SECOND = 64, 4096, 1000, 1_000_000_000
CREATE, READ_WRITE, SINGLE, CONSUMER = 1, 1, 3, 2
library = ctypes.CDLL(os.environ.get("MAPSHARE_LIBRARY", "build/lib/libmapshare.so.0"))
library.mapshare_last_error.restype = ctypes.c_char_p
library.mapshare_queue_footprint.restype = library.mapshare_queue_peek.restype = ctypes.c_int64
U64, I64 = ctypes.c_uint64, ctypes.c_int64


class Options(ctypes.Structure):
    _fields_ = [(name, U64) for name in "flags offset length reserve".split()]
    _fields_ += [("access", ctypes.c_uint32), ("mode", ctypes.c_uint32)]


def call(name, *arguments, good=()):
    code = getattr(library, "mapshare_" + name)(*arguments)
    if code < 0 and -code not in good:
        sys.exit(f"Python: {library.mapshare_last_error().decode()}")
    return code


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "pipeline.bin"
    length = QUEUE + call("queue_footprint", U64(CAPACITY))
    options, region, queue = Options(CREATE, 0, length, 0, READ_WRITE), ctypes.c_void_p(), ctypes.c_void_p()
    call("open", os.fsencode(path), ctypes.byref(options), ctypes.c_size_t(ctypes.sizeof(options)), ctypes.byref(region))
    call("queue_init", region, U64(QUEUE), U64(CAPACITY), SINGLE, good=[errno.EEXIST])
    call("queue_open", region, U64(QUEUE), CONSUMER, ctypes.byref(queue))
    address, number = ctypes.c_void_p(), 0
    while True:
        length = call("queue_peek", queue, I64(10 * SECOND), ctypes.byref(address), good=[errno.EPIPE])
        if length == -errno.EPIPE:  # the other program has said that there is no more
            break
        line = ctypes.string_at(address.value, length).decode()
        if line != f"line {number}, its square is {number * number}":
            sys.exit(f"Python: line {number} is {line!r}")
        call("queue_consume", queue)
        number += 1
    call("queue_close", queue)
    call("unmap", region)
    if number != LINES:
        sys.exit(f"Python: {number} lines of {LINES}")
    print(f"Python: has got {number} lines, the last one: {line!r}")


if __name__ == "__main__":
    main()
