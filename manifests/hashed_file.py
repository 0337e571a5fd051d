"""A file that is hashed while it is written: bytes in, the file and its SHA-256 out, so that it is not read again."""

import hashlib
import io
from pathlib import Path
from typing import Any


class HashedFile(io.FileIO):
    """A new file, and the SHA-256 of what was written to it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb")
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Write all of the bytes, of which a system call may take a part."""
        self.sha256.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]
        return len(data)
