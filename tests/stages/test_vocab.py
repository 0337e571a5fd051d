import hashlib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from manifests.asset import Asset, AssetError
from manifests.storage import Storage, open_storage
from manifests.store import Shard, encode
from stages.base import Plan, Stage, Task, Upstream, UserError, folder
from stages.output import Output, Place
from stages.passes import Job, JobWorker, Step
from stages.schema import DOC
from stages.vocab import Vocab
from tokenizer.encode import Tokenizer
from tokenizer.model import read_model
from tokenizer.train import train

EN = "The quick brown fox jumps over the lazy dog.\n"
ZH = "春眠不觉晓，处处闻啼鸟。\n"
ABOVE = "0" * 16


def docs(storage: Storage, key: str, rows: list[tuple[str, str]], source: str = "web", snapshot: str = "1") -> Shard:
    """A shard of documents as `apply` would leave it; rows are (lang, text), doc_ids count from the key's number."""
    place = Place("apply", ABOVE, folder("apply", ABOVE), key, key, source, snapshot, (), "{}")
    out = Output(storage, place)
    writer = out.file("docs", "docs", DOC)
    fixed = {"source": source, "snapshot": snapshot, "priority": 0, "archive": "a.warc.gz"}
    documents = [
        fixed
        | {"doc_id": hashlib.md5(f"{key}/{i}".encode()).digest(), "lang": lang, "text": text, "offset": i}
        | {"url": f"https://example.org/{key}/{i}" if i % 2 == 0 else None}
        for i, (lang, text) in enumerate(rows)
    ]
    writer.write(pa.RecordBatch.from_pylist(documents, schema=DOC))
    (row,) = out.finish(0.0, 0)
    return row


def plan_of(storage: Storage, stage: Stage, rows: list[Shard], *more: Upstream) -> Plan:
    """What a stage after `apply` sees, and the merged manifest that its tasks read."""
    storage.put(f"{folder('apply', ABOVE)}/merged.parquet", encode(rows))
    upstreams = (Upstream("apply", ABOVE, tuple(rows)), *more)
    return Plan(stage.stage_id([u.stage_id for u in upstreams]), upstreams, ("1", "2"))


def run(storage: Storage, stage: Stage, plan: Plan, task: Task) -> list[Shard]:
    """Run a task as the engine does, books checked and committed."""
    return JobWorker(Job((Step(stage, plan.stage_id),), storage.uri)).run(task)


def vocabulary(storage: Storage, stage: Vocab, rows: list[Shard]) -> Shard:
    plan = plan_of(storage, stage, rows)
    (task,) = stage.tasks(plan)
    (row,) = run(storage, stage, plan, task)
    return row


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path))


def test_a_model_is_trained_on_all_documents(storage: Storage) -> None:
    rows = [docs(storage, "a1", [("en", EN), ("zh", ZH)]), docs(storage, "a2", [("en", EN * 2)], snapshot="2")]
    row = vocabulary(storage, Vocab("vocab", size=512), rows)
    assert (row.kind, row.output, row.source, row.path) == ("model", "tokenizer", None, row.path)
    assert row.path == f"vocab-{row.stage_id}/{row.task_key}.{row.digest}.model"
    model = storage.get(row.path)
    assert (row.sha256, row.bytes) == (hashlib.sha256(model).hexdigest(), len(model))
    assert (row.digest, row.rows) == (Tokenizer(model).digest, Tokenizer(model).size)
    counts = row.count()
    assert {k: v for k, v in counts.items() if k.endswith("docs")} == {"sample/en/docs": 2, "sample/zh/docs": 1}
    assert counts["sample/en/bytes"] == 3 * len(EN)


def test_the_model_does_not_depend_on_how_documents_lie_in_shards(tmp_path: Path) -> None:
    rows = [(lang, f"{text} {i}") for i in range(40) for lang, text in (("en", EN), ("zh", ZH))]
    digests = set()
    for order in (1, -1):
        storage = open_storage(str(tmp_path / str(order)))
        shards = [docs(storage, f"b{i}", rows[i::4]) for i in range(4)]
        # The same documents, listed the other way round by other keys of their tasks.
        shards = [replace(row, task_key=f"{order * i + 9}") for i, row in enumerate(shards)]
        digests.add(vocabulary(storage, Vocab("vocab", size=512, sample_bytes=900), shards).digest)
    assert len(digests) == 1


def test_the_key_is_frozen_until_it_is_refreshed(storage: Storage) -> None:
    stage = Vocab("vocab", size=512)
    one, two = docs(storage, "a1", [("en", EN)]), docs(storage, "a2", [("zh", ZH)])
    first, later = plan_of(storage, stage, [one]), plan_of(storage, stage, [one, two])
    assert stage.tasks(first)[0].key == stage.tasks(later)[0].key
    assert stage.stage_id(["another"]) == first.stage_id
    refreshed = replace(stage, refresh=1)
    assert refreshed.stage_id([]) != stage.stage_id([])


@pytest.mark.parametrize("rows", [[], [[]], [[], []]])
def test_without_documents_there_is_no_task(storage: Storage, rows: list[list[tuple[str, str]]]) -> None:
    stage = Vocab("vocab")
    shards = [docs(storage, f"c{i}", texts) for i, texts in enumerate(rows)]
    assert stage.tasks(plan_of(storage, stage, shards)) == []


@pytest.mark.parametrize("texts", [[""], ["\0"], ["a"], ["好"]])
def test_very_small_corpora_have_a_tokenizer(storage: Storage, texts: list[str]) -> None:
    row = vocabulary(storage, Vocab("vocab"), [docs(storage, "d", [("en", text) for text in texts])])
    tokenizer = Tokenizer(storage.get(row.path or ""))
    for text in [EN, ZH, *texts]:
        assert tokenizer.decode(tokenizer.encode(text.encode())) == text


def test_a_model_that_the_recipe_names_is_copied(storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "given.model"
    file.write_bytes(train([EN.encode()], 512).model)
    asset = Asset(str(file), hashlib.sha256(file.read_bytes()).hexdigest())
    row = vocabulary(storage, Vocab("vocab", tokenizer=asset), [docs(storage, "a1", [("zh", ZH)])])
    assert storage.get(row.path or "") == file.read_bytes()
    assert row.digest == read_model(file.read_bytes()).digest
    assert not any(name.startswith("sample/") for name in row.count())


def test_a_named_file_that_is_another_one_or_no_model_is_refused(storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "given.model"
    file.write_bytes(b"no model")
    shards = [docs(storage, "a1", [("en", EN)])]
    with pytest.raises(AssetError, match="sha256"):
        vocabulary(storage, Vocab("vocab", tokenizer=Asset(str(file), "0" * 64)), shards)
    asset = Asset(str(file), hashlib.sha256(b"no model").hexdigest())
    with pytest.raises(UserError, match=r"given\.model: not a SentencePiece model"):
        vocabulary(storage, Vocab("vocab", tokenizer=asset), shards)


def test_weights_choose_what_is_trained_on(storage: Storage) -> None:
    rows = [docs(storage, "e1", [("en", EN), ("zh", ZH)]), docs(storage, "e2", [("zh", ZH)], source="books")]
    counts = vocabulary(storage, Vocab("vocab", size=512, weights=(("books/zh", 0.5), ("en", 1.0))), rows).count()
    assert {k: v for k, v in counts.items() if k.endswith("docs")} == {"sample/en/docs": 1, "sample/books/zh/docs": 1}


@pytest.mark.parametrize("fields", [{"size": 100}, {"sample_bytes": 0}, {"weights": (("en", -1.0),)}])
def test_senseless_fields_are_refused(fields: dict) -> None:
    with pytest.raises(ValueError):
        Vocab("vocab", **fields)
