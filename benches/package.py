"""The package's regions against what the standard library offers for the same bytes.

Run by `make bench`, or: MAPSHARE_LIBRARY=build/lib/libmapshare.so.0 PYTHONPATH=python python3 benches/package.py
"""

import ctypes
import os
import statistics
import sys
import tempfile
import time
from multiprocessing import shared_memory

import mapshare
from mapshare import _abi

PAGE = 4096
ROUNDS = 300
CALLS = 300
LENGTH = 64


def main():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(
        f"\nPython {sys.version.split()[0]}, the package: load {os.getloadavg()[0]:.2f} (it makes figures uncertain)\n"
    )
    print(f"{'':34} {'mapshare':>10} {'rival':>10} {'ratio':>7} {'(half lie in)':>15}  goal    met?")
    shared = shared_memory.SharedMemory(create=True, size=PAGE)
    try:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            path = os.path.join(folder, "bytes")
            with mapshare.open(path, "r+", create=True, length=PAGE) as region:
                # Zeros, which a reader that takes them for lost pages would pay for.
                compare_all(region, shared)
    finally:
        shared.close()
        shared.unlink()


def compare_all(region, shared):
    start, stop = 128, 128 + LENGTH
    data, target = bytes(LENGTH), bytearray(LENGTH)
    view = region.view()

    def ours_slice():
        for _ in range(CALLS):
            region[start:stop]

    def rival_slice():
        for _ in range(CALLS):
            bytes(shared.buf[start:stop])

    compare(f"region[a:b], {LENGTH} B", ours_slice, rival_slice, 1.5)

    def ours_set():
        for _ in range(CALLS):
            region[start:stop] = data

    def rival_set():
        for _ in range(CALLS):
            shared.buf[start:stop] = data

    compare(f"region[a:b] = bytes, {LENGTH} B", ours_set, rival_set, 1.5)

    theirs = shared.buf

    def ours_view():
        for _ in range(CALLS):
            bytes(view[start:stop])

    def rival_view():
        for _ in range(CALLS):
            bytes(theirs[start:stop])

    compare(f"memoryview[a:b], {LENGTH} B", ours_view, rival_view, 1.05)

    # The bare call, with the arguments that read_into is given: region, offset, buffer.
    library = ctypes.CDLL(_abi.library._name)
    bare = library.mapshare_read
    bare.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t]
    token = ctypes.cast(region._handle.token, ctypes.c_void_p).value
    address = ctypes.addressof(ctypes.c_char.from_buffer(target))

    def ours_into():
        for _ in range(CALLS):
            region.read_into(start, target)

    def rival_into():
        for _ in range(CALLS):
            bare(token, start, address, LENGTH)

    compare(f"read_into, {LENGTH} B / bare ctypes", ours_into, rival_into, 1.5)


def compare(name, ours, rival, goal):
    """Prints nanoseconds per call; a round of each after a round of the other."""
    times = [], []
    for turn in range(ROUNDS):
        for index in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter_ns()
            (ours, rival)[index]()
            times[index].append((time.perf_counter_ns() - start) / CALLS)
    low, ratio, high = statistics.quantiles([mine / other for mine, other in zip(*times)], n=4)
    met = ("yes" if ratio <= goal else "NO") + (", narrowly" if low <= goal < high else "")
    mine, other = map(statistics.median, times)
    print(f"{name:34} {mine:7.1f} ns {other:7.1f} ns {ratio:7.3f} {low:7.3f}..{high:<6.3f}  <= {goal:<4} {met}")


if __name__ == "__main__":
    main()
