"""Processes share data through mapped memory, without the traps of mmap.

>>> import mapshare
>>> with mapshare.open("shared.bin", "r+", create=True, length=4096) as region:
...     region[0:5] = b"hello"
...     mapshare.open("shared.bin")[0:5]
b'hello'

A file that is cut short, a full disk or a failing device is an OSError that says what was asked, what was found and
what to do, where mmap ends the process. `mapshare.mmap` is the standard library's class of that name on top of this.

Timeouts are seconds, None is for ever. Offsets and lengths are bytes, offsets in a region count from its first one.
"""

from ._arguments import OpenOptions
from ._atomic import Atomic32, Atomic64, Swapped, wait, wake
from ._cell import Cell, Value
from ._mutex import Mutex, Owner, OwnerDied
from ._open import arm, library_version, open
from ._queue import Message, Queue, QueueInfo
from ._region import Region, RegionInfo
from ._sharing import RangeLock
from ._sources import anonymous, named, receive, sweep_named, unlink_named

__version__ = "0.1.0"
__all__ = [
    "Atomic32",
    "Atomic64",
    "Cell",
    "Message",
    "Mutex",
    "OpenOptions",
    "Owner",
    "OwnerDied",
    "Queue",
    "QueueInfo",
    "RangeLock",
    "Region",
    "RegionInfo",
    "Swapped",
    "Value",
    "anonymous",
    "arm",
    "library_version",
    "named",
    "open",
    "receive",
    "sweep_named",
    "unlink_named",
    "wait",
    "wake",
]
