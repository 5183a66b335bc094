"""The package between real processes: owners that are killed, regions handed over, what multiprocessing starts."""

import errno
import gc
import multiprocessing
import os
import pickle
import signal
import socket
import threading
import unittest

from package import PAGE, Script, Test

import mapshare

OWNER = """if True:
    region = mapshare.open("file", "r+")
    mutex = mapshare.Mutex(region, 64)
    try:
        mutex.lock()
        word = "locked"
    except mapshare.OwnerDied as died:
        died.__enter__()
        word = "told"
    region[0:8] = b"half" + bytes(4)
    print(word, flush=True)
    sys.stdin.readline()
    mutex.unlock()
"""


class KilledOwners(Test):
    def setUp(self):
        super().setUp()
        self.region_ = self.region()
        self.addCleanup(self.region_.close)
        self.mutex = mapshare.Mutex.create(self.region_, 64)

    def owner(self, word="locked"):
        owner = Script(self, OWNER)
        self.assertEqual(owner.line(), word)
        return owner

    def elsewhere(self):
        """What a lock is told in another process that only tries."""
        text = """if True:
            mutex = mapshare.Mutex(mapshare.open("file", "r+"), 64)
            try:
                mutex.lock(0)
                mutex.unlock()
            except Exception as error:
                print(type(error).__name__)
        """
        return Script(self, text).line()

    def test_the_next_owner_repairs_with_the_lock_held_and_those_after_it_know_nothing(self):
        owner = self.owner()
        found = self.mutex.owner()
        self.assertEqual((found.pid, found.alive), (owner.process.pid, True))
        self.assertRaisesRegex(TimeoutError, r"by process \d+, thread \d+.*; 0 s have passed", self.mutex.lock, 0)
        owner.kill()
        try:
            with self.mutex:
                self.fail("nobody told of the death")
        except mapshare.OwnerDied as died:
            kept = died
            with died as mutex:
                self.assertIs(mutex, self.mutex)
                gc.collect()
                self.assertEqual(self.elsewhere(), "TimeoutError", "the lock is held while the data are repaired")
                self.assertEqual(self.region_[0:4], b"half")
                self.region_[0:8] = b"repaired"
        gc.collect()
        self.assertRaises(PermissionError, self.mutex.unlock)
        self.assertEqual(self.elsewhere(), "")
        with self.mutex:
            del kept
            gc.collect()
            self.assertEqual(self.elsewhere(), "TimeoutError", "what was handled is forgotten, and unlocks nothing")
            self.assertEqual(self.region_[0:8], b"repaired")

    def test_who_waits_when_the_owner_is_killed_gets_the_lock(self):
        owner = self.owner()
        told = []

        def wait():
            try:
                self.mutex.lock()
            except mapshare.OwnerDied as died:
                with died:
                    told.append(died.errno)

        waiter = threading.Thread(target=wait)
        waiter.start()
        self.until(lambda: self.mutex.owner().waiters, "the thread waits")
        self.assertRaises(BufferError, self.region_.close)
        owner.kill()
        waiter.join(60)
        self.assertEqual(told, [errno.EOWNERDEAD])

    def test_who_is_killed_while_it_repairs_leaves_the_repair_to_the_next(self):
        self.owner().kill()
        self.owner("told").kill()
        with self.assertRaises(mapshare.OwnerDied) as caught:
            self.mutex.lock()
        with caught.exception:
            self.assertEqual(self.elsewhere(), "TimeoutError")
        self.assertEqual(self.elsewhere(), "")

    def test_a_repair_that_fails_and_a_death_that_nobody_handles_are_told_again(self):
        self.owner().kill()
        with self.assertRaises(KeyError):
            try:
                self.mutex.lock()
            except mapshare.OwnerDied as died:
                with died:
                    raise KeyError
        with self.assertRaises(mapshare.OwnerDied):
            self.mutex.lock()
        gc.collect()
        self.assertEqual(self.elsewhere(), "OwnerDied")
        self.assertEqual(self.elsewhere(), "OwnerDied", "it was told, and ended without a repair")

    def test_a_thread_that_ends_with_the_lock_counts_as_dead(self):
        thread = threading.Thread(target=self.mutex.lock)
        thread.start()
        thread.join()
        # The system's thread ends a little after Python's; until then the region may count its lock.
        self.until(lambda: not os.path.exists(f"/proc/self/task/{thread.native_id}"), "the thread has ended")
        with self.assertRaises(mapshare.OwnerDied) as caught:
            self.mutex.lock(60)
        with caught.exception:
            pass

    def test_a_child_of_fork_has_none_of_its_parents_locks(self):
        with self.mutex:
            child = os.fork()
            if child == 0:
                code = 99
                try:
                    self.mutex.unlock()
                except PermissionError:
                    try:
                        self.mutex.lock(0)
                    except TimeoutError:
                        code = 0
                finally:
                    os._exit(code)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            self.assertTrue(self.mutex.owner().alive)

    def test_refusals_are_the_subclasses_that_python_has_for_them(self):
        self.refused("EEXIST", mapshare.Mutex.create, self.region_, 64)
        self.region_.write(256, b"other bytes")
        self.refused("EBADMSG", mapshare.Mutex.create, self.region_, 256)
        self.refused("EBADMSG", mapshare.Mutex(self.region_, 128).lock)
        self.refused("EINVAL", mapshare.Mutex(self.region_, 4).lock)
        self.assertIsInstance(self.refused("EPERM", self.mutex.unlock), PermissionError)
        self.refused("EPERM", self.mutex.recover)
        with self.mutex:
            self.refused("EDEADLK", self.mutex.lock)
            self.assertRaises(BufferError, self.region_.close)
        with mapshare.open(self.path()) as readable:
            self.refused("EACCES", mapshare.Mutex(readable, 64).lock)
            self.assertEqual(mapshare.Mutex(readable, 64).owner()[:2], (0, 0))


class HandOver(Test):
    """Sender and receiver are siblings, which have nothing but a Unix socket's path."""

    GIVER = """if True:
        server = socket.socket(socket.AF_UNIX, int(sys.argv[1]))
        server.bind("socket")
        server.listen()
        region = mapshare.anonymous(4096)
        region[0:5] = b"given"
        region.seal("shrink", "grow")
        print("listens", flush=True)
        connection = server.accept()[0]
        region.send(connection, "r+")
        connection.recv(1)  # it is mapped: from now on nobody else maps it to write
        region.seal("future_write")
        region.send(connection)
        print("sent", flush=True)
        sys.stdin.readline()
    """
    TAKER = """if True:
        client = socket.socket(socket.AF_UNIX, int(sys.argv[1]))
        client.connect("socket")
        ours = mapshare.receive(client, "r+")
        client.send(b"!")
        readable = mapshare.receive(client)
        print(ours[0:5], ours.info().backing, ours.info().seals & 31, readable.info().mode, flush=True)
        sys.stdin.readline()
        ours[0:5] = b"taken"
        print(readable[0:5], flush=True)
        try:
            mapshare.open(f"/proc/self/fd/{readable.fd()}", "r+")
        except PermissionError as error:
            print(error.strerror[-7:], flush=True)
        sys.stdin.readline()
    """

    def test_unrelated_processes_share_what_one_hands_to_the_other(self):
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            with self.subTest(kind):
                giver = Script(self, self.GIVER, int(kind))
                self.assertEqual(giver.line(), "listens")
                taker = Script(self, self.TAKER, int(kind))
                self.assertEqual(giver.line(), "sent")
                self.assertEqual(taker.line(), "b'given' anonymous 22 r")
                giver.kill()
                taker.tell()
                self.assertEqual((taker.line(), taker.line()), ("b'taken'", "(EPERM)"))
                taker.end()
                os.unlink(self.path("socket"))

    def test_a_lock_in_what_was_handed_over_outlives_the_giver(self):
        here, there = socket.socketpair()
        with here, there, mapshare.anonymous(PAGE) as region:
            mutex = mapshare.Mutex.create(region)
            text = """if True:
                with socket.socket(fileno=int(sys.argv[1])) as there:
                    region = mapshare.receive(there, "r+")
                mutex = mapshare.Mutex(region)
                mutex.lock()
                print("locked", flush=True)
                sys.stdin.readline()
            """
            other = Script(self, text, there.fileno(), pass_fds=[there.fileno()])
            region.send(here, "r+")
            self.assertEqual(other.line(), "locked")
            self.assertEqual(mutex.owner().pid, other.process.pid)
            other.kill()
            with self.assertRaises(mapshare.OwnerDied) as caught:
                mutex.lock(60)
            with caught.exception:
                pass

    def test_a_descriptor_that_is_passed_on_opens_the_same_memory(self):
        with mapshare.anonymous(PAGE) as region:
            descriptor = region.fd()
            self.assertFalse(os.get_inheritable(descriptor))
            text = "mapshare.open(int(sys.argv[1]), 'r+')[0:6] = b'passed'"
            Script(self, text, descriptor, pass_fds=[descriptor]).process.wait(60)
            os.close(descriptor)
            self.assertEqual(region[0:6], b"passed")


ROUNDS = 500


def count(source):
    """Adds to a number that is no atomic, under a lock; `source` is a region, or the path of one's file."""
    region = mapshare.open(source, "r+") if isinstance(source, str) else source
    mutex, hits = mapshare.Mutex(region), mapshare.Atomic64(region, 64)
    for _ in range(ROUNDS):
        with mutex:
            region.write(72, (int.from_bytes(region.read(72, 8), "little") + 1).to_bytes(8, "little"))
        hits.add(1)


def die_with_the_lock(path):
    mapshare.Mutex(mapshare.open(path, "r+")).lock()
    os.kill(os.getpid(), signal.SIGKILL)


class Multiprocessing(Test):
    def run_all(self, method, target, *sources):
        context = multiprocessing.get_context(method)
        processes = [context.Process(target=target, args=(source,)) for source in sources]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        codes = [process.exitcode for process in processes]
        for process in processes:
            process.close()
        return codes

    def check(self, method, source, region):
        mapshare.Mutex.create(region)
        self.assertEqual(self.run_all(method, count, *[source] * 3), [0, 0, 0])
        count(region)
        numbers = [int.from_bytes(region.read(at, 8), "little") for at in (64, 72)]
        self.assertEqual(numbers, [4 * ROUNDS] * 2)

    def test_processes_that_are_forked_use_the_region_that_they_inherit(self):
        with mapshare.anonymous(PAGE) as memory, self.region() as file:
            self.check("fork", memory, memory)
            self.check("fork", file, file)

    def test_processes_that_are_spawned_open_it_by_its_path(self):
        with self.region() as region:
            self.check("spawn", self.path(), region)

    def test_processes_of_a_fork_server_open_it_by_its_path(self):
        with self.region() as region:
            self.check("forkserver", self.path(), region)

    def test_a_process_of_any_kind_that_is_killed_leaves_its_lock(self):
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method), self.region(name=method) as region:
                mutex = mapshare.Mutex.create(region)
                self.assertEqual(self.run_all(method, die_with_the_lock, self.path(method)), [-signal.SIGKILL])
                with self.assertRaises(mapshare.OwnerDied) as caught:
                    mutex.lock(60)
                with caught.exception:
                    pass

    def test_what_cannot_go_through_a_pickle_says_what_to_do(self):
        with self.region() as region:
            self.assertRaisesRegex(TypeError, "by its path or name", pickle.dumps, region)
            self.assertRaisesRegex(TypeError, "by its path or name", pickle.dumps, mapshare.Mutex(region))
            self.assertRaisesRegex(TypeError, "by its path or name", pickle.dumps, mapshare.Atomic64(region))


if __name__ == "__main__":
    unittest.main()
