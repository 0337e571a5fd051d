"""The catalogue of rules as the table in docs/filters.md: rule tables in; for each rule its definition, bounds, source,
cost, and the share of documents that it drops, en and zh side by side, out. Definitions, bounds and sources are kept
current by a test; costs and shares are of the run that wrote them. Run: python -m benchmarks.rule_table
"""

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from benchmarks.measure import CHECKOUT, SHARED, median
from benchmarks.minhash import documents, up_to
from filters.catalogue import NEEDS
from filters.decide import decide
from filters.rules import EVERY, Rule, load_rules
from filters.signals import signal_named
from filters.text import TextView
from manifests import runs
from manifests.shards import read_batches
from manifests.storage import open_storage
from pipeline.driver import Driver
from pipeline.local import LocalExecutor
from pipeline.recipe import parse_recipe
from pipeline.sample.crawl import generate

PAGE = CHECKOUT / "docs" / "filters.md"
BEGIN, END = "<!-- rules: written by python -m benchmarks.rule_table -->", "<!-- end of rules -->"
TABLES = ("matrix-en", "matrix-zh", "gopher", "c4", "fineweb", "refinedweb", "urls", "badwords")
HEAD = (
    "rule",
    "language",
    "keeps",
    "what is measured",
    "source",
    "µs",
    "sample en",
    "sample zh",
    "pages en",
    "pages zh",
)
LANGUAGES = ("en", "zh")
RECIPE = """
[[source]]
name = "web"
kind = "warc"
inputs = ["{inputs}"]
[[stage]]
use = "extract"
[[stage]]
use = "language"
keep = ["en", "zh"]
store = true
"""


def rules_of(table: str) -> tuple[Rule, ...]:
    """The rules of a table that comes with Glasspile."""
    return load_rules((CHECKOUT / "pipeline" / "recipes" / f"{table}.toml").read_text(encoding="utf-8"))


def definition(rule: Rule) -> str:
    """The first sentence of the signal's docstring."""
    return " ".join((signal_named(rule.signal).__doc__ or "").split()).split("; ")[0].rstrip(".")


def bounds(rule: Rule) -> str:
    """The range that is kept."""
    if rule.lo is None or rule.hi is None:
        return f"≥ {rule.lo:g}" if rule.hi is None else f"≤ {rule.hi:g}"
    return f"{rule.lo:g} to {rule.hi:g}"


def fixed(rule: Rule) -> list[str]:
    """The columns that follow from the catalogue; `|` would end a cell."""
    cells = [rule.label, "all" if rule.lang == EVERY else rule.lang, bounds(rule), definition(rule), rule.source]
    return [cell.replace("|", "/") for cell in cells]


def texts_of(inputs: str, folder: Path) -> dict[str, pa.RecordBatch]:
    """The documents of an archive that reach the filters, by language."""
    recipe = parse_recipe(RECIPE.format(inputs=inputs), "pages")
    storage = open_storage(str(folder))
    Driver(recipe, storage, lambda: LocalExecutor(attempts=1), quiet=True).run()
    batches = [
        batch
        for row in runs.read_rows(storage, "language")
        if row.kind == "docs" and row.path
        for batch in read_batches(storage, row.path, ["lang", "text", "url", "lang_score"])
    ]
    whole = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
    return {lang: whole.filter(pa.compute.equal(whole["lang"], lang)) for lang in LANGUAGES}


def dropped(batch: pa.RecordBatch, lang: str, rules: Sequence[Rule]) -> list[str]:
    """Share of the documents that each rule fails, "" where it does not hold for the language or needs a list."""
    beside = {"url": batch["url"], "lang_score": batch["lang_score"]}
    known = [r for r in rules if set(NEEDS.get(r.signal, ())) <= set(beside)]
    found = decide(batch["text"], [lang] * batch.num_rows, known, beside)
    share = {id(rule): found.failed[:, i].mean() for i, rule in enumerate(known) if rule.lang in (EVERY, lang)}
    return [f"{share[id(rule)]:.1%}" if id(rule) in share else "" for rule in rules]


def cost(rule: Rule, columns: Mapping[str, pa.Array]) -> str:
    """Microseconds for a document of 4 kB, measured alone: what signals share counts in each of them."""
    if rule.signal in NEEDS:
        return ""
    column = columns["zh" if rule.lang == "zh" else "en"]
    size = sum(len(text.encode()) for text in column.to_pylist())
    took = []
    for _ in range(4):
        view = TextView(column)
        start = time.process_time()
        signal_named(rule.signal)(view)
        took.append(time.process_time() - start)
    return f"{median(took[1:]) / size * 4096 * 1e6:.0f}"


def lines(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in rows]


def main() -> None:
    """Write the tables into the page."""
    with tempfile.TemporaryDirectory(prefix="glasspile-rules-") as scratch:
        folder = Path(scratch)
        generate(7, folder / "sample")
        sample = texts_of(f"{folder}/sample/*.warc.gz", folder / "a")
        pages = texts_of(str(SHARED / "extract" / "pages.warc.gz"), folder / "b")
    columns = {lang: pa.array(up_to(documents(lang), 2e6), pa.string()) for lang in LANGUAGES}
    out = [BEGIN, ""]
    both = (("sample", sample), ("pages", pages))
    counts = ", ".join(f"{name} {texts[lang].num_rows:,} {lang}" for name, texts in both for lang in LANGUAGES)
    out += [f"Documents: {counts}. Cost: µs of one core for 4 kB of real text, each signal alone.", ""]
    for table in TABLES:
        rules = rules_of(table)
        shares = [dropped(batches[lang], lang, rules) for batches in (sample, pages) for lang in LANGUAGES]
        rows = [[*fixed(r), cost(r, columns), *(s[i] for s in shares)] for i, r in enumerate(rules)]
        out += [f"### {table}", "", *lines([HEAD, ["---"] * len(HEAD), *rows]), ""]
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2] or "\n"
    PAGE.write_text(before.rstrip() + "\n\n" + "\n".join(out) + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
