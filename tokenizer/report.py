"""Compression of tokenizers: documents in; bytes and characters per token, tokens per word, the share of byte pieces,
and how many documents do not come back, out. Text without spaces has words too: each ideograph is one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.text import TextView
from tokenizer.opened import Encoder

ALL = "*"  # the source of a line over all sources


@dataclass(frozen=True)
class Line:
    """What one tokenizer makes of the documents of one source in one language."""

    lang: str
    source: str
    tokenizer: str
    docs: int
    bytes: int
    chars: int
    words: int  # as filters.text counts them
    tokens: int  # without the end of document
    byte_tokens: int  # pieces that spell a single byte
    changed: int  # documents that do not come back byte for byte

    def as_dict(self) -> dict[str, str | int | float]:
        """The counts and the ratios made of them."""
        tokens = max(self.tokens, 1)
        ratios = {
            "bytes_per_token": round(self.bytes / tokens, 3),
            "chars_per_token": round(self.chars / tokens, 3),
            "tokens_per_word": round(self.tokens / max(self.words, 1), 3),
            "byte_token_ratio": round(self.byte_tokens / tokens, 5),
        }
        return asdict(self) | ratios


COUNTS = ("docs", "bytes", "chars", "words", "tokens", "byte_tokens", "changed")


def measure(tokenizers: Mapping[str, Encoder], batches: Iterable[pa.RecordBatch]) -> list[Line]:
    """A line for each language, source (and all of them) and tokenizer; batches have the columns source, lang, text."""
    sums: dict[tuple[str, str, str], Counter[str]] = {}
    single = {name: np.zeros(tokenizer.size, bool) for name, tokenizer in tokenizers.items()}
    for name, tokenizer in tokenizers.items():
        single[name][tokenizer.byte_ids] = True
    for batch in batches:
        column = batch["text"]
        texts = column.to_pylist()
        sizes = pc.binary_length(column).to_pylist()
        chars = pc.utf8_length(column).to_pylist()
        words = [count for view in TextView(column).pieces() for count in view.words.per_doc.tolist()]
        keys = list(zip(batch["lang"].to_pylist(), batch["source"].to_pylist(), strict=True))
        for name, tokenizer in tokenizers.items():
            ids, offsets = tokenizer.encode_documents(column)
            bounds = offsets.tolist()
            for row, (lang, source) in enumerate(keys):
                found = ids[bounds[row] : bounds[row + 1] - 1]
                byte_tokens = int(np.count_nonzero(single[name][found]))
                changed = int(tokenizer.decode(found) != texts[row])
                values = (1, sizes[row], chars[row], words[row], len(found), byte_tokens, changed)
                for key in ((lang, source, name), (lang, ALL, name)):
                    counts = sums.setdefault(key, Counter())
                    for field, value in zip(COUNTS, values, strict=True):
                        counts[field] += value
    order = list(tokenizers)
    keys_in_order = sorted(sums, key=lambda key: (*key[:2], order.index(key[2])))
    return [Line(*key, *(sums[key][field] for field in COUNTS)) for key in keys_in_order]


def table(lines: Iterable[Line]) -> str:
    """The lines as text columns."""
    ratios = ("bytes/token", "chars/token", "tokens/word", "byte pieces")
    rows = [["lang", "source", "tokenizer", "docs", "MB", "tokens", *ratios, "changed"]]
    for line in lines:
        found = line.as_dict()
        numbers = [f"{line.docs:,}", f"{line.bytes / 1e6:.2f}", f"{line.tokens:,}"]
        numbers += [f"{found[name]:.3f}" for name in ("bytes_per_token", "chars_per_token", "tokens_per_word")]
        numbers += [f"{found['byte_token_ratio']:.2%}", f"{line.changed:,}"]
        rows.append([line.lang, line.source, line.tokenizer, *numbers])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    aligned = [
        [
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    return "\n".join("  ".join(row).rstrip() for row in aligned)
