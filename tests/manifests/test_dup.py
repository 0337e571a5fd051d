"""What `dup` says about a corpus of two snapshots whose duplicates are counted by hand."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.__main__ import main
from manifests.dup import Host, Sizes, duplicates, snapshot_order
from manifests.latest import open_run
from pipeline.recipe import natural, parse_recipe
from tests.manifests.small_corpus import BY_NAME
from tests.runs import run_recipe
from tests.stages.dedup_corpus import edited, spelled, units
from tests.stages.dedup_runner import CHAIN, source

Printed = pytest.CaptureFixture[str]
RNG = random.Random(6)
EN, ZH, ALONE = units(RNG, "en", 120), units(RNG, "zh", 120), units(RNG, "zh", 90)
# 4 of 120 units in a row replaced: 8 of 116 shingles differ, Jaccard 108 / 124.
NEAR = {"en": edited(RNG, "en", EN, 4), "zh": edited(RNG, "zh", ZH, 4)}
# own id, host, snapshot, priority, text; the base comes first in every cluster.
DOCS = [
    ("en-base", "A.example:80", "9", 0, "en", spelled("en", EN)),
    ("en-copy", "b.example", "9", 1, "en", spelled("en", EN)),
    ("en-near", "b.example", "9", 2, "en", spelled("en", NEAR["en"])),
    ("zh-base", "user@c.example", "9", 0, "zh", spelled("zh", ZH)),
    ("zh-near", "b.example", "9", 1, "zh", spelled("zh", NEAR["zh"])),
    ("zh-alone", "b.example", "9", 1, "zh", spelled("zh", ALONE)),
    ("en-again", "d.example", "10", 0, "en", spelled("en", EN)),
    ("en-late", "d.example", "10", 0, "en", spelled("en", NEAR["en"])),
]
REMOVED = {
    "en-copy": ("en-base", 1.0, "exact_duplicate"),
    "en-near": ("en-base", pytest.approx(108 / 124), "near_duplicate"),
    "zh-near": ("zh-base", pytest.approx(109 / 125), "near_duplicate"),  # its full stop is a unit too
    "en-again": ("en-base", 1.0, "exact_duplicate"),
    "en-late": ("en-base", pytest.approx(108 / 124), "near_duplicate"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dup")
    sources = []
    for own, host, snapshot, priority, lang, text in DOCS:
        path = folder / f"{own}.jsonl"
        line = {"id": own, "url": f"HTTPS://{host}/{own}", "lang": lang, "text": text}
        path.write_text(json.dumps(line, ensure_ascii=False) + "\n", encoding="utf-8")
        sources.append(source(own, [path], snapshot, priority))
    recipe = parse_recipe("".join(sources) + CHAIN + '[[stage]]\nuse = "probe"\nafter = ["read", "verify"]\n', "two")
    run_recipe(recipe, folder / "root")
    return folder / "root"


def test_methods_by_language(root: Path) -> None:
    found = duplicates(open_run(str(root)))
    assert found.documents == {"all": 8, "en": 5, "zh": 3, "other": 0}
    docs = {r.reason: {name: amount.docs for name, amount in r.groups.items()} for r in found.methods}
    assert docs == {
        "exact_duplicate": {"all": 2, "en": 2, "zh": 0, "other": 0, "?": 0},
        "near_duplicate": {"all": 3, "en": 2, "zh": 1, "other": 0, "?": 0},
    }


def test_clusters_are_those_of_the_last_snapshot(root: Path) -> None:
    """10 comes after 9; the English cluster has the five documents of both."""
    (made,) = duplicates(open_run(str(root))).clusters
    assert made.sizes == (Sizes(2, 2, 1, 2), Sizes(5, 8, 1, 5))
    assert [(large.size, large.name) for large in made.largest] == [
        (5, "HTTPS://A.example:80/en-base"),
        (2, "HTTPS://user@c.example/zh-base"),
    ]


@pytest.mark.parametrize(
    "lang, hosts",
    [
        ("", (Host("b.example", 3, 1), Host("d.example", 2, 0))),
        ("en", (Host("b.example", 2, 0), Host("d.example", 2, 0))),
        ("zh", (Host("b.example", 1, 1),)),
    ],
)
def test_hosts(root: Path, lang: str, hosts: tuple[Host, ...]) -> None:
    assert duplicates(open_run(str(root)), lang).hosts == hosts


@pytest.mark.parametrize("lang", ["", "en", "zh"])
def test_pairs_file(root: Path, tmp_path: Path, capsys: Printed, lang: str) -> None:
    file = tmp_path / "pairs.jsonl"
    assert main(["dup", str(root), "--pairs", str(file), *(["--lang", lang] if lang else [])]) == 0
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    expected = {own: kept for own, kept in REMOVED.items() if own.startswith(lang)}
    assert {line["a"]: (line["b"], line["score"], line["method"]) for line in lines} == expected
    assert capsys.readouterr().out == f"{len(expected)} removals written to {file}\n"


def test_documents_without_an_own_id_are_named_by_doc_id(small_corpus: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    assert main(["dup", str(small_corpus), "--pairs", str(file)]) == 0
    ids = {name: BY_NAME[name].id.hex() for name in ("copy", "mirror", "cha")}
    assert sorted(map(json.loads, file.read_text().splitlines()), key=lambda line: line["method"]) == [
        {"a": ids["copy"], "b": "<urn:uuid:0a>", "score": 1.0, "method": "exact"},
        {"a": ids["mirror"], "b": ids["cha"], "score": 0.875, "method": "near"},
    ]


def test_sampled_pairs_show_what_differs(root: Path) -> None:
    pairs = duplicates(open_run(str(root)), each=9).pairs
    assert [(p.band, p.lang) for p in pairs] == [("0.85-0.9", "en")] * 2 + [("0.85-0.9", "zh")] + [("exact", "en")] * 2
    zh = next(pair for pair in pairs if pair.lang == "zh")
    assert zh.differences is not None and (zh.removed.chars, zh.kept.chars) == (121, 121)
    whole = spelled("zh", NEAR["zh"]), spelled("zh", ZH)
    assert all(place.a in whole[0] and place.b in whole[1] for place in zh.differences)
    assert sum(len(place.a) for place in zh.differences) <= 4
    assert [p.differences for p in pairs if p.band == "exact"] == [(), ()]


def test_sample_follows_the_seed(root: Path) -> None:
    run = open_run(str(root))
    found = {seed: [p.removed.doc_id for p in duplicates(run, "en", seed=seed).pairs] for seed in range(9)}
    assert found[3] == [p.removed.doc_id for p in duplicates(run, "en", seed=3).pairs]
    assert len({tuple(ids) for ids in found.values()}) > 1 and {len(ids) for ids in found.values()} == {2}


def test_text_output(root: Path, capsys: Printed) -> None:
    assert main(["dup", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {tuple(line.split()[:2]): line.split()[2:] for line in lines if line}
    assert cells["apply", "near_duplicate"][:6] == ["3", "37.5%", "2", "40.0%", "1", "33.3%"]
    assert cells["b.example", "3"] == ["1", "75.0%"]
    assert "5 documents: " in "\n".join(lines) and any(
        line.startswith("probe, zh: recall at Jaccard 0.8") for line in lines
    )


def test_json(root: Path, capsys: Printed) -> None:
    assert main(["dup", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["documents"]["all"] == 8 and {bin["lang"] for bin in found["probes"]} == {"en", "zh"}


def test_why_shows_the_differing_parts(root: Path, capsys: Printed) -> None:
    assert main(["why", str(root), "zh-near"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("      ") and " | " in line and line.count("«") == 2 for line in lines)


def test_a_corpus_without_clusters_or_probes(small_corpus: Path, capsys: Printed) -> None:
    assert main(["dup", str(small_corpus)]) == 0
    out = capsys.readouterr().out
    assert "cluster" not in out and "probe" not in out and "near 0.85-0.9 [zh], score 0.875" in out


def test_mistakes_are_one_sentence(root: Path, tmp_path: Path, capsys: Printed) -> None:
    assert main(["dup", str(root), "--pairs", str(tmp_path / "no" / "file")]) == 2
    assert (
        capsys.readouterr().err
        == f"manifests: --pairs {tmp_path}/no/file: cannot be written: No such file or directory\n"
    )
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    recipe = parse_recipe(source("a", [tmp_path / "a.jsonl"]) + '[[stage]]\nuse = "read"\nstore = true\n', "bare")
    run_recipe(recipe, tmp_path / "bare")
    assert main(["dup", str(tmp_path / "bare")]) == 2
    assert "no stage of this run removes duplicates" in capsys.readouterr().err


@given(st.lists(st.text(alphabet="0129ab-.", max_size=5), max_size=5))
def test_snapshots_are_ordered_as_recipes_order_them(labels: list[str]) -> None:
    assert sorted(labels, key=snapshot_order) == sorted(labels, key=lambda label: (natural(label), label))
