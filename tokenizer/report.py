"""Compression of tokenizers: documents in; bytes and characters per token, and the share of byte pieces, out."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tokenizer.encode import Tokenizer


@dataclass(frozen=True)
class Line:
    """What one tokenizer makes of the documents of one source in one language."""

    tokenizer: str
    source: str
    lang: str
    docs: int
    bytes: int
    chars: int
    tokens: int  # without the end of document
    byte_tokens: int  # pieces that spell a single byte
    failed: int  # documents that do not come back byte for byte

    def as_dict(self) -> dict[str, str | int | float]:
        """The counts and the ratios made of them."""
        tokens = max(self.tokens, 1)
        ratios = {
            "bytes_per_token": round(self.bytes / tokens, 3),
            "chars_per_token": round(self.chars / tokens, 3),
            "byte_token_ratio": round(self.byte_tokens / tokens, 5),
        }
        return asdict(self) | ratios


def measure(tokenizers: dict[str, Tokenizer], batches: Iterable[pa.RecordBatch]) -> list[Line]:
    """One line for each tokenizer, source and language; batches have the columns source, lang and text."""
    sums: dict[tuple[str, str, str], Counter[str]] = {}
    for batch in batches:
        chars = pc.utf8_length(batch["text"]).to_pylist()
        for name, tokenizer in tokenizers.items():
            for row, text in enumerate(batch["text"].to_pylist()):
                ids = tokenizer.encode(text.encode())
                counts = sums.setdefault((name, batch["source"][row].as_py(), batch["lang"][row].as_py()), Counter())
                counts["docs"] += 1
                counts["bytes"] += len(text.encode())
                counts["chars"] += chars[row]
                counts["tokens"] += len(ids)
                counts["byte_tokens"] += int(np.isin(ids, tokenizer.bytes).sum())
                counts["failed"] += tokenizer.decode(ids) != text
    fields = ("docs", "bytes", "chars", "tokens", "byte_tokens", "failed")
    return [Line(*key, *(counts[field] for field in fields)) for key, counts in sorted(sums.items())]


def table(lines: Iterable[Line]) -> str:
    """The lines as text columns."""
    head = [
        "tokenizer",
        "source",
        "lang",
        "docs",
        "MB",
        "tokens",
        "bytes/token",
        "chars/token",
        "byte pieces",
        "failed",
    ]
    rows = [head]
    for line in lines:
        ratios = line.as_dict()
        rows.append(
            [
                line.tokenizer,
                line.source,
                line.lang,
                f"{line.docs:,}",
                f"{line.bytes / 1e6:.2f}",
                f"{line.tokens:,}",
                f"{ratios['bytes_per_token']:.3f}",
                f"{ratios['chars_per_token']:.3f}",
                f"{ratios['byte_token_ratio']:.2%}",
                f"{line.failed:,}",
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
