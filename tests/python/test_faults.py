"""Faults through ctypes: codes from calls, zeros in views, threads, and faulthandler enabled before and after the first open.

Each scenario runs in a Python of its own, which must not die and must say nothing about a bus error that was ours.
MAPSHARE_STORM_SECONDS makes the storm longer (1), MAPSHARE_SEED repeats one.
"""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = float(os.environ.get("MAPSHARE_STORM_SECONDS", "1"))

# What every scenario starts with. `cut` makes a region whose file has been cut to nothing.
PRELUDE = """
import ctypes, faulthandler, mmap, os, random, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
PAGE = mmap.PAGESIZE

def load():
    global library, mapshare, MapshareError, open_region, read, write
    import library
    from library import MapshareError, open_region, read, write
    mapshare = library.library
    mapshare.mapshare_arm.argtypes = []

def create(name, pages):
    return open_region(name, flags=1, access=1, length=pages * PAGE, reserve=2 * pages * PAGE)

def code(function, *arguments):
    try:
        function(*arguments)
        return None
    except MapshareError as error:
        return error.name

def view(region, offset, length):
    pointer = ctypes.c_void_p()
    mapshare.mapshare_view(region, offset, length, ctypes.byref(pointer))
    return pointer.value

def array_of(pointer, length):
    return (ctypes.c_ubyte * length).from_address(pointer)

def check_faults(name):
    region = create(name, 8)
    write(region, 0, bytes(range(1, 256)) * 100)
    os.truncate(name, 2 * PAGE)
    assert code(read, region, 2 * PAGE - 10, 20) == "ENXIO"
    assert code(write, region, 5 * PAGE, b"bytes") == "ENXIO"
    assert code(mapshare.mapshare_fill, region, 0, 8 * PAGE, 1) == "ENXIO"
    assert code(mapshare.mapshare_copy, region, 0, region, PAGE, 2 * PAGE) == "ENXIO"
    pointer = view(region, 0, 8 * PAGE)
    shown = array_of(pointer, 8 * PAGE)
    assert shown[0] != 0 and shown[3 * PAGE] == 0
    shown[3 * PAGE] = 9
    lent = memoryview(shown).cast("B")
    assert lent[3 * PAGE] == 9 and bytes(lent[4 * PAGE : 4 * PAGE + 100]) == bytes(100)
    lent[6 * PAGE : 6 * PAGE + 3] = b"abc"
    os.truncate(name, 8 * PAGE)
    assert code(read, region, 3 * PAGE, 1) == "ENXIO"
    assert read(region, 0, 1) == bytes([shown[0]])
    mapshare.mapshare_refresh(region)
    assert lent[3 * PAGE] == 0
    lent[3 * PAGE] = 10
    assert read(region, 3 * PAGE, 1) == b"\\n"
    assert code(mapshare.mapshare_release, region, pointer) == "ENXIO"
    mapshare.mapshare_unmap(region)
    os.unlink(name)

def foreign():
    file = os.open("foreign", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, PAGE)
    mapped = mmap.mmap(file, PAGE)
    os.ftruncate(file, 0)
    return mapped
"""

STORM = """
load()
seconds, seed = float(sys.argv[2]), int(sys.argv[3])
ORDER
PAGES = 24
region = create("storm", PAGES)
stop, wrong, counts = time.monotonic() + seconds, [], {}

def count(call, name):
    assert name in (None, "ENXIO", "ERANGE"), (call, name)
    counts[call, name] = counts.get((call, name), 0) + 1
    return name is None

def use(number):
    # Each thread has pages of its own: those that are its number modulo 4.
    dice = random.Random(seed + number)
    buffer = ctypes.create_string_buffer(PAGE)
    while time.monotonic() < stop:
        page = number + 4 * dice.randrange(PAGES // 4)
        byte, kind = dice.randrange(1, 256), dice.randrange(6)
        if kind == 0:
            count("fill", code(mapshare.mapshare_fill, region, page * PAGE, PAGE, byte))
        elif kind == 1:
            count("write", code(write, region, page * PAGE, bytes([byte]) * PAGE))
        elif kind == 2:
            if count("read", code(mapshare.mapshare_read, region, page * PAGE, buffer, PAGE)):
                # One value, or parts that the breaker has taken.
                assert len(set(buffer.raw) - {0}) <= 1, set(buffer.raw)
        elif kind == 3:
            other = number + 4 * dice.randrange(PAGES // 4)
            count("copy", code(mapshare.mapshare_copy, region, page * PAGE, region, other * PAGE, PAGE))
        elif kind == 4:
            try:
                pointer = view(region, page * PAGE, PAGE)
            except MapshareError as error:
                count("view", error.name)
                continue
            shown = array_of(pointer, PAGE)
            assert len(set(bytes(memoryview(shown))) - {0}) <= 1
            ctypes.memset(pointer, byte, PAGE)
            assert len(set(bytes(shown)) - {0}) <= 1
            count("release", code(mapshare.mapshare_release, region, pointer))
        else:
            count("refresh", code(mapshare.mapshare_refresh, region))

def run(number):
    try:
        use(number)
    except BaseException as error:
        wrong.append(repr(error))

# Every page is written whole or not: a write that fails half way through would leave two values, so that the breaker
# cuts at pages only, and a page is cut as a whole.
breaker = os.fork()
if breaker == 0:
    dice = random.Random(seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.truncate("storm", dice.randrange(PAGES) * PAGE)
        os.truncate("storm", PAGES * PAGE)
    os._exit(0)
threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
os.waitpid(breaker, 0)
assert not wrong, wrong
for call in "fill", "write", "read", "copy", "refresh", "release":
    assert counts.get((call, None)), (call, counts)
assert any(name == "ENXIO" for _, name in counts), counts
mapshare.mapshare_unmap(region)
print("lived")
"""


class Faults(unittest.TestCase):
    def run_alone(self, script, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-B", "-c", PRELUDE + textwrap.dedent(script), HERE, *map(str, arguments)]
            return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20 + SECONDS)

    def lives(self, script, *arguments):
        done = self.run_alone(script, *arguments)
        self.assertEqual((done.returncode, done.stdout), (0, "lived\n"), done.stderr)
        return done.stderr

    def dies_of_sigbus(self, script):
        done = self.run_alone(script)
        self.assertEqual(done.returncode, -signal.SIGBUS, (done.stdout, done.stderr[-2000:]))
        return done.stderr

    def test_faults_are_codes_and_zeros(self):
        self.assertEqual(self.lives("load(); check_faults('a'); check_faults('b'); print('lived')"), "")

    def test_faulthandler_before_the_first_open_says_nothing(self):
        said = self.lives("faulthandler.enable(); load(); check_faults('a'); check_faults('b'); print('lived')")
        self.assertEqual(said, "")

    def test_faulthandler_after_the_first_open_says_nothing_once_armed(self):
        for rearm in "mapshare.mapshare_arm()", "create('c', 1)":
            said = self.lives(f"load(); create('o', 1); faulthandler.enable(); {rearm}; check_faults('a'); print('lived')")
            self.assertEqual(said, "")

    def test_faulthandler_after_the_last_open_speaks_once_and_the_call_gives_its_code(self):
        said = self.lives("""
            load()
            region = create('o', 4)
            os.truncate('o', 0)
            faulthandler.enable()
            assert code(read, region, 0, 1) == "ENXIO"
            assert code(read, region, PAGE, 1) == "ENXIO"
            faulthandler.enable()
            pointer = view(region, 0, PAGE)
            assert array_of(pointer, 1)[0] == 0
            assert code(mapshare.mapshare_release, region, pointer) == "ENXIO"
            print('lived')
        """)
        self.assertIn("Bus error", said)

    def test_faulthandler_may_be_disabled_and_enabled_again(self):
        self.lives("""
            faulthandler.enable(); load(); check_faults('a')
            faulthandler.disable(); mapshare.mapshare_arm(); check_faults('b')
            faulthandler.enable(); mapshare.mapshare_arm(); check_faults('c')
            faulthandler.disable(); check_faults('d')
            print('lived')
        """)

    def test_a_foreign_bus_error_kills_and_faulthandler_tells_where(self):
        self.dies_of_sigbus("load(); check_faults('a'); foreign()[0]")
        for order in (
            "faulthandler.enable(); load(); check_faults('a')",
            "load(); create('a', 1); faulthandler.enable()",
            "load(); create('a', 1); faulthandler.enable(); mapshare.mapshare_arm()",
            "load(); create('a', 1); faulthandler.enable(); create('b', 1)",
            "load(); r = create('a', 1); faulthandler.enable(); mapshare.mapshare_arm(); view(r, 0, 1)",
            "faulthandler.enable(); load(); r = create('a', 1); view(r, 0, 1)",
        ):
            with self.subTest(order):
                said = self.dies_of_sigbus(order + "; foreign()[0]")
                self.assertEqual(said.count("Fatal Python error: Bus error"), 1, said[-2000:])
                self.assertIn('File "<string>"', said)

    def test_a_sent_bus_error_kills(self):
        self.dies_of_sigbus("load(); check_faults('a'); signal.raise_signal(signal.SIGBUS); time.sleep(5)")
        said = self.dies_of_sigbus(
            "faulthandler.enable(); load(); check_faults('a'); os.kill(os.getpid(), signal.SIGBUS); time.sleep(5)"
        )
        self.assertEqual(said.count("Fatal Python error: Bus error"), 1)

    def test_a_python_handler_for_sigbus_gets_what_is_not_ours(self):
        self.lives("""
            seen = []
            signal.signal(signal.SIGBUS, lambda number, frame: seen.append(number))
            load(); check_faults('a')
            assert not seen
            signal.raise_signal(signal.SIGBUS)
            assert seen == [signal.SIGBUS]
            signal.signal(signal.SIGBUS, lambda number, frame: seen.append(-number))
            mapshare.mapshare_arm(); check_faults('b')
            signal.raise_signal(signal.SIGBUS)
            assert seen == [signal.SIGBUS, -signal.SIGBUS]
            print('lived')
        """)

    def storm(self, order):
        seed = int(os.environ.get("MAPSHARE_SEED", time.time_ns()))
        try:
            said = self.lives(STORM.replace("ORDER", order), SECONDS, seed)
        except AssertionError:
            print(f"seed {seed}; set MAPSHARE_SEED to repeat", file=sys.stderr)
            raise
        self.assertEqual(said, "")

    def test_threads_in_a_storm_with_faulthandler_enabled_before(self):
        self.storm("faulthandler.enable(); create('o', 1)")

    def test_threads_in_a_storm_with_faulthandler_enabled_after(self):
        self.storm("create('o', 1); faulthandler.enable()")


if __name__ == "__main__":
    unittest.main()
