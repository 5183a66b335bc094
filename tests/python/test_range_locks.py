"""Locks of ranges through ctypes, beside those of Python's own fcntl module."""

import fcntl
import multiprocessing
import os
import signal
import threading
import unittest

from library import CREATE, LOCK_EXCLUSIVE, LOCK_SHARED, READ_ONLY, READ_WRITE, open_region
from test_mapshare import Test, mapshare


def hold(path, ready):
    region = open_region(path, access=READ_WRITE)
    mapshare.mapshare_lock_range(region, 0, 10, LOCK_EXCLUSIVE, -1)
    ready.set()
    signal.pause()


class RangeLocks(Test):
    def setUp(self):
        super().setUp()
        self.shared = self.region(self.path("file"), flags=CREATE, access=READ_WRITE, length=100)
        self.file = open(self.path("file"), "r+b")
        self.addCleanup(self.file.close)

    def lock(self, offset, length, mode=LOCK_EXCLUSIVE, timeout_ns=0):
        mapshare.mapshare_lock_range(self.shared, offset, length, mode, timeout_ns)

    def unlock(self, offset, length):
        mapshare.mapshare_unlock_range(self.shared, offset, length)

    def test_lockf_and_ours_exclude_each_other(self):
        self.lock(0, 10)
        with self.assertRaises(BlockingIOError):
            fcntl.lockf(self.file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 9)
        fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)
        self.refused("ETIMEDOUT", [f"process {os.getpid()}"], self.lock, 10, 1)
        open(self.path("file"), "rb").close()  # which ends lockf's locks
        self.lock(10, 1)
        with self.assertRaises(BlockingIOError):
            fcntl.lockf(self.file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 9)
        self.unlock(0, 10)
        self.unlock(10, 1)

    def test_codes(self):
        self.refused("EINVAL", ["mode is 0"], self.lock, 0, 1, 0)
        self.refused("ERANGE", ["100 bytes"], self.lock, 0, 101)
        self.refused("EPERM", ["no range"], self.unlock, 0, 1)
        reader = self.region(self.path("file"), access=READ_ONLY)
        self.refused("EACCES", ["exclusive"], mapshare.mapshare_lock_range, reader, 0, 1, LOCK_EXCLUSIVE, 0)
        self.lock(0, 0, LOCK_SHARED)
        self.refused("EDEADLK", ["0 bytes", "offset 0"], self.lock, 99, 1, LOCK_SHARED, -1)
        self.refused("EBUSY", ["1 lock(s)"], mapshare.mapshare_unmap, self.shared)
        self.unlock(0, 0)
        mapshare.mapshare_unmap(self.shared)
        self.refused("EBADF", ["token"], self.lock, 0, 1)
        self.refused("EBADF", ["token"], self.unlock, 0, 1)

    def test_threads_exclude_each_other(self):
        total = [0]

        def count():
            for _ in range(200):
                self.lock(0, 1, LOCK_EXCLUSIVE, -1)
                before = total[0]
                os.sched_yield()
                total[0] = before + 1
                self.unlock(0, 1)

        threads = [threading.Thread(target=count) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(total[0], 600)

    def test_a_killed_process_holds_nothing(self):
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        holder = context.Process(target=hold, args=(self.path("file"), ready))
        holder.start()
        self.addCleanup(holder.kill)
        self.assertTrue(ready.wait(20))
        self.refused("ETIMEDOUT", ["another holder"], self.lock, 0, 1)
        holder.kill()
        self.lock(0, 1, LOCK_EXCLUSIVE, 20_000_000_000)
        self.unlock(0, 1)
        holder.join()

    def test_a_signal_ends_the_wait(self):
        fcntl.lockf(self.file, fcntl.LOCK_EX, 10)
        seen = []
        before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        self.refused("EINTR", ["signal"], self.lock, 0, 1, LOCK_EXCLUSIVE, -1)
        self.assertEqual(seen, [1])


if __name__ == "__main__":
    unittest.main()
