"""An open region of the library and the views of it that are out.

A view is a ctypes array over the region's bytes. Everything that shows those bytes (memoryviews, slices of them, numpy
arrays) holds the array, so the view is given back when the array goes, and never under somebody who reads it. The
region stays mapped that long.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import weakref
from typing import Any, Callable, Dict, Optional, Set

from . import _abi

# The weak references to the arrays that are in use. What they call holds the handles, so that no handle goes before.
_out: Dict[int, Any] = {}


_has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)


def settle() -> None:
    """In a Python without the GIL, what another thread has made stays until that thread runs again, or a collection."""
    if not _has_gil():
        gc.collect()


def is_gone(reference: Any) -> bool:
    """Whether the object of a weak reference is no more."""
    if reference() is not None:
        settle()
    return reference() is None


def shown(address: int, length: int, given_back: Callable[[], object]) -> Any:
    """An array of c_char over bytes of a region; `given_back` is called once nothing uses it any more."""
    array = (ctypes.c_char * length).from_address(address)

    def gone(reference: Any) -> None:
        _out.pop(id(reference), None)
        given_back()

    reference = weakref.ref(array, gone)
    _out[id(reference)] = reference
    return array


def leave(end: Callable[[], object], error: Optional[BaseException]) -> None:
    """The end of a `with`: what it raises never takes the place of the exception that leaves the block."""
    try:
        end()
    except (OSError, BufferError) as unable:
        if error is None:
            raise
        if hasattr(error, "add_note"):
            error.add_note(f"The end of the block failed too: {unable}")


class Handle:
    """Owns a token: unmaps it when nothing needs it any more."""

    __slots__ = ("token", "lost", "_views", "_own")

    def __init__(self, token: Any) -> None:
        self.token = token
        # What the last view said that had lost pages when it was given back.
        self.lost: Optional[OSError] = None
        # The user's views that are out, and those that this package keeps for speed.
        self._views: Set[object] = set()
        self._own: Set[object] = set()

    def address(self, offset: int, length: int) -> int:
        pointer = ctypes.c_void_p()
        _abi.mapshare_view(self.token, offset, length, ctypes.byref(pointer))
        assert pointer.value is not None
        return pointer.value

    def view(self, offset: int, length: int, *, own: bool = False) -> Any:
        """An array of c_char over the bytes; `own` when this package keeps it, so that `lost` is not to tell of its lost
        pages in the end."""
        address = self.address(offset, length)
        mark = object()
        views = self._own if own else self._views

        def given_back() -> None:
            views.discard(mark)
            try:
                _abi.mapshare_release(self.token, address)
            except OSError as error:
                if not own:
                    self.lost = error

        views.add(mark)
        return shown(address, length, given_back)

    def views(self) -> int:
        """The user's."""
        return len(self._views)

    def own_views(self) -> int:
        return len(self._own)

    def has_lost(self, length: int) -> bool:
        """Whether pages among the first `length` bytes stand as zeros."""
        address = self.address(0, length)
        try:
            _abi.mapshare_release(self.token, address)
        except OSError:
            return True
        return False

    def close(self) -> None:
        """Unmaps the region: OSError (EBUSY) while views are out."""
        if self.token:
            _abi.mapshare_unmap(self.token)
            self.token = _abi.region_p()

    def __del__(self) -> None:
        try:
            self.close()
        except (OSError, AttributeError, TypeError):
            pass  # the process ends, or is about to find out from another call
