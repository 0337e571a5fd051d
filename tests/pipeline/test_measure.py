"""`python -m pipeline signals`: lines in, values out, in order; an unknown signal, or one that needs what is not there,
is exit 2."""

import gzip
import json
from pathlib import Path

import pytest

from pipeline import measure as module
from pipeline.__main__ import main
from stages.signals import REDPAJAMA

LINES = [
    # line, (id, characters, [start, end, words] of each line) or None where it cannot be read
    ({"id": "a", "text": "Two words\n\nthree。"}, ("a", 17, [[0, 10, 2], [10, 11, 0], [11, 17, 1]])),
    ({"id": 2, "text": "数据，很大\n好", "url": "http://a.cn/\ud800"}, (2, 7, [[0, 6, 1], [6, 7, 1]])),
    ({"id": 3}, None),
    ({"text": "", "url": 7}, (4, 0, [])),  # its number
]
EXPECTED = [wanted for _, wanted in LINES if wanted]


def write(folder: Path, *records: dict) -> str:
    path = folder / "in.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))
    return str(path)


def rows(text: str) -> list[dict]:
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]  # NaN is no JSON


@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_lines(batch_bytes: int, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", batch_bytes)
    source, out = write(tmp_path, *(record for record, _ in LINES)), tmp_path / "out.jsonl"
    assert main(["signals", source, "--out", str(out)]) == 0
    found = rows(out.read_text())
    assert [
        (row["id"], row["signals"]["ccnet_length"], row["signals"]["rps_lines_num_words"]) for row in found
    ] == EXPECTED
    assert all(tuple(row["signals"]) == REDPAJAMA for row in found)
    assert found[-1]["signals"]["rps_doc_mean_word_length"] is None
    said = capsys.readouterr()
    assert said.out == ""
    assert "in.jsonl.gz:3: no string under the key text" in said.err and "1 of 4 lines" in said.err


def test_default_is_all_of_redpajama_that_needs_no_list() -> None:
    assert len(REDPAJAMA) == 29


def test_chosen_signals(tmp_path: Path, capsys) -> None:
    source = write(tmp_path, {"id": 1, "text": "数据ab"})
    assert main(["signals", source, "--signals", "han_ratio", "ccnet_length", "han_ratio"]) == 0
    assert rows(capsys.readouterr().out) == [{"id": 1, "signals": {"han_ratio": 0.5, "ccnet_length": 4.0}}]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (
            ["--signals", "rps_doc_word_cuont"],
            "unknown signal 'rps_doc_word_cuont'; did you mean 'rps_doc_word_count'?",
        ),
        (["--signals", "rps_lines_num_word"], "did you mean 'rps_lines_num_words'?"),
        (["--signals", "lang_score"], "the signal lang_score needs 'lang_score', which only a run has"),
        (["--out", "in.jsonl.gz"], "is the input"),
    ],
)
def test_user_errors(arguments: list[str], what: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"id": 1, "text": "a"})
    assert main(["signals", "in.jsonl.gz", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and what in said.err and said.err.count("\n") == 1


def test_missing_file(tmp_path: Path, capsys) -> None:
    assert main(["signals", str(tmp_path / "none.jsonl")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["signals", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith(f"error: {tmp_path} is a folder; give one file of JSON lines\n")


def test_missing_list(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("manifests.asset.CHECKOUT", tmp_path)
    monkeypatch.setenv("GLASSPILE_ASSETS", str(tmp_path))
    source = write(tmp_path, {"id": 1, "text": "a"})
    assert main(["signals", source, "--signals", "rps_doc_ldnoobw_words"]) == 2
    assert "assets pull" in capsys.readouterr().err
