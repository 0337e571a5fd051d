"""Texts that share sentences, lines, passages and menus, a chain of stages over them, and what it should say, in plain
Python."""

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

from manifests.latest import open_run
from manifests.rebuild import rebuild
from pipeline.driver import Result
from pipeline.recipe import parse_recipe
from tests.runs import run_recipe
from tests.stages.dedup_runner import rows

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
    return run_recipe(recipe, root)


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
