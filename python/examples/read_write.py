"""Makes a file, writes into its mapped bytes and reads them back, with nothing but ctypes.

Run, in the top folder of mapshare:
    make
    python3 python/examples/read_write.py           (or with a PATH behind it)

`load`, `Options` and the numbers are what a script of yours needs: copy them, or import them as two_programs.py does.
"""

import ctypes
import os
import sys
from pathlib import Path

# From mapshare.h
CREATE = 1
READ_ONLY, READ_WRITE, COPY_ON_WRITE = 0, 1, 2


class Options(ctypes.Structure):
    """mapshare_options; a field that is not given is 0, its default."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "offset", "length", "reserve")]
    _fields_ += [(name, ctypes.c_uint32) for name in ("access", "mode")]


def load():
    """The library: the one MAPSHARE_LIBRARY names, or the one that `make` built here, or the installed one."""
    built = Path(__file__).resolve().parents[2] / "build/lib/libmapshare.so.0"
    name = os.environ.get("MAPSHARE_LIBRARY") or (str(built) if built.exists() else "libmapshare.so.0")
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        sys.exit(f"{error}\nBuild the library with `make`, or set MAPSHARE_LIBRARY to the path of libmapshare.so.0.")
    library.mapshare_last_error.restype = ctypes.c_char_p

    def check(code, _function, _arguments):
        if code < 0:
            raise OSError(-code, library.mapshare_last_error().decode(errors="replace"))
        return code

    # Without these ctypes passes every number as a 32-bit int, and pointers and lengths arrive cut in half.
    region, u64, size, pointer = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p
    functions = {
        "mapshare_open": [ctypes.c_char_p, ctypes.POINTER(Options), size, ctypes.POINTER(region)],
        "mapshare_write": [region, u64, ctypes.c_char_p, size],
        "mapshare_read": [region, u64, pointer, size],
        "mapshare_view": [region, u64, u64, ctypes.POINTER(pointer)],
        "mapshare_release": [region, pointer],
        "mapshare_unmap": [region],
    }
    for name, arguments in functions.items():
        function = getattr(library, name)
        function.argtypes, function.restype, function.errcheck = arguments, ctypes.c_int, check
    return library


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "/tmp/mapshare-read_write.bin"
    mapshare = load()
    region, options = ctypes.c_void_p(), Options(flags=CREATE, access=READ_WRITE, length=4096)
    mapshare.mapshare_open(os.fsencode(path), options, ctypes.sizeof(options), ctypes.byref(region))

    text = b"hello from Python"
    mapshare.mapshare_write(region, 100, text, len(text))
    found = ctypes.create_string_buffer(len(text))
    mapshare.mapshare_read(region, 100, found, len(text))
    print(f"read from byte 100 of {path}: {found.raw.decode()!r}")
    try:
        mapshare.mapshare_read(region, 4090, found, len(text))
    except OSError as error:
        print(f"an access past the end is an exception: {error}")
    mapshare.mapshare_unmap(region)
    if Path(path).read_bytes()[100 : 100 + len(text)] != text:
        sys.exit("the file does not hold what was written")


if __name__ == "__main__":
    main()
