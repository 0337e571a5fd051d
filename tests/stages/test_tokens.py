import json
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.shards import PARTITIONS
from manifests.storage import Storage, open_storage
from manifests.store import Shard
from manifests.why import place_key
from stages.base import Upstream, UserError
from stages.tokens import Tokens
from stages.vocab import Vocab
from tests.stages.test_vocab import EN, ZH, docs, plan_of, run, vocabulary
from tokenizer.encode import Tokenizer

DOCUMENTS = [("en", EN), ("zh", ZH), ("en", ""), ("zh", "▁\0" + ZH), ("fr", "Portez ce vieux whisky"), ("en", EN * 3)]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path))


def encoded(storage: Storage, shard: Shard, model: Shard) -> list[Shard]:
    """The rows of the task that encodes a shard."""
    stage = Tokens("tokens")
    plan = plan_of(storage, stage, [shard], Upstream("vocab", model.stage_id, (model,)))
    (task,) = stage.tasks(plan)
    return run(storage, stage, plan, task)


def table(storage: Storage, row: Shard) -> pa.Table:
    with storage.open(row.path or "") as file:
        return pq.read_table(file)


def test_a_file_for_each_language_with_a_row_for_each_document(storage: Storage) -> None:
    shard = docs(storage, "k1", DOCUMENTS)
    model = vocabulary(storage, Vocab("vocab", size=512), [shard])
    tokenizer = Tokenizer(storage.get(model.path or ""))
    rows = {row.lang or "": row for row in encoded(storage, shard, model) if row.kind == "tokens"}
    assert sorted(rows) == ["en", "fr", "zh"]
    for lang, row in rows.items():
        texts = [text for language, text in DOCUMENTS if language == lang]
        found = table(storage, row).to_pylist()
        assert [tokenizer.decode(document["tokens"]) for document in found] == texts
        assert all(document["tokens"].index(tokenizer.eod) == len(document["tokens"]) - 1 for document in found)
        assert {(document["source"], document["lang"]) for document in found} == {("web", lang)}
        assert [document["offset"] for document in found] == [i for i, d in enumerate(DOCUMENTS) if d[0] == lang]
        assert (row.output, row.source, row.rows) == ("tokens", "web", len(texts))
        assert row.tokens == sum(len(document["tokens"]) for document in found)
    schema = table(storage, rows["en"]).schema
    assert schema.field("tokens").type == pa.list_(pa.uint16())
    assert schema.names == ["tokens", "doc_id", "source", "lang", "source_id", "url", "archive", "offset"]


def test_the_books_balance_in_documents_and_bytes(storage: Storage) -> None:
    shard = docs(storage, "k1", DOCUMENTS)
    counts: dict[str, int] = {}
    for row in encoded(storage, shard, vocabulary(storage, Vocab("vocab", size=512), [shard])):
        counts |= row.count()
    for kind in ("in", "kept"):
        assert counts[f"{kind}/web/en/docs"] == 3
        assert counts[f"{kind}/web/en/bytes"] == 4 * len(EN)
        assert counts[f"{kind}/web/zh/bytes"] == 4 + 2 * len(ZH.encode())
    assert counts["side/places/in"] == counts["side/places/out/written"] == 6 + 3  # every other one has a URL


def test_the_manifest_tells_what_the_ids_mean(storage: Storage) -> None:
    shard = docs(storage, "k1", DOCUMENTS)
    model = vocabulary(storage, Vocab("vocab", size=512), [shard])
    counts = encoded(storage, shard, model)[0].count()
    assert counts[f"tokenizer/{model.digest}/vocabulary={model.rows}/eod=5/uint16"] == len(DOCUMENTS)
    assert "tokens/forced_cuts" not in counts and "tokens/not_exact" not in counts


def test_row_groups_end_at_256k_tokens_and_their_counts_are_in_the_footer(storage: Storage) -> None:
    text = "春眠不觉晓" * 8_000
    shard = docs(storage, "k1", [("zh", text)] * 12)
    model = vocabulary(storage, Vocab("vocab", size=512, sample_bytes=1), [docs(storage, "k2", [("en", EN)])])
    (row,) = [row for row in encoded(storage, shard, model) if row.kind == "tokens"]
    one = len(text.encode()) + 1  # every character is three byte pieces
    assert row.tokens == 12 * one
    assert [(group.rows, group.tokens) for group in row.row_groups] == [(3, 3 * one)] * 4
    with storage.open(row.path or "") as file:
        footer = {k.decode(): v.decode() for k, v in pq.read_metadata(file).metadata.items()}
    assert footer["tokenizer"] == model.digest
    assert (footer["vocabulary"], footer["eod"], footer["dtype"]) == (str(model.rows), "5", "uint16")
    assert json.loads(footer["row_groups"]) == [{"rows": 3, "tokens": 3 * one}] * 4


def test_places_lead_from_a_url_and_from_an_id_to_the_first_token(storage: Storage) -> None:
    shard = docs(storage, "k1", DOCUMENTS)
    rows = encoded(storage, shard, vocabulary(storage, Vocab("vocab", size=512), [shard]))
    (side,) = [row for row in rows if row.output == "places"]
    places = table(storage, side)
    assert len(side.row_groups) == PARTITIONS
    assert places["key"].to_pylist() == sorted(places["key"].to_pylist())
    expected = []
    for lang in ("en", "fr", "zh"):
        (tokens,) = [row for row in rows if row.lang == lang]
        documents = table(storage, tokens).to_pylist()
        first = accumulate((len(document["tokens"]) for document in documents), initial=0)
        for i, (document, position) in enumerate(zip(documents, first, strict=False)):
            row = {"doc_id": document["doc_id"], "shard": f"{tokens.task_key}/web/{lang}"}
            row |= {"row": i, "first_token": position}
            names = [document["doc_id"], *([document["url"]] if document["url"] else [])]
            expected += [{"key": place_key(name)} | row for name in names]
    assert len(expected) > len(DOCUMENTS) > len([row for row in expected if row["row"] == 0])
    assert sorted(places.to_pylist(), key=str) == sorted(expected, key=str)


def test_the_key_follows_the_documents_and_the_tokenizer(storage: Storage) -> None:
    stage = Tokens("tokens")
    one, two = docs(storage, "k1", DOCUMENTS), docs(storage, "k2", DOCUMENTS[:1])
    small = vocabulary(storage, Vocab("vocab", size=512), [one])
    other = vocabulary(storage, Vocab("vocab", size=512, refresh=1), [two])

    def keys(rows: list[Shard], model: Shard) -> list[str]:
        return [task.key for task in stage.tasks(plan_of(storage, stage, rows, Upstream("vocab", "1" * 16, (model,))))]

    assert len(set(keys([one, two], small))) == 2
    assert set(keys([one], small)) < set(keys([one, two], small))
    assert not set(keys([one, two], small)) & set(keys([one, two], other))


def test_no_tokenizer_or_no_documents_no_tasks_and_two_tokenizers_an_error(storage: Storage) -> None:
    stage = Tokens("tokens")
    shard, empty = docs(storage, "k1", DOCUMENTS), docs(storage, "k2", [])
    model = vocabulary(storage, Vocab("vocab", size=512), [shard])
    above = Upstream("vocab", model.stage_id, (model,))
    assert stage.tasks(plan_of(storage, stage, [shard])) == []
    assert stage.tasks(plan_of(storage, stage, [empty], above)) == []
    with pytest.raises(UserError, match="2 tokenizers"):
        stage.tasks(plan_of(storage, stage, [shard], above, above))


def test_the_batches_of_the_shard_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for limit in (1 << 23, 50):
        storage = open_storage(str(tmp_path / str(limit)))
        monkeypatch.setattr("manifests.shards.read_batches.__defaults__", (None, limit))
        shard = docs(storage, "k1", DOCUMENTS * 5)
        rows = encoded(storage, shard, vocabulary(storage, Vocab("vocab", size=512), [shard]))
        digests.append([(row.output, row.lang, row.digest) for row in rows])
    assert digests[0] == digests[1]


def test_first_tokens_address_the_stream_of_the_file(storage: Storage) -> None:
    shard = docs(storage, "k1", DOCUMENTS)
    rows = encoded(storage, shard, vocabulary(storage, Vocab("vocab", size=512), [shard]))
    (english,) = [row for row in rows if row.lang == "en"]
    (side,) = [row for row in rows if row.output == "places"]
    stream = table(storage, english)["tokens"].combine_chunks().flatten().to_numpy()
    for place in table(storage, side).to_pylist():
        if place["shard"].endswith("/en"):
            document = table(storage, english)["tokens"][place["row"]].as_py()
            start = place["first_token"]
            assert np.array_equal(stream[start : start + len(document)], document)
