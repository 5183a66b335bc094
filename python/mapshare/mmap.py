"""The standard library's module `mmap`, on top of mapshare: ``from mapshare import mmap``.

The class `mmap` has the constructor, methods and exceptions of the one that it stands for, and goes on where that one
ends the process: an access to bytes that the file has lost is an OSError (ENXIO). Constants are the standard library's.

Where it differs:

- memoryview(m) and all else that takes a buffer (re, struct.unpack_from, numpy.frombuffer) needs Python 3.12 or newer;
  m.view(), a memoryview of it, is there in all versions.
- Anonymous memory (a descriptor of -1) is a memory file.
- madvise knows MADV_NORMAL, _RANDOM, _SEQUENTIAL, _WILLNEED, _DONTNEED and _HUGEPAGE; no advice loses a byte.
- close raises OSError, after it has closed, when a buffer over the bytes had lost pages.
- Other flags than MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS and MAP_POPULATE are ignored, and so is PROT_EXEC.
"""

from __future__ import annotations

import errno
import mmap as _std
import operator
import os
import stat
from types import TracebackType
from typing import TYPE_CHECKING, Any, Iterator, NoReturn, Optional, Tuple, Type, Union, overload

from ._arguments import as_bytes
from ._open import open as _open
from ._region import Region

if TYPE_CHECKING:
    from typing import SupportsIndex

    from typing_extensions import Buffer, Self

    from ._arguments import Mode

_READ_WRITE = _std.PROT_READ | _std.PROT_WRITE
_ACCESSES = {_std.ACCESS_DEFAULT: "ACCESS_DEFAULT", _std.ACCESS_READ: "ACCESS_READ", _std.ACCESS_WRITE: "ACCESS_WRITE"}
_ACCESSES[_std.ACCESS_COPY] = "ACCESS_COPY"
_ADVICE: "dict[int, Any]" = {
    _std.MADV_NORMAL: "normal",
    _std.MADV_RANDOM: "random",
    _std.MADV_SEQUENTIAL: "sequential",
    _std.MADV_WILLNEED: "will_need",
    _std.MADV_DONTNEED: "dont_need",
    14: "huge_pages",  # MADV_HUGEPAGE, which not every build names
}
# Bytes that are searched at a time.
_CHUNK = 1 << 20


class mmap:
    """The bytes of a file, as an array and as a file; `fileno` is its descriptor, -1 for memory without one.

    `length` and `offset` are bytes; 0 = from offset to the end of the file, offset a multiple of ALLOCATIONGRANULARITY.

    >>> import os, tempfile
    >>> with tempfile.TemporaryFile() as file:
    ...     _ = file.write(b"Hello Python!\\n")
    ...     file.flush()
    ...     m = mmap(file.fileno(), 0)
    >>> m.readline(), m[6:12], m.find(b"o", 5)
    (b'Hello Python!\\n', b'Python', 10)
    >>> m[6:12] = b"world!"
    >>> m.close()

    ValueError when the file is shorter than that, or empty; PermissionError when it is not open for this access;
    OSError as for mapshare.open. Every method: ValueError once it is closed, TypeError for a change of what may only be
    read.
    """

    __slots__ = ("_region", "_access", "_position", "_offset", "_sized", "_tracked", "_shared", "__weakref__")

    _region: Region
    _access: int
    _position: int
    _offset: int
    # Whether there is a file that may be asked for its size.
    _sized: bool
    _tracked: bool
    # Whether what is written goes to the file.
    _shared: bool

    def __new__(
        cls,
        fileno: int,
        length: int,
        flags: int = _std.MAP_SHARED,
        prot: int = _READ_WRITE,
        access: int = _std.ACCESS_DEFAULT,
        offset: int = 0,
        *,
        trackfd: bool = True,
    ) -> Self:
        length, offset = operator.index(length), operator.index(offset)
        if length < 0 or offset < 0:
            raise OverflowError(
                "memory mapped length must be positive" if length < 0 else "memory mapped offset must be positive"
            )
        flags, prot, access = _settled(flags, prot, access)
        self = super().__new__(cls)
        self._access, self._position, self._offset = access, 0, offset
        self._sized, self._tracked = fileno != -1 and trackfd, trackfd
        mode: Mode = "c" if flags & _std.MAP_PRIVATE else "r+" if prot & _std.PROT_WRITE else "r"
        self._shared = mode == "r+"
        populate = bool(flags & getattr(_std, "MAP_POPULATE", 0))
        if fileno == -1 or flags & _std.MAP_ANONYMOUS:
            file = os.memfd_create("mmap", os.MFD_CLOEXEC)
            try:
                os.ftruncate(file, offset + length)
                self._region = _open(file, mode, offset=offset, length=length, populate=populate)
            finally:
                os.close(file)
        else:
            length = _checked_length(fileno, length, offset)
            self._region = _open(fileno, mode, offset=offset, length=length, populate=populate)
        return self

    def _now(self) -> Region:
        """The region, after all arguments were made numbers, since that may close it."""
        if self._region.closed:
            raise ValueError("mmap closed or invalid")
        return self._region

    def _writable(self) -> Region:
        region = self._now()
        if self._access == _std.ACCESS_READ:
            raise TypeError("mmap can't modify a readonly memory map.")
        return region

    # Closing

    def close(self) -> None:
        """BufferError while memoryviews of it are out."""
        self._region.close()

    @property
    def closed(self) -> bool:
        return self._region.closed

    def __enter__(self) -> Self:
        self._now()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._region.__exit__(kind, error, trace)

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle 'mmap.mmap' object: it is memory of this process")

    def __repr__(self) -> str:
        if self.closed:
            return "<mmap.mmap closed=True>"
        return (
            f"<mmap.mmap closed=False, access={_ACCESSES[self._access]}, length={len(self)}, "
            f"pos={self._position}, offset={self._offset}>"
        )

    # Bytes

    def __len__(self) -> int:
        return len(self._now())

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: Union[SupportsIndex, slice]) -> Union[int, bytes]:
        key = _settled_key(key, "indices")
        region = self._now()
        try:
            return region[key]
        except IndexError:
            raise IndexError("mmap index out of range") from None

    @overload
    def __setitem__(self, key: SupportsIndex, value: int) -> None: ...
    @overload
    def __setitem__(self, key: slice, value: Buffer) -> None: ...
    def __setitem__(self, key: Union[SupportsIndex, slice], value: Any) -> None:
        key = _settled_key(key, "indices")
        if isinstance(key, slice):
            data = as_bytes(value)
            region = self._writable()
            if len(range(*key.indices(len(region)))) != data.nbytes:
                raise IndexError("mmap slice assignment is wrong size")
            region[key] = data
            return
        region = self._writable()
        if not -len(region) <= key < len(region):
            raise IndexError("mmap index out of range")
        if not hasattr(value, "__index__"):
            raise TypeError("mmap item value must be an int")
        number = operator.index(value)
        if not 0 <= number <= 255:
            raise ValueError("mmap item value must be in range(0, 256)")
        self._now()[key] = number

    def __iter__(self) -> Iterator[bytes]:
        """Single bytes, as the standard library's class gives them."""
        at = 0
        while at < len(self):
            yield self[at : at + 1]
            at += 1

    def __buffer__(self, _flags: int) -> memoryview:
        return self.view()

    def view(self) -> memoryview:
        """A memoryview of all bytes, read-only where this is; close raises BufferError while it is in use."""
        view = self._now().view()
        return view.toreadonly() if self._access == _std.ACCESS_READ else view

    def find(self, sub: Buffer, start: Optional[int] = None, end: Optional[int] = None) -> int:
        """The lowest offset of `sub` in [start, end), start being the position without one; -1 when there is none."""
        wanted, low, high = self._search(sub, start, end)
        while low + len(wanted) <= high:
            found = self._now().read(low, min(_CHUNK + len(wanted), high - low)).find(wanted)
            if found >= 0:
                return low + found
            low += _CHUNK + 1
        return -1

    def rfind(self, sub: Buffer, start: Optional[int] = None, end: Optional[int] = None) -> int:
        """The highest one."""
        wanted, low, high = self._search(sub, start, end)
        while low + len(wanted) <= high:
            first = max(low, high - _CHUNK - len(wanted))
            found = self._now().read(first, high - first).rfind(wanted)
            if found >= 0:
                return first + found
            high = first + len(wanted) - 1
        return -1

    def _search(self, sub: Buffer, start: Optional[int], end: Optional[int]) -> Tuple[bytes, int, int]:
        wanted = bytes(as_bytes(sub))
        start = None if start is None else operator.index(start)
        end = None if end is None else operator.index(end)
        low, high, _ = slice(self._position if start is None else start, end).indices(len(self))
        return wanted, low, high

    def move(self, dest: int, src: int, count: int) -> None:
        """Copies `count` bytes from `src` to `dest`; the ranges may overlap."""
        dest, src, count = operator.index(dest), operator.index(src), operator.index(count)
        region = self._writable()
        if min(dest, src, count) < 0 or max(dest, src) + count > len(region):
            raise ValueError("source, destination, or count out of range")
        region.copy_from(dest, region, src, count)

    # As a file

    def read(self, n: Optional[int] = None) -> bytes:
        if n is not None and not hasattr(n, "__index__"):
            raise TypeError(f"argument should be integer or None, not {type(n).__name__!r}")
        count = -1 if n is None else operator.index(n)
        region = self._now()
        left = max(0, len(region) - self._position)
        data = region.read(self._position, left if count < 0 else min(count, left)) if left else b""
        self._position += len(data)
        return data

    def read_byte(self) -> int:
        if self._position >= len(self):
            raise ValueError("read byte out of range")
        self._position += 1
        return self._now()[self._position - 1]

    def readline(self) -> bytes:
        end = self.find(b"\n")
        return self.read(None if end < 0 else end + 1 - self._position)

    def write(self, bytes: Buffer) -> int:
        """Writes at the position and returns how many bytes; ValueError when they do not fit."""
        data = as_bytes(bytes)
        region = self._writable()
        if self._position + data.nbytes > len(region):
            raise ValueError("data out of range")
        region.write(self._position, data)
        self._position += data.nbytes
        return data.nbytes

    def write_byte(self, byte: int) -> None:
        number = operator.index(byte)
        if not 0 <= number <= 255:
            raise OverflowError("unsigned byte integer is less than minimum or greater than maximum")
        region = self._writable()
        if self._position >= len(region):
            raise ValueError("write byte out of range")
        region[self._position] = number
        self._position += 1

    def seek(self, pos: int, whence: int = 0) -> int:
        pos, whence = operator.index(pos), operator.index(whence)
        length = len(self)
        if whence not in (0, 1, 2):
            raise ValueError("unknown seek type")
        position = pos + (0, self._position, length)[whence]
        if not 0 <= position <= length:
            raise ValueError("seek out of range")
        self._position = position
        return position

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._now()
        return self._position

    # The file

    def size(self) -> int:
        """Bytes of the file, which may be more than are mapped."""
        region = self._now()
        if not self._sized:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        file = region.fd()
        try:
            return os.fstat(file).st_size
        finally:
            os.close(file)

    def resize(self, newsize: int) -> None:
        newsize = operator.index(newsize)
        region = self._now()
        if self._access in (_std.ACCESS_READ, _std.ACCESS_COPY):
            raise TypeError("mmap can't resize a readonly or copy-on-write memory map.")
        if newsize < 0:
            raise ValueError("new size out of range")
        if region._handle.views():
            raise BufferError("mmap can't resize with extant pointers exported.")
        if not self._tracked:
            raise ValueError("mmap can't resize with trackfd = False.")
        region.resize(newsize)

    def flush(self, offset: int = 0, size: Optional[int] = None) -> None:
        offset = operator.index(offset)
        length = len(self) - offset if size is None else operator.index(size)
        region = self._now()
        if offset < 0 or length < 0 or offset + length > len(region):
            raise ValueError("flush values out of range")
        if not self._shared:
            return
        if offset % _std.PAGESIZE:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if length:
            region.flush(offset, length)

    def madvise(self, option: int, start: int = 0, length: Optional[int] = None) -> None:
        option, start = operator.index(option), operator.index(start)
        wanted = None if length is None else operator.index(length)
        region = self._now()
        size = len(region)
        if not 0 <= start < size:
            raise ValueError("madvise start out of bounds")
        if wanted is None:
            wanted = size - start
        if wanted < 0:
            raise ValueError("madvise length invalid")
        if start + wanted > (1 << 63) - 1:
            raise OverflowError("madvise length too large")
        if option not in _ADVICE:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if wanted:
            region.advise(_ADVICE[option], start, min(wanted, size - start))


def _settled(flags: int, prot: int, access: int) -> Tuple[int, int, int]:
    """Flags, protection and access that fit one another."""
    if access != _std.ACCESS_DEFAULT and (flags != _std.MAP_SHARED or prot != _READ_WRITE):
        raise ValueError("mmap can't specify both access and flags, prot.")
    if access == _std.ACCESS_READ:
        return _std.MAP_SHARED, _std.PROT_READ, access
    if access == _std.ACCESS_WRITE:
        return _std.MAP_SHARED, _READ_WRITE, access
    if access == _std.ACCESS_COPY:
        return _std.MAP_PRIVATE, _READ_WRITE, access
    if access != _std.ACCESS_DEFAULT:
        raise ValueError("mmap invalid access parameter.")
    if prot & _std.PROT_WRITE == 0:
        return flags, prot, _std.ACCESS_READ
    return flags, prot, access if prot & _std.PROT_READ else _std.ACCESS_WRITE


def _checked_length(fileno: int, length: int, offset: int) -> int:
    """The length to map, in the words of the standard library where there is none."""
    status = os.fstat(fileno)
    if stat.S_ISREG(status.st_mode):
        if length == 0:
            if status.st_size == 0:
                raise ValueError("cannot mmap an empty file")
            if offset >= status.st_size:
                raise ValueError("mmap offset is greater than file size")
            return status.st_size - offset
        if offset > status.st_size or status.st_size - offset < length:
            raise ValueError("mmap length is greater than file size")
    return length


def _settled_key(key: Union[SupportsIndex, slice], what: str) -> Union[int, slice]:
    """The key in plain numbers: whatever code its __index__ runs has run."""
    if isinstance(key, slice):
        return slice(*(None if part is None else operator.index(part) for part in (key.start, key.stop, key.step)))
    if not hasattr(key, "__index__"):
        raise TypeError(f"mmap {what} must be integers")
    return operator.index(key)


# The constants, and `error`.
globals().update({name: getattr(_std, name) for name in dir(_std) if name.isupper() or name == "error"})
if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
