"""Regions that do not come from paths: names of shared memory, anonymous memory, hand-over."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Union, cast

from . import _abi
from ._arguments import OpenOptions, options_of
from ._open import opened
from ._region import Region
from ._waiting import HasFileno, on_socket

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._arguments import Mode


def _name(name: Union[str, bytes]) -> bytes:
    encoded = os.fsencode(name)
    if b"\0" in encoded:
        raise ValueError("the name has a zero byte in it")
    return encoded


def named(name: Union[str, bytes], mode: Mode = "r", **options: Unpack[OpenOptions]) -> Region:
    """Opens shared memory by its name, which is that of shm_open and of multiprocessing.shared_memory.

    The name has no slash, but for one in front that may be left out. With ``create`` it is made, complete before
    anybody sees it; with ``unlink_last`` too it goes when its last user closes it or dies. Other options and errors are
    those of `mapshare.open`. FileNotFoundError when nothing has the name; EINVAL for a slash inside; ELOOP for a
    symbolic link; PermissionError with create when another user has made it.
    """
    return opened(_abi.mapshare_open_named, (_name(name),), options_of(mode, options), os.fsdecode(name))


def unlink_named(name: Union[str, bytes]) -> None:
    """Removes a name of shared memory; whoever has it open goes on using it. FileNotFoundError, PermissionError."""
    _abi.mapshare_unlink_named(_name(name))


def sweep_named(prefix: Union[str, bytes] = "") -> int:
    """Removes the names that begin so, were made with ``unlink_last``, and whose users are all dead; how many."""
    return cast(int, _abi.mapshare_sweep_named(_name(prefix)))


def anonymous(length: int, /, **options: Unpack[OpenOptions]) -> Region:
    """New memory of `length` bytes, all zeros, without a name: children have it after fork, `Region.send` hands it to
    others.

    >>> import socket
    >>> here, there = socket.socketpair()  # the other end is another process, mostly
    >>> with here, there, anonymous(4096) as region:
    ...     region.send(here, "r+")
    ...     with receive(there, "r+") as same:
    ...         same[0:5] = b"hello"
    ...     region[0:5]
    b'hello'

    OSError: EINVAL for a length of 0, ENOMEM, ENOSPC.
    """
    options["length"] = length
    return opened(_abi.mapshare_open_anonymous, (), options_of("r+", options), "<anonymous>")


def receive(socket: Union[int, HasFileno], mode: Mode = "r", **options: Unpack[OpenOptions]) -> Region:
    """Takes a region that another process has sent with `Region.send`, from the other end of its Unix socket.

    ``offset`` and ``length`` count inside what was handed over; 0 and 0 are all of it. PermissionError for more than
    was handed over; BrokenPipeError when the sender has closed; OSError EPROTO when what came is no hand-over: that
    message is gone, the next may be one. While nothing has come it waits as the socket says: for ever, for its timeout
    (``settimeout``; TimeoutError), or not at all (BlockingIOError). Ctrl-C ends the wait.
    """
    wanted = options_of(mode, options)
    return on_socket(
        "mapshare_receive",
        socket,
        select.POLLIN,
        lambda descriptor: opened(_abi.mapshare_receive, (descriptor,), wanted, "<received>"),
    )
