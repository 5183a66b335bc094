"""A counter behind a lock that outlives its owner: a child is killed in the middle of a change, the next one repairs it.

Run, in the top folder of mapshare:
    make
    python3 python/examples/counter_lock.py         (or with the PATH of a file behind it, one of counter_lock.c too)
"""

import ctypes
import os
import signal
import sys

from read_write import CREATE, READ_WRITE, Options, load

# From mapshare.h
MUTEX_SIZE, OWNER_DIED = 64, 1
# What stands in the file. Whoever has the lock keeps count and copy equal.
LOCK, COUNT, COPY = 0, MUTEX_SIZE, MUTEX_SIZE + 8


def load_with_locks():
    library = load()
    check, region, u64 = library.mapshare_open.errcheck, ctypes.c_void_p, ctypes.c_uint64
    functions = {
        "mapshare_mutex_init": [region, u64],
        "mapshare_mutex_lock": [region, u64, ctypes.c_int64],
        "mapshare_mutex_recover": [region, u64],
        "mapshare_mutex_unlock": [region, u64],
        "mapshare_atomic_load_u64": [region, u64, ctypes.POINTER(u64)],
        "mapshare_atomic_store_u64": [region, u64, u64],
    }
    for name, arguments in functions.items():
        function = getattr(library, name)
        function.argtypes, function.restype, function.errcheck = arguments, ctypes.c_int, check
    return library


def count_one(mapshare, region, doomed=False):
    """One more, under the lock; the counter then. One that is doomed dies half way."""
    count = ctypes.c_uint64()
    if mapshare.mapshare_mutex_lock(region, LOCK, -1) == OWNER_DIED:
        mapshare.mapshare_atomic_load_u64(region, COPY, count)  # written last: the last whole change
        mapshare.mapshare_atomic_store_u64(region, COUNT, count)
        mapshare.mapshare_mutex_recover(region, LOCK)
        print(f"the lock's owner has died: back to {count.value}")
    mapshare.mapshare_atomic_load_u64(region, COUNT, count)
    count.value += 1
    mapshare.mapshare_atomic_store_u64(region, COUNT, count)
    if doomed:
        os.kill(os.getpid(), signal.SIGKILL)
    mapshare.mapshare_atomic_store_u64(region, COPY, count)
    mapshare.mapshare_mutex_unlock(region, LOCK)
    return count.value


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "/tmp/mapshare-counter.bin"
    mapshare = load_with_locks()
    region, options = ctypes.c_void_p(), Options(flags=CREATE, access=READ_WRITE, length=COPY + 8)
    mapshare.mapshare_open(os.fsencode(path), options, ctypes.sizeof(options), ctypes.byref(region))
    try:
        mapshare.mapshare_mutex_init(region, LOCK)
    except FileExistsError:
        pass  # an earlier run has made it, which is as good

    before = count_one(mapshare, region)
    child = os.fork()
    if child == 0:
        count_one(mapshare, region, doomed=True)
    os.waitpid(child, 0)
    after = count_one(mapshare, region)
    print(f"{before}, a child was killed, {after}")
    mapshare.mapshare_unmap(region)
    if after != before + 1:
        sys.exit("the child's half change was counted")


if __name__ == "__main__":
    main()
