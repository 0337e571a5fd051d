"""Pieces of decompressed bytes come in, one growing buffer goes out that begins at the current record and knows which
bytes of the file it came from. The surprising thing: a compressed file has positions only at the ends of pieces, so
records that share a piece share its file bytes: the first of them is given all, the others none."""

from collections import deque
from collections.abc import Iterator
from re import Pattern

from stages.inflate import Break, Piece

REACH = 3  # bytes of a match that the end of a search may have cut off


class Window:
    """The decompressed bytes from the current record on, and the places in the file that they came from."""

    def __init__(self, source: Iterator[Piece | Break]) -> None:
        self.buffer = bytearray()
        self.ended = False  # no more bytes in this run
        self.stop: Break | None = None  # the damage that ended it, if any
        self._source = source
        self._base = 0  # place of the first byte of the buffer among all decompressed bytes
        self._whole = 0  # up to here members were read to their end, and their checksums were right
        self._marks: deque[tuple[int, int]] = deque()  # (decompressed place, file position), ascending
        self._members: deque[tuple[int, int]] = deque()  # the same, where members open; empty for a plain file
        # what `find` remembers: no match begins in [first, second); the third is the end of the match there, or 0
        self._found: dict[Pattern[bytes], tuple[int, int, int]] = {}

    def next_run(self) -> bool:
        """Begins the bytes that follow each other without damage; False at the end of the file."""
        self.drop(len(self.buffer))
        self._marks.clear()
        self._members.clear()
        self.stop, self.ended = None, False
        self._pull()
        return not self.ended or self.stop is not None

    def fill(self, size: int) -> bool:
        """Reads on until the buffer has `size` bytes; False when the run has fewer."""
        while len(self.buffer) < size and not self.ended:
            self._pull()
        return len(self.buffer) >= size

    def find(self, pattern: Pattern[bytes], begin: int, end: int) -> tuple[int, int] | None:
        """Where the first match in [begin, end) begins and ends. It is remembered, and so is how far the search was in
        vain: for places that ascend no byte is searched twice."""
        begin, end = self._base + begin, self._base + min(end, len(self.buffer))
        since, at, stop = self._found.get(pattern, (begin, begin, 0))
        if not since <= begin <= at:
            since, at, stop = begin, begin, 0
        if not stop:
            match = pattern.search(self.buffer, at - self._base, end - self._base)
            at, stop = (self._base + match.start(), self._base + match.end()) if match else (max(at, end - REACH), 0)
            self._found[pattern] = since, at, stop
        return (at - self._base, stop - self._base) if 0 < stop <= end else None

    def read(self, begin: int, end: int) -> bytes:
        with memoryview(self.buffer) as view:
            return bytes(view[begin:end])

    def drop(self, size: int) -> None:
        del self.buffer[:size]
        self._base += size
        for queue in (self._marks, self._members):
            while len(queue) > 1 and queue[1][0] <= self._base:
                queue.popleft()

    def openings(self) -> list[int]:
        """Where in the buffer members open."""
        return [at - self._base for at, _ in self._members if at >= self._base]

    def is_damaged(self) -> bool:
        """Whether what was dropped last came from a member that could not be read to its end."""
        return self.stop is not None and self.stop.reason != "truncated" and self._base > self._whole

    def place(self) -> tuple[int, int]:
        """File offset of the member that the buffer begins in, and the place of its first byte in that member."""
        if not self._members:
            return self._base, 0
        at, begin = self._members[0]
        return begin, self._base - at

    def file_begin(self) -> int:
        """File position of the buffer's first byte: of the piece that it came in, where pieces were compressed."""
        return self._marks[0][1] if self._members else self._base

    def file_end(self) -> int:
        """File position behind the bytes dropped last: of the end of the piece, where pieces were compressed."""
        if self.stop and self.stop.reason == "truncated" and not self.buffer and self._base > self._whole:
            return self.stop.resume
        if not self._members:
            return self._base
        at, position = self._marks[0]
        return position if at == self._base or len(self._marks) == 1 else self._marks[1][1]

    def run_end(self) -> int:
        """File position behind the run and its damage."""
        return self.stop.resume if self.stop else self._marks[-1][1]

    def _pull(self) -> None:
        piece = next(self._source, None)
        if piece is None or isinstance(piece, Break):
            self.stop, self.ended = piece, True
            return
        at = self._base + len(self.buffer)
        if piece.opens:
            self._members.append((at, piece.begin))
        if piece.opens or not self._marks:
            self._marks.append((at, piece.begin))
        self.buffer += piece.data
        at += len(piece.data)
        self._marks.append((at, piece.end))
        if piece.closes:
            self._whole = at
        self.drop(0)  # an empty member has come to its end too
