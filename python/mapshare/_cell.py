"""The latest value of something, in a region."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Iterator, NamedTuple, Optional, cast

from . import _abi
from ._arguments import readable, u64
from ._region import Region
from ._waiting import again, resumed

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Value(NamedTuple):
    """What a cell held, and its number: the first value that was published is version 1; version 0 is zeros."""

    data: bytes
    version: int


class Cell:
    """The last complete value of `length` bytes that anybody has published, at `offset` of a region, a multiple of 64.

    One or more writers and any number of readers, none of whom waits for another; a writer that dies leaves the value
    before in place. `Cell.create` makes one of `Cell.footprint(length)` bytes.

    OSError: EBADMSG when no cell stands there or it was damaged; EINVAL for another length or offset; BlockingIOError
    when writers overtook one read 64 times; PermissionError for a publish through a read-only region.
    """

    __slots__ = ("_region", "offset", "length")

    def __init__(self, region: Region, offset: int, length: int) -> None:
        self._region = region
        #: First byte, counted from the region's start.
        self.offset = u64("offset", offset)
        #: Bytes of a value.
        self.length = u64("length", length)

    @staticmethod
    def footprint(length: int) -> int:
        """Bytes of a region that a cell of values of `length` bytes takes."""
        return cast(int, _abi.mapshare_cell_footprint(u64("length", length)))

    @classmethod
    def create(cls, region: Region, offset: int, length: int) -> Cell:
        """Makes a cell out of bytes of zeros. FileExistsError when one stands there, EBADMSG for other bytes."""
        _abi.mapshare_cell_init(region._handle.token, u64("offset", offset), u64("length", length))
        return cls(region, offset, length)

    def publish(self, value: Buffer) -> None:
        """Makes these bytes, `length` of them, the value. TimeoutError when another writer, which lives, has been at it
        for a second."""
        address, length = readable(value)
        again(lambda: _abi.mapshare_cell_publish(self._region._handle.token, self.offset, address, length))

    def read(self) -> Value:
        """The value and its version."""
        buffer = ctypes.create_string_buffer(self.length)
        version = ctypes.c_uint64()
        token = self._region._handle.token
        _abi.mapshare_cell_read(token, self.offset, buffer, self.length, ctypes.byref(version))
        return Value(buffer.raw, version.value)

    def wait(self, seen_version: int, timeout: Optional[float] = None) -> None:
        """Waits for a newer version than this one. TimeoutError after `timeout` seconds; None is for ever."""
        seen = u64("seen_version", seen_version)
        resumed(
            "mapshare_cell_wait",
            lambda ns: _abi.mapshare_cell_wait(self._region._handle.token, self.offset, seen, ns),
            timeout,
        )

    def __iter__(self) -> Iterator[Value]:
        """Each value that is published from now on, but those that others replaced before they were looked at."""
        version = self.read().version
        while True:
            self.wait(version)
            value = self.read()
            version = value.version
            yield value

    def __repr__(self) -> str:
        return f"<mapshare.Cell of {self.length} bytes at {self.offset} of {self._region!r}>"
