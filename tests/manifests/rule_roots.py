"""Roots with filtered documents, made by real runs of a small recipe in this process; NOTES tells every count."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from manifests.latest import Run, open_run
from pipeline.recipe import parse_recipe
from tests.runs import run_recipe


@dataclass(frozen=True)
class Note:
    """A document, the rules of RULES that it fails, and those that cannot be measured on it."""

    id: str
    lang: str
    text: str
    fails: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return len(self.text.encode())


RULES = [
    {"signal": "word_count", "lo": 4, "hi": 100, "source": "Gopher"},
    {"signal": "digit_ratio", "hi": 0.3, "lang": "en", "tier": 1, "source": "ours"},
    {"signal": "han_ratio", "lo": 0.5, "lang": "zh", "tier": 1, "name": "chinese_text", "source": "ours"},
    {"signal": "dup_line_ratio", "hi": 0.3, "tier": 1},
    {"signal": "curly_bracket_ratio", "hi": 0.5, "tier": 1},
]
NOTES = [
    Note("calm", "en", "The kettle is on the stove."),
    Note("short", "en", "Tea, please.", ("word_count",)),
    Note("numbers", "en", "Call 555 0199 now 123", ("digit_ratio",)),  # 10 digits of 17 characters
    Note("both", "en", "12 34", ("word_count", "digit_ratio")),
    Note("marks", "en", "!!! ???", ("word_count",), ("digit_ratio",)),
    Note("tea", "zh", "我喜欢喝茶。"),
    Note("yes", "zh", "好。", ("word_count",)),  # han_ratio is 0.5, which is kept
    Note("english", "zh", "This page is not Chinese at all.", ("chinese_text",)),
    Note("phone", "zh", "电话12345678", ("word_count", "chinese_text")),  # 2 ideographs of 10 characters
    Note("lines", "zh", "好茶\n好茶\n好茶", ("dup_line_ratio",)),
    Note("thé", "fr", "Le thé est bon."),
    Note("oui", "fr", "Oui.", ("word_count",)),
]


def table(values: dict) -> str:
    """A TOML inline table."""
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in values.items()) + " }"


def make(root: Path, notes: Sequence[Note], rules: Sequence[dict], **fields: object) -> Run:
    """Run the notes through one filter; `fields` are further fields of the stage. Equal notes get equal doc_ids."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "notes.jsonl").open("w", encoding="utf-8") as file:
        for note in notes:
            file.write(json.dumps({"id": note.id, "lang": note.lang, "text": note.text}) + "\n")
    recipe = f"""
[[source]]
name = "notes"
kind = "jsonl"
inputs = ["{root}/notes.jsonl"]
trust_lang = true
[[stage]]
use = "read"
[[stage]]
use = "filter"
rules = [{", ".join(map(table, rules))}]
"""
    recipe += "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())
    run_recipe(parse_recipe(recipe, "notes"), root / "corpus")
    return open_run(str(root / "corpus"))


def random_notes(count: int, seed: int) -> list[Note]:
    """Texts with some digits and repeated lines, so that every rule meets values on both sides of its bounds."""
    random = Random(seed)
    notes = []
    for number in range(count):
        lang = random.choice(["en", "zh", "fr"])
        lines = []
        for _ in range(random.randint(1, 4)):
            if lang == "zh":
                words = [random.choice(["茶", "水", "山", "人", "a", "7", "路，"]) for _ in range(random.randint(1, 8))]
                lines.append("".join(words))
            else:
                words = [random.choice(["tea", "water", "42", "{}", "road."]) for _ in range(random.randint(1, 4))]
                lines.append(" ".join(words))
        lines += random.choices(lines, k=random.choice([0, 0, 1, 2]))
        notes.append(Note(f"n{number}", lang, "\n".join(lines)))
    return notes
