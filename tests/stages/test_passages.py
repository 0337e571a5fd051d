"""Repeated lines and passages, from JSON lines to texts without them, against the definitions in plain Python."""

import json
import random
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from manifests.latest import open_run
from manifests.rebuild import rebuild
from manifests.shards import read_batches
from manifests.storage import open_storage
from manifests.verify import verify
from pipeline.driver import Driver, Result
from pipeline.local import LocalExecutor
from pipeline.recipe import load_recipe, parse_recipe
from stages import lines, paragraphs, substring, windows
from stages.base import UserError
from tests.stages.dedup_runner import rows, source

LENGTH, MIN_BYTES, HOST_BYTES = 48, 30, 12
CHAIN = f"""
[[stage]]
use = "read"
[[stage]]
use = "lines"
min_bytes = {MIN_BYTES}
[[stage]]
use = "paragraphs"
[[stage]]
use = "lines"
name = "host-lines"
after = ["read"]
within = "host"
min_bytes = {HOST_BYTES}
[[stage]]
use = "paragraphs"
name = "boilerplate"
min_docs = 3
reason = "boilerplate_line"
[[stage]]
use = "windows"
after = ["read"]
length = {LENGTH}
[[stage]]
use = "substring"
[[stage]]
use = "apply"
after = ["read", "paragraphs", "boilerplate", "substring"]
spans = true
min_chars = 8
"""
EN = [
    "The tide comes in twice a day. ",
    "Nobody had seen the lighthouse keeper since spring. ",
    "Bread rises, bread falls. ",
    "A cat slept on the warm engine of the van. ",
    "Is it 3.14? ",
    "We walked along the old wall until the road ended at a gate. ",
]
ZH = [
    "潮水一天涨两次。",
    "自从春天以来，谁也没有见过那个守灯塔的人。",
    "面包会发起来，也会塌下去！",
    "一只猫睡在货车温暖的引擎上……",
    "真的吗？",
    "我们沿着古老的城墙走，一直走到路的尽头，那里有一扇门。",
]
MENU = ["Home | News | About", "首页｜新闻｜关于我们", "Introduction", "引言"]
Row = dict[str, str]


def corpus(seed: int) -> list[Row]:
    """Documents that share sentences, lines, passages and menus with each other."""
    rng = random.Random(seed)
    texts: list[str] = []
    for number in range(60):
        pool = (EN, ZH)[number % 2] + [
            f"Item {rng.randrange(1000)} of {number}. ",
            f"第{rng.randrange(1000)}项，共{number}。",
        ]
        paragraphs_made = ["".join(rng.choices(pool, k=rng.randint(1, 5))).strip() for _ in range(rng.randint(1, 5))]
        if rng.random() < 0.4:
            paragraphs_made.insert(0, rng.choice(MENU))
        if texts and rng.random() < 0.4:
            other = rng.choice(texts)
            start = rng.randrange(max(1, len(other) - 80))
            paragraphs_made.append(other[start : start + rng.randint(20, 160)])
        texts.append(rng.choice(["\n", "\n\n", " "]).join(paragraphs_made))
    return [
        {"id": str(i), "lang": ("en", "zh")[i % 2], "text": text, "url": f"https://{'ab'[i // 2 % 2]}.example/{i}"}
        for i, text in enumerate(texts)
    ]


def write(path: Path, made: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")
    return path


def run(root: Path, *sources: str, chain: str = CHAIN) -> Result:
    recipe = parse_recipe("".join(sources) + chain, "passages")
    return Driver(recipe, open_storage(str(root)), lambda: LocalExecutor(attempts=1), quiet=True).run()


def visited(root: Path, result: Result) -> list[dict]:
    """The documents in visiting order."""
    return sorted(rows(root, result, "read", "docs"), key=lambda d: (int(d["snapshot"]), d["priority"], d["doc_id"]))


def repeated_lines(documents: list[dict], min_bytes: int, by_host: bool, min_docs: int) -> dict[tuple, tuple]:
    """Place of each line that occurred before (document, first byte) -> where first; what a snapshot has counts for it
    and for later ones."""
    found: list[tuple] = []
    first: dict[tuple, tuple] = {}
    having: dict[tuple, dict[bytes, str]] = {}
    for document in documents:
        for match in re.finditer(r"[^\n]+", document["text"]):
            line = match[0].strip()
            key = (document["host"] if by_host else "", line)
            if len(line.encode()) >= min_bytes:
                start = match.start() + len(match[0]) - len(match[0].lstrip())
                place = (document["doc_id"], len(document["text"][:start].encode()))
                having.setdefault(key, {})[document["doc_id"]] = document["snapshot"]
                found.append((place, key, int(document["snapshot"]), first.setdefault(key, place)))
    return {
        place: earlier
        for place, key, snapshot, earlier in found
        if place != earlier and sum(int(s) <= snapshot for s in having[key].values()) >= min_docs
    }


def repeated_windows(documents: list[dict]) -> dict[tuple, tuple]:
    """The same for windows of LENGTH bytes that occurred in an earlier document."""
    first: dict[bytes, tuple] = {}
    again = {}
    for document in documents:
        data = document["text"].encode()
        for start in range(len(data) - LENGTH + 1):
            place = (document["doc_id"], start)
            earlier = first.setdefault(data[start : start + LENGTH], place)
            if earlier[0] != place[0]:
                again[place] = earlier
    return again


def said(root: Path, result: Result, stage: str) -> dict[tuple, tuple]:
    """What a stage says, line by line or window by window."""
    out = {}
    for row in rows(root, result, stage, "spans"):
        for step in range(1 if row["whole_line"] else row["end"] - row["start"] - LENGTH + 1):
            assert (row["doc_id"], row["start"] + step) not in out
            out[row["doc_id"], row["start"] + step] = (row["kept_id"], row["kept_start"] + step)
    return out


def check(root: Path, result: Result) -> None:
    """All that has to hold of a run: it says what the definitions say, and no passage is lost."""
    documents = visited(root, result)
    assert said(root, result, "paragraphs") == repeated_lines(documents, MIN_BYTES, False, 1)
    assert said(root, result, "boilerplate") == repeated_lines(documents, HOST_BYTES, True, 3)
    assert said(root, result, "substring") == repeated_windows(documents)
    texts = {d["doc_id"]: d["text"] for d in documents}
    order = {d["doc_id"]: n for n, d in enumerate(documents)}
    left = {d["doc_id"]: d["text"] for d in rows(root, result, "apply", "docs")}
    run_made = open_run(str(root))
    for doc, text in left.items():
        original = rebuild(run_made, doc.hex())
        assert original is not None and original.text == texts[doc]
        gaps = [max(map(len, re.findall(r"\n+", t)), default=0) for t in (text, original.text)]
        assert gaps[0] <= gaps[1]
    ending = re.compile(r"(?<=[。！？…])(?![。！？…])|(?<=[.!?] )|\n+")
    for cut in rows(root, result, "apply", "cuts"):
        if cut["text"] is None:
            continue
        for sentence in filter(None, (s.strip() for s in ending.split(cut["text"]))):
            # It stood whole in an earlier place, and it stands somewhere still.
            assert texts[cut["doc_id"]].count(sentence) > 1 or any(
                sentence in text for doc, text in texts.items() if order[doc] < order[cut["doc_id"]]
            )
            assert any(sentence in text for text in left.values())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("passages")
    made = corpus(1)
    write(folder / "a" / "1.jsonl", made[:25])
    write(folder / "a" / "2.jsonl", made[25:40])
    write(folder / "b" / "1.jsonl", made[40:])
    return folder


def sources(inputs: Path) -> list[str]:
    return [source("a", [inputs / "a"], priority=5), source("b", [inputs / "b"])]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> tuple[Path, Result]:
    root = tmp_path_factory.mktemp("first")
    return root, run(root, *sources(inputs))


def test_a_run_does_what_the_definitions_say(first: tuple[Path, Result]) -> None:
    check(*first)
    reasons = {cut["reason"] for cut in rows(*first, "apply", "cuts")}
    assert reasons == {"duplicate_line", "boilerplate_line", "duplicate_passage"}
    assert verify(str(first[0])).faults == ()


def test_neither_ranges_nor_buckets_nor_batches_change_anything(
    first: tuple[Path, Result], inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paragraphs, "BYTES_PER_TASK", 4_000)
    monkeypatch.setattr(paragraphs, "BUCKET_ROWS", 7)
    monkeypatch.setattr(substring, "BYTES_PER_TASK", 60_000)
    monkeypatch.setattr(substring, "BUCKET_ROWS", 5)
    monkeypatch.setattr(substring, "KEYS", 20)
    monkeypatch.setattr(substring, "CHUNK_ROWS", 10)
    monkeypatch.setattr(substring, "SPANS_PER_FILE", 40)
    monkeypatch.setattr(windows, "BATCH_BYTES", 2_000)
    monkeypatch.setattr(windows, "BYTES_PER_FILE", 30_000)
    monkeypatch.setattr(lines, "ROWS_PER_FILE", 10)
    monkeypatch.setattr(lines, "read_batches", partial(read_batches, limit=2_000))
    other = run(tmp_path, *reversed(sources(inputs)))
    assert min(other.ran["paragraphs"], other.ran["substring"]) >= 2
    assert len(other.rows["windows"]) > other.ran["windows"] and len(other.rows["lines"]) > other.ran["lines"]
    for stage in ("paragraphs", "boilerplate", "substring"):
        assert said(tmp_path, other, stage) == said(*first, stage)
    assert sorted(r.digest for r in other.rows["apply"]) == sorted(r.digest for r in first[1].rows["apply"])


def test_other_texts_in_other_files(tmp_path: Path) -> None:
    made = corpus(2)
    random.Random(7).shuffle(made)
    root = tmp_path / "root"
    check(root, run(root, source("x", [write(tmp_path / "x.jsonl", made)])))


def test_a_later_snapshot_changes_nothing_before_it(first: tuple[Path, Result], inputs: Path, tmp_path: Path) -> None:
    new = source("c", [write(tmp_path / "c.jsonl", corpus(3)[:12] + corpus(1)[:3])], snapshot="10", priority=-9)
    second = run(tmp_path / "root", *sources(inputs), new)
    check(tmp_path / "root", second)
    for stage in ("paragraphs", "substring", "apply"):
        before = sorted(r.digest for r in first[1].rows[stage])
        assert sorted(r.digest for r in second.rows[stage] if r.snapshot == "9") == before


def test_characters_and_repeats_within_a_document(tmp_path: Path) -> None:
    """MAP-Neo's measure: 50 characters; a text of exactly 50 is a passage, one of 49 is none."""
    fifty = "".join(chr(0x4E00 + 37 * i) for i in range(50))
    made = [("a", "甲" + fifty + "乙"), ("b", fifty), ("c", fifty[:49]), ("d", f"x {fifty[:49]} {fifty} {fifty} y")]
    rows_made = [{"id": name, "lang": "zh", "text": text} for name, text in made]
    chain = """
[[stage]]
use = "read"
[[stage]]
use = "windows"
length = 50
unit = "character"
[[stage]]
use = "substring"
inside = true
[[stage]]
use = "apply"
after = ["read", "substring"]
spans = true
sentences = false
min_chars = 1
"""
    where = [
        source(row["id"], [write(tmp_path / row["id"] / "x.jsonl", [row])], priority=i)
        for i, row in enumerate(rows_made)
    ]
    result = run(tmp_path / "root", *where, chain=chain)
    left = {d["source_id"]: d["text"] for d in rows(tmp_path / "root", result, "apply", "docs")}
    # The spaces went too: 50 characters with one of them occurred twice.
    assert left == {"a": made[0][1], "c": made[2][1], "d": f"x {fifty[:49]}y"}
    gone = rows(tmp_path / "root", result, "apply", "dropped")
    assert [(d["source_id"], d["reason"], d["value"]) for d in gone] == [("b", "too_short_after_cuts", 0)]


@pytest.mark.parametrize(
    "change, message",
    [
        ("spans = true", "spans = true is needed"),
        ('"substring"]\nspans', "so all copies of one might go"),
    ],
)
def test_mistakes_of_a_recipe(change: str, message: str, tmp_path: Path) -> None:
    """Passages need spans = true; and documents cannot go where passages of theirs may be the last copies."""
    chain = '[[stage]]\nuse = "read"\n[[stage]]\nuse = "sign"\n[[stage]]\nuse = "exact"\n' + CHAIN.split("\n", 3)[3]
    chain = chain.replace('use = "lines"\nmin', 'use = "lines"\nafter = ["read"]\nmin')
    if change == "spans = true":
        chain = chain.replace("spans = true\n", "")
    else:
        chain = chain.replace('"substring"]\n', '"substring", "exact"]\n')
    where = source("x", [write(tmp_path / "x.jsonl", corpus(1)[:4])])
    with pytest.raises(UserError, match=message):
        run(tmp_path / "root", where, chain=chain)


@pytest.mark.parametrize(
    "stage, message",
    [
        ('use = "lines"\nwithin = "site"', "within must be"),
        ('use = "lines"\nmin_bytes = 0', "min_bytes must be above 0"),
        ('use = "paragraphs"\nmin_docs = 0', "min_docs must be above 0"),
        ('use = "windows"\nunit = "token"', "unit must be"),
        ('use = "windows"\nlength = 5', "length must lie between 8 and 4096"),
        ('use = "apply"\nmin_chars = 0', "min_chars must be above 0"),
        ('use = "similar"\nratio = 0.5', "ratio must lie between 0 and 0.3"),
    ],
)
def test_mistakes_in_fields(stage: str, message: str, tmp_path: Path) -> None:
    where = source("x", [write(tmp_path / "x.jsonl", corpus(1)[:1])])
    with pytest.raises(UserError, match=message):
        parse_recipe(f'{where}[[stage]]\nuse = "read"\n[[stage]]\n{stage}\n', "test")


@pytest.mark.parametrize("name", ["matrix-dedup-en", "matrix-dedup-zh"])
def test_the_chains_of_the_paper(name: str, tmp_path: Path) -> None:
    made = corpus(4)
    sentence = "我们沿着古老的城墙走，一直走到路的尽头，那里有一扇门"
    made.append(
        {"id": "own", "lang": "zh", "text": f"{sentence}。\n中间的一段话，与别处不同。\n{sentence}！", "url": ""}
    )
    made.append(made[0] | {"id": "copy"})
    recipe = load_recipe(name, (), [str(write(tmp_path / "x.jsonl", made))])
    result = Driver(recipe, open_storage(str(tmp_path / "root")), lambda: LocalExecutor(attempts=1), quiet=True).run()
    last = result.rows[recipe.stages[-1].name]
    counts = {key.split("/")[0] for row in last for key, _ in row.counters}
    assert {"in", "kept"} <= counts and verify(str(tmp_path / "root")).faults == ()
    if name.endswith("zh"):
        texts = {d["source_id"]: d["text"] for d in rows(tmp_path / "root", result, "similar", "docs")}
        assert texts["own"] == f"{sentence}。\n中间的一段话，与别处不同。"
