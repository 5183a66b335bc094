"""Files that are cut short, grow or fill up under the package's regions: never a crash, nor zeros that pass for
bytes."""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from package import PAGE, Test

import mapshare

SECONDS = float(os.environ.get("MAPSHARE_STORM_SECONDS", "1"))


class Faults(Test):
    def lossy(self, pages=4):
        """A region of bytes 1 whose file has been cut to its first page, after its slices were used."""
        region = self.region(pages)
        region.fill(0, pages * PAGE, 1)
        self.assertEqual(region[-1], 1)
        os.truncate(self.path(), PAGE)
        return region

    def test_every_access_to_a_lost_page_raises_until_refresh(self):
        for first in range(6):
            region = self.lossy()
            accesses = [
                lambda: region[2 * PAGE : 2 * PAGE + 64],
                lambda: region[-1],
                lambda: region.read(3 * PAGE, 10),
                lambda: region.read_into(2 * PAGE, bytearray(10)),
                lambda: region.write(2 * PAGE, b"gone"),
                lambda: region.__setitem__(slice(2 * PAGE, 2 * PAGE + 4), b"gone"),
            ]
            for access in (accesses * 2)[first : first + 12]:
                self.refused("ENXIO", access)
            self.refused("ENXIO", region.__setitem__, -1, 5)
            self.refused("ENXIO", lambda: region[PAGE - 5 : PAGE + 5])
            self.assertEqual(region[PAGE - 5 : PAGE], b"\1" * 5)
            os.truncate(self.path(), 4 * PAGE)
            if first == 0:  # zeros stand in the place of that page, and the library goes on saying so
                self.refused("ENXIO", accesses[0])
            region.refresh()
            self.assertEqual(region[2 * PAGE : 2 * PAGE + 64], bytes(64))
            region[2 * PAGE : 2 * PAGE + 4] = b"back"
            self.assertEqual(region.read(2 * PAGE, 4), b"back")
            region.close()

    def test_slices_are_fast_again_after_refresh_and_in_regions_that_lost_nothing(self):
        other = self.region(1, "other")
        other[0] = 3
        region = self.lossy()
        self.refused("ENXIO", lambda: region[-1])
        self.assertEqual(other[0], 3)
        self.assertEqual(other._seen, mapshare._region._lost.value, "it keeps a view again")
        self.assertIsNotNone(other._bytes)
        self.assertIsNone(region._bytes)
        region.refresh()
        self.assertEqual((len(region), region[0]), (PAGE, 1))
        region[0]
        self.assertIsNotNone(region._bytes)
        region.close()

    def test_a_view_outlives_a_truncation_and_close_tells(self):
        region = self.lossy()
        view = region.view()
        self.assertEqual((view[0], view[-1], bytes(view[2 * PAGE : 2 * PAGE + 3])), (1, 0, b"\0\0\0"))
        view[-1] = 9
        view.release()
        self.refused("ENXIO", region.close)
        self.assertTrue(region.closed)

    def test_close_after_an_exception_does_not_replace_it(self):
        with self.assertRaises(KeyError):
            with self.lossy() as region:
                region.view()[-1]
                raise KeyError

    def test_a_view_that_lost_nothing_closes_silently(self):
        region = self.lossy()
        self.assertEqual(region.view(0, PAGE)[0], 1)
        region.close()

    def test_without_a_handler_every_access_is_a_call_and_views_are_refused(self):
        self.region(2).close()
        with mapshare.open(self.path(), "r+", no_handler=True) as region:
            region[0:5] = b"bytes"
            self.assertEqual((region[0:5], region[0], region.read(1, 2)), (b"bytes", ord("b"), b"yt"))
            self.refused("EOPNOTSUPP", region.view)
            os.truncate(self.path(), 1)
            self.refused("ENXIO", lambda: region[PAGE])

    def test_faulthandler_enabled_afterwards_does_not_matter_once_armed(self):
        script = """if True:
            import faulthandler, mapshare, os
            region = mapshare.open("file", "r+", create=True, length=8 * 4096)
            region[-1] = 5
            faulthandler.enable()
            mapshare.arm()
            os.truncate("file", 0)
            try:
                region[-1]
            except OSError as error:
                print("said", error.errno)
        """
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "said 6\n", ""))

    def test_threads_never_read_zeros_while_a_process_truncates(self):
        # On ext4 the kernel itself shows zeros behind the end of a file that is just being cut, also to plain mmap: it
        # clears the rest of a large folio before it unmaps it. On tmpfs it does not.
        folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        seed = int(os.environ.get("MAPSHARE_SEED", time.time_ns()))
        region = self.region(8)
        region.fill(0, 8 * PAGE, 1)
        # The breaker leaves no zeros in the file: it cuts, and moves bytes of 1 over whole pages before it lengthens.
        script = """if True:
            import os, sys, time
            file, page, end = os.open("file", os.O_RDWR), int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
            while time.monotonic() < end:
                for pages in range(8):
                    os.ftruncate(file, pages * page)
                    os.pwrite(file, b"\\1" * (8 - pages) * page, pages * page)
        """
        breaker = subprocess.Popen([sys.executable, "-c", script, str(PAGE), str(SECONDS)], cwd=self.folder)
        wrong, counts = [], {"read": 0, "lost": 0}

        def use(number):
            dice = random.Random(seed + number)
            try:
                while breaker.poll() is None:
                    start = dice.randrange(8) * PAGE
                    try:
                        kind = dice.randrange(3)
                        if kind == 0:
                            got = region[start : start + 64]
                        elif kind == 1:
                            got = bytearray(64)
                            region.read_into(start, got)
                        else:
                            got = bytes((region[start],))
                        counts["read"] += 1
                        # os.pwrite makes the file longer page by page with its bytes in place.
                        if set(got) != {1}:
                            wrong.append((start, bytes(got)))
                    except OSError as error:
                        if error.errno not in (6, 34):
                            raise
                        counts["lost"] += 1
                        region.refresh()
                    except IndexError:
                        region.refresh()
                    if len(region) < 8 * PAGE:
                        region.refresh()
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=use, args=(number,)) for number in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        breaker.wait()
        wrong = [entry for entry in wrong if not (isinstance(entry, tuple) and entry[1] == b"")]
        self.assertEqual(wrong[:3], [], f"seed {seed}, {counts}")
        self.assertGreater(counts["read"], 0)


if __name__ == "__main__":
    unittest.main()
