"""Two numbers whose sum never changes, moved about by processes under a lock; one is killed in the middle of it.

The next one to take the lock is told, repairs the numbers and goes on: nobody waits for the dead.

Run, after `pip install ./python`:
    python3 python/examples/repair.py               (or with a PATH behind it)
"""

import multiprocessing
import os
import signal
import struct
import sys

import mapshare

# What stands in the file: the lock, what the numbers were before the change, the numbers, whether they are changing.
BEFORE, NUMBERS, CHANGING, LENGTH, TOTAL = 64, 80, 96, 4096, 1000
PAIR = struct.Struct("<qq")


def move(region, amount, killed=False):
    left, right = PAIR.unpack(region.read(NUMBERS, PAIR.size))
    region.write(BEFORE, PAIR.pack(left, right))
    mapshare.Atomic32(region, CHANGING).store(1)  # from here on, what stands before it is whole
    region.write(NUMBERS, PAIR.pack(left - amount, right))
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)
    region.write(NUMBERS, PAIR.pack(left - amount, right + amount))
    mapshare.Atomic32(region, CHANGING).store(0)


def repair(region):
    if mapshare.Atomic32(region, CHANGING).load():
        region.copy_from(NUMBERS, region, BEFORE, PAIR.size)
        mapshare.Atomic32(region, CHANGING).store(0)
    print(f"process {os.getpid()} repaired what a dead one left")


def locked(mutex, region, change):
    """Makes a change under the lock, after the repair of one that somebody died in."""
    while True:
        try:
            with mutex:
                return change()
        except mapshare.OwnerDied as died:
            with died:  # the lock is ours, until the end of this block
                repair(region)


def work(path, rounds, killed):
    """Runs in a process of its own."""
    with mapshare.open(path, "r+") as region:
        mutex = mapshare.Mutex(region)
        for amount in range(rounds):
            last = killed and amount == rounds - 1
            locked(mutex, region, lambda: move(region, amount, killed=last))


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "/tmp/mapshare-repair.bin"
    with mapshare.open(path, "r+", create=True, length=LENGTH) as region:
        region.fill(0, LENGTH, 0)
        mutex = mapshare.Mutex.create(region)
        region.write(NUMBERS, PAIR.pack(TOTAL, 0))
        spawn = multiprocessing.get_context("spawn")
        workers = [spawn.Process(target=work, args=(path, 200, killed)) for killed in (True, False, False)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        numbers = locked(mutex, region, lambda: PAIR.unpack(region.read(NUMBERS, PAIR.size)))
    print(f"{numbers[0]} and {numbers[1]} are {sum(numbers)} in all, as before")
    if sum(numbers) != TOTAL or [worker.exitcode for worker in workers] != [-signal.SIGKILL, 0, 0]:
        sys.exit("something went wrong")


if __name__ == "__main__":
    main()
