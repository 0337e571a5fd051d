import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.storage import StorageError, open_storage
from tests.manifests.faulty_s3 import FaultyS3
from tests.training.corpora import EOD, documents, store
from training.corpus import Corpus, open_corpus
from training.data import CACHE_TOKENS, OPEN_FILES, Reader, batches
from training.order import PlanError
from training.phases import Run, run_of
from training.plan import parse_plan

SIZES = {
    ("web/zh", "k2"): [1, 2, 40, 3, 200, 9],
    ("web/zh", "k1"): [30, 7, 7, 120],
    ("web/en", "k1"): [300, 5, 60, 90, 11, 180],
    ("web/en", "k3"): [64, 64, 64],
}
PLAN = """
seed = 3
window = 128
[[phase]]
name = "one"
steps = 8
sequence = 16
batch = 4
mixture = { "web/en" = 1, "web/zh" = 1 }
[[phase]]
name = "two"
steps = 5
sequence = 32
batch = 6
epochs = 3
fim = { rate = 0.8, prefix = 8000, middle = 8001, suffix = 8002, streams = ["web/en"] }
"""


def shards() -> dict[tuple[str, str], list[list[int]]]:
    return {key: documents(i, sizes) for i, (key, sizes) in enumerate(SIZES.items())}


def stream(name: str) -> tuple[list[int], list[int]]:
    """All tokens of a stream, and where each of its documents begins: its shards by task key, end to end."""
    docs = [doc for key, docs in sorted(shards().items()) if key[0] == name for doc in docs]
    return [token for doc in docs for token in doc], np.cumsum([0, *map(len, docs)]).tolist()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return store(str(tmp_path_factory.mktemp("corpus")), shards(), 100)


@pytest.fixture(scope="module")
def run(corpus: Corpus) -> Run:
    return run_of(parse_plan(PLAN), [corpus] * 2)


def test_streams_are_shards_by_task_key_end_to_end(corpus: Corpus) -> None:
    assert list(corpus.streams) == ["web/en", "web/zh"]
    assert [shard.task_key for shard in corpus.streams["web/zh"].shards] == ["k1", "k2"]
    assert corpus.streams["web/zh"].tokens == 164 + 255
    assert max(len(shard.group_tokens) for shard in corpus.streams["web/zh"].shards) > 1


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_a_window_is_a_slice_of_the_stream_with_the_documents_in_it(corpus: Corpus, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["web/en", "web/zh"]))
    tokens, begins = stream(name)
    first = data.draw(st.integers(0, len(tokens) - 1))
    count = data.draw(st.integers(1, len(tokens) - first))
    window = Reader(corpus).window(name, first, count)
    assert window.tokens.tolist() == tokens[first : first + count]
    inside = [i for i in range(len(begins) - 1) if begins[i] < first + count and begins[i + 1] > first]
    assert window.documents.tolist() == [begins[i] for i in inside]
    assert window.starts.tolist() == [max(0, begins[i] - first) for i in inside]


def test_batches_are_the_sequences_of_the_order(run: Run, corpus: Corpus) -> None:
    streams = {name: stream(name) for name in ("web/en", "web/zh")}
    for batch in batches(run):
        phase = run.order.phase_at(batch.step)
        assert batch.phase == phase.name
        assert batch.tokens.dtype == np.uint16
        assert batch.tokens.shape == (phase.batch, phase.sequence + 1)
        for position, tokens, starts, name in zip(
            batch.positions.tolist(), batch.tokens, batch.starts, batch.streams, strict=True
        ):
            drawn = phase.locate((batch.step - phase.first_step) * phase.batch + position)
            assert drawn.stream == name
            whole = streams[name][0][drawn.first : drawn.first + phase.sequence + 1]
            if batch.phase == "one" or name == "web/zh":
                assert tokens.tolist() == whole
                assert all(whole[start - 1] == EOD for start in starts.tolist()[1:])
        assert (batch.pushed_out > 0) <= (batch.phase == "two")
    assert batch.step == run.order.steps - 1


def test_fim_turns_pieces_of_its_streams_and_pushes_out_what_its_marks_take(run: Run) -> None:
    pushed, marks = 0, 0
    for batch in batches(run, step=8):
        found = batch.tokens >= 8_000
        pushed += batch.pushed_out
        marks += int(found.sum())
        english = np.array([name == "web/en" for name in batch.streams])
        assert found[english].any()
        assert not found[~english].any()
    assert 0 < marks <= pushed  # marks may themselves be pushed out


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("threads", [1, 3])
def test_ranks_and_resumes_read_the_same_tokens(run: Run, world: int, threads: int) -> None:
    whole = {batch.step: batch for batch in batches(run)}
    for start in (0, 5, 7, 11):
        parts = [list(batches(run, start, rank, world, threads=threads)) for rank in range(world)]
        assert [batch.step for batch in parts[0]] == list(range(start, 13))
        for rank, part in enumerate(parts):
            for batch in part:
                assert (batch.tokens == whole[batch.step].tokens[rank::world]).all()
                assert batch.positions.tolist() == list(range(rank, len(whole[batch.step].tokens), world))
        lost = [sum(batch.pushed_out for batch in step) for step in zip(*parts, strict=True)]
        assert lost == [whole[step].pushed_out for step in range(start, 13)]


def test_a_consumer_that_leaves_early_leaves_no_thread(run: Run) -> None:
    before = threading.active_count()
    reading = batches(run, threads=3)
    next(reading)
    assert threading.active_count() > before
    reading.close()
    assert threading.active_count() == before


def test_a_world_that_does_not_fit_is_refused_before_anything_is_read(run: Run) -> None:
    with pytest.raises(PlanError, match="world sizes that fit: 1, 2$"):
        next(batches(run, world=3))


def test_caches_stay_small(tmp_path: Path) -> None:
    many = {("web/en", f"k{i:02}"): documents(i, [200] * 4) for i in range(2 * OPEN_FILES)}
    corpus = store(str(tmp_path), many, 100)
    reader = Reader(corpus)
    for first in range(0, corpus.streams["web/en"].tokens - 100, 100):
        reader.window("web/en", first, 100)
        assert len(reader.files) <= OPEN_FILES
        assert reader.held == sum(len(tokens) for tokens, _ in reader.groups.values()) <= CACHE_TOKENS


def replaced(root: Path) -> None:
    """Every shard of a copy of the corpus gives way to one with other row groups, under its old name."""
    paths = {p.name.partition(".")[0]: p for p in (root / "tokens").iterdir()}
    other = store(str(root / "other"), {("web/en", "k1"): documents(9, [300, 5, 60])}, 1_000)
    new = root / "other" / other.streams["web/en"].shards[0].path
    paths["k1-en"].write_bytes(new.read_bytes())


def other_tokenizer(root: Path) -> None:
    """The same rows, as another tokenizer's."""
    other = store(str(root / "other"), shards(), 100, "cd" * 16)
    for path in (root / "tokens").iterdir():
        path.write_bytes((root / "other" / "tokens" / path.name).read_bytes())
    assert other.facts.tokenizer == "cd" * 16


def removed(root: Path) -> None:
    next((root / "tokens").glob("k1-en*")).unlink()


def truncated(root: Path) -> None:
    path = next((root / "tokens").glob("k1-en*"))
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (replaced, "k1-en.* is not the shard that the manifest describes"),
        (other_tokenizer, "is not the shard that the manifest describes"),
        (removed, "k1-en.* is missing; run `python -m manifests verify"),
        (truncated, "k1-en.* cannot be read; run `python -m manifests verify"),
    ],
)
def test_a_shard_that_changed_is_refused_when_it_is_opened(
    tmp_path: Path, harm: Callable[[Path], None], complaint: str
) -> None:
    corpus = store(str(tmp_path), shards(), 100)
    harm(tmp_path)
    with pytest.raises(StorageError, match=complaint):
        list(batches(run_of(parse_plan(PLAN), [corpus] * 2)))


@pytest.mark.parametrize("kind", ["nothing", "manifest", "folder"])
def test_a_root_without_token_shards_is_refused(tmp_path: Path, kind: str) -> None:
    complaint = "no run with a stage `tokens` was completed"
    if kind == "manifest":
        open_storage(str(tmp_path)).put("manifests/tokens.parquet", b"no Parquet")
        complaint = "cannot be read; run the recipe again"
    if kind == "folder":
        tmp_path, complaint = tmp_path / "none", "there is no such folder"
    with pytest.raises(StorageError, match=complaint):
        open_corpus(str(tmp_path))


def test_s3_gives_what_a_folder_gives(run: Run, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyS3() as store:
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        client = store.behind()
        client.create_bucket(Bucket="corpora")
        root = Path(corpus.storage.uri)
        for path in sorted(root.rglob("*.parquet")):
            client.put_object(Bucket="corpora", Key=f"zh-en/{path.relative_to(root)}", Body=path.read_bytes())
        remote = open_corpus("s3://corpora/zh-en")
        assert remote.hash == corpus.hash
        here = batches(run, step=6)
        for batch, other in zip(here, batches(run_of(parse_plan(PLAN), [remote] * 2), step=6), strict=True):
            assert (batch.tokens == other.tokens).all()
