"""The part of the interface that not every library has yet, as `_abi` declares the rest.

A function moves from here to `_abi` when the header has it; until then calling it is NotImplementedError.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

from ._abi import _function, region_p

QUEUE_SINGLE_PRODUCER = 1
QUEUE_SINGLE_CONSUMER = 2
PRODUCER = 1
CONSUMER = 2


class mapshare_queue(ctypes.Structure):
    """Opaque: only its address is passed on."""


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
