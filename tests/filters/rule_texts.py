"""Texts for the tests of rules: columns of them, tables of rules, and articles of the sample."""

from pathlib import Path

import pyarrow as pa

from filters.decide import Decision, decide
from filters.rules import Rule, load_rules

PIPELINE = Path(__file__).resolve().parents[2] / "pipeline"


def column(*texts: str) -> pa.Array:
    return pa.array(texts, pa.string())


def table(name: str) -> tuple[Rule, ...]:
    return load_rules((PIPELINE / "recipes" / f"{name}.toml").read_text(encoding="utf-8"))


def judge(text: str, *rules: Rule, lang: str = "en") -> Decision:
    return decide(column(text), [lang], rules)


def articles(lang: str) -> list[str]:
    folder = PIPELINE / "sample" / "articles" / lang
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]
