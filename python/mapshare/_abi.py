"""include/mapshare.h for ctypes, in its order; a test compares the two.

Nothing here is for users of the package: the classes are the interface.
"""

from __future__ import annotations

import ctypes
import os
import re
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Callable

CREATE = 1
EXCLUSIVE = 2
POPULATE = 4
LOCKED = 8
HUGE_PAGES = 16
NO_FOLLOW = 32
BENEATH = 64
SPARSE = 128
UNLINK_LAST = 256
NO_HANDLER = 512
READ_ONLY = 0
READ_WRITE = 1
COPY_ON_WRITE = 2
FLUSH_ASYNC = 1
ADVISE_NORMAL = 0
ADVISE_SEQUENTIAL = 1
ADVISE_RANDOM = 2
ADVISE_WILL_NEED = 3
ADVISE_DONT_NEED = 4
ADVISE_HUGE_PAGES = 5
LOCK_SHARED = 1
LOCK_EXCLUSIVE = 2
BACKING_FILE = 1
BACKING_NAMED = 2
BACKING_ANONYMOUS = 3
BACKING_FD = 4
SEAL_SEAL = 1
SEAL_SHRINK = 2
SEAL_GROW = 4
SEAL_WRITE = 8
SEAL_FUTURE_WRITE = 16
MUTEX_SIZE = 64
OWNER_DIED = 1
QUEUE_SINGLE_PRODUCER = 1
QUEUE_SINGLE_CONSUMER = 2
PRODUCER = 1
CONSUMER = 2


class mapshare_region(ctypes.Structure):
    """Opaque: only its address is passed on."""


class mapshare_queue(ctypes.Structure):
    """Opaque: only its address is passed on."""


class mapshare_options(ctypes.Structure):
    _fields_ = [
        ("flags", c_uint64),
        ("offset", c_uint64),
        ("length", c_uint64),
        ("reserve", c_uint64),
        ("access", c_uint32),
        ("mode", c_uint32),
    ]


class mapshare_region_info(ctypes.Structure):
    _fields_ = [
        ("length", c_uint64),
        ("offset", c_uint64),
        ("reserve", c_uint64),
        ("file_length", c_uint64),
        ("page_size", c_uint64),
        ("resident", c_uint64),
        ("faults", c_uint64),
        ("device", c_uint64),
        ("inode", c_uint64),
        ("access", c_uint32),
        ("backing", c_uint32),
        ("seals", c_uint32),
        ("views", c_uint32),
    ]


class mapshare_owner(ctypes.Structure):
    _fields_ = [
        ("pid", c_uint32),
        ("tid", c_uint32),
        ("alive", c_uint32),
        ("waiters", c_uint32),
    ]


class mapshare_queue_state(ctypes.Structure):
    _fields_ = [
        ("messages", c_uint64),
        ("bytes", c_uint64),
        ("capacity", c_uint64),
        ("pushed", c_uint64),
        ("popped", c_uint64),
        ("producers", c_uint32),
        ("consumers", c_uint32),
    ]


region_p = POINTER(mapshare_region)
queue_p = POINTER(mapshare_queue)
options_p = POINTER(mapshare_options)


def _load() -> ctypes.CDLL:
    """The library that MAPSHARE_LIBRARY names, else the one in this package, else the one that the loader knows."""
    name = os.environ.get("MAPSHARE_LIBRARY")
    if not name:
        shipped = Path(__file__).with_name("libmapshare.so.0")
        name = str(shipped) if shipped.exists() else "libmapshare.so.0"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise ImportError(
            f"{error}: libmapshare.so.0 is neither beside this package nor known to the loader; install the package "
            "with `pip install ./python`, or run `make` and set MAPSHARE_LIBRARY to build/lib/libmapshare.so.0"
        ) from error


library = _load()


# What the library says of NULL, which is what a closed object has.
_CLOSED = re.compile(r"the token 0x0 is not an open (\w+)(?: handle)?;.*\(EBADF\)")


def check(result: int, _function: object, _arguments: object) -> int:
    """Makes an exception of a code: the one errcheck. Python picks the subclass of OSError by the error number."""
    if result < 0:
        text = last_error().decode(errors="replace")
        raise OSError(-result, _CLOSED.sub(r"the \1 is closed (EBADF)", text))
    return result


def _missing(name: str) -> Callable[..., Any]:
    def missing(*_arguments: object) -> Any:
        version = mapshare_version().decode()
        raise NotImplementedError(f"{library._name} is version {version}, which has no {name} yet: install a newer one")

    return missing


def _function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """A function of the library; a result that can be a code is checked."""
    try:
        function = getattr(library, name)
    except AttributeError:
        return _missing(name)
    function.restype, function.argtypes = result, arguments
    if result in (c_int, c_int64):
        function.errcheck = check
    return function  # type: ignore[no-any-return]


# The same library, but Python's lock is kept during its calls.
_held = ctypes.PyDLL(library._name, handle=library._handle)


def plain(name: str, *arguments: Any) -> Callable[..., int]:
    """The function once more, without `check`, which is a place where a signal's handler may raise: it gives codes."""
    try:
        function = library[name]
    except AttributeError:
        return _missing(name)
    function.restype, function.argtypes = c_int, arguments
    return function


def quick(name: str, result: Any) -> Callable[..., int]:
    """The function once more, for calls that do not wait and whose speed is measured, at a quarter of the cost: it gives
    codes as they are, other threads do not run meanwhile, and it takes bytes, and what `from_param` and `byref` have
    made of numbers and buffers before."""
    try:
        function = _held[name]
    except AttributeError:
        return _missing(name)
    function.restype = result
    return function


mapshare_open = _function("mapshare_open", c_int, c_char_p, options_p, c_size_t, POINTER(region_p))
mapshare_open_fd = _function("mapshare_open_fd", c_int, c_int, options_p, c_size_t, POINTER(region_p))
mapshare_open_at = _function("mapshare_open_at", c_int, c_int, c_char_p, options_p, c_size_t, POINTER(region_p))
mapshare_open_anonymous = _function("mapshare_open_anonymous", c_int, options_p, c_size_t, POINTER(region_p))
mapshare_unmap = _function("mapshare_unmap", c_int, region_p)
mapshare_open_named = _function("mapshare_open_named", c_int, c_char_p, options_p, c_size_t, POINTER(region_p))
mapshare_unlink_named = _function("mapshare_unlink_named", c_int, c_char_p)
mapshare_sweep_named = _function("mapshare_sweep_named", c_int64, c_char_p)
mapshare_read = _function("mapshare_read", c_int, region_p, c_uint64, c_void_p, c_size_t)
mapshare_write = _function("mapshare_write", c_int, region_p, c_uint64, c_void_p, c_size_t)
mapshare_fill = _function("mapshare_fill", c_int, region_p, c_uint64, c_uint64, c_uint32)
mapshare_copy = _function("mapshare_copy", c_int, region_p, c_uint64, region_p, c_uint64, c_uint64)
mapshare_flush = _function("mapshare_flush", c_int, region_p, c_uint64, c_uint64, c_uint32)
mapshare_view = _function("mapshare_view", c_int, region_p, c_uint64, c_uint64, POINTER(c_void_p))
mapshare_release = _function("mapshare_release", c_int, region_p, c_void_p)
mapshare_lost_count = _function("mapshare_lost_count", POINTER(c_uint64))
mapshare_resize = _function("mapshare_resize", c_int, region_p, c_uint64)
mapshare_refresh = _function("mapshare_refresh", c_int, region_p)
mapshare_protect = _function("mapshare_protect", c_int, region_p, c_uint32)
mapshare_advise = _function("mapshare_advise", c_int, region_p, c_uint64, c_uint64, c_uint32)
mapshare_length = _function("mapshare_length", c_int64, region_p)
mapshare_info = _function("mapshare_info", c_int, region_p, POINTER(mapshare_region_info), c_size_t)
mapshare_fd = _function("mapshare_fd", c_int, region_p)
mapshare_send = _function("mapshare_send", c_int, region_p, c_int, c_uint32)
mapshare_receive = _function("mapshare_receive", c_int, c_int, options_p, c_size_t, POINTER(region_p))
mapshare_seal = _function("mapshare_seal", c_int, region_p, c_uint32)
mapshare_lock_range = _function("mapshare_lock_range", c_int, region_p, c_uint64, c_uint64, c_uint32, c_int64)
mapshare_unlock_range = _function("mapshare_unlock_range", c_int, region_p, c_uint64, c_uint64)

for _bits, _number in ((64, c_uint64), (32, c_uint32)):
    for _name, _arguments in (
        ("load", (POINTER(_number),)),
        ("store", (_number,)),
        ("swap", (_number, POINTER(_number))),
        ("add", (_number, POINTER(_number))),
        ("and", (_number, POINTER(_number))),
        ("or", (_number, POINTER(_number))),
        ("compare_swap", (_number, _number, POINTER(_number))),
    ):
        _full = f"mapshare_atomic_{_name}_u{_bits}"
        globals()[_full] = _function(_full, c_int, region_p, c_uint64, *_arguments)
del _bits, _number, _name, _arguments, _full

mapshare_wait = _function("mapshare_wait", c_int, region_p, c_uint64, c_uint32, c_int64)
mapshare_wake = _function("mapshare_wake", c_int, region_p, c_uint64, c_uint32)
mapshare_mutex_init = _function("mapshare_mutex_init", c_int, region_p, c_uint64)
mapshare_mutex_lock = _function("mapshare_mutex_lock", c_int, region_p, c_uint64, c_int64)
mapshare_mutex_recover = _function("mapshare_mutex_recover", c_int, region_p, c_uint64)
mapshare_mutex_unlock = _function("mapshare_mutex_unlock", c_int, region_p, c_uint64)
mapshare_mutex_owner = _function("mapshare_mutex_owner", c_int, region_p, c_uint64, POINTER(mapshare_owner), c_size_t)
mapshare_cell_footprint = _function("mapshare_cell_footprint", c_int64, c_uint64)
mapshare_cell_init = _function("mapshare_cell_init", c_int, region_p, c_uint64, c_uint64)
mapshare_cell_publish = _function("mapshare_cell_publish", c_int, region_p, c_uint64, c_void_p, c_size_t)
mapshare_cell_read = _function("mapshare_cell_read", c_int, region_p, c_uint64, c_void_p, c_size_t, POINTER(c_uint64))
mapshare_cell_wait = _function("mapshare_cell_wait", c_int, region_p, c_uint64, c_uint64, c_int64)
mapshare_queue_footprint = _function("mapshare_queue_footprint", c_int64, c_uint64)
mapshare_queue_init = _function("mapshare_queue_init", c_int, region_p, c_uint64, c_uint64, c_uint32)
mapshare_queue_open = _function("mapshare_queue_open", c_int, region_p, c_uint64, c_uint32, POINTER(queue_p))
mapshare_queue_push = _function("mapshare_queue_push", c_int, queue_p, c_void_p, c_size_t, c_int64)
mapshare_queue_pop = _function("mapshare_queue_pop", c_int64, queue_p, c_void_p, c_size_t, c_int64)
mapshare_queue_reserve = _function("mapshare_queue_reserve", c_int, queue_p, c_size_t, c_int64, POINTER(c_void_p))
mapshare_queue_commit = _function("mapshare_queue_commit", c_int, queue_p, c_size_t)
mapshare_queue_peek = _function("mapshare_queue_peek", c_int64, queue_p, c_int64, POINTER(c_void_p))
mapshare_queue_consume = _function("mapshare_queue_consume", c_int, queue_p)
mapshare_queue_cancel = _function("mapshare_queue_cancel", c_int, queue_p)
mapshare_queue_info = _function("mapshare_queue_info", c_int, queue_p, POINTER(mapshare_queue_state), c_size_t)
mapshare_queue_end = _function("mapshare_queue_end", c_int, queue_p)
mapshare_queue_close = _function("mapshare_queue_close", c_int, queue_p)
mapshare_version = _function("mapshare_version", c_char_p)
mapshare_version_number = _function("mapshare_version_number", c_uint32)
mapshare_strerror = _function("mapshare_strerror", c_char_p, c_int)
mapshare_last_error = _function("mapshare_last_error", c_char_p)
mapshare_arm = _function("mapshare_arm", c_int)

last_error = mapshare_last_error
