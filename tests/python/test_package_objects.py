"""What mutexes, cells and queues of the package do around the library's calls, against a stand-in for the library.

The promises themselves, kills and all, are the library's own tests' business.
"""

import ctypes
import errno
import gc
import os
import unittest
from unittest import mock

from package import Test

import mapshare
from mapshare import _abi, _mutex


def stand_in(**functions):
    return mock.patch.multiple(_abi, **{f"mapshare_{name}": function for name, function in functions.items()})


def error(number):
    return OSError(number, os.strerror(number))


class Mutexes(Test):
    def setUp(self):
        super().setUp()
        self.calls, self.answers = [], []

        def call(name):
            def called(_token, offset, *_arguments):
                self.calls.append((name, offset))
                answer = self.answers.pop(0) if name == "lock" and self.answers else 0
                if isinstance(answer, OSError):
                    raise answer
                return answer

            return called

        unlock = call("unlock")
        for patch in (
            stand_in(mutex_init=call("init"), mutex_recover=call("recover")),
            mock.patch.multiple(_mutex, LOCK=call("lock"), UNLOCK=unlock, LEAVE=unlock),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        self.region_ = self.region()
        self.addCleanup(self.region_.close)
        self.mutex = mapshare.Mutex.create(self.region_, 128)
        self.calls.clear()

    def names(self):
        return [name for name, _ in self.calls]

    def test_with_locks_and_unlocks_also_when_an_exception_leaves(self):
        with self.mutex:
            self.assertEqual(self.calls, [("lock", 128)])
        with self.assertRaises(KeyError):
            with self.mutex:
                raise KeyError
        self.assertEqual(self.names(), ["lock", "unlock"] * 2)

    def test_owner_died_is_handled_with_the_lock_held(self):
        self.answers = [_abi.OWNER_DIED]
        try:
            with self.mutex:
                self.fail("not reached")
        except mapshare.OwnerDied as died:
            self.assertEqual((self.names(), died.errno), (["lock"], errno.EOWNERDEAD))
            with died as mutex:
                self.assertIs(mutex, self.mutex)
                self.assertEqual(self.names(), ["lock"])
        gc.collect()
        self.assertEqual(self.names(), ["lock", "recover", "unlock"])

    def test_a_repair_that_fails_unlocks_without_saying_that_it_succeeded(self):
        self.answers = [_abi.OWNER_DIED]
        with self.assertRaises(KeyError):
            try:
                self.mutex.lock()
            except mapshare.OwnerDied as died:
                with died:
                    raise KeyError
        self.assertEqual(self.names(), ["lock", "unlock"])

    def test_owner_died_that_nobody_handles_does_not_keep_the_lock(self):
        self.answers = [_abi.OWNER_DIED]
        with self.assertRaises(mapshare.OwnerDied):
            self.mutex.lock()
        gc.collect()
        self.assertEqual(self.names(), ["lock", "unlock"])

    def test_owner_died_handled_by_hand(self):
        self.answers = [_abi.OWNER_DIED]
        try:
            self.mutex.lock()
        except mapshare.OwnerDied as died:
            died.handled()
        self.mutex.recover()
        self.mutex.unlock()
        gc.collect()
        self.assertEqual(self.names(), ["lock", "recover", "unlock"])

    def test_a_wait_goes_on_after_a_signal_and_after_each_of_its_parts(self):
        self.answers = [error(errno.EINTR), error(errno.ETIMEDOUT), error(errno.EINTR), 0]
        self.mutex.lock()
        self.assertEqual(self.names(), ["lock"] * 4)
        self.answers = [error(errno.EINTR), error(errno.ETIMEDOUT)]
        self.assertRaises(TimeoutError, self.mutex.lock, 0)
        self.answers = [KeyboardInterrupt()]
        self.answers = [error(errno.EDEADLK)]
        self.assertRaises(OSError, self.mutex.lock)


class Queues(Test):
    def queue(self, role="consumer", **functions):
        def opened(_token, _offset, _role, pointer):
            pointer._obj.contents = _abi.mapshare_queue()
            return 0

        self.closed = []
        names = {f"queue_{name}": function for name, function in functions.items()}
        names.setdefault("queue_open", opened)
        patch = stand_in(queue_close=lambda token: self.closed.append(bool(token)), **names)
        patch.start()
        self.addCleanup(patch.stop)
        region = self.region()
        self.addCleanup(region.close)
        return mapshare.Queue(region, 0, role)

    def test_messages_of_any_length_are_popped_and_iterated_until_the_end(self):
        messages = [b"", b"short", b"x" * 100_000, b"last"]

        def pop(_token, buffer, size, _ns):
            if not messages:
                raise error(errno.EPIPE)
            if len(messages[0]) > size:
                raise error(errno.EMSGSIZE)
            message = messages.pop(0)
            ctypes.memmove(buffer, message, len(message))
            return len(message)

        def info(_token, state, _size):
            state.capacity = 1 << 20

        with self.queue(pop=pop, info=info) as queue:
            self.assertEqual([len(message) for message in queue], [0, 5, 100_000, 4])
        self.assertEqual(self.closed, [True])
        queue.close()
        self.assertEqual(self.closed, [True])


class Cells(Test):
    def test_values_and_versions(self):
        values = [(b"1234", 1), (b"5678", 2)]

        def read(_token, _offset, buffer, length, version):
            data, version._obj.value = values[0]
            ctypes.memmove(buffer, data, length)

        published = []
        with (
            self.region() as region,
            stand_in(
                cell_read=read,
                cell_wait=lambda _token, _offset, seen, _ns: values.pop(0) and 0,
                cell_publish=lambda _token, _offset, data, length: published.append((data, length)),
            ),
        ):
            cell = mapshare.Cell(region, 64, 4)
            self.assertEqual(cell.read(), (b"1234", 1))
            self.assertEqual(next(iter(cell)), (b"5678", 2))
            cell.publish(b"abcd")
            self.assertEqual(published, [(b"abcd", 4)])


if __name__ == "__main__":
    unittest.main()
