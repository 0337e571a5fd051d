"""`python -m pipeline identify`: lines in, labels out, in order; what cannot be read is named, no file is exit 2."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from manifests.asset import LID176, AssetError
from pipeline import identify as module
from pipeline import jsonlines
from pipeline.__main__ import main

LINES = [
    # line, (id, language, script) or what is said about it
    ({"id": 1, "text": "这是一个用来测试语言识别的句子，里面只有简体字。"}, (1, "zh", "hans")),
    ({"id": "b", "text": "這是一個用來測試語言識別的句子，裡面只有繁體字。"}, ("b", "zh", "hant")),
    ({"id": None, "text": "This is a plain English sentence about rivers."}, (None, "en", "latn")),
    ({"text": "Dies ist ein einfacher Satz über Flüsse.", "url": "x"}, (4, "de", "latn")),  # its number
    ("", None),  # an empty line is none
    ("{broken", "no JSON"),
    ('["a list"]', "no JSON object"),
    ({"id": 8}, "no string under the key text"),
    ({"id": 9, "text": 12}, "no string under the key text"),
    ({"id": 10, "text": ""}, (10, "und", "zyyy")),
    ('{"id": 11, "text": "\\ud800 half a pair, then an English sentence about rivers."}', (11, "en", "latn")),
    ({"id": 12, "text": "\x00\n两行文字，\n中间有换行。"}, (12, "zh", "hans")),
]


@pytest.fixture(autouse=True)
def model() -> None:
    """These tests need the real model."""
    try:
        LID176.path()
    except AssetError as error:
        pytest.skip(str(error))


def lines() -> bytes:
    made = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line, _ in LINES]
    return "\n".join(made).encode() + b'\n{"id": 13, "text": "\xff"}\n'


def rows(text: str) -> list[tuple]:
    found = [json.loads(line) for line in text.splitlines()]
    assert all(set(row) == {"id", "lang", "script", "score"} and 0 <= row["score"] <= 1 for row in found)
    return [(row["id"], row["lang"], row["script"]) for row in found]


EXPECTED = [said for _, said in LINES if isinstance(said, tuple)]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_lines(suffix: str, batch_bytes: int, tmp_path: Path, monkeypatch, capsys) -> None:
    half = len(lines()) // 2
    packers: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        ".gz": gzip.compress,
        ".zst": zstandard.ZstdCompressor().compress,
    }
    pack = packers[suffix]
    source = tmp_path / f"in.jsonl{suffix}"
    source.write_bytes(pack(lines()[:half]) + pack(lines()[half:]))  # two members, as tools that append write them
    monkeypatch.setattr(module, "BATCH_BYTES", batch_bytes)
    assert module.identify(str(source), str(tmp_path / "out.jsonl")) == 0
    assert rows((tmp_path / "out.jsonl").read_text()) == EXPECTED
    said = capsys.readouterr()
    assert said.out == ""
    complaints = said.err.splitlines()
    assert [line.split(":")[1] for line in complaints[:-1]] == ["6", "7", "8", "9", "13"]
    assert complaints[-1] == f"{source}: 5 of 13 lines could not be read"


def test_standard_output_and_score(tmp_path: Path, capsys) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "x", "text": "A short text about the water of the valley."}\n')
    assert main(["identify", str(tmp_path / "in.jsonl")]) == 0
    said = capsys.readouterr()
    row = json.loads(said.out)
    assert row["lang"] == "en" and row["score"] == round(row["score"], 3) > 0.5
    assert said.err == ""


def test_only_the_first_bad_lines_are_named(tmp_path: Path, capsys) -> None:
    (tmp_path / "in.jsonl").write_text("bad\n" * 1000)
    assert module.identify(str(tmp_path / "in.jsonl")) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == jsonlines.NAMED + 1
    assert said.err.endswith("1000 of 1000 lines could not be read\n")


def test_damaged_file_is_read_up_to_the_damage(tmp_path: Path, capsys) -> None:
    line = json.dumps({"id": 1, "text": "An English sentence about rivers. " * 100}) + "\n"
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(line.encode()) + gzip.compress(b"x" * 500)[:-20])
    assert module.identify(str(tmp_path / "in.jsonl.gz")) == 1
    said = capsys.readouterr()
    assert rows(said.out) == [(1, "en", "latn")]
    assert "damaged after line 1" in said.err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["none.jsonl"], "no such file"),
        (["in.jsonl", "-o", "in.jsonl"], "is the input"),
        (["in.jsonl", "-o", "no-folder/out.jsonl"], "cannot be written"),
    ],
)
def test_mistakes_of_the_user_are_exit_2(arguments: list[str], what: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text('{"id": 1, "text": "text"}\n')
    assert main(["identify", *arguments]) == 2
    assert what in capsys.readouterr().err
    assert Path("in.jsonl").read_text() == '{"id": 1, "text": "text"}\n'


def test_missing_model_is_exit_2(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("stages.language.LID176", type(LID176)("wheel:none==1/none.bin", "0" * 64))
    (tmp_path / "in.jsonl").write_text('{"id": 1, "text": "text"}\n')
    assert main(["identify", str(tmp_path / "in.jsonl")]) == 2
    assert "python -m pipeline assets pull" in capsys.readouterr().err
