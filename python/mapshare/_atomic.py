"""Numbers in a region that all processes change one at a time, and sleeping until one changes."""

from __future__ import annotations

import ctypes
from typing import Any, Callable, NamedTuple, Optional, cast

from . import _abi
from ._arguments import u32, u64
from ._region import Region
from ._waiting import resumed


class Swapped(NamedTuple):
    """What `compare_swap` found."""

    swapped: bool
    previous: int


class _Atomic:
    __slots__ = ("_region", "_offset")

    _bits: int
    _number: Any

    def __init__(self, region: Region, offset: int = 0) -> None:
        """The word at `offset` of the region, a multiple of its size. Nothing is touched: zeros are the number 0."""
        self._region = region
        self._offset = u64("offset", offset)

    def _call(self, name: str, *arguments: Any) -> int:
        function: Callable[..., int] = getattr(_abi, f"mapshare_atomic_{name}_u{self._bits}")
        return function(self._region._handle.token, self._offset, *arguments)

    def _checked(self, value: int) -> int:
        return u32("the number", value) if self._bits == 32 else u64("the number", value)

    def _previous(self, name: str, value: int) -> int:
        previous = self._number()
        self._call(name, self._checked(value), ctypes.byref(previous))
        return cast(int, previous.value)

    def load(self) -> int:
        """The number that stands there."""
        value = self._number()
        self._call("load", ctypes.byref(value))
        return cast(int, value.value)

    def store(self, value: int) -> None:
        """Another number."""
        self._call("store", self._checked(value))

    def swap(self, value: int) -> int:
        """Another number; the one that stood there before."""
        return self._previous("swap", value)

    def add(self, value: int) -> int:
        """Adds, without the bits that overflow; the number before. A negative number is subtracted."""
        return self._previous("add", value % (1 << self._bits))

    def and_(self, value: int) -> int:
        """Keeps the bits that are set in `value`; the number before."""
        return self._previous("and", value)

    def or_(self, value: int) -> int:
        """Sets the bits that are set in `value`; the number before."""
        return self._previous("or", value)

    def compare_swap(self, expected: int, desired: int) -> Swapped:
        """Stores `desired` when `expected` stands there; whether it did, and the number before."""
        previous = self._number()
        numbers = self._checked(expected), self._checked(desired)
        done = self._call("compare_swap", *numbers, ctypes.byref(previous))
        return Swapped(done == 1, cast(int, previous.value))

    def __repr__(self) -> str:
        return f"<mapshare.{type(self).__name__} at {self._offset} of {self._region!r}>"


class Atomic32(_Atomic):
    """A number from 0 to 2**32 - 1 in 4 bytes, that threads and processes change one at a time.

    >>> import mapshare
    >>> with mapshare.anonymous(4096) as region:
    ...     number = mapshare.Atomic32(region, 8)
    ...     number.add(5), number.add(1), number.load()
    (0, 5, 6)

    OSError: EINVAL when the offset is not a multiple of the size; ERANGE when the word leaves the region;
    PermissionError for a change in a read-only region; ENXIO, ENOSPC, EIO as for `Region`. ValueError for a number that
    does not fit.
    """

    __slots__ = ()
    _bits = 32
    _number = ctypes.c_uint32

    def wait(self, expected: int, timeout: Optional[float] = None) -> None:
        """Sleeps while `expected` stands there, until somebody calls `wake`: look again afterwards. Returns at once
        when another number does. TimeoutError after `timeout` seconds, None being for ever; Ctrl-C ends it."""
        wait(self._region, self._offset, expected, timeout)

    def wake(self, count: Optional[int] = None) -> int:
        """Wakes sleepers, `count` at the most, all without it; how many. Change the number first."""
        return wake(self._region, self._offset, count)


class Atomic64(_Atomic):
    __slots__ = ()
    __doc__ = (Atomic32.__doc__ or "").replace("2**32", "2**64").replace("4 bytes", "8 bytes").replace("Atomic32", "Atomic64")
    _bits = 64
    _number = ctypes.c_uint64


def wait(region: Region, offset: int, expected: int, timeout: Optional[float] = None) -> None:
    """Sleeps while the 4 bytes at `offset` are the number `expected`, as `Atomic32.wait`."""
    at, number = u64("offset", offset), u32("expected", expected)
    resumed("mapshare_wait", lambda ns: _abi.mapshare_wait(region._handle.token, at, number, ns), timeout)


def wake(region: Region, offset: int, count: Optional[int] = None) -> int:
    """Wakes those who sleep on the 4 bytes at `offset`, as `Atomic32.wake`."""
    number = (1 << 32) - 1 if count is None else u32("count", count)
    return cast(int, _abi.mapshare_wake(region._handle.token, u64("offset", offset), number))
