"""Takedown: a corpus of two snapshots that forgets, and can be proved to have."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from manifests.gone import sample
from manifests.latest import open_run
from manifests.verify import verify
from manifests.why import why
from pipeline.driver import Result
from pipeline.recipe import parse_recipe
from stages import exact, match
from stages.base import UserError
from stages.forget import Forget
from stages.schema import ID
from tests.runs import run_recipe
from tests.stages.dedup_runner import CHAIN, rows, source

TOKENS = """
[[stage]]
use = "vocab"
size = 512
sample_bytes = 100000
[[stage]]
use = "tokens"
after = ["apply", "vocab"]
"""


def words(name: str, count: int = 90) -> str:
    return " ".join(f"{name}{i}" for i in range(count))


HAN = "".join(chr(0x4E00 + 7 * i) for i in range(160))
PAGES = [
    ("en-secret", "a", "http://secret.example/one", words("tea")),
    ("en-alone", "a", "http://plain.example/1", words("rain")),
    ("zh-secret", "a", "http://secret.example/茶", HAN),
    ("en-copy", "b", "http://mirror.example/one", words("tea")),
    ("zh-alone", "b", "http://plain.example/2", HAN[::-1]),
    ("en-near", "c", "http://mirror.example/later", words("tea", 88) + " more words"),
    ("zh-near", "c", "http://mirror.example/茶", HAN + "也"),
    ("en-new", "c", "http://plain.example/3", words("snow")),
]


@dataclass
class Corpus:
    """A root, and what one run over it made."""

    root: Path
    result: Result

    def fates(self) -> dict[str, tuple[str, str]]:
        """("kept", "") or (reason, own id of what stays) by own id."""
        names = {row["doc_id"]: row["source_id"] for row in rows(self.root, self.result, "read", "docs")}
        found = {row["source_id"]: ("kept", "") for row in rows(self.root, self.result, "apply", "docs")}
        for stage in ("read", "apply"):
            for row in rows(self.root, self.result, stage, "dropped"):
                found[row["source_id"]] = (row["reason"], names.get(row["kept_id"], ""))
        return found


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pages")
    for name in "abc":
        lines = [
            {"id": own, "url": url, "lang": own[:2], "text": text} for own, where, url, text in PAGES if where == name
        ]
        body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(body, encoding="utf-8")
    return [
        source("a", [folder / "a.jsonl"]),
        source("b", [folder / "b.jsonl"], priority=1),
        source("c", [folder / "c.jsonl"], snapshot="10"),
    ]


def run(root: Path, sources: Sequence[str], forget: str = "", settings: Sequence[str] = ()) -> Corpus:
    """Run the chain; `forget` is a list, which lies beside the root."""
    more = list(settings)
    if forget:
        root.parent.mkdir(exist_ok=True)
        (root.parent / "forget.txt").write_text(forget, encoding="utf-8")
        more.append(f'run.forget=["{root.parent / "forget.txt"}"]')
    recipe = parse_recipe("".join(sources) + CHAIN + TOKENS, "takedown", more)
    return Corpus(root, run_recipe(recipe, root))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, sources: list[str]) -> Corpus:
    return run(tmp_path_factory.mktemp("first") / "root", sources)


@pytest.fixture(scope="module")
def tokenizer(first: Corpus) -> str:
    """A setting: the tokenizer of the first corpus, which a corpus made anew would not train again."""
    (model,) = [row for row in first.result.rows["vocab"] if row.output == "tokenizer"]
    return f'vocab.tokenizer={{ uri = "{first.root / (model.path or "")}", sha256 = "{model.sha256}" }}'


@pytest.fixture
def corpus(first: Corpus, tmp_path: Path, sources: list[str], tokenizer: str) -> Corpus:
    shutil.copytree(first.root, tmp_path / "root")
    return run(tmp_path / "root", sources, settings=[tokenizer])


BEFORE = {
    "en-secret": ("kept", ""),
    "en-alone": ("kept", ""),
    "zh-secret": ("kept", ""),
    "en-copy": ("exact_duplicate", "en-secret"),
    "zh-alone": ("kept", ""),
    "en-near": ("near_duplicate", "en-secret"),
    "zh-near": ("near_duplicate", "zh-secret"),
    "en-new": ("kept", ""),
}
ONE = "http://secret.example/one\n"
SITE = "secret.example\n"


def id_of(corpus: Corpus, own: str) -> str:
    return next(r["doc_id"].hex() for r in rows(corpus.root, corpus.result, "read", "docs") if r["source_id"] == own)


def test_before(corpus: Corpus) -> None:
    assert corpus.fates() == BEFORE


def test_one_document_goes_and_only_what_it_touched_runs(corpus: Corpus, sources: list[str], tokenizer: str) -> None:
    after = run(corpus.root, sources, ONE, [tokenizer])
    changed = {"en-secret": ("forgotten", ""), "en-copy": ("kept", ""), "en-near": ("near_duplicate", "en-copy")}
    assert after.fates() == BEFORE | changed
    assert after.result.ran == {
        "read": 1,  # a
        "sign": 1,
        "exact": 2,  # both snapshots
        "match": 2,
        "shingles": 3,  # b and c, where the pair is now, and a, whose zh-secret meets zh-near still
        "verify": 1,  # the later snapshot
        "cluster": 1,  # that one too: before it nothing is left to decide
        "apply": 3,
        "vocab": 0,
        "tokens": 3,
    }
    again = run(corpus.root, sources, ONE, [tokenizer])
    assert set(again.result.ran.values()) == {0}
    assert again.result.root == after.result.root


def test_a_corpus_made_anew_has_the_same_root(
    corpus: Corpus, sources: list[str], tokenizer: str, tmp_path: Path
) -> None:
    after = run(corpus.root, sources, ONE, [tokenizer])
    anew = run(tmp_path / "anew" / "root", sources, f"# a remark\n{id_of(corpus, 'en-secret')}\n", [tokenizer])
    assert (anew.result.root, anew.result.tokens) == (after.result.root, after.result.tokens)
    assert anew.result.root != corpus.result.root
    assert set(run(anew.root, sources, ONE, [tokenizer]).result.ran.values()) == {0}
    assert not verify(str(anew.root)).faults


def test_ranges_of_hashes_without_it_do_not_run_again(
    sources: list[str], tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document has one content hash and 18 bands. Here a range has 60 bytes of rows of 48, or 404 of rows of 64."""
    monkeypatch.setattr(exact, "MEMORY_PER_BYTE", 62_000_000)
    monkeypatch.setattr(match, "MEMORY_PER_BYTE", 9_300_000)
    before = run(tmp_path / "root", sources, settings=[tokenizer])
    assert (before.result.ran["exact"], before.result.ran["match"]) == (4 + 8, 16 + 32)
    after = run(tmp_path / "root", sources, ONE, [tokenizer])
    assert after.result.ran["exact"] == 2
    assert 2 <= after.result.ran["match"] <= 16 + 18


def test_a_longer_list_and_a_shorter_one(corpus: Corpus, sources: list[str], tokenizer: str) -> None:
    run(corpus.root, sources, ONE, [tokenizer])
    site = run(corpus.root, sources, ONE + SITE, [tokenizer])
    fates = site.fates()
    assert {own for own, fate in fates.items() if fate[0] == "forgotten"} == {"en-secret", "zh-secret"}
    assert fates["zh-near"] == ("kept", "")
    back = run(corpus.root, sources, "# nothing\n", [tokenizer])
    assert back.result.root == corpus.result.root
    assert set(back.result.ran.values()) == {0}  # the old commits were not removed


def test_a_later_snapshot_is_held_to_the_list(
    corpus: Corpus, sources: list[str], tokenizer: str, tmp_path: Path
) -> None:
    before = run(corpus.root, sources, SITE, [tokenizer])
    line = {"id": "en-late", "url": "https://bbs.secret.example/2", "lang": "en", "text": words("late")}
    (tmp_path / "d.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    after = run(corpus.root, [*sources, source("d", [tmp_path / "d.jsonl"], snapshot="11")], SITE, [tokenizer])
    assert after.fates() == before.fates() | {"en-late": ("forgotten", "")}
    assert after.result.ran["read"] == 1
    assert not any(row.rows for row in after.result.rows["apply"] if row.output == "docs" and row.snapshot == "11")


def test_why_and_dropped_say_so_without_its_text(corpus: Corpus, sources: list[str], tokenizer: str) -> None:
    run(corpus.root, sources, SITE, [tokenizer])
    opened = open_run(str(corpus.root))
    for name in ("http://secret.example/one", "zh-secret"):
        (history,) = why(opened, name).documents
        assert history.dropped and (history.dropped.stage, history.dropped.reason) == ("read", "forgotten")
        assert (history.dropped.text, history.dropped.value, history.shard) == (None, None, None)
    assert [gone.text for gone in sample(opened, "read", "forgotten", "", 9, 0).documents] == [None, None]


def held(root: Path, doc_id: str) -> set[str]:
    """Files below a root with a row about a document that says more than that it was forgotten."""
    found = set()
    for path in sorted(root.glob("*-*/*.parquet")):
        if ".manifest." not in path.name and path.name != "merged.parquet":
            table = pq.read_table(path)
            if "reason" in table.column_names and "stage" in table.column_names:
                table = table.filter(pc.not_equal(table["reason"], "forgotten"))
            for name in (field.name for field in table.schema if field.type == ID):
                if bytes.fromhex(doc_id) in table[name].to_pylist():
                    found.add(str(path.relative_to(root)))
    return found


def test_gc_removes_what_still_holds_it_and_nothing_else(corpus: Corpus, sources: list[str], tokenizer: str) -> None:
    """Of this recipe and of others: here another threshold had its own clusters, and another `apply`."""
    secret = id_of(corpus, "en-secret")
    other = run(corpus.root, sources, settings=[tokenizer, "verify.threshold=0.9"])
    after = run(corpus.root, sources, ONE, [tokenizer])
    current = {row.path for part in after.result.rows.values() for row in part}
    old = held(corpus.root, secret)
    assert old and not old & current
    found = verify(str(corpus.root))
    assert {fault.kind for fault in found.faults} == {"forgotten"}
    assert "forgotten since; --gc removes it" in found.faults[0].what
    removed = set(verify(str(corpus.root), gc=True).removed)
    assert old <= removed and not removed & current
    assert held(corpus.root, secret) == set()
    final = verify(str(corpus.root))
    assert (final.faults, final.root) == ((), after.result.root)
    assert set(run(corpus.root, sources, ONE, [tokenizer]).result.ran.values()) == {0}
    # Without the list everything can be had back, from the inputs.
    back = run(corpus.root, sources, settings=[tokenizer, "verify.threshold=0.9"])
    assert back.result.root == other.result.root and back.result.ran["read"] == 1


def test_a_list_that_is_not_there_is_named(tmp_path: Path, sources: list[str]) -> None:
    with pytest.raises(UserError, match="run.forget: .*none.txt cannot be read"):
        run(tmp_path / "root", sources, settings=[f'run.forget=["{tmp_path / "none.txt"}"]'])
    assert not Forget()
