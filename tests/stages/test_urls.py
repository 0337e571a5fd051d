"""Duplicate URLs in a run: what stays, what is named, what is not signed any more, and what is refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from manifests.dup import duplicates
from manifests.latest import open_run
from manifests.storage import open_storage
from manifests.verify import verify
from manifests.why import why
from pipeline.driver import Driver, Result
from pipeline.local import LocalExecutor
from pipeline.plan import graph
from pipeline.recipe import load_recipe, parse_recipe
from stages import exact, urls
from stages.base import UserError
from tests.stages.dedup_runner import rows, source

BASE = """
[[stage]]
use = "read"
[[stage]]
use = "urls"
[[stage]]
use = "exact"
by = "url"
[[stage]]
use = "apply"
after = ["read", "exact"]
"""
# Own id, URL, source, what stays in its place. b has the lower priority, so it comes first; c is a later snapshot.
PAGES: list[tuple[str, str | None, str, str]] = [
    ("en-first", "https://www.news.example/tea/?utm_source=mail", "b", ""),
    ("en-again", "http://news.example/tea", "a", "en-first"),
    ("en-third", "HTTP://News.Example:80/tea#top", "c", "en-first"),
    ("en-other", "http://news.example/tea?page=2", "a", ""),
    ("zh-first", "http://例子.测试/茶?类=绿&年=2024", "a", ""),
    ("zh-again", "https://xn--fsqu00a.xn--0zwm56d/%e8%8c%b6/?年=2024&类=绿&spm=1.2", "c", "zh-first"),
    ("zh-alone", "http://例子.测试/茶?类=红", "c", ""),
    ("en-none", None, "a", ""),
    ("zh-none", None, "b", ""),
    ("en-relative", "index.html", "a", ""),
    ("zh-relative", "index.html", "b", ""),
]
TEXTS = {"en": "Green tea is not black tea, says {}.", "zh": "绿茶不是红茶，{}说。"}


def files(folder: Path, pages: Sequence[tuple[str, str | None, str, str]] = PAGES) -> list[str]:
    """The sources; every text is another one."""
    for name in "abc":
        lines = [
            {"id": own, "url": url, "lang": own[:2], "text": TEXTS[own[:2]].format(own)}
            for own, url, where, _ in pages
            if where == name
        ]
        body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(body, encoding="utf-8")
    return [
        source("a", [folder / "a.jsonl"], priority=7),
        source("b", [folder / "b.jsonl"]),
        source("c", [folder / "c.jsonl"], snapshot="10", priority=-1),
    ]


def run(root: Path, sources: Sequence[str], stages: str = BASE, settings: Sequence[str] = ()) -> Result:
    recipe = parse_recipe("".join(sources) + stages, "urls", settings)
    return Driver(recipe, open_storage(str(root)), lambda: LocalExecutor(attempts=1), quiet=True).run()


def removed(root: Path, result: Result, stage: str = "apply") -> dict[str, tuple[str, float | None, str]]:
    """(reason, score, own id of what stays) by own id."""
    names = {row["doc_id"]: row["source_id"] for row in rows(root, result, "read", "docs")}
    gone = rows(root, result, stage, "dropped")
    return {row["source_id"]: (row["reason"], row["score"], names[row["kept_id"]]) for row in gone}


def test_the_first_of_each_url_stays(tmp_path: Path) -> None:
    result = run(tmp_path / "root", files(tmp_path))
    expected = {own: ("url_duplicate", None, kept) for own, _, _, kept in PAGES if kept}
    assert removed(tmp_path / "root", result) == expected
    counts = {key: sum(row.count().get(key, 0) for row in result.rows["urls"]) for key in (
        "side/documents/in", "side/documents/out/with_url", "side/documents/out/without_url"
    )}  # fmt: skip
    assert list(counts.values()) == [11, 7, 4]
    assert not verify(str(tmp_path / "root")).faults


def test_other_ranges_and_files_leave_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path / "first", files(tmp_path))
    monkeypatch.setattr(exact, "MEMORY_PER_BYTE", 1 << 26)
    monkeypatch.setattr(urls, "DOCS_PER_FILE", 1)
    second = run(tmp_path / "second", files(tmp_path)[::-1])
    assert second.ran["exact"] > first.ran["exact"]
    assert second.root == first.root


def test_questions_name_the_method_and_the_twin(tmp_path: Path) -> None:
    run(tmp_path / "root", files(tmp_path))
    opened = open_run(str(tmp_path / "root"))
    found = duplicates(opened, each=5)
    assert {reason.reason: reason.groups["all"].docs for reason in found.methods} == {"url_duplicate": 3}
    assert [(pair.band, pair.method, pair.score) for pair in found.pairs] == [("url", "url_duplicate", None)] * 3
    assert all(pair.differences for pair in found.pairs)  # the texts are others, and it is shown where
    (history,) = why(opened, "zh-again").documents
    assert history.dropped and history.dropped.reason == "url_duplicate"
    assert history.twin and history.twin.stays and history.twin.source_id == "zh-first"


def test_what_goes_by_its_url_is_never_signed(tmp_path: Path) -> None:
    """In the recipe: a near duplicate of a text that a URL removed has nothing left to be compared with."""
    text = " ".join(f"word{i}" for i in range(60))
    lines = [
        {"id": "en-kept", "url": "http://a.example/1", "text": "Another text about tea."},
        {"id": "en-moved", "url": "https://www.a.example/1/", "text": text},
        {"id": "en-near", "url": "http://b.example/2", "text": text + " end"},
        {"id": "zh-near", "url": "http://b.example/3", "text": "茶" + text},
    ]
    for number, line in enumerate(lines):
        (tmp_path / f"{number}.jsonl").write_text(json.dumps(line | {"lang": line["id"][:2]}) + "\n", encoding="utf-8")
    own = load_recipe("dedup-urls")
    assert {"urls", "exact-urls", "apply-urls"} < {stage.name for stage in own.stages}
    assert [node.name for node in graph(own).nodes if "apply-urls" in node.upstreams] == [
        "sign", "shingles", "probe", "apply"
    ]  # fmt: skip
    storage = open_storage(str(tmp_path / "root"))
    # The order of ids decides which of the two addresses stays, so the sources say it.
    sources = "".join(source(f"s{i}", [tmp_path / f"{i}.jsonl"], priority=i) for i in range(4))
    text = own.text[own.text.index("[[stage]]") :]
    recipe = parse_recipe(sources + text, "urls")
    result = Driver(recipe, storage, lambda: LocalExecutor(attempts=1), quiet=True).run()
    assert removed(tmp_path / "root", result, "apply-urls") == {"en-moved": ("url_duplicate", None, "en-kept")}
    assert {row["source_id"] for row in rows(tmp_path / "root", result, "apply", "docs")} == {"en-kept", "en-near"}
    assert sum(row.rows for row in result.rows["sign"] if row.output == "content") == 3


def test_removal_by_url_and_by_text_at_once_is_refused(tmp_path: Path) -> None:
    more = '[[stage]]\nuse = "sign"\nafter = ["read"]\n[[stage]]\nuse = "exact"\nname = "texts"\n'
    more += '[[stage]]\nuse = "apply"\nname = "both"\nafter = ["read", "exact", "texts"]\n'
    with pytest.raises(UserError, match="stage both: let one `apply` follow exact alone"):
        run(tmp_path / "root", files(tmp_path), BASE + more)


@pytest.mark.parametrize(
    "setting, complaint",
    [
        ("exact.by='uri'", 'by must be "content" or "url", not \'uri\''),
        ("exact.bye='url'", "unknown key 'bye'; did you mean 'by'"),
        ("urls.traking=[]", "unknown key 'traking'; did you mean 'tracking'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, setting: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        run(tmp_path / "root", files(tmp_path), settings=[setting])
