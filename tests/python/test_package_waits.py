"""Every call of the package that waits: Ctrl-C ends it, other signals do not, and other threads run meanwhile."""

import contextlib
import signal
import socket
import subprocess
import sys
import unittest

from package import PAGE, Test

import mapshare

# A Python of its own, and each of the waits in it: the test has what it waits for. `there` is a socket whose other end
# is the test's.
BEGIN = """
import atexit, mapshare, signal, socket, sys, threading
region = mapshare.open("file", "r+")
there = socket.socket(fileno=int(sys.argv[1]))
atexit.register(there.close)
mutex, number, counts = mapshare.Mutex(region, 64), mapshare.Atomic32(region, 128), mapshare.Atomic32(region, 132)
cell = mapshare.Cell(region, 4096, 8)
# Not in the wait: the next one may be published while the call that reads this has let other threads run.
version = cell.read().version
memory = mapshare.anonymous(4096)
def queue(at, role):
    return mapshare.Queue(region, at, role)
def send():
    while True:
        memory.send(there, "r+")
def timed(call):
    there.settimeout(3600)
    call()
waits = {
    "word": lambda: number.wait(0),
    "mutex": lambda: mutex.lock() or mutex.unlock(),
    "range": lambda: region.lock_range(1024, 64).unlock(),
    "receive": lambda: mapshare.receive(there),
    "receive with a timeout": lambda: timed(lambda: mapshare.receive(there)),
    "cell": lambda: cell.wait(version),
    "pop": lambda: queue(EMPTY, "consumer").pop(),
    "peek": lambda: queue(EMPTY, "consumer").peek(),
    "push": lambda: queue(FULL, "producer").push(bytes(8)),
    "reserve": lambda: queue(FULL, "producer").reserve(8),
    "send": send,
    "send with a timeout": lambda: timed(send),
}
wait = sys.argv[2]
if wait.startswith("send"):
    there.setblocking(False)
    try:
        send()
    except BlockingIOError:
        there.setblocking(True)
"""
WAITS = ["word", "mutex", "range", "receive", "receive with a timeout", "send", "send with a timeout"]
WAITS += ["cell", "pop", "peek", "push", "reserve"]
EMPTY, FULL = 2 * PAGE, 4 * PAGE
BEGIN = BEGIN.replace("EMPTY", str(EMPTY)).replace("FULL", str(FULL)).replace("4096, 8", f"{PAGE}, 8")


def asleep(process):
    """Whether the kernel says that its first thread sleeps."""
    with open(f"/proc/{process}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


class Waits(Test):
    def setUp(self):
        super().setUp()
        self.region_ = self.region(8)
        self.addCleanup(self.region_.close)
        self.mutex = mapshare.Mutex.create(self.region_, 64)
        self.cell = mapshare.Cell.create(self.region_, PAGE, 8)
        for at in (EMPTY, FULL):
            mapshare.Queue.create(self.region_, at, 64)
        self.number, self.counts = mapshare.Atomic32(self.region_, 128), mapshare.Atomic32(self.region_, 132)

    def empty(self, at):
        with mapshare.Queue(self.region_, at, "consumer") as queue, contextlib.suppress(TimeoutError):
            while True:
                queue.pop(0)

    @contextlib.contextmanager
    def waiting(self, wait, text):
        """A process that begins this wait; the inner block, when it is left, ends what is in its way."""
        here, there = socket.socketpair()
        self.number.store(0)
        self.counts.store(0)
        self.empty(FULL)
        self.empty(EMPTY)
        with mapshare.Queue(self.region_, FULL, "producer") as queue, contextlib.suppress(TimeoutError):
            while True:
                queue.push(bytes(8), 0)
        with contextlib.ExitStack() as after:
            with here, there, self.mutex, self.region_.lock_range(1024, 64):
                process = subprocess.Popen(
                    [sys.executable, "-X", "dev", "-c", BEGIN + text, str(there.fileno()), wait],
                    cwd=self.folder,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    pass_fds=[there.fileno()],
                )
                after.callback(process.communicate)
                after.callback(process.kill)
                there.close()
                yield process
            self.number.store(1)
            self.number.wake()
            self.cell.publish(bytes(8))
            self.empty(FULL)
            with mapshare.Queue(self.region_, EMPTY, "producer") as queue:
                queue.push(bytes(8), 60)
            output = process.communicate(timeout=60)
            self.assertEqual(output, ("ended\n", ""))
            self.assertEqual(process.returncode, 0)

    def test_ctrl_c_ends_every_wait_and_other_signals_do_not(self):
        text = """if True:
            signal.signal(signal.SIGUSR1, lambda *_: counts.add(1))
            counts.add(1)
            try:
                waits[wait]()
            except KeyboardInterrupt:
                with region.lock_range(2048, 64):  # the library is in order
                    print("ended", flush=True)
                counts.store(100)
        """
        for wait in WAITS:
            with self.subTest(wait), self.waiting(wait, text) as process:
                for seen in range(1, 4):
                    self.until(lambda: self.counts.load() == seen, "it begins, or its handler has run")
                    self.until(lambda: asleep(process.pid), "it sleeps")
                    process.send_signal(signal.SIGUSR1)
                self.until(lambda: self.counts.load() == 4 and asleep(process.pid), "it sleeps again")
                process.send_signal(signal.SIGINT)
                self.until(lambda: self.counts.load() == 100, "Ctrl-C has ended it")

    def test_other_threads_run_while_one_waits(self):
        # Threads change only where one sleeps, and each wait is a single call: one that kept the interpreter's lock
        # would keep it until somebody else ends the wait, which is done only when the other thread has run.
        text = """if True:
            import mapshare._waiting
            mapshare._waiting.LONGEST = 3600 * 10**9
            sys.setswitchinterval(3600)
            begun = []
            def use():
                begun.append(wait)
                try:
                    waits[wait]()
                except BrokenPipeError:
                    pass
            thread = threading.Thread(target=use)
            thread.start()
            while not begun:
                pass
            counts.add(1)
            thread.join()
            print("ended")
        """
        for wait in WAITS:
            with self.subTest(wait), self.waiting(wait, text):
                self.until(self.counts.load, "the other thread has run")

    def test_a_socket_that_has_a_timeout_keeps_it_and_one_that_does_not_wait_says_so(self):
        here, there = socket.socketpair()
        with here, there, mapshare.anonymous(PAGE) as memory:
            for one, call in ((there, lambda: mapshare.receive(there)), (here, lambda: self.fill(memory, here))):
                one.settimeout(0.02)
                with self.assertRaisesRegex(TimeoutError, "0.02 s have passed"):
                    call()
                one.settimeout(0)
                self.assertRaises(BlockingIOError, call)
            there.settimeout(60)
            mapshare.receive(there, "r+").close()

    def fill(self, memory, socket):
        while True:
            memory.send(socket, "r+")


class Leftovers(Test):
    def test_nothing_warns_of_what_is_left_open(self):
        """Objects that are forgotten, each with the region under it, in a Python that shows every warning."""
        text = """if True:
            import gc, mapshare, os, socket
            path = os.path.join(os.getcwd(), "file")
            here, there = socket.socketpair()
            with here, there:
                for _ in range(3):
                    region = mapshare.open(path, "r+", create=True, length=8192)
                    memory = mapshare.anonymous(4096)
                    memory.send(here, "r+")
                    received = mapshare.receive(there, "r+")
                    mutex = mapshare.Mutex.create(memory)
                    with mutex, region.lock_range():
                        mapshare.Atomic64(region, 8).add(1)
                    view, descriptor = region.view(), region.fd()
                    view[0] = region[1]
                    os.close(descriptor)
                    from mapshare.mmap import mmap
                    from mapshare.shared_memory import SharedMemory
                    mapped = mmap(-1, 4096)
                    shared = SharedMemory(create=True, size=10)
                    shared.unlink()
                    del region, memory, received, mutex, view, mapped, shared
                    gc.collect()
            region = mapshare.open(path)
        """
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "always", "-c", text], cwd=self.folder, capture_output=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))


if __name__ == "__main__":
    unittest.main()
