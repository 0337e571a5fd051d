"""Do our rule tables decide as datatrove's filters do? Real documents in; for each family of rules and language, at
datatrove's defaults and at equal bounds, the share of equal decisions and what the others were dropped for, out. The
surprise: where two implementations of one paper differ, they differ in what a word, a line or a duplicate is, not in
the thresholds; CAUSES says how. No bar: it is a table to be read. Run: python -m benchmarks.agreement [DOCUMENTS]
"""

import gzip
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.measure import CHECKOUT, SHARED, table
from benchmarks.peers import DATATROVE, PINS, trouble
from filters.decide import decide
from filters.rules import Rule, load_rules

MOST_CHARS = 16_000  # of a document
EACH = 120  # documents of each collection
COLLECTIONS = {
    "en": ("tfdocs.en-snapshot", "novels.en"),
    "zh": ("tfdocs.zh-cn", "pingcap-docs.zh", "laws.zh", "cmrc-wikipedia.zh"),
}
FAMILIES = {"gopher quality": "gopher", "gopher repetition": "gopher", "c4": "c4", "fineweb": "fineweb"}

SETTINGS = ("defaults", "same bounds", "our units")

# By the beginning of datatrove's reason or of our rule: how the two definitions differ.
CAUSES = {
    "gopher_short_doc": "its words are spaCy's: it's is two",
    "gopher_below_alpha": "punctuation marks are words without a letter to it",
    "gopher_too_many_bullets": "a hyphen is a bullet to it",
    "gopher_enough_stop": "it compares words with case",
    "gopher_too_many": "its words are fewer than our raw words",
    "dup_line": "it counts blank and indented lines as they are, over the whole text",
    "dup_para": "it compares paragraphs as they are, over the whole text",
    "top_": "an n-gram that occurs once counts for it, so do spaces and punctuation, over the whole text",
    "duplicated_": "it counts repeats but not the first occurrence, punctuation too, over the whole text",
    "too_few_sentences": "no 。 ！ ？ or ” ends a line for it, a word has spaces around it, and spaCy splits sentences",
    "lorem": "it looks into the lines only that it keeps",
    "curly_bracket": "it looks into the lines only that it keeps",
    "line_punct": "no quotation mark and no mark before white space ends a line for it",
    "short_line": "30 characters are short to it, of Chinese too",
    "char_dup": "it compares lines as they are",
    "list_ratio": "characters and punctuation marks are words to it",
    "gopher_word": "it's is one word to us",
    "gopher_mean": "it's is one word to us",
    "gopher_alpha": "a run of letters between ideographs is one word to us",
    "gopher_hash": "its words are more than our raw words",
    "gopher_dup_paragraph": "we strip paragraphs, and divide by the paragraphs only",
    "gopher_dup_line": "we strip lines, and divide by the lines only",
    "gopher_dup": "we count all letters of repeated n-grams, the first occurrence too, over the letters of words",
    "gopher_top": "we divide by the letters of words only",
    "c4_curly": "we look into every line, as the paper says",
    "c4_sentence": "its end of a line is not ours",
    "fineweb_dup_line_char": "we strip lines",
    "fineweb_terminal": "its set of marks is larger",
    "fineweb_short_line": "we strip lines",
    "fineweb_newline": "two ideographs are one word to us, and a mark is none",
}


@dataclass(frozen=True)
class Text:
    """A document of the sample."""

    lang: str
    text: str


def sample(each: int) -> list[Text]:
    """Real documents of both languages, each text once."""
    found = {}
    for text in (*records(), *(text for lang in COLLECTIONS for text in collected(lang, each))):
        if text.text.strip():
            found.setdefault(text.text, text)
    return list(found.values())


def records() -> Iterator[Text]:
    """The documents with reference signals, and the gold texts of web pages."""
    for row in rows(SHARED / "rps" / "docs.jsonl.gz"):
        yield Text(row["lang"], row["text"][:MOST_CHARS])
    for row in rows(SHARED / "extract" / "index.jsonl"):
        if row["lang_guess"] in COLLECTIONS:
            yield Text(row["lang_guess"], row["gold"][:MOST_CHARS])


def collected(lang: str, each: int) -> Iterator[Text]:
    """Documents spread evenly over each collection of running text."""
    for name in COLLECTIONS[lang]:
        whole = [row["text"] for row in rows(SHARED / "text" / f"{name}.jsonl.gz")]
        cut = [text[i : i + MOST_CHARS] for text in whole for i in range(0, len(text), MOST_CHARS)]
        for text in cut[:: max(1, len(cut) // each)][:each]:
            yield Text(lang, text)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def rules_of(family: str) -> list[Rule]:
    """Our rules of a family; Gopher's table holds two."""
    name = FAMILIES[family]
    rules = load_rules((CHECKOUT / "pipeline" / "recipes" / f"{name}.toml").read_text(encoding="utf-8"))
    if name != "gopher":
        return list(rules)
    repetition = family == "gopher repetition"
    return [rule for rule in rules if rule.label.startswith(("gopher_dup", "gopher_top")) == repetition]


def ours(texts: list[Text], family: str) -> list[str]:
    """The first rule that each document fails, or ""."""
    rules = rules_of(family)
    column = pa.array([text.text for text in texts], pa.string())
    decision = decide(column, [text.lang for text in texts], rules)
    return [rules[first].label if first >= 0 else "" for first in decision.first]


def theirs(texts: list[Text]) -> list[dict[str, dict[str, str]]]:
    """datatrove's reasons for each document, by setting and family."""
    with tempfile.TemporaryDirectory(prefix="glasspile-bench-") as scratch:
        file = Path(scratch) / "documents.jsonl"
        with file.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps({"lang": text.lang, "text": text.text}) + "\n" for text in texts)
        command = [str(DATATROVE.python), str(PINS / "quality_run.py"), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def cause(reason: str) -> str:
    """How the definitions differ behind a decision."""
    return next((why for start, why in CAUSES.items() if reason.startswith(start)), "")


def main() -> int:
    """Print both tables; nothing here can be missed."""
    if not SHARED.exists():
        print("not measured: the texts are not here")
        return 0
    if wrong := trouble(DATATROVE):
        print(f"not measured: datatrove: {wrong}")
        return 0
    texts = sample(int(sys.argv[1]) if len(sys.argv) > 1 else EACH)
    their_reasons = theirs(texts)
    shares, causes = [], []
    for family in FAMILIES:
        our_reasons = ours(texts, family)
        for lang in COLLECTIONS:
            chosen = [i for i, text in enumerate(texts) if text.lang == lang]
            for setting in SETTINGS:
                pairs = [(our_reasons[i], their_reasons[i][setting][family]) for i in chosen]
                n = len(pairs)
                equal = sum(bool(a) == bool(b) for a, b in pairs)
                cells = [
                    n,
                    f"{equal / n:.1%}",
                    *(f"{sum(map(bool, side)) / n:.1%}" for side in zip(*pairs, strict=True)),
                ]
                only = [sum(bool(a) and not b for a, b in pairs), sum(bool(b) and not a for a, b in pairs)]
                shares.append([family, lang, setting, *map(str, cells), *map(str, only)])
                for (a, b), count in Counter(pair for pair in pairs if bool(pair[0]) != bool(pair[1])).most_common():
                    causes.append(
                        [family, lang, setting, "ours" if a else "datatrove", a or b, str(count), cause(a or b)]
                    )
    print(table(["rules", "lang", "datatrove's", "docs", "equal", "we drop", "it drops", "only we", "only it"], shares))
    print()
    print(table(["rules", "lang", "datatrove's", "dropped by", "for", "docs", "how they differ"], causes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
