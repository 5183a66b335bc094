"""The C interface through plain ctypes, as a script without any package uses it."""

import ctypes
import errno
import os
import pathlib

CREATE, EXCLUSIVE, POPULATE, LOCKED, HUGE_PAGES, NO_FOLLOW, BENEATH, SPARSE = 1, 2, 4, 8, 16, 32, 64, 128
UNLINK_LAST = 256
READ_ONLY, READ_WRITE, COPY_ON_WRITE = 0, 1, 2
FLUSH_ASYNC = 1
LOCK_SHARED, LOCK_EXCLUSIVE = 1, 2


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
    "view": [_POINTER, _U64, _U64, _POINTER],
    "release": [_POINTER, _POINTER],
}.items():
    _function = getattr(library, "mapshare_" + _name)
    _function.argtypes, _function.errcheck = _arguments, _checked
library.mapshare_length.restype = library.mapshare_sweep_named.restype = ctypes.c_int64


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


def read(region, offset, length):
    buffer = ctypes.create_string_buffer(length)
    library.mapshare_read(region, offset, buffer, length)
    return buffer.raw


def write(region, offset, data):
    library.mapshare_write(region, offset, data, len(data))
