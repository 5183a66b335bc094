"""The C interface through plain ctypes, as a script without any package uses it."""

import ctypes
import errno
import os
import pathlib

CREATE, EXCLUSIVE, POPULATE, LOCKED, HUGE_PAGES, NO_FOLLOW, BENEATH, SPARSE = 1, 2, 4, 8, 16, 32, 64, 128
UNLINK_LAST, NO_HANDLER = 256, 512
READ_ONLY, READ_WRITE, COPY_ON_WRITE = 0, 1, 2
FLUSH_ASYNC = 1
LOCK_SHARED, LOCK_EXCLUSIVE = 1, 2
QUEUE_SINGLE_PRODUCER, QUEUE_SINGLE_CONSUMER = 1, 2
PRODUCER, CONSUMER = 1, 2
SEAL_SEAL, SEAL_SHRINK, SEAL_GROW, SEAL_WRITE, SEAL_FUTURE_WRITE = 1, 2, 4, 8, 16


class Options(ctypes.Structure):
    _fields_ = [
        ("flags", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("length", ctypes.c_uint64),
        ("reserve", ctypes.c_uint64),
        ("access", ctypes.c_uint32),
        ("mode", ctypes.c_uint32),
    ]


class Info(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in "length offset reserve file_length page_size resident faults device inode".split()
    ] + [(name, ctypes.c_uint32) for name in "access backing seals views".split()]


# Where Linux has two names for a number, Python knows the other one.
NAMES = {**errno.errorcode, errno.EDEADLK: "EDEADLK"}


class MapshareError(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.name, self.text = code, NAMES.get(code), text


def find():
    if os.environ.get("MAPSHARE_LIBRARY"):
        return os.environ["MAPSHARE_LIBRARY"]
    root = pathlib.Path(__file__).resolve().parents[2]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    places = [root / "build/lib/libmapshare.so", target / "debug/libmapshare.so", target / "release/libmapshare.so"]
    for place in places:
        if place.exists():
            return str(place)
    raise SystemExit(f"no libmapshare.so in {', '.join(map(str, places))}: run `make`, or set MAPSHARE_LIBRARY")


library = ctypes.CDLL(find())
library.mapshare_last_error.restype = ctypes.c_char_p
library.mapshare_strerror.restype = ctypes.c_char_p
library.mapshare_version.restype = ctypes.c_char_p


def _checked(result, function, arguments):
    if result < 0:
        raise MapshareError(-result, library.mapshare_last_error().decode())
    return result


_U64, _U32, _SIZE, _POINTER, _INT = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
for _name, _arguments in {
    "open": [ctypes.c_char_p, _POINTER, _SIZE, _POINTER],
    "open_fd": [_INT, _POINTER, _SIZE, _POINTER],
    "open_at": [_INT, ctypes.c_char_p, _POINTER, _SIZE, _POINTER],
    "open_named": [ctypes.c_char_p, _POINTER, _SIZE, _POINTER],
    "unlink_named": [ctypes.c_char_p],
    "sweep_named": [ctypes.c_char_p],
    "unmap": [_POINTER],
    "read": [_POINTER, _U64, _POINTER, _SIZE],
    "write": [_POINTER, _U64, _POINTER, _SIZE],
    "fill": [_POINTER, _U64, _U64, _U32],
    "copy": [_POINTER, _U64, _POINTER, _U64, _U64],
    "flush": [_POINTER, _U64, _U64, _U32],
    "resize": [_POINTER, _U64],
    "refresh": [_POINTER],
    "protect": [_POINTER, _U32],
    "advise": [_POINTER, _U64, _U64, _U32],
    "length": [_POINTER],
    "info": [_POINTER, _POINTER, _SIZE],
    "fd": [_POINTER],
    "lock_range": [_POINTER, _U64, _U64, _U32, ctypes.c_int64],
    "unlock_range": [_POINTER, _U64, _U64],
    "open_anonymous": [_POINTER, _SIZE, _POINTER],
    "send": [_POINTER, _INT, _U32],
    "receive": [_INT, _POINTER, _SIZE, _POINTER],
    "seal": [_POINTER, _U32],
    "view": [_POINTER, _U64, _U64, _POINTER],
    "release": [_POINTER, _POINTER],
    "wait": [_POINTER, _U64, _U32, ctypes.c_int64],
    "wake": [_POINTER, _U64, _U32],
    "mutex_init": [_POINTER, _U64],
    "mutex_lock": [_POINTER, _U64, ctypes.c_int64],
    "mutex_recover": [_POINTER, _U64],
    "mutex_unlock": [_POINTER, _U64],
    "mutex_owner": [_POINTER, _U64, _POINTER, _SIZE],
    "cell_footprint": [_U64],
    "cell_init": [_POINTER, _U64, _U64],
    "cell_publish": [_POINTER, _U64, _POINTER, _SIZE],
    "cell_read": [_POINTER, _U64, _POINTER, _SIZE, _POINTER],
    "cell_wait": [_POINTER, _U64, _U64, ctypes.c_int64],
    "queue_footprint": [_U64],
    "queue_init": [_POINTER, _U64, _U64, _U32],
    "queue_open": [_POINTER, _U64, _U32, _POINTER],
    "queue_push": [_POINTER, _POINTER, _SIZE, ctypes.c_int64],
    "queue_pop": [_POINTER, _POINTER, _SIZE, ctypes.c_int64],
    "queue_reserve": [_POINTER, _SIZE, ctypes.c_int64, _POINTER],
    "queue_commit": [_POINTER, _SIZE],
    "queue_peek": [_POINTER, ctypes.c_int64, _POINTER],
    "queue_consume": [_POINTER],
    "queue_cancel": [_POINTER],
    "queue_info": [_POINTER, _POINTER, _SIZE],
    "queue_end": [_POINTER],
    "queue_close": [_POINTER],
    **{
        f"atomic_{operation}_u{8 * ctypes.sizeof(word)}": [_POINTER, _U64, *[word] * values, *[_POINTER] * results]
        for word in (_U32, _U64)
        for operation, values, results in [
            ("load", 0, 1),
            ("store", 1, 0),
            ("swap", 1, 1),
            ("add", 1, 1),
            ("and", 1, 1),
            ("or", 1, 1),
            ("compare_swap", 2, 1),
        ]
    },
}.items():
    _function = getattr(library, "mapshare_" + _name)
    _function.argtypes, _function.errcheck = _arguments, _checked
for _name in "length sweep_named cell_footprint queue_footprint queue_pop queue_peek".split():
    getattr(library, "mapshare_" + _name).restype = ctypes.c_int64


def open_region(path, **options):
    """The token of a region; `path` may be a descriptor."""
    options, region = Options(**options), ctypes.c_void_p()
    rest = ctypes.byref(options), ctypes.sizeof(options), ctypes.byref(region)
    if isinstance(path, int):
        library.mapshare_open_fd(path, *rest)
    else:
        library.mapshare_open(None if path is None else os.fsencode(path), *rest)
    return region


def open_named(name, **options):
    """The token of a region that has a name of shared memory."""
    options, region = Options(**options), ctypes.c_void_p()
    library.mapshare_open_named(os.fsencode(name), ctypes.byref(options), ctypes.sizeof(options), ctypes.byref(region))
    return region


def open_anonymous(**options):
    options, region = Options(**options), ctypes.c_void_p()
    library.mapshare_open_anonymous(ctypes.byref(options), ctypes.sizeof(options), ctypes.byref(region))
    return region


def receive(descriptor, **options):
    options, region = Options(**options), ctypes.c_void_p()
    library.mapshare_receive(descriptor, ctypes.byref(options), ctypes.sizeof(options), ctypes.byref(region))
    return region


def read(region, offset, length):
    buffer = ctypes.create_string_buffer(length)
    library.mapshare_read(region, offset, buffer, length)
    return buffer.raw


def write(region, offset, data):
    library.mapshare_write(region, offset, data, len(data))


def open_queue(region, offset, role):
    queue = ctypes.c_void_p()
    library.mapshare_queue_open(region, offset, role, ctypes.byref(queue))
    return queue


def pop(queue, timeout_ns=0, capacity=1 << 16):
    buffer = ctypes.create_string_buffer(capacity)
    length = library.mapshare_queue_pop(queue, buffer, capacity, timeout_ns)
    return buffer.raw[:length]


def atomic(region, offset, operation, *values, bits=64):
    """What a call on a word returns, and what stood there before."""
    before = (_U64 if bits == 64 else _U32)()
    function = getattr(library, f"mapshare_atomic_{operation}_u{bits}")
    return function(region, offset, *values, ctypes.byref(before)), before.value
