"""The package's queue against multiprocessing's, from one Python process to another, each on a core of its own.

Run by `make bench`, or: MAPSHARE_LIBRARY=build/lib/libmapshare.so.0 PYTHONPATH=python python3 benches/package_queue.py
"""

import itertools
import multiprocessing
import os
import statistics
import sys
import time

import mapshare

LENGTH = 64
CAPACITY = 1 << 20
MESSAGES = 20_000
TRIPS = 1000
ROUNDS = 7
GOAL = 10


def main():
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("SKIPPED package_queue: it needs two cores")
        return
    print(
        f"\nPython {sys.version.split()[0]}, a queue between two processes, messages of {LENGTH} B: "
        f"load {os.getloadavg()[0]:.2f} (it makes figures uncertain)\n"
    )
    context = multiprocessing.get_context("fork")
    kinds = {"bytes: push, iterate": Bytes, "in place: reserve, peek": InPlace, "multiprocessing.Queue": Standard}
    figures = {name: [] for name in kinds}
    for turn in range(ROUNDS):
        for name in list(kinds)[:: 1 if turn % 2 else -1]:
            figures[name].append(measure(context, cores, kinds[name](context)))
    tell(figures)


class Bytes:
    """There and back, in one piece of memory; each process opens its sides, since they are not inherited."""

    def __init__(self, _context):
        size = -(-mapshare.Queue.footprint(CAPACITY) // 64) * 64
        self.region = mapshare.anonymous(2 * size)
        self.offsets = {"there": 0, "back": size}
        for at in self.offsets.values():
            mapshare.Queue.create(self.region, at, CAPACITY, single_producer=True, single_consumer=True)

    def producer(self, way):
        self.sending = mapshare.Queue(self.region, self.offsets[way], "producer")
        return self.sending.push

    def consumer(self, way):
        self.taking = mapshare.Queue(self.region, self.offsets[way], "consumer")
        return iter(self.taking)

    def close(self):
        self.sending.close()
        self.taking.close()
        self.region.close()


class InPlace(Bytes):
    def producer(self, way):
        super().producer(way)

        def put(data):
            with self.sending.reserve(LENGTH) as message:
                message.data[:] = data

        return put

    def consumer(self, way):
        super().consumer(way)

        while True:
            with self.taking.peek() as message:
                number = bytes(message.data[:8])
            yield number


class Standard:
    def __init__(self, context):
        self.queues = {way: context.Queue() for way in ("there", "back")}

    def producer(self, way):
        return self.queues[way].put

    def consumer(self, way):
        return iter(self.queues[way].get, None)

    def close(self):
        for queue in self.queues.values():
            queue.close()
            queue.join_thread()


def measure(context, cores, queues):
    """Nanoseconds per message of a stream of them, and the median of those that a single one takes to arrive."""
    results = context.SimpleQueue()
    other = context.Process(target=receive, args=(cores[-1], queues, results))
    other.start()
    os.sched_setaffinity(0, {cores[0]})
    put, messages = queues.producer("there"), queues.consumer("back")
    data = bytes(LENGTH)
    next(messages)  # the other side is there
    for _ in range(MESSAGES):
        put(data)
    next(messages)
    for _ in range(TRIPS):
        put(time.monotonic_ns().to_bytes(LENGTH, "little"))
        next(messages)
    messages = None
    result = results.get()
    other.join()
    queues.close()
    os.sched_setaffinity(0, set(cores))
    return result


def receive(core, queues, results):
    os.sched_setaffinity(0, {core})
    messages, put = queues.consumer("there"), queues.producer("back")
    put(bytes(LENGTH))
    next(messages)
    start = time.monotonic_ns()
    for _ in itertools.islice(messages, MESSAGES - 1):
        pass
    stream = (time.monotonic_ns() - start) / (MESSAGES - 1)
    put(bytes(LENGTH))
    trips = []
    for _ in range(TRIPS):
        sent = int.from_bytes(next(messages)[:8], "little")
        trips.append(time.monotonic_ns() - sent)
        put(bytes(LENGTH))
    results.put((stream, statistics.median(trips)))
    messages = None
    queues.close()


def tell(figures):
    rival = figures.pop("multiprocessing.Queue")
    print(f"{'':34} {'mapshare':>10} {'rival':>10} {'faster':>7} {'(half lie in)':>15}  goal    met?")
    for name, own in figures.items():
        for index, what in enumerate(("a stream, each", "one, p50")):
            mine, other = ([figure[index] for figure in figures] for figures in (own, rival))
            low, ratio, high = statistics.quantiles([b / a for a, b in zip(mine, other)], n=4)
            met = ("yes" if ratio >= GOAL else "NO") + (", narrowly" if low < GOAL <= high else "")
            print(
                f"{f'{name}, {what}':41} {statistics.median(mine):7.0f} ns {statistics.median(other):7.0f} ns "
                f"{ratio:7.1f} {low:7.1f}..{high:<6.1f}  >= {GOAL:<4} {met}"
            )


if __name__ == "__main__":
    main()
