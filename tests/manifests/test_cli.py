"""The commands as a user types them: what they print, what they return, and one sentence for each mistake."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifests.__main__ import main
from tests.manifests.faulty_s3 import FaultyS3
from tests.manifests.small_corpus import BY_NAME

Printed = pytest.CaptureFixture[str]


def test_funnel(small_corpus: Path, capsys: Printed) -> None:
    assert main(["funnel", str(small_corpus)]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert cells["extract"] == ["empty", "1", "0", "0", "0", "1", "0.00"]  # the table of reasons comes second
    assert cells["filter-zh"] == ["han_ratio", "1", "0", "1", "0", "0", "0.00"]
    assert "input files: 4, of which 1 not read (duplicate_input)" in lines
    assert lines[-1] == "tokens web/zh: 100 in 1 documents, 1 shards"


def test_short_funnel(small_corpus: Path, capsys: Printed) -> None:
    """en, zh and other stand side by side, "?" where the language was not known yet."""
    assert main(["funnel", "--short", str(small_corpus)]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert cells["extract"] == ["8", "0.00", "88.9%"] + ["?"] * 9
    assert cells["filter-zh"] == [
        "8",
        "0.00",
        "88.9%",
        "3",
        "0.00",
        "100.0%",
        "3",
        "0.00",
        "75.0%",
        "2",
        "0.00",
        "100.0%",
    ]
    header = next(line for line in lines if line.startswith("stage"))
    assert header.index("en docs") < header.index("zh docs") < header.index("other docs")


def test_why_a_rule(small_corpus: Path, capsys: Printed) -> None:
    assert main(["why", str(small_corpus), "http://cha.example/短"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"document {BY_NAME['short'].id.hex()}  http://cha.example/短",
        "  source web, 1.warc at 7",
        "  language zh",
        "  extract    kept",
        "  language   kept",
        "  filter-en  passed: it holds for en",
        "  filter-zh  dropped: han_ratio = 0.2, kept is [0.3, inf)",
        "    failed han_ratio in [0.3, inf)  (M)",
    ]


def test_why_a_duplicate(small_corpus: Path, capsys: Printed) -> None:
    assert main(["why", str(small_corpus), "http://copy.example/"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [
        "  apply      dropped: exact, score 1",
        f"    kept twin {BY_NAME['tea'].id.hex()}  http://tea.example/ (stays)",
        "      the texts are the same",
    ]


def test_why_all_that_share_a_url(small_corpus: Path, capsys: Printed) -> None:
    assert main(["why", str(small_corpus), "http://tea.example/"]) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    assert [block.split()[1] for block in blocks] == [BY_NAME["tea"].id.hex(), BY_NAME["tea2"].id.hex()]
    assert all("row 0, from token 0" in block or "row 1, from token 100" in block for block in blocks)


def test_why_never_seen(small_corpus: Path, capsys: Printed) -> None:
    assert main(["why", str(small_corpus), "http://tea.example"]) == 1
    assert capsys.readouterr().out == (
        "http://tea.example: no document or input of this run bears this URL or id; "
        "20 bytes of the archives hold no readable record\n"
    )


def test_dropped(small_corpus: Path, capsys: Printed) -> None:
    assert main(["dropped", str(small_corpus), "--lang", "zh", "-n", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 of 2 dropped documents"
    assert lines[2] == "filter-zh: han_ratio = 0.2, kept is [0.3, inf)  [zh]"
    assert lines[-1] == f"  | {'短a' * 20}"


def test_diff_of_equal_runs(small_corpus: Path, capsys: Printed) -> None:
    assert main(["diff", str(small_corpus), str(small_corpus)]) == 0
    assert "the content is the same" in capsys.readouterr().out.splitlines()


def test_verify(small_corpus: Path, tmp_path: Path, capsys: Printed) -> None:
    assert main(["verify", str(small_corpus)]) == 0
    sound = capsys.readouterr().out.splitlines()
    assert sound[-1].startswith("root ") and len(sound[-1]) == 5 + 32
    root = shutil.copytree(small_corpus, tmp_path / "corpus")
    next(root.glob("apply-*/*.parquet")).unlink()
    assert main(["verify", str(root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == sound[-2:] and lines[0].split()[0] in ("data", "manifest")


@pytest.mark.parametrize(
    "command, key, value",
    [
        (["funnel"], "recipe", "small"),
        (["why", "http://cha.example/茶"], "query", "http://cha.example/茶"),
        (["why", "never seen"], "documents", []),
        (["dropped", "--rule", "near"], "total", 1),
        (["verify"], "faults", []),
    ],
)
def test_json(small_corpus: Path, capsys: Printed, command: list[str], key: str, value: object) -> None:
    main([command[0], str(small_corpus), *command[1:], "--json"])
    assert json.loads(capsys.readouterr().out)[key] == value


def test_json_of_diff(small_corpus: Path, capsys: Printed) -> None:
    assert main(["diff", "--json", str(small_corpus), str(small_corpus)]) == 0
    assert json.loads(capsys.readouterr().out)["same"] is True


class TestMistakes:
    @pytest.mark.parametrize("command", ["funnel", "why", "dropped", "diff", "verify"])
    def test_a_root_that_does_not_exist(self, tmp_path: Path, capsys: Printed, command: str) -> None:
        extra = {"why": ["x"], "diff": [str(tmp_path)]}.get(command, [])
        assert main([command, str(tmp_path / "nowhere"), *extra]) == 2
        error = capsys.readouterr().err
        assert error == (
            f"manifests: {tmp_path}/nowhere: there is no such folder; give the root of a corpus, such as runs/sample\n"
        )
        assert not (tmp_path / "nowhere").exists()

    @pytest.mark.parametrize("command", ["funnel", "verify"])
    def test_no_complete_run(self, tmp_path: Path, capsys: Printed, command: str) -> None:
        assert main([command, str(tmp_path)]) == 2
        assert capsys.readouterr().err.startswith(f"manifests: {tmp_path}: no run was completed here; ")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "name, data, sentence",
        [
            ("LAYOUT", b"9", "this corpus has layout 9, this program reads layout 1"),
            ("run.parquet", b"torn", "run.parquet cannot be read"),
            ("apply.parquet", b"torn", "apply.parquet cannot be read"),
        ],
    )
    def test_a_root_that_is_not_ours_or_damaged(
        self, small_corpus: Path, tmp_path: Path, capsys: Printed, name: str, data: bytes, sentence: str
    ) -> None:
        root = shutil.copytree(small_corpus, tmp_path / "corpus")
        (root / "manifests" / name).write_bytes(data)
        assert main(["funnel", str(root)]) == 2
        assert sentence in capsys.readouterr().err

    def test_a_data_file_that_is_gone(self, small_corpus: Path, tmp_path: Path, capsys: Printed) -> None:
        root = shutil.copytree(small_corpus, tmp_path / "corpus")
        for path in root.glob("filter-zh-*/*.parquet"):
            if not path.name.endswith(("manifest.parquet", "merged.parquet")):
                path.unlink()
        assert main(["dropped", str(root)]) == 2
        assert "`verify` lists all that is damaged" in capsys.readouterr().err

    @pytest.mark.parametrize("arguments", [["dropped", "ROOT", "-n", "0"], ["why", "ROOT"], ["tunnel", "ROOT"], []])
    def test_wrong_arguments(self, small_corpus: Path, arguments: list[str]) -> None:
        with pytest.raises(SystemExit) as error:
            main([argument.replace("ROOT", str(small_corpus)) for argument in arguments])
        assert error.value.code == 2

    def test_a_misspelt_stage(self, small_corpus: Path, capsys: Printed) -> None:
        assert main(["dropped", str(small_corpus), "--stage", "aply"]) == 2
        assert "did you mean 'apply'?" in capsys.readouterr().err


def test_a_reader_that_has_enough(small_corpus: Path) -> None:
    """`| head -1` ends without a traceback."""
    command = f"{sys.executable} -m manifests funnel {small_corpus} | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split()[0], done.stderr) == ("recipe", "")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    with FaultyS3() as store:
        store.make_bucket("corpus")
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        yield store


def test_a_root_in_s3(small_corpus: Path, bucket: FaultyS3, capsys: Printed) -> None:
    """The same corpus, copied object by object, gives the same answers."""
    from manifests.storage import open_storage

    assert main(["verify", "s3://corpus/nothing-here"]) == 2
    assert "no run was completed here" in capsys.readouterr().err
    here, there = open_storage(str(small_corpus)), open_storage("s3://corpus/small")
    for entry in here.list(""):
        there.put(entry.path, here.get(entry.path))
    for command in (["funnel"], ["why", "http://mirror.example/"], ["verify"]):
        answers = []
        for root in (str(small_corpus), "s3://corpus/small"):
            assert main([command[0], root, *command[1:]]) == 0
            answers.append(capsys.readouterr().out)
        assert answers[0] == answers[1]
