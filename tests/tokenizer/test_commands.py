import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.runs import RunStage, write_run
from manifests.storage import open_storage
from manifests.store import Shard
from pipeline.recipe import parse_recipe
from stages.schema import tokens_schema
from stages.vocab import Vocab
from tests.manifests.faulty_s3 import FaultyS3
from tests.runs import run_recipe
from tests.tokenizer.test_train import FOX, SPRING
from tokenizer.__main__ import main
from tokenizer.corpus import Root
from tokenizer.encode import Tokenizer
from tokenizer.model import ModelProto
from tokenizer.plot import plot
from tokenizer.report import measure, table
from tokenizer.train import train

TEXTS = [("en", FOX), ("zh", SPRING), ("en", "龘 fox")]

RECIPE = """
[[source]]
name = "books"
kind = "jsonl"
inputs = ["{folder}/books.jsonl"]
trust_lang = true
[[source]]
name = "web"
kind = "jsonl"
inputs = ["{folder}/web.jsonl"]
trust_lang = true
[[stage]]
use = "read"
[[stage]]
use = "vocab"
size = 512
sample_bytes = 1
[[stage]]
use = "tokens"
after = ["read", "vocab"]
"""


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
    """A token shard in a corpus that holds its tokenizer, and whose run had no other stage."""
    tokenizer = Tokenizer(model)
    storage = open_storage(str(root))
    path = f"vocab-0/key.{tokenizer.digest}.model"
    storage.put(path, model)
    row = Shard("vocab", "0", "key", "key", "model", "tokenizer", tokenizer.digest, tokenizer.size, path)
    write_run(storage, [RunStage(0, "vocab", "vocab", "0", (), "r", "", "", "")], {"vocab": [row]})
    (root / "tokens-0").mkdir()
    ids, offsets = tokenizer.encode_documents(pa.array([text for _, text in TEXTS]))
    rows = [
        {"tokens": ids[a:b].tolist(), "doc_id": bytes([i]) * 16, "source": "web", "lang": TEXTS[i][0]}
        for i, (a, b) in enumerate(zip(offsets, offsets[1:], strict=False))
    ]
    made = pa.Table.from_pylist(rows, schema=tokens_schema(tokenizer.size))
    file = root / "tokens-0" / "shard.parquet"
    pq.write_table(made.replace_schema_metadata({"tokenizer": tokenizer.digest}), file, row_group_size=2)
    return file


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
    english, again, chinese, _ = json.loads(capsys.readouterr().out)
    assert (english["tokenizer"], english["lang"], english["source"], english["docs"]) == ("small", "en", "*", 2)
    assert again == english | {"source": "web"}
    assert main(["report", str(folder), "--model", str(model), f"another={model}", "--json"]) == 0
    assert [line["tokenizer"] for line in json.loads(capsys.readouterr().out)][:2] == ["small", "another"]
    assert chinese["bytes"] == len(SPRING.encode())
    assert chinese["words"] == sum(map(str.isalpha, SPRING))  # every ideograph is a word
    assert chinese["chars_per_token"] == round(len(SPRING) / len(tokenizer.encode(SPRING.encode())), 3)


def test_documents_may_be_written_by_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text as large strings and in dictionaries, ids as text; a null is told, as no document of ours has one."""
    model = tmp_path / "small.model"
    model.write_bytes(train([FOX.encode(), SPRING.encode()], 512).model)
    rows = pq.read_table(corpus(tmp_path / "corpus") / "docs.parquet").to_pylist()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["doc_id"] = [doc_id.hex() for doc_id in columns["doc_id"]]
    others = (pa.array(columns["text"], pa.large_string()), pa.array(columns["text"]).dictionary_encode())
    printed = []
    for made in (pa.Table.from_pylist(rows), *(pa.table(columns | {"text": text}) for text in others)):
        pq.write_table(made, tmp_path / "d.parquet")
        assert main(["report", str(tmp_path / "d.parquet"), "--model", str(model)]) == 0
        printed.append(capsys.readouterr().out)
    assert len(set(printed)) == 1 and "zh" in printed[0]
    pq.write_table(pa.Table.from_pylist([*rows, rows[0] | {"text": None}]), tmp_path / "d.parquet")
    assert main(["report", str(tmp_path / "d.parquet"), "--model", str(model)]) == 2
    assert "must not hold nulls, this one has 1" in capsys.readouterr().err


def test_the_report_counts_byte_pieces() -> None:
    tokenizer = Tokenizer(train([FOX.encode()], 512).model)
    batch = pa.RecordBatch.from_pylist([{"source": "web", "lang": "en", "text": "a龘"}])
    _, line = measure({"m": tokenizer}, [batch])
    assert (line.docs, line.bytes, line.chars, line.words, line.tokens) == (1, 4, 2, 2, 4)
    assert (line.byte_tokens, line.changed) == (3, 0)
    head, row = table([line]).splitlines()
    assert head.split()[-3:] == ["byte", "pieces", "changed"]
    assert row.split() == ["en", "web", "m", "1", "0.00", "4", "1.000", "0.500", "2.000", "75.00%", "0"]


def test_the_report_counts_documents_that_do_not_come_back() -> None:
    model = ModelProto.FromString(train([FOX.encode()], 512).model)
    model.normalizer_spec.remove_extra_whitespaces = True
    batch = pa.RecordBatch.from_pylist([{"source": "web", "lang": "en", "text": text} for text in ("a  b", "a b")])
    assert [line.changed for line in measure({"m": Tokenizer(model.SerializeToString())}, [batch])] == [1, 1]


def test_a_plot_is_the_same_every_time(tmp_path: Path) -> None:
    tokenizer = Tokenizer(train([FOX.encode()], 512).model)
    batch = pa.RecordBatch.from_pylist([{"source": "web", "lang": lang, "text": text} for lang, text in TEXTS])
    lines = measure({"one": tokenizer, "two": tokenizer}, [batch])
    for ending in ("png", "svg"):
        pictures = [tmp_path / f"{i}.{ending}" for i in range(2)]
        for picture in pictures:
            plot(lines, str(picture))
        assert pictures[0].read_bytes() == pictures[1].read_bytes()
    with pytest.raises(ValueError, match=r"\.png or \.svg"):
        plot(lines, "x.pdf")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run over a few documents of two sources, most of which the tokenizer did not see."""
    folder = tmp_path_factory.mktemp("corpus")
    for source, langs in (("books", ("zh",)), ("web", ("en", "zh"))):
        rows = [
            {"id": f"{source}-{lang}-{i}", "text": f"{text} {i}\n    x = {i}\n", "lang": lang}
            for i in range(12)
            for lang, text in (("en", FOX), ("zh", SPRING))
            if lang in langs
        ]
        (folder / f"{source}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = parse_recipe(RECIPE.format(folder=folder), "small")
    for refresh in (0, 1):  # the folders of the first run stay, and are not of the second
        stages = tuple(replace(s, refresh=refresh) if isinstance(s, Vocab) else s for s in recipe.stages)
        again = replace(recipe, stages=stages)
        run_recipe(again, folder / "root")
    return folder / "root"


def test_a_root_is_read_through_its_manifests(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "stray-0").mkdir()
    corpus(root / "stray-0" / "more")
    assert main(["report", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    keys = [(line["lang"], line["source"], line["docs"]) for line in found]
    assert keys == [("en", "*", 12), ("en", "web", 12), ("zh", "*", 24), ("zh", "books", 12), ("zh", "web", 12)]
    assert all(line["changed"] == 0 for line in found)
    # The sample is one document of each language.
    assert main(["report", str(root), "--json", "--unseen"]) == 0
    assert {line["lang"]: line["docs"] for line in json.loads(capsys.readouterr().out)[:3]} == {"en": 11, "zh": 23}
    assert main(["report", str(root), "--json", "--share", "0.5"]) == 0
    part = {line["lang"]: line["docs"] for line in json.loads(capsys.readouterr().out) if line["source"] == "*"}
    assert 0 < part["en"] < 12 and 0 < part["zh"] < 24


def test_the_trained_tokenizer_is_that_of_the_pipeline(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Root.at(str(root))
    assert found
    (shard,) = found.models()
    assert main(["train", str(root), "--out", str(root / "again"), "--size", "512", "--sample-bytes", "1"]) == 0
    (summary,) = lines(capsys)
    assert summary["digest"] == shard.digest
    assert {k: v for k, v in summary.items() if k.startswith("sample/")}.items() >= shard.count().items()


def test_a_root_in_a_bucket_is_read_as_one_in_a_folder_is(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultyS3() as store:
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        client = store.behind()
        client.create_bucket(Bucket="corpora")
        for path in (path for path in root.rglob("*") if path.is_file()):
            client.put_object(Bucket="corpora", Key=f"zh-en/{path.relative_to(root)}", Body=path.read_bytes())
        found = Root.at(str(root))
        assert found
        shard = found.streams()["web", "zh"][0].path
        model = found.models()[0].path
        printed = []
        for i, place in enumerate([str(root), "s3://corpora/zh-en"]):
            commands = [
                ["report", place, "--unseen", "--model", f"{place}/{model}"],
                ["train", place, "--out", str(tmp_path / f"{i}.model"), "--size", "512"],
                ["cat", f"{place}/{shard}", "--decode"],
                ["export", place, "--to", "megatron", str(tmp_path / f"m{i}")],
                ["export", place, "--to", "hf", str(tmp_path / f"h{i}")],
            ]
            assert [main(command) for command in commands] == [0] * 5
            printed.append(capsys.readouterr().out)
        assert printed[0] == printed[1]
        for kind in ("m", "h"):
            files = [p.relative_to(tmp_path / f"{kind}0") for p in (tmp_path / f"{kind}0").rglob("*") if p.is_file()]
            assert len(files) > 4
            for file in files:
                assert (tmp_path / f"{kind}0" / file).read_bytes() == (tmp_path / f"{kind}1" / file).read_bytes()
        assert main(["train", "s3://corpora/nothing", "--out", str(tmp_path / "none.model")]) == 2
        assert "no input matches" in capsys.readouterr().err


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
        (["report", "root", "--model", "other"], "its recipe has no stage `vocab` or `tokens`"),
        (["report", "root/tokens-0", "--model", "other"], "no Parquet file of documents"),
        (["report", "empty", "--model", "other"], "no input matches"),
        (["report", "corpus"], "no tokenizer"),
        (["report", "corpus", "--model", "corpus/docs.parquet"], "docs.parquet: not a SentencePiece model"),
        (["report", "corpus", "--model", "other", "--unseen"], "--unseen is for the root"),
        (["report", "corpus", "--model", "other", "--share", "0"], "no document is left"),
        (["report", "half", "--model", "other"], "no run was completed here"),
        (["report", "other", "--model", "other"], "is not a Parquet file"),
        (["export", "corpus", "--to", "hf", "new"], "is not the root of a corpus"),
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
    open_storage(str(tmp_path / "half")).put("manifests/LAYOUT", b"1")
    (tmp_path / "empty").mkdir()
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
