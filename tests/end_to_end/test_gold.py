"""The sample crawl's gold: what the generator planted, against what the pipeline made of it."""

from pathlib import Path

import pytest

from pipeline.driver import Result
from pipeline.sample import compare, generate
from tests.end_to_end.conftest import Crawl, fates
from tests.runs import run_recipe

# Not used while anything was developed; a fresh one may be put here at any time.
UNSEEN_SEED = 918273


def check(root: str, gold: list, text: str) -> None:
    comparison = compare(gold, fates(root))
    print(text, comparison, sep="\n")
    low = {c.category: c.wrong for c in comparison.categories if c.share < 0.98}
    assert not low
    assert {score.lang for score in comparison.near} == {"en", "zh"}
    for score in comparison.near:
        assert score.recall >= 0.98 and score.precision >= 0.98


def test_every_record_has_its_stated_fate(crawl: Crawl, reference: tuple[Path, Result]) -> None:
    check(str(reference[0]), crawl.gold, "small crawl")


def test_every_planted_exact_copy_is_found(crawl: Crawl, reference: tuple[Path, Result]) -> None:
    seen = fates(str(reference[0]))
    groups: dict[str, list[str]] = {}
    for row in crawl.gold:
        if row.category == "exact-copy" and row.group and row.url:
            groups.setdefault(row.group, []).append(seen[row.url][0])
    assert groups
    copies = [row for row in crawl.gold if row.group in groups and row.url]
    for group in groups:
        kept = [row.url for row in copies if row.group == group and seen[str(row.url)][0] == "kept"]
        assert len(kept) == 1, kept


@pytest.mark.soak
@pytest.mark.parametrize("seed", [UNSEEN_SEED, UNSEEN_SEED + 1])
def test_whole_crawls_of_unseen_seeds(tmp_path: Path, seed: int) -> None:
    gold = generate(seed, tmp_path / "crawl")
    crawl = Crawl(tmp_path / "crawl", gold)
    run_recipe(crawl.recipe(), str(tmp_path / "root"))
    check(str(tmp_path / "root"), gold, f"seed {seed}")
