"""The other side of c_examples/two_programs.c: an unrelated process, in another language, on the same bytes.

It answers each question that the C program writes into the file. Once the file is mapped no read or write call is
made: both programs just use their memory.

Run, in the top folder of mapshare, within 10 seconds of the start of the C program:
    python3 python/examples/two_programs.py         (with the same PATH behind it; a second path gets a copy)
"""

import ctypes
import os
import sys
import time

from read_write import READ_WRITE, Options, load

ROUNDS, SECONDS = 1000, 10


class Round(ctypes.Structure):
    _fields_ = [("question", ctypes.c_char * 64), ("answer", ctypes.c_char * 64)]


class Shared(ctypes.Structure):
    """What stands in the file; the C program spells out the same."""

    _fields_ = [("turn", ctypes.c_uint32), ("unused", ctypes.c_char * 60), ("rounds", Round * ROUNDS)]


def open_when_there(mapshare, path):
    """The region, as soon as the C program has made the file; it appears complete or not at all."""
    region, options = ctypes.c_void_p(), Options(access=READ_WRITE, length=ctypes.sizeof(Shared))
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            mapshare.mapshare_open(os.fsencode(path), options, ctypes.sizeof(options), ctypes.byref(region))
            return region
        except FileNotFoundError as error:
            if time.monotonic() > deadline:
                sys.exit(f"Python: the C program has made no file: {error}")
            os.sched_yield()


def wait_for(shared, value):
    """Waits until the C program has made it our turn."""
    # ctypes has no atomics. It loads and stores an aligned c_uint32 whole, and x86-64 keeps the order of stores, so
    # that a text is seen no later than the turn that follows it. Other processors do not promise that.
    deadline = time.monotonic() + SECONDS
    while shared.turn != value:
        if time.monotonic() > deadline:
            sys.exit("Python: no question within 10 seconds; is two_programs running, with the same path?")
        os.sched_yield()


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "/tmp/mapshare-two_programs.bin"
    mapshare = load()
    region, view = open_when_there(mapshare, path), ctypes.c_void_p()
    mapshare.mapshare_view(region, 0, ctypes.sizeof(Shared), ctypes.byref(view))

    shared = Shared.from_address(view.value)
    for i, this in enumerate(shared.rounds):
        wait_for(shared, 2 * i + 1)
        question = this.question
        this.answer = b"Python has seen: " + question
        shared.turn = 2 * i + 2
    print(f"Python: process {os.getpid()} saw {ROUNDS} questions, the last one: {question.decode()!r}")

    if len(sys.argv) > 2:
        with open(sys.argv[2], "wb") as copy:
            copy.write(ctypes.string_at(view.value, ctypes.sizeof(Shared)))
    del shared, this  # they point into the view, which goes now
    mapshare.mapshare_release(region, view)
    mapshare.mapshare_unmap(region)


if __name__ == "__main__":
    main()
