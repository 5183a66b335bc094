"""A bounded queue of messages in a region."""

from __future__ import annotations

import ctypes
import errno
import os
import time
import weakref
from sys import getrefcount
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Type, cast

from . import _abi
from ._arguments import nanoseconds, readable, u64
from ._handle import is_gone, leave
from ._region import SHORT, Region
from ._waiting import again, resumed

if TYPE_CHECKING:
    from typing import Literal

    from typing_extensions import Buffer

ROLES = {"producer": _abi.PRODUCER, "consumer": _abi.CONSUMER}

# Each call is first tried with these, without waiting: that is what messages are measured by. When that gives a code, the
# checked function is called, which waits, lets other threads run, or raises what there is to raise.
PUSH = _abi.quick("mapshare_queue_push", ctypes.c_int)
POP = _abi.quick("mapshare_queue_pop", ctypes.c_int64)
RESERVE = _abi.quick("mapshare_queue_reserve", ctypes.c_int)
COMMIT = _abi.quick("mapshare_queue_commit", ctypes.c_int)
PEEK = _abi.quick("mapshare_queue_peek", ctypes.c_int64)
CONSUME = _abi.quick("mapshare_queue_consume", ctypes.c_int)
NOW = ctypes.c_int64.from_param(0)
# Lengths up to SHORT as arguments: those that have been used, of which there are few in most programs.
SIZES: Dict[int, Any] = {}


def size_of(length: int) -> Any:
    """A length as an argument."""
    try:
        return SIZES[length]
    except KeyError:
        size = ctypes.c_size_t.from_param(length)
        return SIZES.setdefault(length, size) if length <= SHORT and len(SIZES) < 1000 else size


def buffer_of(size: int) -> Tuple[Any, Any, Any]:
    """Where a message is copied to, and its address and size as arguments."""
    buffer = ctypes.create_string_buffer(size)
    return buffer, ctypes.byref(buffer), size_of(size)


class QueueInfo(NamedTuple):
    """What `Queue.info` tells."""

    messages: int
    bytes: int
    capacity: int
    pushed: int
    popped: int
    producers: int
    consumers: int


def when_free(call: Callable[[], object]) -> None:
    """Calls until no other thread is in the object: while a message is in place, all that it can be told there is so."""
    while True:
        try:
            call()
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0)


class Message:
    """A message in place: a context manager that gives its memoryview, without a copy.

        with queue.reserve(100) as message:
            message.data[:5] = b"hello"
            message.length = 5

    At its end what was reserved is committed, and what was peeked is consumed; when an exception leaves it, or the end
    fails (OSError), it is given up, or stays in the queue. The memoryview is released then.

    BufferError at the end when something else still shows the bytes: a slice, a cast, an array of numpy. Nothing has
    happened then: once these are released or deleted, `with message: pass` ends it, and `message.cancel()` gives it up.
    """

    __slots__ = ("_queue", "_at", "_size", "_view", "_reserved", "_open", "length")

    def __init__(self, queue: Queue, at: int, size: int, reserved: bool) -> None:
        shown = queue._bytes()
        self._queue, self._at, self._size = queue, at - shown.first, size
        self._view, self._reserved, self._open = shown.part(self._at, size), reserved, True
        #: Bytes to commit: make it less when the message is shorter than what was reserved.
        self.length = size

    @property
    def data(self) -> memoryview:
        """The bytes."""
        return self._view

    def __enter__(self) -> Message:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if error is not None:
            leave(self.cancel, error)
            return
        queue = self._queue
        try:
            length = u64("length", self.length)
            self._release()
            if self._reserved:
                if COMMIT(queue._handle, size_of(length)) < 0:
                    when_free(lambda: _abi.mapshare_queue_commit(queue._token, length))
            elif CONSUME(queue._handle) < 0:
                when_free(lambda: _abi.mapshare_queue_consume(queue._token))
        except BufferError:
            self._view = queue._bytes().part(self._at, self._size)
            raise BufferError(
                "the message has not ended, since something else still shows its bytes: release or delete slices, casts "
                "and arrays of its data; then `with message: pass` ends it, or message.cancel() gives it up"
            ) from None
        except BaseException as failure:
            leave(self.cancel, failure)
            raise
        self._open = False

    def cancel(self) -> None:
        """Gives up what was reserved; what was peeked stays in the queue. Does nothing after the message's end. One
        that is forgotten does it too. BufferError when something else still shows the bytes, which may be those of
        another message soon; it is given up all the same."""
        if self._open:
            self._open = False
            try:
                when_free(lambda: _abi.mapshare_queue_cancel(self._queue._token))
            finally:
                self._release()

    def _release(self) -> None:
        self._view.release()
        shown = self._queue._shown
        if shown is not None and getrefcount(shown.array) > UNUSED:
            raise BufferError("something else still shows the bytes of a message that is given up: a slice, cast or array")

    def __del__(self) -> None:
        try:
            self.cancel()
        except (OSError, BufferError, AttributeError, TypeError):
            pass  # the queue is closed, or another thread's call is in it


class _Shown:
    """A view of a queue's bytes, of which messages are parts; and the address of its first byte."""

    __slots__ = ("array", "readonly", "first")

    def __init__(self, array: Any, readonly: bool) -> None:
        self.array, self.readonly = array, readonly
        self.first = ctypes.addressof(array)

    def part(self, at: int, length: int) -> memoryview:
        """What shows a message. It, and all that is made of it, have one reference to the array together."""
        view = memoryview(self.array)[at : at + length].cast("B")
        return view.toreadonly() if self.readonly else view


# How many references to an array are counted while nothing shows a part of it.
NOTHING = _Shown((ctypes.c_char * 1)(), False)
UNUSED = getrefcount(NOTHING.array)


class Queue:
    """One side of a queue at `offset` of a region, a multiple of 64. `Queue.create` makes the queue.

    Messages are bytes of any length that fits. A consumer is iterated:

        for message in Queue(region, 0, "consumer"): ...

    ends when a producer has called `end` and all is read. Several processes may be on each side; a message goes to one
    consumer. A process that dies leaves the queue usable; the message that it had in place goes to another consumer. One
    thread at a time uses an object of this class: each opens its own (OSError EBUSY). So does the child of a fork (EBADF).

    OSError: EBADMSG when no queue stands there or it was damaged; EMSGSIZE for a message that cannot fit at all; EBUSY
    when a side that was made single is taken; BrokenPipeError after the end; TimeoutError. Timeouts are seconds, None
    is for ever, 0 only tries; Ctrl-C ends a wait.
    """

    __slots__ = (
        "_region",
        "_token",
        "_handle",
        "_role",
        "_offset",
        "_buffers",
        "_large",
        "_pointer",
        "_reference",
        "_shown",
        "_process",
        "__weakref__",
    )

    def __init__(self, region: Region, offset: int, role: Literal["producer", "consumer"]) -> None:
        if role not in ROLES:
            raise ValueError(f"role is {role!r}: it has to be 'producer' or 'consumer'")
        self._token: Any = _abi.queue_p()
        self._region, self._role, self._offset = region, role, u64("offset", offset)
        # For messages, short ones and long ones. A call takes one out, and puts it back when it has read it: another
        # thread finds none, and makes its own.
        self._buffers: List[Tuple[Any, Any, Any]] = []
        self._large: List[Tuple[Any, Any, Any]] = []
        # Where the message in place is, of which there is one at a time: a call that fails writes nothing. It, and the
        # argument that it is.
        self._pointer = ctypes.c_void_p()
        self._reference = ctypes.byref(self._pointer)
        # Of messages in place, from the first one on.
        self._shown: Optional[_Shown] = None
        self._process = os.getpid()
        token = region._handle.token
        _abi.mapshare_queue_open(token, self._offset, ROLES[role], ctypes.byref(self._token))
        # The token as an argument.
        self._handle: Any = ctypes.c_void_p.from_param(ctypes.cast(self._token, ctypes.c_void_p).value)

    @staticmethod
    def footprint(capacity: int) -> int:
        """Bytes of a region that a queue with `capacity` bytes of message space takes."""
        return cast(int, _abi.mapshare_queue_footprint(u64("capacity", capacity)))

    @staticmethod
    def create(
        region: Region, offset: int, capacity: int, *, single_producer: bool = False, single_consumer: bool = False
    ) -> None:
        """Makes a queue out of `Queue.footprint(capacity)` bytes of zeros; a single side is faster.

        FileExistsError when one stands there, OSError EBADMSG when something else does."""
        flags = _abi.QUEUE_SINGLE_PRODUCER if single_producer else 0
        flags |= _abi.QUEUE_SINGLE_CONSUMER if single_consumer else 0
        place = u64("offset", offset), u64("capacity", capacity)
        _abi.mapshare_queue_init(region._handle.token, *place, flags)

    def push(self, message: Buffer, timeout: Optional[float] = None) -> None:
        """Appends a message; waits while there is no room."""
        if timeout is not None:
            nanoseconds(timeout)
        if message.__class__ is bytes:
            try:
                if PUSH(self._handle, message, SIZES[len(message)], NOW) == 0:  # pyright: ignore[reportArgumentType]
                    return
            except KeyError:
                size_of(len(message))  # pyright: ignore[reportArgumentType]
        address, length = readable(message)
        resumed(
            "mapshare_queue_push",
            lambda ns: _abi.mapshare_queue_push(self._token, address, length, ns),
            timeout,
        )

    def pop(self, timeout: Optional[float] = None) -> bytes:
        """Takes the next message; waits while there is none. At most once: when a signal's handler raises (Ctrl-C) just
        after the message was taken, it is gone; `peek` leaves it in the queue then."""
        if timeout is not None:
            nanoseconds(timeout)
        try:
            kept = buffer, address, size = self._buffers.pop()
        except IndexError:
            kept = buffer, address, size = buffer_of(4096)
        length = POP(self._handle, address, size, NOW)
        if length < 0:
            return self._pop(kept, length, timeout)
        message = buffer[:length]
        self._buffers.append(kept)
        return message  # type: ignore[no-any-return]

    def _pop(self, kept: Tuple[Any, Any, Any], code: int, timeout: Optional[float]) -> bytes:
        """`pop` by checked calls, after it has been tried and has given this code."""
        while True:
            # The message stays until there is a buffer for it; none is longer than the queue.
            if code == -errno.EMSGSIZE:
                kept = self._larger(kept)
            buffer = kept[0]
            try:
                length = resumed(
                    "mapshare_queue_pop",
                    lambda ns: _abi.mapshare_queue_pop(self._token, buffer, len(buffer), ns),
                    timeout,
                )
                message = buffer[:length]
            except OSError as error:
                code = -(error.errno or 0)
                if code == -errno.EMSGSIZE and len(buffer) < self.info().capacity:
                    continue
                self._keep(kept)
                raise
            self._keep(kept)
            return message  # type: ignore[no-any-return]

    def _larger(self, kept: Tuple[Any, Any, Any]) -> Tuple[Any, Any, Any]:
        length = min(4 * len(kept[0]), self.info().capacity)
        if length <= SHORT:
            return buffer_of(length)
        if len(kept[0]) <= SHORT:
            self._keep(kept)
        try:
            return self._large.pop()
        except IndexError:
            return buffer_of(length)

    def _keep(self, kept: Tuple[Any, Any, Any]) -> None:
        (self._buffers if len(kept[0]) <= SHORT else self._large).append(kept)

    def reserve(self, length: int, timeout: Optional[float] = None) -> Message:
        """Room for a message, to be filled in place: with queue.reserve(100) as message: message.data[:] = ..."""
        length = u64("length", length)
        if timeout is not None:
            nanoseconds(timeout)
        pointer = self._reference
        if RESERVE(self._handle, size_of(length), NOW, pointer) < 0:
            resumed(
                "mapshare_queue_reserve",
                lambda ns: _abi.mapshare_queue_reserve(self._token, length, ns, pointer),
                timeout,
            )
        return Message(self, self._pointer.value or 0, length, True)

    def peek(self, timeout: Optional[float] = None) -> Message:
        """The next message in place, read-only: with queue.peek() as message: use(message.data)"""
        if timeout is not None:
            nanoseconds(timeout)
        pointer = self._reference
        length = PEEK(self._handle, NOW, pointer)
        if length < 0:
            length = resumed(
                "mapshare_queue_peek",
                lambda ns: _abi.mapshare_queue_peek(self._token, ns, pointer),
                timeout,
            )
        return Message(self, self._pointer.value or 0, length, False)

    def _bytes(self) -> _Shown:
        shown = self._shown
        if shown is None:
            footprint = Queue.footprint(self.info().capacity)
            array = self._region._handle.view(self._offset, footprint, own=True)
            shown = self._shown = _Shown(array, self._role == "consumer")
        return shown

    def end(self) -> None:
        """A producer says that no more comes: consumers get BrokenPipeError after the last message.
        TimeoutError when the message that another producer has reserved stays open for a second."""
        again(lambda: _abi.mapshare_queue_end(self._token))

    def info(self) -> QueueInfo:
        """Messages and bytes in it, its capacity, messages ever pushed and popped, members of each side."""
        state = _abi.mapshare_queue_state()
        _abi.mapshare_queue_info(self._token, state, ctypes.sizeof(state))
        return QueueInfo(**{name: getattr(state, name) for name in QueueInfo._fields})

    def close(self) -> None:
        """Gives the side up; the queue stays. In the child of a fork, lets go of what is the parent's. BufferError while
        the bytes of a message are in use, or another thread waits in it."""
        if not self._token:
            return
        if self._is_shown():
            raise BufferError(
                "a message of this queue is still in use in place; release or delete its memoryviews first"
            )
        try:
            _abi.mapshare_queue_close(self._token)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise BufferError(error.strerror) from error
            self._forget()
            # The child of a fork has let go of what was its parent's.
            if error.errno != errno.EBADF or self._process == os.getpid():
                raise
        self._forget()

    def _forget(self) -> None:
        self._token, self._handle = _abi.queue_p(), None

    def _is_shown(self) -> bool:
        """Whether anything still shows a message in place."""
        shown, self._shown = self._shown, None
        if shown is None:
            return False
        array = weakref.ref(shown.array)
        del shown
        left = None if is_gone(array) else array()
        if left is not None:
            self._shown = _Shown(left, self._role == "consumer")
        return left is not None

    def __iter__(self) -> Iterator[bytes]:
        # `pop`, but for its call, and with a buffer that is this generator's alone.
        buffer, address, size = buffer_of(4096)
        while True:
            length = POP(self._handle, address, size, NOW)
            if length >= 0:
                yield buffer[:length]
                continue
            try:
                message = self.pop()
            except BrokenPipeError:
                return
            if len(message) > len(buffer):
                buffer, address, size = buffer_of(min(4 * len(message), SHORT))
            yield message

    def __enter__(self) -> Queue:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """Closes, as `Region` does at the end of its block."""
        leave(self.close, error)

    def __del__(self) -> None:
        try:
            self.close()
        except (OSError, BufferError, AttributeError, TypeError):
            pass  # it was not opened, or the process ends

    def __reduce__(self) -> Any:
        raise TypeError("a queue cannot be pickled: open it in the other process, in a region of the same file or name")

    def __repr__(self) -> str:
        if not self._token:
            return f"<closed mapshare.Queue, {self._role} in {self._region!r}>"
        return f"<mapshare.Queue, {self._role} in {self._region!r}>"
