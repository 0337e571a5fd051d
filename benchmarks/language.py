"""Language identification against whole-text fastText with the same model: real documents in; speed, agreement and
accuracy per collection out, en and zh side by side. The surprise: both are timed in turns over the same thirds of a
collection, because a shared machine changes its speed within a run. Run: python -m benchmarks.language [PAGES.jsonl]"""

import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fasttext
import pyarrow as pa

from filters.ftz import read_model
from filters.language import Identifier
from manifests.asset import LID176

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
LANGUAGES = ("en", "zh")
TURNS = 3
SPEED_BAR, AGREEMENT_BAR = 5.0, 0.995


@dataclass
class Tally:
    """Sums over documents of one collection or of several."""

    docs: int = 0
    megabytes: float = 0.0
    reference_seconds: float = 0.0
    seconds: float = 0.0
    sampled_agrees: int = 0  # the model's own label on the windows
    label_agrees: int = 0  # the final label, script rules and thresholds included

    def __iadd__(self, other: "Tally") -> "Tally":
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    @property
    def ratio(self) -> float:
        return self.reference_seconds / self.seconds

    def __str__(self) -> str:
        if not self.docs:
            return f"{'-':>8}{'':54}"
        rates = (
            f"{self.megabytes / self.reference_seconds:6.1f} {self.megabytes / self.seconds:8.1f} {self.ratio:7.1f}x"
        )
        shares = f"{self.sampled_agrees / self.docs:9.2%} {self.label_agrees / self.docs:9.2%}"
        return f"{self.docs:>8} {self.megabytes:7.1f} {rates} {shares}"


def records(path: Path) -> list[dict]:
    """The lines of a JSONL file, plain or gzip."""
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as lines:
        return [json.loads(line) for line in lines]


def collections(extra: list[Path]) -> dict[str, dict[str, list[str]]]:
    """Texts by collection and language; JSONL files named by the user add a collection each."""
    found: dict[str, dict[str, list[str]]] = {}

    def add(name: str, language: str, text: str) -> None:
        found.setdefault(name, {}).setdefault(language, []).append(text)

    for path in sorted((SHARED / "data" / "text").glob("*.jsonl.gz")):
        name = path.name.split(".")[0]
        for record in records(path):
            if "text" in record:
                add(name, record["lang"][:2], record["text"])
            else:
                for language in LANGUAGES:
                    add(f"{name} (lines)", language, record[language])
    for record in records(SHARED / "data" / "extract" / "index.jsonl"):
        add("pages (gold)", (record["lang_guess"] or "?")[:2], record["gold"])
    for path in extra:
        for record in records(path):
            add(path.name, record.get("lang", "?")[:2], record["text"])
    return found


def compare(texts: list[str], reference: Callable[[str], str], identifier: Identifier) -> Tally:
    """Time and agreement over some texts, in turns."""
    tally = Tally()
    for turn in range(TURNS):
        part = texts[turn::TURNS]
        column = pa.array(part, pa.string())
        start = time.perf_counter()
        expected = [reference(text) for text in part]
        middle = time.perf_counter()
        labels = identifier.identify(column).lang.to_pylist()
        end = time.perf_counter()
        own = [identifier.model.labels[i] for i in identifier.measure(column).label]
        tally += Tally(
            len(part),
            sum(len(text.encode()) for text in part) / 1e6,
            middle - start,
            end - middle,
            sum(a == b for a, b in zip(expected, own, strict=True)),
            sum(a == b for a, b in zip(expected, labels, strict=True)),
        )
    return tally


def score_lines(gold: Path, reference: Callable[[str], str], identifier: Identifier) -> None:
    """Print what score_lid.py says about fastText and about us on labelled lines."""
    lines = gold.read_text(encoding="utf-8").splitlines()[1:]
    texts = [line.split("\t")[-1] for line in lines]
    labels = identifier.identify(pa.array(texts, pa.string()))
    ours = zip(labels.lang.to_pylist(), labels.script.to_pylist(), strict=True)
    predictions = {"fastText": [(reference(text), None) for text in texts], "ours": list(ours)}
    for name, predicted in predictions.items():
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            for number, (lang, script) in enumerate(predicted, 1):
                file.write(json.dumps({"line": number, "lang": lang, "script": script}) + "\n")
            file.flush()
            program = [
                sys.executable,
                str(SHARED / "evaluate" / "score_lid.py"),
                "--gold",
                str(gold),
                "--pred",
                file.name,
            ]
            said = subprocess.run(program, capture_output=True, text=True, check=True).stdout
        kept = [line for line in said.splitlines() if line.startswith(("part", "all", "false"))]
        print(f"\n{gold.name}: {name}", *kept, sep="\n  ")


def main() -> int:
    """Print the tables; 1 when a bar is missed."""
    path = LID176.path()
    handle = fasttext.load_model(str(path)).f  # predict() of the Python wrapper fails with numpy 2

    def reference(text: str) -> str:
        return handle.predict(text.replace("\n", " ") + "\n", 1, 0.0, "strict")[0][1].removeprefix("__label__")

    identifier = Identifier(read_model(path.read_bytes()))
    identifier.identify(pa.array(["compiled before it is timed"]))
    print("fastText and ours: MB/s. sampled: the model's label from windows is fastText's on the whole text.")
    print("label: so is ours with script rules and thresholds, which differ on purpose, mostly on short lines.")
    head = f"{'docs':>6} {'MB':>7} {'fastT':>6} {'ours':>8} {'ratio':>8} {'sampled':>9} {'label':>9}"
    print(f"{'':<22} en{head} | zh{head}")
    documents, everything, other = Tally(), Tally(), Tally()
    for name, languages in collections([Path(argument) for argument in sys.argv[1:]]).items():
        columns = {language: compare(texts, reference, identifier) for language, texts in languages.items()}
        print(f"{name:<22} " + " | ".join(str(columns.get(language, Tally())) for language in LANGUAGES))
        for language, tally in columns.items():
            everything += tally
            if "(lines)" not in name:
                documents += tally
            if language not in LANGUAGES:
                other += tally
    for title, tally in (("other languages", other), ("whole documents", documents), ("all, with lines", everything)):
        print(f"{title:<22} {tally}")
    for gold in ("udhr.tsv", "lingua.tsv"):
        score_lines(SHARED / "data" / "lid" / gold, reference, identifier)
    agreement = documents.label_agrees / documents.docs
    print(f"\nlabel of whole documents equals fastText's: {agreement:.2%} (bar {AGREEMENT_BAR:.1%})")
    print(f"speed over all: {everything.ratio:.1f} times fastText's (bar {SPEED_BAR:.0f})")
    return int(agreement < AGREEMENT_BAR or everything.ratio < SPEED_BAR)


if __name__ == "__main__":
    sys.exit(main())
