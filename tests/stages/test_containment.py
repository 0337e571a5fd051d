"""Containment and script runs as options of a run: excerpts go for the longer text that stays, never the other way."""

from pathlib import Path

import pytest

from pipeline.recipe import parse_recipe
from stages.base import UserError
from stages.shingles import Shingles
from tests.stages.dedup_runner import CHAIN, run, source, write

OPTIONS = ("verify.measure='containment'", "sign.bands=40", "sign.rows=3", "match.floor=0.1")
WORDS = [f"w{i}" for i in range(100)]
HAN = "".join(chr(0x4E00 + 11 * i) for i in range(104))


def text(first: int, last: int) -> str:
    return " ".join(WORDS[first:last])


# Own id, source (b comes after a, c is a later snapshot), text, what stays in its place by containment.
TABLE = [
    ("en-half", "a", text(0, 52), "en-whole"),  # 48 of 48 shingles; Jaccard 0.5
    ("en-whole", "b", text(0, 100), ""),
    ("en-most", "a", text(2, 60) + " an ending of its own that is long", ""),  # 54 of 62: 0.87, but see below
    ("en-later", "c", text(10, 60), "en-whole"),
    ("zh-half", "a", HAN[:54], "zh-whole"),
    ("zh-whole", "b", HAN, ""),
    ("zh-longer", "c", HAN + "又说了一些别的话", ""),  # holds one of an earlier snapshot, which stays
    ("zh-later", "c", HAN[20:80], "zh-longer"),
]


def test_what_lies_in_a_longer_text_goes(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.jsonl", [(own, body) for own, where, body, _ in TABLE if where == name])
    sources = [
        source("a", [tmp_path / "a.jsonl"]),
        source("b", [tmp_path / "b.jsonl"], priority=1),
        source("c", [tmp_path / "c.jsonl"], snapshot="10"),
    ]
    outcome = run(tmp_path / "root", *sources, settings=[*OPTIONS, "verify.threshold=0.9"])
    expected = {own: ("near_duplicate", kept) if kept else ("kept", "") for own, _, _, kept in TABLE}
    found = {own: outcome.fate(own) for own in expected}
    # Of two longer texts that hold it wholly the earlier one is named.
    expected["zh-later"] = ("near_duplicate", found["zh-later"][1])
    assert found["zh-later"][1] in ("zh-whole", "zh-longer")
    assert found == expected
    assert {removal.score for removal in outcome.gone.values()} == {1.0}
    # By Jaccard none of them goes but the later ones that nothing but a few shingles sets apart.
    plain = run(tmp_path / "root", *sources, settings=["sign.bands=40", "sign.rows=3", "match.floor=0.1"])
    assert [own for own in expected if plain.fate(own)[0] != "kept"] == ["zh-longer"]


def test_of_two_as_long_the_earlier_stays(tmp_path: Path) -> None:
    """Equal sizes: the visiting order decides as ever."""
    lines = [
        ("en-one", text(0, 60) + " x"),
        ("zh-one", HAN[:60] + "甲"),
        ("en-two", text(0, 60) + " y"),
        ("zh-two", HAN[:60] + "乙"),
    ]
    for i, line in enumerate(lines):
        write(tmp_path / f"{i}.jsonl", [line])
    sources = [source(f"s{i}", [tmp_path / f"{i}.jsonl"], priority=-i) for i in range(4)]
    outcome = run(tmp_path / "root", *sources, settings=[*OPTIONS])
    assert [outcome.fate(own) for own, _ in lines] == [
        ("near_duplicate", "en-two"), ("near_duplicate", "zh-two"), ("kept", ""), ("kept", "")
    ]  # fmt: skip


def test_runs_find_what_majority_overlooks(tmp_path: Path) -> None:
    """A bilingual page whose Chinese half is replaced is no near duplicate; one with a new English word is."""
    english, other = text(0, 90), "".join(chr(0x4E00 + 13 * i) for i in range(300, 394))
    lines = [
        ("mx-page", f"{english}\n{HAN[:94]}"),
        ("mx-half", f"{english}\n{other}"),
        ("mx-edit", f"{english.replace('w40', 'changed')}\n{HAN[:94]}"),
    ]
    files = [source(f"s{i}", [write(tmp_path / f"{i}.jsonl", [line])], priority=i) for i, line in enumerate(lines)]
    probes = '[[stage]]\nuse = "probe"\nafter = ["read", "verify"]\n'
    assert parse_recipe("".join(files) + CHAIN + probes, "runs", ["sign.shingles='runs'"]).stages
    outcome = run(tmp_path / "root", *files, settings=["sign.shingles='runs'"])
    assert [outcome.fate(own) for own, _ in lines] == [("kept", ""), ("kept", ""), ("near_duplicate", "mx-page")]
    # 86 + 90 shingles, of which 5 differ on each side.
    assert [removal.score for removal in outcome.gone.values()] == [pytest.approx(171 / 181)]


@pytest.mark.parametrize(
    "setting, complaint",
    [
        ("verify.measure='contained'", 'measure must be "jaccard" or "containment", not'),
        ("verify.mesure='jaccard'", "unknown key 'mesure'; did you mean 'measure'"),
        ("sign.shingles='run'", 'shingles must be "script" or "runs", not'),
        ("shingles.after=['read', 'sign']", "stage shingles: `after` must name one `match`, and that one `sign`"),
    ],
)
def test_mistakes_are_named(setting: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=complaint):
        parse_recipe(source("s", [tmp_path]) + CHAIN, "wrong", [setting])


def test_shingles_are_those_of_their_sign(tmp_path: Path) -> None:
    recipe = parse_recipe(source("s", [tmp_path]) + CHAIN, "fields", ["sign.shingles='runs'", "sign.priority=['date']"])
    (made,) = [stage for stage in recipe.stages if isinstance(stage, Shingles)]
    assert made.sign and (made.sign.by_runs, made.sign.priority) == (True, ("date",))
    with pytest.raises(UserError, match="stage alone: `after` must name a `match`"):
        Shingles("alone").open(None)
