"""Modules that libraries import if they can, kept from loading: pandas by pyarrow, SciPy and cffi by numba, where they
are installed for other programs. Nothing here asks for what they add, and each process that starts would pay 0.7 s."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa


class Absent:
    """A finder that says of some modules that there are none."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """While it lasts, importing these modules fails as if they were not installed; what is loaded already stays."""
    finder = Absent(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@cache
def without_pandas() -> None:
    """Let pyarrow look for pandas now, once and in vain; who wants a DataFrame from it still gets one."""
    with hidden("pandas"):
        pa.array([None])
