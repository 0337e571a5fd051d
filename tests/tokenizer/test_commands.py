import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.schema import tokens_schema
from tests.tokenizer.test_train import FOX, SPRING
from tokenizer.__main__ import main
from tokenizer.encode import Tokenizer
from tokenizer.report import measure, table
from tokenizer.train import train

TEXTS = [("en", FOX), ("zh", SPRING), ("en", "龘 fox")]


def corpus(folder: Path) -> Path:
    """A folder with a file of documents, and a file of dropped ones that no command may read."""
    rows = [
        {"doc_id": bytes([i]) * 16, "source": "web", "lang": lang, "text": text, "priority": 0}
        for i, (lang, text) in enumerate(TEXTS)
    ]
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "docs.parquet")
    dropped = [{k: v for k, v in row.items() if k != "priority"} for row in rows] * 2
    pq.write_table(pa.Table.from_pylist(dropped), folder / "dropped.parquet")
    return folder


def shard(root: Path, model: bytes) -> Path:
    """A token shard in a corpus that holds its tokenizer."""
    tokenizer = Tokenizer(model)
    (root / "vocab-0").mkdir(parents=True)
    (root / "tokens-0").mkdir()
    (root / "vocab-0" / f"key.{tokenizer.digest}.model").write_bytes(model)
    ids, offsets = tokenizer.encode_documents(pa.array([text for _, text in TEXTS]))
    rows = [
        {"tokens": ids[a:b].tolist(), "doc_id": bytes([i]) * 16, "source": "web", "lang": TEXTS[i][0]}
        for i, (a, b) in enumerate(zip(offsets, offsets[1:], strict=False))
    ]
    made = pa.Table.from_pylist(rows, schema=tokens_schema(tokenizer.size))
    path = root / "tokens-0" / "shard.parquet"
    pq.write_table(made.replace_schema_metadata({"tokenizer": tokenizer.digest}), path, row_group_size=2)
    return path


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_train_then_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, model = corpus(tmp_path / "corpus"), tmp_path / "small.model"
    assert main(["train", str(folder), "--out", str(model), "--size", "512"]) == 0
    (summary,) = lines(capsys)
    tokenizer = Tokenizer(model.read_bytes())
    assert (summary["digest"], summary["pieces"]) == (tokenizer.digest, tokenizer.size)
    assert (summary["sample/en/docs"], summary["sample/zh/docs"]) == (2, 1)
    assert main(["report", str(folder), "--model", str(model), "--json"]) == 0
    english, chinese = json.loads(capsys.readouterr().out)
    assert (english["tokenizer"], english["lang"], english["docs"]) == ("small", "en", 2)
    assert chinese["bytes"] == len(SPRING.encode())
    assert chinese["chars_per_token"] == round(len(SPRING) / len(tokenizer.encode(SPRING.encode())), 3)


def test_the_report_counts_byte_pieces() -> None:
    tokenizer = Tokenizer(train([FOX.encode()], 512).model)
    batch = pa.RecordBatch.from_pylist([{"source": "web", "lang": "en", "text": "a龘"}])
    (line,) = measure({"m": tokenizer}, [batch])
    assert (line.docs, line.bytes, line.chars, line.tokens, line.byte_tokens, line.failed) == (1, 4, 2, 4, 3, 0)
    head, row = table([line]).splitlines()
    assert head.split()[-3:] == ["byte", "pieces", "failed"]
    assert row.split() == ["m", "web", "en", "1", "0.00", "4", "1.000", "0.500", "75.00%", "0"]


def test_cat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = train([FOX.encode(), SPRING.encode()], 512).model
    path = shard(tmp_path / "root", model)
    assert main(["cat", str(path), "--decode"]) == 0
    assert [row["text"] for row in lines(capsys)] == [text for _, text in TEXTS]
    assert main(["cat", str(path), "--limit", "1"]) == 0
    (row,) = lines(capsys)
    assert (row["doc_id"], row["lang"]) == ("00" * 16, "en")
    assert row["tokens"] == [*Tokenizer(model).encode(FOX.encode()).tolist(), Tokenizer(model).eod]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["cat", "shard", "--decode", "--model", "other"], "was written with the tokenizer"),
        (["cat", "moved", "--decode"], "name it with --model"),
        (["cat", "corpus/docs.parquet"], "is not a token shard"),
        (["report", "root", "--model", "other"], "no Parquet file of documents"),
        (["train", "corpus", "--out", "new.model", "--size", "9"], "no room"),
        (["cat", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], error: str
) -> None:
    corpus(tmp_path / "corpus")
    path = shard(tmp_path / "root", train([FOX.encode()], 512).model)
    (tmp_path / "shard").hardlink_to(path)
    (tmp_path / "moved").hardlink_to(path)
    (tmp_path / "other").write_bytes(train([SPRING.encode()], 512).model)
    arguments = [str(tmp_path / a) if (tmp_path / a).exists() or a == "nowhere" else a for a in command]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert error in captured.err
    assert captured.err.count("\n") == 1


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    path = shard(tmp_path / "root", train([FOX.encode()], 512).model)
    command = f"set -o pipefail; {sys.executable} -m tokenizer cat {path} --decode | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
