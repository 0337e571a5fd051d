"""Where a command writes its lines: a file that is none of its inputs, or standard output."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from stages.base import UserError


@contextlib.contextmanager
def open_target(out: str | None, inputs: Iterable[str]) -> Iterator[TextIO]:
    """The output file, or standard output, whose reader may leave early; UserError if it would overwrite an input."""
    if out is None:
        try:
            yield sys.stdout
            sys.stdout.flush()
        except BrokenPipeError:  # what Python would still flush at exit goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if os.path.exists(out) and any(os.path.exists(path) and os.path.samefile(out, path) for path in inputs):
        raise UserError(f"{out} is the input; write to another file")
    try:
        file = open(Path(out), "w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from error
    with file:
        yield file
