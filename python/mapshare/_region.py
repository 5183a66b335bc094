"""Regions."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple, NoReturn, Optional, Type, Union, cast, overload

from . import _abi
from ._arguments import MODE_NAMES, access, as_bytes, readable, u32, u64, writable
from ._handle import Handle, is_gone, leave, settle
from ._sharing import Sharing

if TYPE_CHECKING:
    from typing import Literal, SupportsIndex

    from typing_extensions import Buffer

    from ._arguments import Mode

    Advice = Literal["normal", "sequential", "random", "will_need", "dont_need", "huge_pages"]

ADVICE = {
    "normal": _abi.ADVISE_NORMAL,
    "sequential": _abi.ADVISE_SEQUENTIAL,
    "random": _abi.ADVISE_RANDOM,
    "will_need": _abi.ADVISE_WILL_NEED,
    "dont_need": _abi.ADVISE_DONT_NEED,
    "huge_pages": _abi.ADVISE_HUGE_PAGES,
}
BACKINGS = {
    _abi.BACKING_FILE: "file",
    _abi.BACKING_NAMED: "named",
    _abi.BACKING_ANONYMOUS: "anonymous",
    _abi.BACKING_FD: "fd",
}

# Up to here bytes are copied through the kept view while Python's lock is held, for about 2 microseconds; longer ranges
# by a call, which lets other threads run.
SHORT = 1 << 15
# Goes up when a page of any view in this process is lost. Its truth is asked first: that is faster than its value, and
# it is 0 in a process that has never lost one. Without it (an older library) nothing is kept.
_lost: Any = None
try:
    _lost = _abi.mapshare_lost_count().contents
except NotImplementedError:
    pass


class RegionInfo(NamedTuple):
    """What `Region.info` tells. Lengths and offsets are bytes."""

    #: Bytes that may be accessed now.
    length: int
    #: First mapped byte, counted from the start of the file.
    offset: int
    #: The length up to which the region grows without moving.
    reserve: int
    #: The file's length now.
    file_length: int
    #: Bytes in a page of this mapping.
    page_size: int
    #: Bytes of the region that are in memory now.
    resident: int
    #: Accesses that were turned into an error so far.
    faults: int
    #: st_dev of the file.
    device: int
    #: st_ino of the file.
    inode: int
    #: "r", "r+" or "c".
    mode: str
    #: "file", "named", "anonymous" or "fd": what it was opened by.
    backing: str
    #: The seals of a memory file as F_GET_SEALS gives them.
    seals: int
    #: Views that are out; those that this package keeps for speed are not counted.
    views: int


class Region(Sharing):
    """A mapped range of a file: `mapshare.open` and the like make them.

    It is indexed and sliced as a bytearray of fixed length is:

    >>> import mapshare
    >>> region = mapshare.open("a.bin", "r+", create=True, length=4096)
    >>> region[0:5] = b"hello"
    >>> region[0], bytes(region[-1:]), region[0:5], len(region)
    (104, b'\\x00', b'hello', 4096)

    Whatever is in the file is seen by every process that has it mapped, with no call in between; bytes that another
    process writes at the same moment may be seen part old, part new.

    All methods raise OSError, with the subclass that belongs to its ``errno`` and the library's sentence as its text:
    EBADF on a closed region, PermissionError when a read-only region is to be written, ERANGE for a range that leaves
    the region, ENXIO when the file was cut short below the range, ENOSPC or EIO when its file system is full or its
    device fails. `refresh` brings a region back after the last three.

    Slices are clamped to the region's length as this object knows it, as Python does; `refresh` takes over what other
    processes have added. The range of `read`, `write` and the other methods is never clamped.

    Any thread may use a region. The child of a fork has it too and shares its bytes.

    How slices are fast and still never return zeros for lost pages: the region keeps one view of itself. After each
    access through it, a number that the library raises before it lets zeros appear is looked at; when that has changed
    the access is done once more by a call, which raises. Two things follow. While a thread has the signal SIGBUS
    blocked, it must not slice regions: a lost page then ends the process (`read` and `write` of more than 32 KiB
    excepted). And a region that was opened with ``no_handler`` makes a call for every access.
    """

    __slots__ = ("_handle", "_bytes", "_items", "_seen", "_tried", "_lock", "_name", "_writable", "__weakref__")

    _handle: Handle
    # The kept view as an array, whose slices are bytes at once, and as a memoryview, whose items are numbers and may be
    # assigned; both None when it is not out.
    _bytes: Any
    _items: Any
    # What `_lost` was when no page of the kept view was lost; and when it could not be taken.
    _seen: int
    _tried: int
    _lock: Any
    _name: str
    # Whether it may be written now.
    _writable: bool

    def __init__(self, handle: Handle, name: str, writable: bool) -> None:
        """For this package alone: mapshare.open and the functions beside it make regions."""
        self._handle = handle
        self._name = name
        self._writable = writable
        self._bytes = self._items = None
        self._seen = self._tried = -1
        self._lock = threading.RLock()
        _regions.add(self)

    def _renew(self) -> None:
        """In the child of a fork: another thread may have held the lock, which is not there to let go."""
        self._lock = threading.RLock()

    # The kept view

    def _keep(self) -> bool:
        """Takes the kept view when it can be had and no page of it is lost; whether it is there."""
        if not self._lock.acquire(blocking=False):
            return False  # another thread is at it, and may wait for what this one has in its hands
        try:
            if self._bytes is not None and self._seen == _lost.value:
                return True
            if _lost is None or self._tried == _lost.value or not self._handle.token:
                return False
            self._drop()
            self._tried = _lost.value
            length = _abi.mapshare_length(self._handle.token)
            byte = ctypes.c_char()
            try:
                # The order is what makes it certain: the number; a read, which waits for pages that are just being
                # lost; the question; the number again. Pages that are lost later raise it before they are zeros.
                _abi.mapshare_read(self._handle.token, 0, ctypes.byref(byte), 1)
                kept = self._handle.view(0, length, own=True)
                if self._handle.has_lost(length) or self._tried != _lost.value:
                    return False
            except OSError:
                return False  # it is empty, unmapped, cut short, or its kind has no views
            items = memoryview(kept).cast("B")
            self._items = items if self._writable else items.toreadonly()
            self._seen, self._tried = self._tried, -1
            self._bytes = kept
            return True
        finally:
            self._lock.release()

    def _drop(self) -> None:
        """Gives the kept view back, so that the library may move or take bytes."""
        gone = None if self._bytes is None else weakref.ref(self._bytes)
        self._bytes = self._items = None
        self._tried = -1
        # Another thread may be in the middle of a slice, where the interpreter lets threads change there.
        for _ in range(100):
            if gone is None or is_gone(gone):
                break
            time.sleep(0.001)

    # Closing

    def close(self) -> None:
        """Unmaps the region. Does nothing on one that is closed.

        BufferError while views are out: memoryviews, slices of them or arrays over them; release or delete those first.
        So it is while a queue in it is open, a lock in it is held, or another thread waits in it.
        OSError (ENXIO, ENOSPC, EIO) when a view had lost pages, so that what was read or written through it was not the
        file: the region is closed all the same.
        """
        with self._lock:
            if not self._handle.token:
                return
            self._drop()
            if self._handle.views():
                settle()
            try:
                self._handle.close()
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                raise BufferError(error.strerror) from error
            lost, self._handle.lost = self._handle.lost, None
        if lost is not None:
            raise lost

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._handle.token

    @property
    def name(self) -> str:
        """What it was opened by, for people."""
        return self._name

    def __enter__(self) -> Region:
        len(self)  # EBADF when it is closed
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """Closes. When an exception leaves the block and views are still out, that one goes on, and the region is closed
        once nothing uses it any more."""
        leave(self.close, error)

    def __repr__(self) -> str:
        if self.closed:
            return f"<closed mapshare.Region {self._name!r}>"
        return f"<mapshare.Region {self._name!r} of {len(self)} bytes>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a region cannot be pickled: it is memory of this process. Open it by its path or name in the other "
            "process, send it over a Unix socket, or pass on a descriptor of fd()"
        )

    # Bytes

    def __len__(self) -> int:
        """Bytes that may be accessed now. OverflowError above sys.maxsize."""
        return cast(int, _abi.mapshare_length(self._handle.token))

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: Union[SupportsIndex, slice]) -> Union[int, bytes]:
        """A byte, or a copy of a range as bytes."""
        # No function call on the good path: it is what slices are measured by. `_seen` is taken first: another thread
        # may refresh the region and keep a new view between the access and the look at `_lost`.
        seen = self._seen
        try:
            if key.__class__ is slice:
                found = self._bytes[key]
            else:
                found = self._items[key]
        except TypeError:  # nothing is kept, or the key is no key
            return self._get(key)
        if not _lost or _lost.value == seen:
            return found  # type: ignore[no-any-return]
        return self._get(key)

    def _get(self, key: Union[SupportsIndex, slice]) -> Union[int, bytes]:
        """`__getitem__` with a call, and a kept view for the next time when that is possible."""
        start, step, length = self._range(key)
        if isinstance(key, slice):
            if step == 1:
                return self.read(start, length)
            last = start + step * (length - 1)
            low = min(start, last)
            return self.read(low, abs(last - start) + 1)[start - low :: step] if length else b""
        return self.read(start, 1)[0]

    def _range(self, key: Union[SupportsIndex, slice]) -> tuple[int, int, int]:
        """Start, step and number of bytes."""
        self._keep()
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            return start, step, len(range(start, stop, step))
        try:
            index = key.__index__()
        except AttributeError:
            raise TypeError(f"a region is indexed by integers and slices, not {type(key).__name__}") from None
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"index {index} leaves the region of {size} bytes")
        return index % size, 1, 1

    @overload
    def __setitem__(self, key: SupportsIndex, value: SupportsIndex) -> None: ...
    @overload
    def __setitem__(self, key: slice, value: Buffer) -> None: ...
    def __setitem__(self, key: Union[SupportsIndex, slice], value: Union[SupportsIndex, Buffer]) -> None:
        """Writes a byte (0 to 255), or as many bytes as the range has: ValueError for another number."""
        seen = self._seen
        try:
            self._items[key] = value
        except (TypeError, ValueError):  # nothing is kept, read-only, bytes of another form, or really wrong
            return self._set(key, value)
        if not _lost or _lost.value == seen:
            return None
        return self._set(key, value)

    def _set(self, key: Union[SupportsIndex, slice], value: Union[SupportsIndex, Buffer]) -> None:
        start, step, length = self._range(key)
        if not isinstance(key, slice):
            return self.write(start, bytes((cast("SupportsIndex", value).__index__(),)))
        data = as_bytes(cast("Buffer", value))
        if data.nbytes != length:
            raise ValueError(f"{data.nbytes} bytes assigned to {length}: a region keeps its length")
        if step == 1:
            return self.write(start, data)
        for index in range(length):
            self.write(start + step * index, data[index : index + 1])

    def __iter__(self) -> Iterator[int]:
        return iter(self[:])

    def __contains__(self, what: object) -> bool:
        """Whether a byte (an integer) or a run of bytes is there. It looks through a copy of all bytes."""
        return what in self[:] if isinstance(what, int) else bytes(memoryview(cast("Buffer", what))) in self[:]

    def __array__(self, *_arguments: object, **_options: object) -> NoReturn:
        """Python before 3.12 gives numpy no way to the bytes but this one, which would keep a view that nobody sees."""
        raise TypeError("a region is no array: numpy.frombuffer(region.view(), dtype) is one over its bytes")

    def read(self, offset: int = 0, length: Optional[int] = None) -> bytes:
        """A copy of `length` bytes from `offset`; to the end without it. A range that leaves the region is ERANGE."""
        if length is None:
            length = max(0, len(self) - u64("offset", offset))
        if length <= SHORT:
            seen = self._seen
            kept = self._kept_for(offset, length)
            if kept is not None:
                found = kept[0][offset : offset + length]
                if not _lost or _lost.value == seen:
                    return cast(bytes, found)
        buffer = bytearray(u64("length", length))
        self._read_call(offset, buffer)
        return bytes(buffer)

    def read_into(self, offset: int, buffer: Buffer) -> int:
        """Copies bytes from `offset` on into the buffer, as many as it has; how many that are."""
        target = memoryview(buffer)
        length = target.nbytes
        if length <= SHORT:
            seen = self._seen
            try:
                source = self._items[offset : offset + length]
                if offset >= 0 and len(source) == length:
                    target[:] = source
                    if not _lost or _lost.value == seen:
                        return length
            except (TypeError, ValueError):  # nothing is kept; or the buffer is of another form, or cannot be written
                pass
        self._keep()
        if target.c_contiguous:
            self._read_call(offset, target)
        else:
            target[:] = memoryview(self.read(offset, length))
        return length

    def _read_call(self, offset: int, buffer: Buffer) -> None:
        address, length = writable(buffer)
        _abi.mapshare_read(self._handle.token, u64("offset", offset), address, length)
        self._notice_growth(offset + length)

    def write(self, offset: int, data: Buffer) -> None:
        """Copies all bytes of `data` to `offset` on. Nothing is copied when they do not fit (ERANGE)."""
        view = as_bytes(data)
        length = view.nbytes
        if length <= SHORT:
            seen = self._seen
            kept = self._kept_for(offset, length)
            if kept is not None and not kept[1].readonly:
                kept[1][offset : offset + length] = view
                if not _lost or _lost.value == seen:
                    return
        address, length = readable(data)
        _abi.mapshare_write(self._handle.token, u64("offset", offset), address, length)
        self._notice_growth(offset + length)

    def _kept_for(self, offset: int, length: int) -> Optional[tuple[Any, memoryview]]:
        """The kept view, when it has this range, as an array and as a memoryview."""
        array, items = self._bytes, self._items
        if array is None or items is None:
            self._keep()  # for the next time
            return None
        return (array, items) if 0 <= offset and 0 <= length and offset + length <= len(array) else None

    def _notice_growth(self, end: int) -> None:
        """The library takes over by itself what others have added; then the kept view is too short."""
        kept = self._bytes
        if kept is not None and end > len(kept) and self._lock.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._lock.release()

    def fill(self, offset: int, length: int, byte: int) -> None:
        """Sets `length` bytes from `offset` on to `byte`, 0 to 255."""
        _abi.mapshare_fill(self._handle.token, u64("offset", offset), u64("length", length), u32("byte", byte))

    def copy_from(self, offset: int, source: Region, source_offset: int, length: int) -> None:
        """Copies `length` bytes of `source`, which may be this region and the ranges overlap, to `offset` on."""
        ranges = u64("source_offset", source_offset), u64("length", length)
        _abi.mapshare_copy(self._handle.token, u64("offset", offset), source._handle.token, *ranges)

    def view(self, offset: int = 0, length: Optional[int] = None) -> memoryview:
        """The bytes themselves as a memoryview, without a copy; to the end without `length`.

        Read-only when the region is. numpy.frombuffer(region.view()) is an array over them. As long as the memoryview,
        or anything made of it, is in use, the region cannot be closed, made shorter or moved.

        When the file is cut short meanwhile, the bytes read as zeros and writes go nowhere, without an exception;
        `close`, and every method called on that range, raise (ENXIO). OSError EINVAL for a length of 0, ERANGE when it
        leaves the region, EOPNOTSUPP under no_handler.
        """
        if length is None:
            length = max(0, len(self) - u64("offset", offset))
        if not 0 <= length <= 1 << 62:
            _abi.mapshare_view(self._handle.token, u64("offset", offset), u64("length", length), ctypes.c_void_p())
        array = self._handle.view(u64("offset", offset), length)
        view = memoryview(array).cast("B")
        return view if self._writable else view.toreadonly()

    def __buffer__(self, _flags: int) -> memoryview:
        """Since Python 3.12 a region is a buffer itself: memoryview(region), numpy.frombuffer(region)."""
        return self.view()

    # The file

    def flush(self, offset: int = 0, length: int = 0, *, asynchronous: bool = False) -> None:
        """Brings written bytes to the storage, so that they survive a power cut; 0 = to the end. Waits for the device,
        unless asynchronous. EINVAL on a copy-on-write region."""
        flags = _abi.FLUSH_ASYNC if asynchronous else 0
        _abi.mapshare_flush(self._handle.token, u64("offset", offset), u64("length", length), flags)

    def resize(self, length: int) -> None:
        """Makes the region and its file longer or shorter, at least 1 byte. What is added reads as zeros.

        OSError EBUSY when views are out that would lose bytes, or be moved since `length` is more than the reserve, or
        when it would have to wait for a thread that waits in the region; ENOSPC, ENOMEM, EPERM (a seal) as they say."""
        with self._lock:
            self._drop()
            _abi.mapshare_resize(self._handle.token, u64("length", length))

    def refresh(self) -> bool:
        """Takes over the file's length of now, and puts lost pages back; whether the length has changed.

        OSError EBUSY when views are out and the file has grown beyond the reserve, or as for `resize`."""
        with self._lock:
            self._drop()
            return bool(_abi.mapshare_refresh(self._handle.token))

    def protect(self, mode: Mode) -> None:
        """Takes away ("r") or gives back ("r+", or "c" for a private region) the right to write.

        PermissionError for more than it was opened with; OSError EBUSY when views are out that may be written, or while
        a thread waits in the region."""
        with self._lock:
            self._drop()
            _abi.mapshare_protect(self._handle.token, access(mode))
            self._writable = mode != "r"

    def advise(self, advice: Advice, offset: int = 0, length: int = 0) -> None:
        """Tells the kernel what to expect of a range, for speed; 0 = to the end.

        "normal", "sequential", "random", "will_need", "dont_need" or "huge_pages". No advice changes a byte."""
        if advice not in ADVICE:
            raise ValueError(f"advice is {advice!r}; there are {', '.join(ADVICE)}")
        _abi.mapshare_advise(self._handle.token, u64("offset", offset), u64("length", length), ADVICE[advice])

    def info(self) -> RegionInfo:
        """What there is to know. It asks the kernel for every page, so it is for people and tools."""
        info = _abi.mapshare_region_info()
        _abi.mapshare_info(self._handle.token, info, ctypes.sizeof(info))
        facts = {name: getattr(info, name) for name in RegionInfo._fields if name != "mode"}
        facts["backing"] = BACKINGS.get(info.backing, str(info.backing))
        facts["views"] -= self._handle.own_views()
        return RegionInfo(mode=MODE_NAMES[info.access], **facts)

    def fd(self) -> int:
        """A new descriptor of the file, close-on-exec; the caller closes it with os.close."""
        return cast(int, _abi.mapshare_fd(self._handle.token))


_regions: weakref.WeakSet[Region] = weakref.WeakSet()


def _in_child() -> None:
    for region in _regions:
        region._renew()


os.register_at_fork(after_in_child=_in_child)
