"""Trimming in a stage and in a run: what stays, what is booked, what `why` tells, and that nothing is lost."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.__main__ import main
from manifests.asset import Asset
from manifests.balance import faults, total
from manifests.latest import open_run
from manifests.rebuild import rebuilt
from manifests.storage import open_storage
from manifests.verify import verify
from pipeline.recipe import parse_recipe
from stages.base import Mapped, Task, UserError
from stages.cuts import spans_of
from stages.schema import DOC, DROPPED
from stages.trim import LineRule, Trim
from tests.runs import run_recipe

PROSE_EN = "Tea is an old drink, and it is drunk in most countries of the world."
PROSE_ZH = "茶是一种古老的饮料，在世界上大多数国家都有人喝，历史非常悠久。"
SHORT = LineRule("word_count", lo=2, name="one_word")
LINK = LineRule("link_count", hi=0, name="link")


def docs(texts: list[str], lang: str | list[str] = "en", cuts: list | None = None) -> pa.RecordBatch:
    given_langs = [lang] * len(texts) if isinstance(lang, str) else lang
    one = {name: None for name in DOC.names} | {"source": "web", "snapshot": "1", "priority": 0, "cuts": []}
    return pa.RecordBatch.from_pylist(
        [
            one
            | {"doc_id": i.to_bytes(16, "big"), "text": text, "lang": language}
            | ({"cuts": cuts[i]} if cuts else {})
            for i, (text, language) in enumerate(zip(texts, given_langs, strict=True))
        ],
        schema=DOC,
    )


def trim(batch: pa.RecordBatch, *rules: LineRule, min_chars: int = 1, max_cut_ratio: float = 1.0) -> Mapped:
    stage = Trim("trim", rules=rules, min_chars=min_chars, max_cut_ratio=max_cut_ratio)
    worker = stage.open(open_storage("/tmp"))
    worker.begin(Task("key"))
    return worker.transform(batch)


def test_a_batch_is_trimmed_by_the_rules_of_each_language() -> None:
    texts = [f"Home\n{PROSE_EN}", f"首页\n{PROSE_ZH}x.org", PROSE_EN, "", "Accueil\nle thé est bon"]
    rules = (LineRule("word_count", lo=2, lang="en"), LineRule("word_count", lo=3, lang="zh"), LINK)
    batch = docs(["left out", *texts], ["en", "en", "zh", "en", "zh", "fr"]).slice(1)
    mapped = trim(batch, *rules)
    assert mapped.batch.schema == DOC and mapped.keep.all() and mapped.dropped.num_rows == 0
    assert mapped.batch["text"].to_pylist() == [PROSE_EN, PROSE_ZH, PROSE_EN, "", texts[4]]
    assert mapped.batch["cuts"].to_pylist() == [
        [{"start": 0, "end": 5, "reason": "word_count"}],
        [{"start": 0, "end": 3, "reason": "word_count"}, {"start": 34, "end": 39, "reason": "link"}],
        [],
        [],
        [],
    ]
    rows = mapped.sides["cuts"].to_pylist()
    assert [(row["doc_id"][-1], row["start"], row["reason"], row["text"]) for row in rows] == [
        (1, 0, "word_count", "Home\n"),
        (2, 0, "word_count", "首页\n"),
        (2, 34, "link", "x.org"),
    ]
    assert mapped.counters == {
        "cut//en/bytes/word_count": 5,
        "cut//zh/bytes/word_count": 7,
        "cut//zh/bytes/link": 5,
    }


def test_documents_of_which_too_little_stays_go() -> None:
    texts = ["Home\nTea is good", "a short one", "页\n茶很好", "Home\nAbout\n" + PROSE_EN, "Home\n" + PROSE_EN]
    mapped = trim(docs(texts), SHORT, min_chars=12, max_cut_ratio=0.1)
    assert mapped.keep.tolist() == [False, True, False, False, True]
    dropped = mapped.dropped.to_pylist()
    assert mapped.dropped.schema == DROPPED
    assert [(d["reason"], d["lo"], d["hi"], d["failed"]) for d in dropped] == [
        ("too_short_after_cuts", 12, None, [0, 1]),  # 1 of 4 words
        ("too_short_after_cuts", 12, None, [0, 1]),  # 1 of 4
        ("too_much_cut", None, np.float32(0.1), [1]),  # 2 of 17
    ]
    assert [d["value"] for d in dropped] == [11, 3, np.float32(2 / 17)]
    rules = json.loads(Trim("trim", rules=(SHORT,), min_chars=12).footer()["rules"])
    assert [(rule["name"], rule["lo"], rule["hi"]) for rule in rules] == [
        ("too_short_after_cuts", 12, None),
        ("too_much_cut", None, 1),
    ]
    # Places and reasons of what went are told, not the text, and it is not booked as cut.
    rows = [(row["doc_id"][-1], row["text"]) for row in mapped.sides["cuts"].to_pylist()]
    assert rows == [(0, None), (2, None), (3, None), (3, None), (4, "Home\n")]
    assert mapped.counters == {"cut//en/bytes/one_word": 5}


def test_what_did_not_change_is_not_judged_and_not_touched() -> None:
    batch = docs(["a b", "c d"], cuts=[None, [{"start": 0, "end": 9, "reason": "old"}]])
    mapped = trim(batch, SHORT, min_chars=99)
    assert mapped.batch.equals(batch) and mapped.keep.all()
    mapped = trim(docs(["a b", "c d", "e\nf g"], cuts=[None, [{"start": 0, "end": 9, "reason": "old"}], None]), SHORT)
    assert mapped.batch["cuts"].to_pylist() == [
        None,
        [{"start": 0, "end": 9, "reason": "old"}],
        [{"start": 0, "end": 2, "reason": "one_word"}],
    ]


def test_a_later_stage_counts_in_the_text_as_read() -> None:
    text = "see x.org\nb\nhere y.org and there"
    first = trim(docs([text]), LINK)
    assert first.batch["text"].to_pylist() == ["see\nb\nhere and there"]
    second = trim(first.batch, SHORT)
    assert second.batch["text"].to_pylist() == ["here and there"]
    cuts = [tuple(cut.values()) for cut in second.batch["cuts"][0].as_py()]
    assert cuts == [
        (0, 3, "one_word"),
        (3, 9, "link"),
        (9, 10, "one_word"),  # the first cut lies inside "see\n"
        (10, 12, "one_word"),
        (16, 22, "link"),
    ]
    assert [row["text"] for row in second.sides["cuts"].to_pylist()] == ["see", "\n", "b\n"]


LINES = st.sampled_from(
    ["Home", "首页", PROSE_EN, "茶很好，见x.org。", "a http://x.org b www.y.cn", "é 😀", "", " ", "3"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.lists(LINES).map("\n".join), st.text("ab茶 \n\r.", max_size=9)), max_size=4), st.data())
def test_two_stages_can_be_undone_and_batches_do_not_matter(texts: list[str], data: st.DataObject) -> None:
    kinds = [(SHORT,), (LINK,), (SHORT, LINK), (LineRule("han_ratio", hi=0.5), LINK)]
    one, two = (data.draw(st.sampled_from(kinds)) for _ in range(2))
    batch = docs(texts, [("en", "zh")[len(text) % 2] for text in texts])
    first = trim(batch, *one)
    second = trim(first.batch.filter(pa.array(first.keep)), *two)
    rows = first.sides["cuts"].to_pylist() + second.sides["cuts"].to_pylist()
    for doc in second.batch.filter(pa.array(second.keep)).to_pylist():
        own = sorted((r["start"], r["end"], r["reason"], r["text"]) for r in rows if r["doc_id"] == doc["doc_id"])
        assert [tuple(cut.values()) for cut in doc["cuts"]] == [row[:3] for row in own]
        assert rebuilt(doc["text"], [(row[0], row[3]) for row in own]) == texts[doc["doc_id"][-1]]
    at = data.draw(st.integers(0, len(texts)))
    halves = [trim(batch.slice(0, at), *one), trim(batch.slice(at), *one)]
    assert pa.Table.from_batches([h.batch for h in halves]).to_pylist() == first.batch.to_pylist()
    sides = [row for half in halves for row in half.sides["cuts"].to_pylist()]
    assert sides == first.sides["cuts"].to_pylist()


def test_spans_of_a_sliced_column_of_cuts() -> None:
    cut = {"start": 1, "end": 2, "reason": "r"}
    column = docs(["a"] * 4, cuts=[[cut], [], [cut, cut | {"start": 4, "end": 5, "reason": "s"}], None])["cuts"]
    spans, names = spans_of(column.slice(1))
    assert (spans.documents.tolist(), spans.starts.tolist(), spans.ends.tolist()) == ([1, 1], [1, 4], [2, 5])
    assert [names[r] for r in spans.reasons] == ["r", "s"]


RECIPE = """
[[source]]
name = "text"
kind = "jsonl"
inputs = ["{inputs}"]
trust_lang = true
[[stage]]
use = "read"
[[stage]]
use = "trim"
rules = ["refinedweb-lines", {{ override = "refinedweb_uppercase", hi = 0.7 }}, {{ line = "link_count", hi = 0 }}]
max_cut_ratio = 0.3
[[stage]]
use = "trim"
name = "second"
lang = ["zh"]
rules = ["matrix-zh-lines", {{ override = "matrix_line_end", drop = true }}]
"""
TEXTS = {
    "en": f"Home\n\n{PROSE_EN}\n\nSee http://x.org for tea.\n3 likes\n",
    "zh": f"首页\r\n{PROSE_ZH}\n见http://x.org吧\n茶很好。\n{PROSE_ZH}",
    "plain": PROSE_EN,
    "menu": "Home\nAbout all of us at the tea house\nJobs\nSign in",
    "short": "Home\nTea is good",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("trim")
    lines = [json.dumps({"id": k, "lang": "zh" if k == "zh" else "en", "text": t}) for k, t in TEXTS.items()]
    (folder / "in.jsonl").write_text("\n".join(lines))
    recipe = parse_recipe(RECIPE.format(inputs=folder / "in.jsonl"), "test")
    run_recipe(recipe, folder / "root")
    return str(folder / "root")


def test_the_books_of_a_run(root: str) -> None:
    run = open_run(root)
    counts = run.counts["trim"]
    assert {name: n for name, n in counts.items() if name.startswith(("cut/", "dropped/"))} == {
        "cut/text/en/bytes/refinedweb_one_word": len("Home\n\n"),
        "cut/text/en/bytes/link_count": len(" http://x.org"),
        "cut/text/en/bytes/refinedweb_counter": len("\n3 likes"),
        "cut/text/zh/bytes/refinedweb_one_word": len("首页\r\n".encode()),
        "cut/text/zh/bytes/link_count": len("http://x.org"),
        "dropped/text/en/docs/too_much_cut": 1,
        "dropped/text/en/bytes/too_much_cut": len(TEXTS["menu"]),
        "dropped/text/en/docs/too_short_after_cuts": 1,
        "dropped/text/en/bytes/too_short_after_cuts": len(TEXTS["short"]),
    }
    assert run.counts["second"]["cut/text/zh/bytes/matrix_words"] == len("见吧\n茶很好。\n".encode())
    for stage in ("trim", "second"):
        assert faults(total(run.rows[stage])) == []
    assert verify(root).faults == ()


@pytest.mark.parametrize("name", ["en", "zh", "plain"])
def test_rebuild_prints_the_text_as_read(
    root: str, name: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(sys, "stdout", open(1, "w", closefd=False))
    assert main(["rebuild", root, name]) == 0
    assert capfdbinary.readouterr().out == TEXTS[name].encode()


def test_rebuild_of_what_is_not_there(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rebuild", root, "menu"]) == 1
    assert "menu: no document of the corpus bears this URL or id" in capsys.readouterr().err
    assert main(["rebuild", root, "zh", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == TEXTS["zh"]


def test_why_shows_what_was_cut(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", root, "zh"]) == 0
    out = capsys.readouterr().out
    assert "    link_count cut 12 characters in 1 places\n" in out
    start = TEXTS["zh"].index("http")
    assert f"      trim [{start}, {start + 12})  | http://x.org\n" in out
    assert f"      second [{start - 1}, {start})  | 见\n" in out and "      second" in out
    assert main(["why", root, "menu"]) == 0
    out = capsys.readouterr().out
    assert "too_much_cut = 0.33333334, kept is (-inf, 0.3]" in out  # 4 of 12 words
    assert "    refinedweb_one_word cut 10 characters in 2 places\n      trim [0, 5)\n" in out


@pytest.mark.parametrize(
    "line, message",
    [
        ('rules = ["c4-line"]', "no recipe or rule table 'c4-line'; did you mean 'c4-lines'?"),
        ('rules = ["matrix-zh"]', "unknown key 'signal'"),
        ('rules = [{ line = "word_cuont", lo = 2 }]', "unknown line signal 'word_cuont'; did you mean 'word_count'?"),
        ('rules = [{ signal = "word_count", lo = 2 }]', "unknown key 'signal'"),
        ('rules = [{ line = "word_count" }]', "a rule needs lo, hi or both"),
        ('rules = ["c4-lines", "c4-lines"]', "two rules are named 'c4_line_end'"),
        ('rules = [{ line = "word_count", lo = 2, lang = "zh" }]\nlang = ["en"]', "which this stage never sees"),
        ('rules = [{ line = "bad_word_count", hi = 0 }]', "needs the list 'bad_words'"),
        ('rules = [{ line = "rps_doc_ut1_blacklist", hi = 0 }]', "a line has no url"),
        ("rules = [3]", "holds names of tables of line rules, or line rules, not 3"),
        ("max_cut_ratio = 5", "max_cut_ratio between 0 and 1"),
        ("min_chars = 0", "min_chars must be above 0"),
    ],
)
def test_mistakes_in_a_recipe(line: str, message: str) -> None:
    recipe = RECIPE.format(inputs="x.jsonl").split("[[stage]]")
    with pytest.raises(UserError, match=message.replace("[", r"\[").replace("?", r"\?")):
        parse_recipe(recipe[0] + "[[stage]]" + recipe[1] + f'[[stage]]\nuse = "trim"\n{line}\n', "test")


def test_a_list_of_bad_words_cuts_lines(tmp_path: Path) -> None:
    words = tmp_path / "bad.txt"
    words.write_text("nasty\n脏话\n")
    asset = Asset(str(words), hashlib.sha256(words.read_bytes()).hexdigest())
    rule = LineRule("bad_word_count", hi=0, name="bad_word")
    worker = Trim("trim", rules=(rule,), lists=(("bad_words", asset),)).open(open_storage(str(tmp_path)))
    batch = docs([f"A nasty line.\n{PROSE_EN}", f"{PROSE_ZH}\n这里有脏话。"], ["en", "zh"])
    assert worker.transform(batch).batch["text"].to_pylist() == [PROSE_EN, PROSE_ZH]
