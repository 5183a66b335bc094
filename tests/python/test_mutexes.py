"""Locks in a region through plain ctypes."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import unittest

from library import CREATE, READ_ONLY, READ_WRITE, MapshareError, library, open_region

SECOND = 1_000_000_000
HOLDER = """
import library, sys, time
region = library.open_region(sys.argv[1], access=library.READ_WRITE)
library.library.mapshare_mutex_lock(region, 64, -1)
print("held", flush=True)
time.sleep(60)
"""


class Owner(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("pid", "tid", "alive", "waiters")]


class Mutexes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "file")
        self.region = open_region(self.path, flags=CREATE, access=READ_WRITE, length=4096)
        self.addCleanup(library.mapshare_unmap, self.region)
        library.mapshare_mutex_init(self.region, 64)

    def refused(self, name, function, *arguments):
        with self.assertRaises(MapshareError) as caught:
            function(*arguments)
        self.assertEqual(caught.exception.name, name, caught.exception.text)

    def owner(self):
        owner = Owner()
        library.mapshare_mutex_owner(self.region, 64, ctypes.byref(owner), ctypes.sizeof(owner))
        return owner

    def test_a_killed_owner_is_told_until_the_data_are_recovered(self):
        environment = {**os.environ, "MAPSHARE_LIBRARY": library._name}
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, self.path],
            cwd=os.path.dirname(os.path.abspath(__file__)),
            env=environment,
            stdout=subprocess.PIPE,
        )
        self.assertEqual(holder.stdout.readline(), b"held\n")
        self.assertEqual((self.owner().pid, self.owner().alive), (holder.pid, 1))
        self.refused("ETIMEDOUT", library.mapshare_mutex_lock, self.region, 64, 0)
        holder.send_signal(signal.SIGKILL)
        self.assertEqual(library.mapshare_mutex_lock(self.region, 64, 20 * SECOND), 1)
        holder.wait()
        holder.stdout.close()
        library.mapshare_mutex_unlock(self.region, 64)
        self.assertEqual(library.mapshare_mutex_lock(self.region, 64, 0), 1)
        library.mapshare_mutex_recover(self.region, 64)
        library.mapshare_mutex_unlock(self.region, 64)
        self.assertEqual(library.mapshare_mutex_lock(self.region, 64, 0), 0)
        library.mapshare_mutex_unlock(self.region, 64)

    def test_each_code(self):
        self.refused("EEXIST", library.mapshare_mutex_init, self.region, 64)
        self.refused("EBADMSG", library.mapshare_mutex_lock, self.region, 128, 0)
        self.refused("EINVAL", library.mapshare_mutex_lock, self.region, 4, 0)
        self.refused("ERANGE", library.mapshare_mutex_lock, self.region, 4096, 0)
        self.refused("EPERM", library.mapshare_mutex_unlock, self.region, 64)
        self.refused("EBADF", library.mapshare_mutex_lock, 1, 64, 0)
        reader = open_region(self.path, access=READ_ONLY)
        self.refused("EACCES", library.mapshare_mutex_lock, reader, 64, 0)
        library.mapshare_unmap(reader)
        library.mapshare_mutex_lock(self.region, 64, 0)
        self.refused("EDEADLK", library.mapshare_mutex_lock, self.region, 64, 0)
        self.refused("EBUSY", library.mapshare_unmap, self.region)
        library.mapshare_mutex_unlock(self.region, 64)


if __name__ == "__main__":
    unittest.main()
