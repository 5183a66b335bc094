"""mapshare_read through ctypes against a function with the same arguments that does nothing but the copy.

Run by `make bench`, or: MAPSHARE_LIBRARY=build/lib/libmapshare.so.0 python3 benches/python.py
"""

import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PAGE = 4096
ROUNDS = 300
CALLS = 300
GOAL = 1.15

READ_WRITE = 1

RIVAL = """
#include <stddef.h>
#include <stdint.h>
#include <string.h>
static const char *mapped;
void set_mapped(const void *address) { mapped = address; }
int read_nothing(void *region, uint64_t offset, void *buffer, size_t length)
{
    (void)region; (void)offset; (void)buffer; (void)length;
    return 0;
}
int read_plainly(void *region, uint64_t offset, void *buffer, size_t length)
{
    (void)region;
    memcpy(buffer, mapped + offset, length);
    return 0;
}
"""


class Options(ctypes.Structure):
    _fields_ = [
        ("flags", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("length", ctypes.c_uint64),
        ("reserve", ctypes.c_uint64),
        ("access", ctypes.c_uint32),
        ("mode", ctypes.c_uint32),
    ]


def main():
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        print("SKIPPED python: the rival needs a C compiler: apt-get install -y gcc")
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        measure(compile_rival(compiler, folder), folder)


def compile_rival(compiler, folder):
    source, library = os.path.join(folder, "rival.c"), os.path.join(folder, "rival.so")
    with open(source, "w", encoding="ascii") as file:
        file.write(RIVAL)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return ctypes.CDLL(library)


def measure(rival, folder):
    mapshare = ctypes.CDLL(os.environ["MAPSHARE_LIBRARY"])
    mapshare.mapshare_last_error.restype = ctypes.c_char_p
    path = os.path.join(folder, "bytes")
    with open(path, "wb") as file:
        file.write(os.urandom(PAGE))
    region, options = ctypes.c_void_p(), Options(access=READ_WRITE)
    size = ctypes.c_size_t(ctypes.sizeof(options))
    if mapshare.mapshare_open(path.encode(), ctypes.byref(options), size, ctypes.byref(region)) < 0:
        sys.exit(mapshare.mapshare_last_error().decode())
    address = ctypes.c_void_p()
    mapshare.mapshare_view.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p]
    if mapshare.mapshare_view(region, 0, PAGE, ctypes.byref(address)) < 0:
        sys.exit(mapshare.mapshare_last_error().decode())
    rival.set_mapped.argtypes = [ctypes.c_void_p]
    rival.set_mapped(address)

    functions = [mapshare.mapshare_read, rival.read_plainly, rival.read_nothing]
    for function in functions:
        function.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t]
        function.restype = ctypes.c_int
    load = os.getloadavg()[0]
    print(f"\nPython {sys.version.split()[0]}, ctypes: load {load:.2f} (of others, it makes figures uncertain)\n")
    print(f"{'':24} {'mapshare':>10} {'copy only':>10} {'empty':>10} {'ratio':>7} {'(half lie in)':>15}  goal     met?")
    for length in (8, 64):
        times = take_turns(functions, region.value, ctypes.create_string_buffer(length), length)
        ours, copy, nothing = (statistics.median(of) for of in times)
        ratios = [mine / other for mine, other in zip(times[0], times[1])]
        low, ratio, high = statistics.quantiles(ratios, n=4)
        met = "yes" if ratio <= GOAL else "NO"
        if low <= GOAL < high:
            met += ", narrowly"
        print(
            f"{f'read {length} B':24} {ours:7.1f} ns {copy:7.1f} ns {nothing:7.1f} ns {ratio:7.3f} "
            f"{low:7.3f}..{high:<6.3f}  <= {GOAL}  {met}"
        )
    mapshare.mapshare_release.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    mapshare.mapshare_release(region, address)
    mapshare.mapshare_unmap(region)


def take_turns(functions, region, buffer, length):
    """Nanoseconds per call, a list for each function; a round of each after a round of the others."""
    pointer = ctypes.addressof(buffer)
    times = [[] for _ in functions]
    for turn in range(ROUNDS):
        order = list(enumerate(functions))
        for index, function in order[turn % len(order):] + order[: turn % len(order)]:
            start = time.perf_counter_ns()
            for _ in range(CALLS):
                function(region, 64, pointer, length)
            times[index].append((time.perf_counter_ns() - start) / CALLS)
    return times


if __name__ == "__main__":
    main()
