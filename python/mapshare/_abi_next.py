"""The part of the interface that not every library has yet, as `_abi` declares the rest.

A function moves from here to `_abi` when the header has it; until then calling it is NotImplementedError.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

from ._abi import _function, options_p, region_p

BACKING_ANONYMOUS = 3
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


class mapshare_queue(ctypes.Structure):
    """Opaque: only its address is passed on."""


class mapshare_owner(ctypes.Structure):
    _fields_ = [("pid", c_uint32), ("tid", c_uint32), ("alive", c_uint32), ("waiters", c_uint32)]


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


queue_p = POINTER(mapshare_queue)

mapshare_open_anonymous = _function("mapshare_open_anonymous", c_int, options_p, c_size_t, POINTER(region_p))
mapshare_send = _function("mapshare_send", c_int, region_p, c_int, c_uint32)
mapshare_receive = _function("mapshare_receive", c_int, c_int, options_p, c_size_t, POINTER(region_p))
mapshare_seal = _function("mapshare_seal", c_int, region_p, c_uint32)

# load, store, swap, add, and, or, compare_swap of both sizes.
for _bits, _number in ((32, c_uint32), (64, c_uint64)):
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
