"""Signal handlers that raise, as Ctrl-C does, at any moment: nothing stays held, and nothing that is forgotten does."""

import gc
import signal
import sys
import time
import unittest
import warnings

from package import Test

import mapshare

SECONDS = 2


class Interrupted(BaseException):
    pass


class Signals(Test):
    def setUp(self):
        super().setUp()
        self.region_ = self.region()

        def raises(_number, _frame):
            if self.armed:
                self.armed = False  # one for each round: another one may come while the first is on its way
                raise Interrupted

        self.armed = False
        # What a handler raises in a __del__ Python prints, and goes on.
        before_hook, sys.unraisablehook = sys.unraisablehook, lambda _what: None
        self.addCleanup(setattr, sys, "unraisablehook", before_hook)
        before = signal.signal(signal.SIGALRM, raises)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)

    def interrupted(self, work, check):
        """Does the work over and over while signals come at all moments, and checks after each that came into it."""
        hits, end = 0, time.monotonic() + SECONDS

        def rounds():
            while time.monotonic() < end:
                self.armed = True  # also after one that was lost in a __del__, as Python does
                work()
            self.armed = False

        signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.00013)
        while time.monotonic() < end:
            try:
                rounds()
            except Interrupted:
                hits += 1
            check()
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.armed = False
        self.assertGreater(hits, 500)

    @unittest.skipIf(sys.version_info < (3, 11), "handlers run between any two steps of this Python")
    def test_a_mutex_is_free_after_its_with(self):
        mutex = mapshare.Mutex.create(self.region_)

        def work():
            with mutex:
                pass

        self.interrupted(work, lambda: self.assertEqual(mutex.owner().pid, 0))

    def test_a_mutex_has_the_names_of_threadings_lock(self):
        mutex = mapshare.Mutex.create(self.region_)
        self.assertTrue(mutex.acquire() and mutex.locked())
        self.assertRaises(OSError, mutex.acquire, False)  # EDEADLK
        for wrong in ((False, 0.01), (True, -5)):
            self.assertRaisesRegex(ValueError, "timeout is", mutex.acquire, *wrong)
        mutex.release()
        self.assertFalse(mutex.locked())

    def test_a_range_is_free_after_its_with(self):
        def work():
            with self.region_.lock_range(0, 64):
                pass

        def check():
            self.region_.lock_range(0, 64, timeout=0).unlock()

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self.interrupted(work, check)

    def test_a_forgotten_lock_of_a_range_unlocks_and_warns(self):
        with self.assertWarns(ResourceWarning):
            self.region_.lock_range(0, 64)
            gc.collect()
        lock = self.region_.lock_range(0, 64, timeout=0)
        lock.unlock()
        with self.region_.lock_range(0, 64, timeout=0):
            del lock
            gc.collect()
            with self.assertRaises(OSError):
                self.region_.lock_range(0, 64, timeout=0)

    def test_a_forgotten_message_is_given_up(self):
        mapshare.Queue.create(self.region_, 0, 1024)
        with mapshare.Queue(self.region_, 0, "producer") as producer:
            producer.reserve(10)
            gc.collect()
            message = producer.reserve(20)
            message.cancel()
            message.cancel()
            producer.push(b"whole")
            with mapshare.Queue(self.region_, 0, "consumer") as consumer:
                consumer.peek().cancel()
                self.assertEqual(consumer.pop(0), b"whole")


if __name__ == "__main__":
    unittest.main()
