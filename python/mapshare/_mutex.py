"""A lock in a region, that outlives its owner's death."""

from __future__ import annotations

import ctypes
import errno
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, List, NamedTuple, Optional, Type, cast

from . import _abi
from ._arguments import u64
from ._region import Region
from ._waiting import done, noted, noted_once_more, resumed

LOCK = _abi.plain("mapshare_mutex_lock", _abi.region_p, ctypes.c_uint64, ctypes.c_int64)
UNLOCK = _abi.plain("mapshare_mutex_unlock", _abi.region_p, ctypes.c_uint64)
# For the end of a `with`: what it is given beside the lock stands in registers that the function does not read.
LEAVE = _abi.plain("mapshare_mutex_unlock", _abi.region_p, ctypes.c_uint64, *(3 * (ctypes.py_object,)))
LEAVE.errcheck = _abi.check  # type: ignore[attr-defined]


class Owner(NamedTuple):
    """What `Mutex.owner` tells: for people and tools."""

    pid: int
    tid: int
    alive: bool
    waiters: int


class OwnerDied(OSError):
    """The lock's last owner died while it held the lock. You hold it now, and its data may be half written.

    Use it as a context manager: its end says that the data are whole again, and unlocks. When an exception leaves it
    the lock is unlocked without that, and the next owner is told the same:

        try:
            with mutex:
                change(data)
        except mapshare.OwnerDied as died:
            with died:
                repair(data)

    Or call `mutex.recover()` and `mutex.unlock()` by hand. One that nobody handles unlocks when it is forgotten.
    """

    def __init__(self, mutex: Mutex) -> None:
        text = f"the owner of the lock at offset {mutex.offset} died: the data may be half written (EOWNERDEAD)"
        super().__init__(errno.EOWNERDEAD, text)
        self.mutex = mutex
        self._holds = True

    def __enter__(self) -> Mutex:
        return self.mutex

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            if error is None:
                self.mutex.recover()
        finally:
            self.mutex.unlock()
            self._holds = False

    def handled(self) -> None:
        """The lock is in other hands: forgetting this exception leaves it alone."""
        self._holds = False

    def __del__(self) -> None:
        if getattr(self, "_holds", False):
            try:
                self.mutex.unlock()
            except OSError:
                pass  # unlocked by hand, or forgotten on another thread: the lock then goes with its own


def _leave(mutex: Mutex, *_what: object) -> None:
    mutex.unlock()


class _Leave:
    """The method `__exit__` of a lock, without Python code, at whose begin a signal's handler could raise."""

    def __get__(self, mutex: Optional[Mutex], _owner: Any) -> Callable[..., None]:
        if mutex is None:
            return _leave
        return cast("Callable[..., None]", partial(LEAVE, mutex._region._handle.token, mutex.offset))


class Mutex:
    """A lock of `Mutex.SIZE` bytes (64) at `offset` of a region, a multiple of 8. `Mutex.create` makes one.

    >>> import mapshare
    >>> with mapshare.anonymous(4096) as region:
    ...     mutex = mapshare.Mutex.create(region)
    ...     with mutex:
    ...         mutex.owner().alive
    True

    It is the locking thread's. When its owner dies, whether a thread or a process, the next one has it within
    milliseconds and gets `OwnerDied`.

    A region cannot be closed while one of its locks is held or waited for (BufferError). A child of fork has none of
    its parent's locks.

    OSError: EBADMSG when no lock stands there or it was damaged; EPROTONOSUPPORT for one of another version; EDEADLK
    when this thread holds it already; PermissionError when it is not this thread's to unlock (EPERM), or the region is
    read-only (EACCES); ENOMEM for a thread's 17th lock at once.
    """

    SIZE = _abi.MUTEX_SIZE
    __slots__ = ("_region", "offset")

    def __init__(self, region: Region, offset: int = 0) -> None:
        self._region = region
        #: First byte, counted from the region's start.
        self.offset = u64("offset", offset)

    @classmethod
    def create(cls, region: Region, offset: int = 0) -> Mutex:
        """Makes a lock out of `Mutex.SIZE` bytes of zeros. FileExistsError when one stands there, OSError EBADMSG when
        something else does: fill its bytes with zeros first."""
        _abi.mapshare_mutex_init(region._handle.token, u64("offset", offset))
        return cls(region, offset)

    def lock(self, timeout: Optional[float] = None) -> None:
        """Waits for the lock. `timeout` is seconds, 0 only tries, None is for ever; TimeoutError when they have passed.
        Ctrl-C ends the wait. `OwnerDied`: you hold it, see there."""
        self._lock(timeout)

    def _lock(self, timeout: Optional[float]) -> Mutex:
        """Locks; when a signal's handler raises after that, unlocks again."""
        codes: List[int] = []
        try:
            died = resumed(
                "mapshare_mutex_lock",
                lambda ns: noted(codes, LOCK, self._region._handle.token, self.offset, ns),
                timeout,
            )
            if died == _abi.OWNER_DIED:
                raise OwnerDied(self)
            return self
        except OwnerDied:
            raise
        except BaseException:
            if done(codes):
                UNLOCK(self._region._handle.token, self.offset)
            raise

    def unlock(self) -> None:
        """Lets the next one have it."""
        noted_once_more(UNLOCK, self._region._handle.token, self.offset)

    # As threading.Lock calls them.

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """`lock` with the arguments and the result of threading.Lock.acquire: False when it could not be had in time.
        ValueError for a timeout below 0 that is not -1, which is for ever, or for one where it does not block."""
        if timeout != -1 and not blocking:
            raise ValueError(f"timeout is {timeout}: one that does not block has none")
        if timeout != -1 and timeout < 0:
            raise ValueError(f"timeout is {timeout}: it has to be seconds from 0, or -1 for ever")
        try:
            self.lock(0 if not blocking else None if timeout == -1 else timeout)
        except TimeoutError:
            return False
        return True

    def release(self) -> None:
        """`unlock`."""
        self.unlock()

    def locked(self) -> bool:
        """Whether anybody holds it now."""
        return self.owner().pid != 0

    def recover(self) -> None:
        """Says that the data are whole again after `OwnerDied`; until then every next owner is told."""
        _abi.mapshare_mutex_recover(self._region._handle.token, self.offset)

    def owner(self) -> Owner:
        """Who holds it: pid and tid 0 when nobody does."""
        owner = _abi.mapshare_owner()
        size = ctypes.sizeof(owner)
        _abi.mapshare_mutex_owner(self._region._handle.token, self.offset, owner, size)
        return Owner(owner.pid, owner.tid, bool(owner.alive), owner.waiters)

    def __enter__(self) -> Mutex:
        return self._lock(None)

    if TYPE_CHECKING:

        def __exit__(
            self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
        ) -> None: ...

    else:
        __exit__ = _Leave()

    def __repr__(self) -> str:
        return f"<mapshare.Mutex at {self.offset} of {self._region!r}>"
