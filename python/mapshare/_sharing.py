"""What regions do with other processes: hand-over, seals, locks of ranges."""

from __future__ import annotations

import ctypes
import select
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, List, Optional, Type, Union

from . import _abi
from ._arguments import access, u64
from ._handle import Handle
from ._waiting import HasFileno, noted, on_socket, resumed

if TYPE_CHECKING:
    from typing import Literal

    from ._arguments import Mode

    Seal = Literal["seal", "shrink", "grow", "write", "future_write"]

SEALS = {
    "seal": _abi.SEAL_SEAL,
    "shrink": _abi.SEAL_SHRINK,
    "grow": _abi.SEAL_GROW,
    "write": _abi.SEAL_WRITE,
    "future_write": _abi.SEAL_FUTURE_WRITE,
}


_RANGE = _abi.region_p, ctypes.c_uint64, ctypes.c_uint64
LOCK = _abi.plain("mapshare_lock_range", *_RANGE, ctypes.c_uint32, ctypes.c_int64)
UNLOCK = _abi.plain("mapshare_unlock_range", *_RANGE)


class RangeLock:
    """A lock that `Region.lock_range` has taken: a context manager that unlocks at its end. One that is forgotten
    unlocks, with a ResourceWarning: keep it as long as the lock is needed."""

    __slots__ = ("_handle", "_offset", "_length", "_locked", "_unlocked")

    def __init__(self, handle: Handle, offset: int, length: int) -> None:
        self._handle, self._offset, self._length = handle, offset, length
        # The codes of what was called.
        self._unlocked: List[int] = []
        self._locked: List[int] = []

    def unlock(self) -> None:
        """On the thread that locked. PermissionError when it is unlocked already."""
        noted(self._unlocked, UNLOCK, self._handle.token, self._offset, self._length)

    def __del__(self) -> None:
        # Also when a signal's handler raised before anybody could have it, or at the begin of `__exit__`.
        if 0 in getattr(self, "_locked", ()) and 0 not in self._unlocked:
            if UNLOCK(self._handle.token, self._offset, self._length) == 0:
                warnings.warn("a lock of a range was forgotten, and is unlocked", ResourceWarning, source=self)

    def __enter__(self) -> RangeLock:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.unlock()


class Sharing:
    """The methods of `Region` that need other processes to make sense."""

    __slots__ = ()

    _handle: Handle

    def send(self, socket: Union[int, HasFileno], mode: Mode = "r") -> None:
        """Hands the region to whoever calls `mapshare.receive` at the other end of a connected Unix socket.

        `mode` is the most that the receiver may do: "r", "r+" or "c". PermissionError for more than this region grants,
        for anonymous memory in mode "r" without the seal "future_write" or "write", and in mode "r+" with one of them.
        BrokenPipeError when the other side has closed. While the socket is full it waits as the socket says: for ever, for its timeout
        (``settimeout``; TimeoutError), or not at all (BlockingIOError).
        """
        number = access(mode)
        on_socket(
            "mapshare_send",
            socket,
            select.POLLOUT,
            lambda descriptor: _abi.mapshare_send(self._handle.token, descriptor, number),
        )

    def seal(self, *seals: Seal) -> None:
        """Seals a memory file for ever and for everyone: nobody makes it shorter ("shrink") or longer ("grow"), nobody
        writes ("write": OSError EBUSY while anyone has it mapped writable; "future_write": but those who do now),
        nobody seals further ("seal"). OSError EOPNOTSUPP for files on disk, PermissionError after the seal "seal"."""
        unknown = [seal for seal in seals if seal not in SEALS]
        if unknown or not seals:
            raise ValueError(f"seals are {', '.join(SEALS)}, not {unknown or 'none'}")
        _abi.mapshare_seal(self._handle.token, sum({SEALS[seal] for seal in seals}))

    def lock_range(
        self, offset: int = 0, length: int = 0, *, shared: bool = False, timeout: Optional[float] = None
    ) -> RangeLock:
        """Locks bytes of the file against all threads of all processes that lock some of the same; 0 = all that follow.

        with region.lock_range(0, 64): ... The lock is this thread's, and the kernel frees it when the process dies.
        Locks are advice: reads and writes do not look at them. `timeout` is seconds, 0 only tries, None is for ever.

        TimeoutError; OSError EDEADLK when this thread has locked some of these bytes; PermissionError for an exclusive
        lock of a region that is not "r+"; ERANGE; EOPNOTSUPP where the file system has no locks.
        """
        start, count = u64("offset", offset), u64("length", length)
        mode = _abi.LOCK_SHARED if shared else _abi.LOCK_EXCLUSIVE
        lock = RangeLock(self._handle, start, count)
        resumed(
            "mapshare_lock_range",
            lambda ns: noted(lock._locked, LOCK, self._handle.token, start, count, mode, ns),
            timeout,
        )
        return lock
