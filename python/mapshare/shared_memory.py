"""The standard library's multiprocessing.shared_memory on top of mapshare: ``from mapshare import shared_memory``.

Same constructor, `buf`, `name`, `size`, `close` and `unlink`, and the same names as the standard library's, which may
be at the other end. Where it differs:

- There is no resource tracker: nothing is ever removed but by `unlink`, so a program that only attaches and ends does
  not take the memory from those who still use it. What was created and never unlinked stays until the system ends.
- Creating reserves the memory: OSError (ENOSPC) at once instead of a bus error later. An attached object that is cut
  short reads as zeros through `buf`; `close` raises OSError (ENXIO) then, after it has closed.
- `track` is accepted, and means nothing.
"""

from __future__ import annotations

import importlib.util
import secrets
from typing import TYPE_CHECKING, Any, Optional, Tuple

from ._region import Region
from ._sources import named, unlink_named

if TYPE_CHECKING:
    from multiprocessing.shared_memory import ShareableList

__all__ = ["ShareableList", "SharedMemory"]

# As the standard library has them; its own tests use them.
_USE_POSIX = True
_SHM_NAME_PREFIX = "/psm_"


def _make_filename() -> str:
    return _SHM_NAME_PREFIX + secrets.token_hex(4)


def _one_slash(name: str) -> str:
    """The name as the library takes it; shm_open takes several slashes in front for one."""
    return "/" + name.lstrip("/")


class SharedMemory:
    """Creates (`create`, at least `size` bytes; a new name when there is none) or attaches to shared memory by name.

    FileExistsError when the name to create exists, FileNotFoundError when the name to attach to does not, ValueError
    for a size that is not positive or a missing name.
    """

    _name: str
    _region: Optional[Region]
    _buf: Optional[memoryview]

    def __init__(self, name: Optional[str] = None, create: bool = False, size: int = 0, *, track: bool = True) -> None:
        self._region = self._buf = None
        if not size >= 0:
            raise ValueError("'size' must be a positive integer")
        if create and size == 0:
            raise ValueError("'size' must be a positive number different from zero")
        if name is None and not create:
            raise ValueError("'name' can only be None if create=True")
        if create:
            while self._region is None:
                self._name = _make_filename() if name is None else f"/{name}"
                try:
                    self._region = named(_one_slash(self._name), "r+", create=True, exclusive=True, length=size)
                except FileExistsError:
                    if name is not None:
                        raise
        else:
            assert name is not None
            self._name = f"/{name}"
            self._region = named(_one_slash(self._name), "r+")
        self._size = len(self._region)
        self._buf = self._region.view()

    @property
    def buf(self) -> memoryview:
        """The bytes. None once it is closed, as in the standard library."""
        return self._buf  # type: ignore[return-value]

    @property
    def name(self) -> str:
        """What another process attaches by."""
        return self._name[1:]

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    def close(self) -> None:
        """Lets go of the memory, which stays for others. BufferError while memoryviews of `buf` are in use."""
        if self._buf is not None:
            self._buf.release()
            self._buf = None
        if self._region is not None:
            self._region.close()
            self._region = None

    def unlink(self) -> None:
        """Removes the name: the memory goes when nobody has it any more. FileNotFoundError the second time."""
        unlink_named(_one_slash(self._name))

    def __del__(self) -> None:
        try:
            self.close()
        except (OSError, BufferError, AttributeError, TypeError):
            pass

    def __reduce__(self) -> Tuple[Any, ...]:
        return self.__class__, (self.name, False, self.size)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.name!r}, size={self.size})"


def _shareable_list() -> Any:
    """The standard library's class, over ours: its module once more, with another SharedMemory in it."""
    spec = importlib.util.find_spec("multiprocessing.shared_memory")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SharedMemory = SharedMemory  # type: ignore[attr-defined]
    module.ShareableList.__module__ = __name__
    return module.ShareableList


if not TYPE_CHECKING:
    ShareableList = _shareable_list()
