"""Many documents made by seeded edits of real text: a size in, Parquet files and the planted copies out.

A document of about 2 kB is four passages from anywhere in the texts, so that unrelated documents share passages now
and then, as pages do. Three in ten are copies of an earlier one, with a share of their words replaced that goes from
none to a tenth. A share of the documents can be boilerplate: half of such a document is a block that all of a language
have, the rest its own. The same seed gives the same bytes. Run: python -m benchmarks.crowd DOCUMENTS FOLDER [SHARE]
"""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import SHARED

FILES = {"en": ("tfdocs.en-snapshot", "novels.en"), "zh": ("pingcap-docs.zh", "laws.zh", "tfdocs.zh-cn")}
PASSAGES = 4
PASSAGE_BYTES = 500
COPIES = 0.3
MOST_EDITED = 0.1
PER_FILE = 50_000
BOILERPLATE = "boilerplate"
RECENT = 20_000  # a copy is of one of so many documents before it
SCHEMA = pa.schema([("id", pa.string()), ("lang", pa.string()), ("text", pa.string())])


def pool(lang: str) -> list[str]:
    """Words of English, characters of Chinese, of all texts of a language end to end."""
    units: list[str] = []
    for name in FILES[lang]:
        with gzip.open(SHARED / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                text = json.loads(line)["text"]
                units += text.split() if lang == "en" else [c for c in text if not c.isspace()]
    return units


def documents(count: int, seed: int, boilerplate: float = 0.0) -> Iterator[tuple[str, str, str, str]]:
    """(id, lang, text, id of the document that it was copied from or "")."""
    rng = np.random.default_rng(seed)
    pools = {lang: pool(lang) for lang in FILES}
    size = {"en": PASSAGE_BYTES // 6, "zh": PASSAGE_BYTES // 3}
    recent: dict[str, list[tuple[str, list[str]]]] = {lang: [] for lang in FILES}
    for number in range(count):
        lang = "en" if number % 2 else "zh"
        words, before = pools[lang], recent[lang]
        name, twin = f"{lang}-{number}", ""
        if boilerplate and rng.random() < boilerplate:
            name = f"{BOILERPLATE}-{name}"
            own = rng.integers(0, len(words) - size[lang], PASSAGES // 2).tolist()
            block = len(words) // 2  # far from the headings that texts begin with
            starts = [block + size[lang] * i for i in range(PASSAGES - len(own))] + own
            units = [word for start in starts for word in words[start : start + size[lang]]]
        elif before and rng.random() < COPIES:
            twin, units = before[rng.integers(len(before))]
            units = list(units)
            places = rng.random(len(units)) < rng.random() * MOST_EDITED
            for place in np.flatnonzero(places).tolist():
                units[place] = words[rng.integers(len(words))]
        else:
            starts = rng.integers(0, len(words) - size[lang], PASSAGES)
            units = [word for start in starts.tolist() for word in words[start : start + size[lang]]]
            if len(before) < RECENT:
                before.append((name, units))
            else:
                before[rng.integers(RECENT)] = (name, units)
        yield name, lang, (" " if lang == "en" else "").join(units), twin


def write(count: int, folder: Path, boilerplate: float = 0.0, seed: int = 1) -> int:
    """Write the documents as Parquet, and the planted pairs beside them; gives the bytes of text."""
    (folder / "docs").mkdir(parents=True)
    rows: list[tuple[str, str, str]] = []
    total = files = 0
    with open(folder / "planted.tsv", "w", encoding="utf-8") as planted:
        for name, lang, text, twin in documents(count, seed, boilerplate):
            rows.append((name, lang, text))
            total += len(text.encode())
            if twin:
                planted.write(f"{name}\t{twin}\n")
            if len(rows) == PER_FILE:
                flush(rows, folder, files)
                rows, files = [], files + 1
    if rows:
        flush(rows, folder, files)
    return total


def flush(rows: list[tuple[str, str, str]], folder: Path, number: int) -> None:
    """One file."""
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    table = pa.table(columns, schema=SCHEMA)
    pq.write_table(table, folder / "docs" / f"{number:05}.parquet", compression="zstd", row_group_size=5_000)


if __name__ == "__main__":
    print(f"{write(int(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:])):,} bytes of text")
