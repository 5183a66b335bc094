"""Python's arguments as the library takes them: ctypes would cut numbers that are too large, and says nothing."""

from __future__ import annotations

import ctypes
import math
import operator
import sys
from typing import TYPE_CHECKING, SupportsIndex, Tuple, TypedDict, Union

from . import _abi

if TYPE_CHECKING:
    from typing import Literal

    from typing_extensions import Buffer, Unpack

    Mode = Literal["r", "r+", "c"]
    __all__ = ["Buffer", "Mode", "OpenOptions", "Unpack"]

MODES = {"r": _abi.READ_ONLY, "r+": _abi.READ_WRITE, "c": _abi.COPY_ON_WRITE}
MODE_NAMES = {number: name for name, number in MODES.items()}
FLAGS = {
    "create": _abi.CREATE,
    "exclusive": _abi.EXCLUSIVE,
    "populate": _abi.POPULATE,
    "locked": _abi.LOCKED,
    "huge_pages": _abi.HUGE_PAGES,
    "no_follow": _abi.NO_FOLLOW,
    "sparse": _abi.SPARSE,
    "no_handler": _abi.NO_HANDLER,
    "beneath": _abi.BENEATH,
    "unlink_last": _abi.UNLINK_LAST,
}
NUMBERS = {"offset": "offset", "length": "length", "reserve": "reserve", "permissions": "mode"}


class OpenOptions(TypedDict, total=False):
    """How to open a region; everything has a default. Lengths and offsets are bytes.

    ===========  =====  ==========================================================================================
    offset       0      first byte of the file to map, a multiple of the page size (``mmap.PAGESIZE``)
    length       0      how many to map; 0 = to the end of the file
    reserve      0      address space to keep for growth, length included; 0 = length
    permissions  0o600  of a file that is created, less the umask
    create       False  make the file when it is missing, extend it when it is too short; needs mode ``"r+"``
    exclusive    False  with create: FileExistsError when it exists
    populate     False  bring all pages in at once
    locked       False  keep them in memory; counts against RLIMIT_MEMLOCK
    huge_pages   False  ask for huge pages
    no_follow    False  OSError (ELOOP) when the last part of the path is a symbolic link
    sparse       False  do not reserve storage for what is added: a full disk then shows at the first write
    no_handler   False  leave SIGBUS alone: each access is then a system call, and views need a sealed region
    beneath      False  for paths that come from others: never out of the directory, never over a symbolic link
    unlink_last  False  with create: the name goes with its last user, also when that one is killed
    ===========  =====  ==========================================================================================
    """

    offset: int
    length: int
    reserve: int
    permissions: int
    create: bool
    exclusive: bool
    populate: bool
    locked: bool
    huge_pages: bool
    no_follow: bool
    sparse: bool
    no_handler: bool
    beneath: bool
    unlink_last: bool


def u64(name: str, value: SupportsIndex) -> int:
    """A number of bytes, of which there are none below 0."""
    number = operator.index(value)
    if not 0 <= number < 1 << 64:
        raise ValueError(f"{name} is {number}: it has to be from 0 to 2**64 - 1")
    return number


def u32(name: str, value: SupportsIndex) -> int:
    number = operator.index(value)
    if not 0 <= number < 1 << 32:
        raise ValueError(f"{name} is {number}: it has to be from 0 to 2**32 - 1")
    return number


def access(mode: str) -> int:
    try:
        return MODES[mode]
    except (KeyError, TypeError):
        raise ValueError(
            f"mode is {mode!r}: it has to be 'r' (read only), 'r+' (read and write) or 'c' (copy-on-write)"
        ) from None


def options_of(mode: str, options: OpenOptions) -> _abi.mapshare_options:
    result = _abi.mapshare_options(access=access(mode))
    for name, value in options.items():
        if name in FLAGS:
            result.flags |= FLAGS[name] if value else 0
        elif name in NUMBERS:
            check = u32 if name == "permissions" else u64
            setattr(result, NUMBERS[name], check(name, value))  # type: ignore[arg-type]
        else:
            raise TypeError(f"{name!r} is no option; there are {', '.join([*NUMBERS, *FLAGS])}")
    return result


def readable(data: Buffer) -> Tuple[object, int]:
    """What ctypes passes as the address of these bytes, and how many they are. It keeps them alive."""
    if isinstance(data, bytes):
        return data, len(data)
    view = memoryview(data)
    if view.readonly or not view.c_contiguous:
        copy = view.tobytes()
        return copy, len(copy)
    return writable(view)


def writable(buffer: Buffer) -> Tuple[object, int]:
    """The same of bytes that are to be written."""
    view = memoryview(buffer)
    if view.readonly or not view.c_contiguous:
        raise TypeError("the buffer has to be writable and contiguous, as a bytearray is")
    if view.nbytes == 0:
        return None, 0
    return ctypes.byref(ctypes.c_char.from_buffer(view)), view.nbytes


def as_bytes(data: Buffer) -> memoryview:
    """The buffer as a flat memoryview of bytes."""
    view = memoryview(data)
    if view.format == "B" and view.ndim == 1:
        return view
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())


def nanoseconds(timeout: Union[float, None]) -> int:
    """Seconds as the library counts them: None is for ever, 0 only a try; what is shorter than a nanosecond is one."""
    if timeout is None:
        return -1
    if math.isnan(timeout) or timeout < 0:
        raise ValueError(f"timeout is {timeout}: it has to be seconds from 0, or None for ever")
    if timeout >= sys.maxsize / 1e9:
        return sys.maxsize
    return math.ceil(timeout * 1e9)
