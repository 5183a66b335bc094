"""How regions come to be."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from . import _abi
from ._arguments import OpenOptions, options_of
from ._handle import Handle
from ._region import Region

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._arguments import Mode

    Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


def opened(
    function: Callable[..., Any], first: tuple[object, ...], options: _abi.mapshare_options, name: str
) -> Region:
    """A region by any of the opening functions, whose first arguments differ."""
    token = _abi.region_p()
    try:
        function(*first, options, ctypes.sizeof(options), ctypes.byref(token))
    except OSError as error:
        if not name.startswith("<"):
            error.filename = name
        raise
    return Region(Handle(token), name, options.access != _abi.READ_ONLY)


def open(
    path: Union[Path, int], mode: Mode = "r", *, dir_fd: Optional[int] = None, **options: Unpack[OpenOptions]
) -> Region:
    """Opens a file, or what stands behind a descriptor, as a region.

    `mode` is ``"r"`` to read, ``"r+"`` to read and write, ``"c"`` to write privately (copy-on-write: the file stays,
    and permission to read it is enough). A descriptor stays the caller's, who may close it at once. A relative `path`
    counts from the directory `dir_fd` where that is given. The other options are those of `OpenOptions`:

    >>> with open("a.bin", "r+", create=True, length=8192) as region:
    ...     region.write(0, b"hello")
    >>> with open("a.bin") as region:
    ...     region.read(0, 5), len(region)
    (b'hello', 8192)
    >>> open("a.bin", length=10000)
    Traceback (most recent call last):
    OSError: [Errno 6] mapshare_open: ...

    OSError, among others: FileNotFoundError; FileExistsError (exclusive); PermissionError; EINVAL when there is nothing
    to map, an option contradicts another or offset is not a multiple of the page size; ENXIO when the file is shorter
    than offset + length and create is not set; ENOSPC; ENODEV for a directory, FIFO, socket or device; ELOOP; ENOMEM.
    A call that fails leaves nothing behind. ValueError for a number below 0 or a mode that is unknown.
    """
    wanted = options_of(mode, options)
    if isinstance(path, int):
        return opened(_abi.mapshare_open_fd, (path,), wanted, f"<descriptor {path}>")
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("the path has a zero byte in it")
    if dir_fd is not None:
        return opened(_abi.mapshare_open_at, (dir_fd, name), wanted, os.fsdecode(name))
    return opened(_abi.mapshare_open, (name,), wanted, os.fsdecode(name))


def arm() -> None:
    """Takes SIGBUS back after the program has installed a handler of its own, as faulthandler.enable() does.

    That one stays chained. Opening a region does the same.
    """
    _abi.mapshare_arm()


def library_version() -> str:
    """The version of the libmapshare that is loaded."""
    version: bytes = _abi.mapshare_version()
    return version.decode()
