"""Four processes fill one array of numbers in a file, each its own part; the first one adds them up.

Run, after `pip install ./python`:
    python3 python/examples/array_of_numbers.py     (or with a PATH behind it)
"""

import multiprocessing
import sys

import mapshare

PARTS, COUNT = 4, 1000


def fill(path, part):
    """Runs in a process of its own: opens the region by its path, since memory cannot be pickled."""
    with mapshare.open(path, "r+") as region, region.view() as view:
        numbers = view.cast("Q")  # 8-byte integers; numpy.frombuffer(region.view(), "u8") does it too
        for index in range(part * COUNT, (part + 1) * COUNT):
            numbers[index] = index
        numbers.release()


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "/tmp/mapshare-array_of_numbers.bin"
    with mapshare.open(path, "r+", create=True, length=PARTS * COUNT * 8) as region:
        spawn = multiprocessing.get_context("spawn")
        workers = [spawn.Process(target=fill, args=(path, part)) for part in range(PARTS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        with region.view() as view, view.cast("Q") as numbers:
            total = sum(numbers)
    print(f"{PARTS * COUNT} numbers of {PARTS} processes in {path} sum up to {total}")
    if total != sum(range(PARTS * COUNT)):
        sys.exit("some are missing")


if __name__ == "__main__":
    main()
