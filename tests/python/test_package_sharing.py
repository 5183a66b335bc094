"""Names, anonymous memory, hand-over, locks of ranges, atomics and waiting through the package.

What the library at hand does not have yet is skipped, and said so.
"""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from multiprocessing import shared_memory

from package import PAGE, Test

import mapshare
from mapshare import _abi

HERE = os.path.dirname(os.path.abspath(__file__))


def needs(function):
    return unittest.skipUnless(hasattr(_abi.library, function), f"this library has no {function} yet")


def in_child(work):
    """Runs in a forked process; what it returns is the exit code, 99 for an exception."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def write_named(name, text):
    with mapshare.named(name, "r+") as region:
        region.write(0, text)


@needs("mapshare_open_named")
class Names(Test):
    def setUp(self):
        super().setUp()
        self.name = f"mapshare-test-{os.getpid()}-python"
        self.addCleanup(self.forget)

    def forget(self):
        try:
            mapshare.unlink_named(self.name)
        except FileNotFoundError:
            pass

    def test_a_name_is_the_standard_librarys_and_works_over_spawn(self):
        with mapshare.named(self.name, "r+", create=True, length=PAGE) as region:
            spawn = multiprocessing.get_context("spawn")
            process = spawn.Process(target=write_named, args=("/" + self.name, b"spawned"))
            process.start()
            process.join()
            self.assertEqual((process.exitcode, region[:7], region.info().backing), (0, b"spawned", "named"))
            script = "import sys\nfrom multiprocessing.shared_memory import SharedMemory as S\n"
            script += "m = S(sys.argv[1])\nprint(bytes(m.buf[:7]))"
            said = subprocess.run([sys.executable, "-c", script, self.name], capture_output=True, text=True).stdout
            self.assertEqual(said, "b'spawned'\n")
            # The tracker of that process has removed the name at its end; nothing of ours does.
        self.forget()
        self.assertIsInstance(self.refused("ENOENT", mapshare.named, self.name), FileNotFoundError)
        self.assertRaises(ValueError, mapshare.named, "zero\0byte")
        self.refused("EINVAL", mapshare.named, "a/b")

    def test_a_name_goes_with_its_last_user_that_is_killed(self):
        def work():
            region = mapshare.named(self.name, "r+", create=True, unlink_last=True, length=PAGE)
            region[0] = 1
            os.kill(os.getpid(), signal.SIGKILL)

        self.assertEqual(in_child(work), -signal.SIGKILL)
        self.assertEqual(mapshare.sweep_named(self.name), 1)
        self.assertEqual(mapshare.sweep_named(self.name), 0)

    def test_cpythons_own_tests_of_shared_memory_pass(self):
        command = [sys.executable, "-B", "-W", "ignore", os.path.join(HERE, "cpython_shared_memory.py")]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=300)
        if done.stdout.startswith("SKIPPED"):
            self.skipTest(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_program_that_attaches_and_ends_leaves_the_memory_to_the_others(self):
        from mapshare.shared_memory import SharedMemory

        ours = SharedMemory(self.name, create=True, size=100)
        script = "import sys\nfrom mapshare.shared_memory import SharedMemory as S\nm = S(sys.argv[1])\nm.buf[0] = 7"
        subprocess.run([sys.executable, "-c", script, self.name], check=True)
        theirs = shared_memory.SharedMemory(self.name)
        self.assertEqual((ours.buf[0], theirs.buf[0]), (7, 7))
        view = ours.buf[1:3]
        self.assertRaises(BufferError, ours.close)
        view.release()
        theirs.close()
        ours.close()
        theirs.unlink()  # the one that its tracker knows about


@needs("mapshare_open_anonymous")
class HandOver(Test):
    def test_a_child_shares_anonymous_memory(self):
        with mapshare.anonymous(PAGE) as region:
            self.assertEqual(in_child(lambda: region.write(0, b"child")), 0)
            self.assertEqual((region[:5], region.info().backing), (b"child", "anonymous"))

    def test_a_region_is_sent_and_received(self):
        here, there = socket.socketpair()
        with here, there, mapshare.anonymous(PAGE) as region:
            self.assertIsInstance(self.refused("EPERM", region.send, here), PermissionError)
            region.send(here, "r+")
            with mapshare.receive(there, "r+") as other:
                other[0:5] = b"there"
            region.seal("shrink", "grow", "future_write")
            region.send(here.fileno(), "r")
            with mapshare.receive(there) as other:
                self.assertEqual((other[0:5], other.view().readonly), (b"there", True))
            here.sendall(b"this is no hand-over of anything")
            self.refused("EPROTO", mapshare.receive, there)
            there.setblocking(False)
            self.assertIsInstance(self.refused("EAGAIN", mapshare.receive, there), BlockingIOError)
            self.assertRaises(ValueError, region.seal, "everything")
            self.assertRaises(ValueError, region.seal)


@needs("mapshare_lock_range")
class RangeLocks(Test):
    def test_a_lock_excludes_other_processes_until_the_end_of_its_block(self):
        with self.region(2) as region:

            def attempt(shared=False):
                try:
                    with region.lock_range(0, 10, shared=shared, timeout=0):
                        return 0
                except TimeoutError:
                    return 1

            with region.lock_range(0, 64):
                self.assertEqual(in_child(attempt), 1)
                self.assertEqual(in_child(lambda: region.lock_range(64, 64, timeout=0).unlock() or 0), 0)
                self.refused("EDEADLK", region.lock_range, 0, 5)
            self.assertEqual(in_child(attempt), 0)
            with region.lock_range(shared=True):
                self.assertEqual((in_child(attempt), in_child(lambda: attempt(True))), (1, 0))
            lock = region.lock_range()
            lock.unlock()
            self.assertIsInstance(self.refused("EPERM", lock.unlock), PermissionError)

    def test_a_time_is_kept_and_told(self):
        with self.region() as region:
            with region.lock_range():
                failure = []

                def wait():
                    try:
                        region.lock_range(timeout=0.05)
                    except TimeoutError as error:
                        failure.append(error)

                thread = threading.Thread(target=wait)
                thread.start()
                thread.join()
                self.assertIn("0.05 s have passed", str(failure[0]))
            for bad in (-1, float("nan")):
                self.assertRaises(ValueError, region.lock_range, timeout=bad)


@needs("mapshare_wait")
class Atomics(Test):
    def test_numbers_of_both_sizes(self):
        with self.region() as region:
            for kind, bits in ((mapshare.Atomic32, 32), (mapshare.Atomic64, 64)):
                number = kind(region, 8)
                number.store(5)
                self.assertEqual((number.load(), number.swap(6), number.add(2), number.add(-1)), (5, 5, 6, 8))
                self.assertEqual((number.and_(3), number.or_(8), number.load()), (7, 3, 11))
                self.assertEqual(number.compare_swap(0, 1), (False, 11))
                self.assertEqual(number.compare_swap(11, 2**bits - 1), (True, 11))
                number.add(1)
                self.assertEqual(number.load(), 0)
                self.assertRaises(ValueError, number.store, 2**bits)
                self.assertRaises(ValueError, number.store, -1)
                self.refused("EINVAL", kind(region, 2).load)
                self.refused("ERANGE", kind(region, PAGE).load)

    def test_four_processes_count_to_a_number(self):
        with self.region() as region:
            counter = mapshare.Atomic64(region)
            children = []
            for _ in range(4):
                child = os.fork()
                if child == 0:
                    for _ in range(5000):
                        counter.add(1)
                    os._exit(0)
                children.append(child)
            [os.waitpid(child, 0) for child in children]
            self.assertEqual(counter.load(), 20_000)

    def test_waiting(self):
        with self.region() as region:
            number = mapshare.Atomic32(region, 4)
            self.assertRaises(TimeoutError, number.wait, 0, 0)
            self.assertRaises(TimeoutError, number.wait, 0, 0.02)
            number.wait(1, 0)
            done = []
            thread = threading.Thread(target=lambda: done.append(number.wait(0)))
            thread.start()
            while not done:
                number.store(1)
                number.wake()
                time.sleep(0.001)
            thread.join()

    def test_ctrl_c_interrupts_a_wait_and_other_signals_do_not(self):
        script = """if True:
            import mapshare, signal, sys
            region = mapshare.open("file", "r+", create=True, length=4096)
            number, seen = mapshare.Atomic32(region), mapshare.Atomic32(region, 4)
            signal.signal(signal.SIGUSR1, lambda *_: seen.add(1))
            seen.add(1)
            try:
                number.wait(0)
            except KeyboardInterrupt:
                print("interrupted", seen.load())
        """
        with self.region() as region:
            seen = mapshare.Atomic32(region, 4)
            child = subprocess.Popen([sys.executable, "-c", script], cwd=self.folder, stdout=subprocess.PIPE, text=True)
            deadline = time.monotonic() + 30
            for expected, number in ((1, signal.SIGUSR1), (2, signal.SIGUSR1), (3, signal.SIGINT)):
                while seen.load() < expected:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.001)
                child.send_signal(number)
            self.assertEqual(child.communicate(timeout=30)[0], "interrupted 3\n")



class Slashes(Test):
    def test_shared_memory_takes_a_slash_in_front_as_the_standard_library_does(self):
        from mapshare.shared_memory import SharedMemory

        memory = SharedMemory(f"/mapshare-slash-{os.getpid()}", create=True, size=4)
        self.addCleanup(memory.close)
        self.addCleanup(memory.unlink)
        same = SharedMemory(memory.name)
        same.buf[0] = 7
        self.assertEqual((memory.name[0], memory.buf[0]), ("/", 7))
        same.close()


if __name__ == "__main__":
    unittest.main()
