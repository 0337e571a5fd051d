"""Exports, read back by readers that know only the formats: Megatron-Core's indexed data set, and Parquet by polars."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.runs import RunStage, write_run
from manifests.storage import open_storage
from manifests.store import Shard
from tests.tokenizer.test_train import FOX, SPRING
from tokenizer.__main__ import main
from tokenizer.encode import Tokenizer
from tokenizer.train import train

FIXED = {"source_id": None, "url": None, "archive": "a.warc.gz", "offset": 7}
# (source, lang, task key) -> documents; the shards of a stream are read in the order of their task keys.
SHARDS = {
    ("web", "zh", "k2"): [SPRING, ""],
    ("web", "zh", "k1"): [SPRING * 3, "\n", "春"],
    ("web", "en", "k1"): [FOX, "    x = 1\n"],
    ("books", "en", "k3"): ["▁\0", FOX * 2],
}
ORDER = {"books/en": ["k3"], "web/en": ["k1"], "web/zh": ["k1", "k2"]}


def texts(stream: str) -> list[str]:
    source, lang = stream.split("/")
    return [text for key in ORDER[stream] for text in SHARDS[source, lang, key]]


def megatron(place: Path) -> tuple[np.dtype, list[list[int]], list[int]]:
    """A Megatron-Core indexed data set: type of the ids, its sequences, and the first sequence of each document."""
    index, data = Path(f"{place}.idx").read_bytes(), Path(f"{place}.bin").read_bytes()
    magic, version, code, sequences, documents = struct.unpack_from("<9sQBQQ", index)
    assert (magic, version) == (b"MMIDIDX\0\0", 1)
    dtype = np.dtype({1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}[code])
    at = 34
    lengths = np.frombuffer(index, "<i4", sequences, at)
    pointers = np.frombuffer(index, "<i8", sequences, at + 4 * sequences)
    firsts = np.frombuffer(index, "<i8", documents, at + 12 * sequences)
    assert len(index) == at + 12 * sequences + 8 * documents
    found = [np.frombuffer(data, dtype, n, p).tolist() for n, p in zip(lengths, pointers, strict=True)]
    assert len(data) == sum(map(len, found)) * dtype.itemsize
    return dtype, found, firsts.tolist()


@pytest.fixture(scope="module")
def tokenizer() -> tuple[Tokenizer, bytes]:
    model = train([FOX.encode(), SPRING.encode()], 512).model
    return Tokenizer(model), model


def corpus(folder: Path, tokenizer: Tokenizer, model: bytes, wide: bool = False) -> Path:
    """A root with the shards, written as the schemas say; ids are moved beyond 65,536 if `wide`."""
    folder.mkdir()
    (folder / "t.model").write_bytes(model)
    run = [
        RunStage(0, "vocab", "vocab", "0", ("read",), "r", "", "", ""),
        RunStage(1, "tokens", "tokens", "0", ("read", "vocab"), "r", "", "", ""),
    ]
    rows = {"vocab": [Shard("vocab", "0", "m", "m", "model", "tokenizer", "d", 512, "t.model")], "tokens": []}
    kind = pa.uint32() if wide else pa.uint16()
    for (source, lang, key), documents in SHARDS.items():
        ids, offsets = tokenizer.encode_documents(pa.array(documents))
        lists = [
            (ids[a:b].astype(np.uint32) + (wide << 16)).tolist() for a, b in zip(offsets, offsets[1:], strict=False)
        ]
        made = pa.table(
            {
                "tokens": pa.array(lists, pa.list_(kind)),
                "doc_id": pa.array([f"{key}{i}".ljust(16).encode() for i in range(len(lists))], pa.binary(16)),
                "source": [source] * len(lists),
                "lang": [lang] * len(lists),
                **{name: [FIXED[name]] * len(lists) for name in FIXED},
            }
        )
        facts = {"tokenizer": tokenizer.digest, "vocabulary": "512", "eod": "5", "dtype": f"uint{kind.bit_width}"}
        path = f"{key}-{source}-{lang}.parquet"
        pq.write_table(made.replace_schema_metadata(facts), folder / path, row_group_size=2)
        row = Shard("tokens", "0", key, key, "tokens", "tokens", "d", len(lists), path)
        rows["tokens"].append(replace(row, source=source, lang=lang, tokens=len(ids)))
    write_run(open_storage(str(folder)), run, rows)
    return folder


@pytest.mark.parametrize("wide", [False, True])
def test_megatron(tmp_path: Path, tokenizer: tuple[Tokenizer, bytes], wide: bool) -> None:
    root = corpus(tmp_path / "root", *tokenizer, wide)
    assert main(["export", str(root), "--to", "megatron", str(tmp_path / "out")]) == 0
    for stream in ORDER:
        dtype, sequences, firsts = megatron(tmp_path / "out" / stream)
        assert dtype == (np.dtype("<i4") if wide else np.dtype("<u2"))
        assert firsts == list(range(len(sequences) + 1))
        assert [tokenizer[0].decode(np.array(ids[:-1]) - (wide << 16)) for ids in sequences] == texts(stream)
        assert {ids[-1] - (wide << 16) for ids in sequences} == {tokenizer[0].eod}
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == tokenizer[1]


def test_hugging_face(tmp_path: Path, tokenizer: tuple[Tokenizer, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    root, out = corpus(tmp_path / "root", *tokenizer), tmp_path / "out"
    assert main(["export", str(root), "--to", "hf", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("books/en: 2 documents, ")
    card = (out / "README.md").read_text().split("---\n")[1]
    # The card names a configuration for each stream, in the order and with the keys that `datasets` asks for.
    entries = card.removeprefix("configs:\n").split("- config_name: ")[1:]
    assert [entry.splitlines()[0] for entry in entries] == ["books-en", "web-en", "web-zh"]
    for entry, (stream, keys) in zip(entries, ORDER.items(), strict=True):
        pattern = entry.split("path: ")[1].strip()
        found = pl.concat([pl.read_parquet(path) for path in sorted(out.glob(pattern))])
        assert [tokenizer[0].decode(ids[:-1]) for ids in found["input_ids"].to_list()] == texts(stream)
        assert found["input_ids"].dtype == pl.List(pl.Int32)
        assert bytes.fromhex(found["doc_id"][0]) == f"{keys[0]}0".ljust(16).encode()
        assert found["offset"].to_list() == [7] * len(found)


def test_an_export_is_whole_or_not_there(
    tmp_path: Path, tokenizer: tuple[Tokenizer, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = corpus(tmp_path / "root", *tokenizer), tmp_path / "out"
    short = pq.read_table(root / "k1-web-en.parquet")
    pq.write_table(short.slice(1), root / "k1-web-en.parquet")
    assert main(["export", str(root), "--to", "megatron", str(out)]) == 2
    assert "web/en: the shards hold" in capsys.readouterr().err
    assert not out.exists()
    pq.write_table(short, root / "k1-web-en.parquet")
    assert main(["export", str(root), "--to", "megatron", str(out)]) == 0
    assert main(["export", str(root), "--to", "megatron", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_card_says_what_the_ids_mean(tmp_path: Path, tokenizer: tuple[Tokenizer, bytes]) -> None:
    root, out = corpus(tmp_path / "root", *tokenizer), tmp_path / "out"
    assert main(["export", str(root), "--to", "hf", str(out)]) == 0
    text = (out / "README.md").read_text()
    assert f"end-of-document token 5 last. Vocabulary 512, tokenizer {tokenizer[0].digest}" in text
    assert "| web/en | 2 |" in text
