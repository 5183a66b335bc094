"""A bounded queue of messages in a region."""

from __future__ import annotations

import ctypes
import errno
from types import TracebackType
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple, Optional, Type, cast

from . import _abi
from ._arguments import readable, u64
from ._handle import shown
from ._region import Region
from ._waiting import again, resumed

if TYPE_CHECKING:
    from typing import Literal

    from typing_extensions import Buffer

ROLES = {"producer": _abi.PRODUCER, "consumer": _abi.CONSUMER}


class QueueInfo(NamedTuple):
    """What `Queue.info` tells."""

    messages: int
    bytes: int
    capacity: int
    pushed: int
    popped: int
    producers: int
    consumers: int


class Message:
    """A message in place: a context manager that gives its memoryview, without a copy.

    At its end what was reserved is committed, and what was peeked is consumed; when an exception leaves it, it is given
    up, or stays in the queue. The memoryview is released then: BufferError when something else still uses it.
    """

    __slots__ = ("_queue", "_view", "_reserved", "length")

    def __init__(self, queue: Queue, view: memoryview, reserved: bool) -> None:
        self._queue, self._view, self._reserved = queue, view, reserved
        #: Bytes to commit: make it less when the message is shorter than what was reserved.
        self.length = len(view)

    @property
    def data(self) -> memoryview:
        """The bytes."""
        return self._view

    def __enter__(self) -> Message:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._view.release()
        token = self._queue._token
        if error is not None:
            _abi.mapshare_queue_cancel(token)
        elif self._reserved:
            _abi.mapshare_queue_commit(token, u64("length", self.length))
        else:
            _abi.mapshare_queue_consume(token)


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

    __slots__ = ("_region", "_token", "_role", "_size", "_out", "__weakref__")

    def __init__(self, region: Region, offset: int, role: Literal["producer", "consumer"]) -> None:
        if role not in ROLES:
            raise ValueError(f"role is {role!r}: it has to be 'producer' or 'consumer'")
        self._token: Any = _abi.queue_p()
        self._region, self._role = region, role
        # Bytes to offer for the next message.
        self._size = 4096
        # Messages in place that something still shows.
        self._out = 0
        token = region._handle.token
        _abi.mapshare_queue_open(token, u64("offset", offset), ROLES[role], ctypes.byref(self._token))

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
        address, length = readable(message)
        resumed(
            "mapshare_queue_push",
            lambda ns: _abi.mapshare_queue_push(self._token, address, length, ns),
            timeout,
        )

    def pop(self, timeout: Optional[float] = None) -> bytes:
        """Takes the next message; waits while there is none."""
        while True:
            buffer = ctypes.create_string_buffer(self._size)
            try:
                length = resumed(
                    "mapshare_queue_pop",
                    lambda ns: _abi.mapshare_queue_pop(self._token, buffer, len(buffer), ns),
                    timeout,
                )
            except OSError as error:
                # The message stays until there is a buffer for it; none is longer than the queue.
                if error.errno != errno.EMSGSIZE or self._size > self.info().capacity:
                    raise
                self._size *= 4
                continue
            return ctypes.string_at(buffer, length)

    def reserve(self, length: int, timeout: Optional[float] = None) -> Message:
        """Room for a message, to be filled in place: with queue.reserve(100) as message: message.data[:] = ..."""
        pointer, size = ctypes.c_void_p(), u64("length", length)
        resumed(
            "mapshare_queue_reserve",
            lambda ns: _abi.mapshare_queue_reserve(self._token, size, ns, ctypes.byref(pointer)),
            timeout,
        )
        return Message(self, self._shown(pointer, size), True)

    def peek(self, timeout: Optional[float] = None) -> Message:
        """The next message in place, read-only: with queue.peek() as message: use(message.data)"""
        pointer = ctypes.c_void_p()
        length = resumed(
            "mapshare_queue_peek",
            lambda ns: _abi.mapshare_queue_peek(self._token, ns, ctypes.byref(pointer)),
            timeout,
        )
        return Message(self, self._shown(pointer, length).toreadonly(), False)

    def _shown(self, pointer: ctypes.c_void_p, length: int) -> memoryview:
        if length == 0 or pointer.value is None:
            return memoryview(b"")

        def given_back() -> None:
            self._out -= 1

        self._out += 1
        return memoryview(shown(pointer.value, length, given_back)).cast("B")

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
        """Gives the side up; the queue stays. BufferError while the bytes of a message are in use, or
        another thread waits in it."""
        if not self._token:
            return
        if self._out:
            raise BufferError(
                "a message of this queue is still in use in place; release or delete its memoryviews first"
            )
        try:
            _abi.mapshare_queue_close(self._token)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise BufferError(error.strerror) from None
            self._token = _abi.queue_p()
            raise
        self._token = _abi.queue_p()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                yield self.pop()
            except BrokenPipeError:
                return

    def __enter__(self) -> Queue:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except (OSError, BufferError, AttributeError, TypeError):
            pass  # it was not opened, or the process ends

    def __reduce__(self) -> Any:
        raise TypeError("a queue cannot be pickled: open it in the other process, in a region of the same file or name")

    def __repr__(self) -> str:
        return f"<mapshare.Queue, {self._role} in {self._region!r}>"
