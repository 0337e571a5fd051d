import gzip
import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.shards import ShardWriter, read_partitions, write_partitions
from manifests.storage import Storage
from manifests.why import place_key
from stages.schema import PLACES
from tests.training.corpora import documents, store
from training.find import find_documents
from training.phases import Run, open_run
from training.plan import load_plan
from training.where import main, seen_at, sightings

URL = "http://书.example/"
PLAN = """
seed = 5
window = 4096
corpus = "{root}"
[[phase]]
name = "fundamental"
steps = 70
sequence = 64
batch = 8
mixture = {{ "web/en" = 2, "web/zh" = 1 }}
[[phase]]
name = "decay"
steps = 30
sequence = 128
batch = 6
mixture = {{ "web/zh" = 1, "web/en" = 1 }}
epochs = 2
fim = {{ rate = 1.0, prefix = 3, middle = 4, suffix = 6, streams = ["web/zh"] }}
"""


@pytest.fixture(scope="module")
def plan(sample: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("plan") / "two.toml"
    file.write_text(PLAN.format(root=sample[1]), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def run(plan: str) -> Run:
    return open_run(load_plan(plan))


def record(crawl: Path, archive: str, offset: int) -> str:
    """The WARC record that begins at an offset of an archive."""
    with (crawl / archive).open("rb") as file:
        file.seek(offset)
        return gzip.GzipFile(fileobj=file).read(2_000).decode("utf-8", "replace")


def test_a_step_leads_to_bytes_of_archives_and_back(run: Run, sample: tuple[Path, Path]) -> None:
    """The circle: step -> document -> WARC record, and document -> the same step, rank, position and span."""
    languages = Counter[str]()
    for step in range(0, 100, 9):
        for seen in seen_at(run, step, world=2, rank=1):
            for document in seen.documents:
                place = document.place
                languages[place.stream] += 1
                assert place.archive and place.offset is not None and place.url
                assert f"WARC-Target-URI: {place.url}" in record(sample[0], place.archive, place.offset)
                assert place in find_documents(run.corpora, place.url)
                mine = [
                    s for s in sightings(run, place, world=2) if (s.step, s.position) == (step, seen.drawn.position)
                ]
                assert [(s.rank, s.at, s.start, s.end) for s in mine] == [
                    (1, document.at, document.start, document.end)
                ]
    assert languages["web/en"] >= 10 and languages["web/zh"] >= 10


def test_a_document_leads_to_every_step_that_sees_it_and_to_no_other(run: Run) -> None:
    """Against a look at each step of the plan."""
    expected: dict[str, list[tuple[int, int, int, int]]] = {}
    for step in range(run.order.steps):
        for seen in seen_at(run, step):
            for d in seen.documents:
                expected.setdefault(d.place.doc_id, []).append((step, seen.drawn.position, d.start, d.end))
    for doc_id in sorted(expected)[::6]:
        (place,) = find_documents(run.corpora, doc_id)
        assert place.doc_id == doc_id
        found = [(s.step, s.position, s.start, s.end) for s in sightings(run, place)]
        assert sorted(found) == sorted(expected[doc_id])


def test_a_token_between_two_sequences_is_seen_as_label_and_as_input(run: Run) -> None:
    (place,) = find_documents(run.corpora, next(seen_at(run, 0)).documents[0].place.doc_id)
    # The document is seen in step 0, so the windows that it lies in are drawn in this phase.
    borders = range(place.first // 64 + 1, (place.first + place.tokens) // 64)
    between = [replace(place, first=64 * q, tokens=1) for q in borders]
    found = [s for token in between for s in sightings(run, token) if s.phase == "fundamental"]
    assert Counter(s.at for s in found).keys() == {0, 64}


def test_what_fim_pushes_out_is_shown(run: Run) -> None:
    for seen in seen_at(run, 75):
        turned = sum(d.end - d.start >= 4 for d in seen.documents)
        if seen.drawn.stream == "web/zh":
            # Each piece grows by three marks, and none of this step is too short.
            assert sum(seen.pushed_out) == 3 * turned
        else:
            assert not any(seen.pushed_out)


def test_a_stranger_can_verify_the_order(
    plan: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the published file, hashlib, and what docs/order.md says."""
    digest = ""
    for phase in ("fundamental", "decay"):
        file = str(tmp_path / f"{phase}.parquet")
        assert main(["--plan", plan, "--order", file, "--phase", phase]) == 0
        facts = {key.decode(): value.decode() for key, value in (pq.read_metadata(file).metadata or {}).items()}
        assert facts["before"] == digest
        steps: dict[int, str] = {}
        for row in pq.read_table(file).to_pylist():
            line = f"{row['step']}\t{row['position']}\t{row['stream']}\t{row['first_token']}\n"
            steps[row["step"]] = steps.get(row["step"], f"{facts['data']}\t{facts['tokens']}\n") + line
        for step, text in steps.items():
            step_digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
            assert step_digest == run.order.digest(step)
            digest = hashlib.blake2b((digest + step_digest).encode(), digest_size=16).hexdigest()
        assert facts["digest"] == digest
        assert capsys.readouterr().out == f"{file}: rolling digest {digest}\n"
    assert digest == run.order.rolling(99)


def test_a_stranger_can_compute_the_hash_of_the_data_set(run: Run, sample: tuple[Path, Path]) -> None:
    total = hashlib.blake2b(digest_size=16)
    rows = [row for row in pq.read_table(sample[1] / "manifests/tokens.parquet").to_pylist() if row["kind"] == "tokens"]
    for row in sorted(rows, key=lambda row: (row["source"], row["lang"], row["task_key"])):
        counts = [group["tokens"] for group in row["row_groups"]]
        line = f"{row['source']}\t{row['lang']}\t{row['task_key']}\t{row['digest']}\t{len(counts)}\n"
        total.update(line.encode() + b"".join(count.to_bytes(8, "little") for count in counts))
    facts = pq.read_metadata(sample[1] / rows[0]["path"]).metadata
    total.update(b"\t".join(facts[key] for key in (b"tokenizer", b"vocabulary", b"eod")) + b"\n")
    assert {corpus.hash for corpus in run.corpora} == {total.hexdigest()}


def test_the_command_answers_in_lines_and_in_json(plan: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["step", "70", "--plan", plan, "--world", "2", "--rank", "1"]) == 0
    shown = capsys.readouterr().out
    assert f"step 70 of phase decay, rank 1 of 2; digest {run.order.digest(70)}" in shown
    assert main(["step", "70", "--plan", plan, "--world", "2", "--rank", "1", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [seen["drawn"]["position"] for seen in found] == [1, 3, 5]
    document = found[0]["documents"][0]
    place = document["place"]
    assert f"{document['start']:,} to {document['end']:,} of {place['tokens']:,}" in shown
    assert f"{place['archive']} at {place['offset']}" in shown
    for name in (place["url"], place["doc_id"]):
        assert main(["doc", name, "--plan", plan, "--world", "2"]) == 0
        assert "decay step 70, rank 1, position 1" in capsys.readouterr().out
    assert main(["doc", place["url"], "--plan", plan, "--json"]) == 0
    (answer,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (70, 1) in {(seen["step"], seen["position"]) for seen in answer["seen"]}


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["doc", "http://未见.example/"], 1, "http://未见.example/: no document of the token shards bears"),
        (["doc", "0" * 32], 1, "no document of the token shards"),
        (["step", "100"], 2, "there is no step 100: the plan has steps 0 to 99"),
        (["step", "first"], 2, "first is no step"),
        (["step", "0", "--world", "5"], 2, "world sizes that fit: 1, 2, 4, 8"),
        (["step", "0", "--rank", "1"], 2, "there is no rank 1 of 1"),
        (["--order", "x.parquet", "--phase", "annealing"], 2, "no phase 'annealing'; the plan has fundamental, decay"),
        (["--order", "/no/where.parquet"], 2, "/no/where.parquet cannot be written"),
        ([], 2, "ask `step N` or `doc ID-OR-URL`"),
    ],
)
def test_mistakes_end_with_one_sentence(
    plan: str, arguments: list[str], status: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--plan", plan]) == status
    shown = capsys.readouterr()
    assert complaint in (shown.err if status == 2 else shown.out)
    assert (shown.err + shown.out).count("\n") == 1


@pytest.mark.parametrize(("url", "by_url"), [(None, False), (URL, True), (URL, False)])
def test_documents_are_found_by_a_key_that_others_may_share(tmp_path: Path, url: str | None, by_url: bool) -> None:
    """Of three documents the first and the last are in the side table under one key: a URL's, or that of the last's id,
    as if the hash of the first's were the same."""
    corpus = store(str(tmp_path), {("books/zh", "k1"): documents(1, [30, 40, 50])}, 640, url=url)
    ids = [f"books/zh k1 {i}".encode().ljust(16) for i in range(3)]
    row = {"key": place_key(URL if by_url else ids[2]), "shard": "k1/books/zh"}
    rows = [row | {"doc_id": ids[i], "row": i, "first_token": first} for i, first in ((0, 0), (2, 70))]
    writer = ShardWriter(corpus.storage, PLACES)
    write_partitions(writer, pa.Table.from_pylist(rows, schema=PLACES), "key")
    made = writer.close("tokens", "places", {})
    found = find_documents(
        [replace(corpus, places=((made.path or "", np.ones(1_024)),))], URL if by_url else ids[2].hex()
    )
    expected = [(0, 0, 30, url), (2, 70, 50, url)] if by_url else [(2, 70, 50, url)]
    assert [(place.row, place.first, place.tokens, place.url) for place in found] == expected


def test_a_document_costs_one_row_group_of_each_side_file(
    run: Run, sample: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its URL and by its id."""
    read: list[tuple[str, tuple[int, int]]] = []

    def counting(storage: Storage, path: str, parts: tuple[int, int]) -> pa.Table:
        read.append((path, parts))
        return read_partitions(storage, path, parts)

    monkeypatch.setattr("training.find.read_partitions", counting)
    place = next(seen_at(run, 0)).documents[0].place
    for name in (place.url or "", place.doc_id):
        read.clear()
        assert find_documents(run.corpora, name) == [place]
        paths = [path for path, _ in read]
        # The digits of an id are looked up as a URL too.
        assert max(paths.count(path) for path in paths) <= (1 if name == place.url else 2)
        assert all(stop == start + 1 for _, (start, stop) in read)
