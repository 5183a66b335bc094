"""The other side of c_examples/named.c, with nothing but Python's standard library.

Names of mapshare are names of POSIX shared memory, so that multiprocessing.shared_memory opens them by itself.

Run, within 10 seconds of the start of the C program:
    python3 python/examples/named.py                (or with the same NAME behind it)
"""

import ctypes
import os
import sys
import time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory


class Shared(ctypes.Structure):
    """What stands in the memory; the C program spells out the same."""

    _fields_ = [("turn", ctypes.c_uint32), ("question", ctypes.c_char * 60), ("answer", ctypes.c_char * 64)]


def open_when_there(name, deadline):
    """The memory, as soon as the C program has made it; it appears complete or not at all."""
    while True:
        try:
            return SharedMemory(name.lstrip("/"))
        except FileNotFoundError:
            if time.monotonic() > deadline:
                sys.exit(f"Python: nobody has made {name!r}")
            os.sched_yield()


def main():
    name, deadline = sys.argv[1] if len(sys.argv) > 1 else "/mapshare-example", time.monotonic() + 10
    memory = open_when_there(name, deadline)
    # Python would remove the name when this program ends, though it has not made it; since 3.13 track=False says so.
    resource_tracker.unregister("/" + memory.name, "shared_memory")

    shared = Shared.from_buffer(memory.buf)
    while shared.turn != 1:
        if time.monotonic() > deadline:
            sys.exit("Python: no question within 10 seconds")
        os.sched_yield()
    print(f"Python: has seen {shared.question.decode()!r}")
    shared.answer = b"42, says Python"
    shared.turn = 2
    del shared  # it points into the memory, which goes now
    memory.close()


if __name__ == "__main__":
    main()
