"""Calls that wait: in seconds, and so that Ctrl-C ends them."""

from __future__ import annotations

import errno
import select
import time
from typing import Callable, List, Optional, Protocol, TypeVar, Union

from . import _abi
from ._arguments import nanoseconds


class HasFileno(Protocol):
    def fileno(self) -> int: ...


Result = TypeVar("Result")

# A signal that comes between the interpreter's last look and the library's going to sleep does not wake it; after so
# long the interpreter looks again.
LONGEST = 500_000_000


def resumed(what: str, call: Callable[[int], Result], timeout: Optional[float]) -> Result:
    """Calls with nanoseconds until it is done, None being for ever. When a signal came, Python's handlers run, and the
    wait goes on unless one of them raises (PEP 475). TimeoutError when the time has passed."""
    left = nanoseconds(timeout)
    end = None if left < 0 else time.monotonic_ns() + left
    step = 0 if left == 0 else LONGEST
    while True:
        try:
            return call(step if end is None else min(step, max(0, end - time.monotonic_ns())))
        except InterruptedError:
            continue
        except TimeoutError as error:
            if end is not None and time.monotonic_ns() >= end:
                found = error.strerror or f"{what}: not in time (ETIMEDOUT)"
                raise TimeoutError(errno.ETIMEDOUT, f"{found}; {timeout} s have passed") from None


def noted(codes: List[int], function: Callable[..., int], *arguments: object) -> int:
    """Calls a function that gives codes and notes its code, without a place in between where a signal's handler may
    raise: it is list.extend that calls. OSError for a code that is one."""
    codes.extend(map(function, *((argument,) for argument in arguments)))
    return _abi.check(codes[-1], None, None)


def done(codes: List[int]) -> bool:
    """Whether the last call that was noted did what it is for."""
    return bool(codes) and codes[-1] >= 0


def noted_once_more(function: Callable[..., int], *arguments: object) -> None:
    """Calls, and does so again when a signal's handler raised before the call."""
    codes: List[int] = []
    try:
        noted(codes, function, *arguments)
    except BaseException:
        if not codes:
            noted(codes, function, *arguments)
        raise


def again(call: Callable[[], Result]) -> Result:
    """Calls until no signal has come in between."""
    while True:
        try:
            return call()
        except InterruptedError:
            continue


def on_socket(what: str, socket: Union[int, HasFileno], event: int, call: Callable[[int], Result]) -> Result:
    """Calls with the socket's descriptor until it is done. A Python socket that has a timeout does not block in the
    kernel: its time is waited for here. TimeoutError when it has passed."""
    number = socket if isinstance(socket, int) else socket.fileno()
    timeout: Optional[float] = getattr(socket, "gettimeout", lambda: None)()

    def attempt(left: int) -> Result:
        try:
            return call(number)
        except BlockingIOError:
            if not timeout:
                raise
        poll = select.poll()
        poll.register(number, event)
        if not poll.poll(left / 1e6):
            raise TimeoutError
        raise InterruptedError  # ready: once more

    return resumed(what, attempt, timeout)
