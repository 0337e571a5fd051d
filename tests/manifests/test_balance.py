"""The books: which counters balance, what is said of those that do not, and where two stages disagree."""

import pytest

from manifests.balance import faults, flow_faults, row_faults, total
from manifests.store import Shard

BALANCED = {
    "nothing": {},
    "kept and dropped": {
        "in/web/en/docs": 5,
        "kept/web/en/docs": 3,
        "dropped/web/en/docs/short": 1,
        "dropped/web/en/docs/dup": 1,
    },
    "bytes with a cut": {
        "in/web/zh/bytes": 90,
        "kept/web/zh/bytes": 60,
        "cut/web/zh/bytes/lines": 20,
        "dropped/web/zh/bytes/short": 10,
    },
    "a text that grew": {"in/web/zh/bytes": 90, "kept/web/zh/bytes": 93, "cut/web/zh/bytes/mend": -3},
    "a language found": {
        "in/web/?/docs": 4,
        "moved/web/?/en/docs": 3,
        "moved/web/?/zh/docs": 1,
        "kept/web/en/docs": 3,
        "kept/web/zh/docs": 1,
    },
    "an archive": {"archive/web/read": 100, "archive/web/records": 93, "archive/web/lost": 7},
    "a side table": {"side/pairs/in": 9, "side/pairs/out/verified": 4, "side/pairs/out/rejected": 5},
    "counters that are no books": {"pairs": 3, "unmeasured/ratio/en": 2, "tokens/forced_cuts": 1},
}
UNBALANCED = [
    ({"in/web/en/docs": 5, "kept/web/en/docs": 4}, "source web, language en: 1 docs are not accounted for"),
    (
        {"in/web/en/docs": 5, "kept/web/en/docs": 5, "dropped/web/en/docs/x": 2},
        "source web, language en: 2 docs too many",
    ),
    ({"kept/web/zh/bytes": 1_234}, "source web, language zh: 1,234 bytes too many"),
    ({"archive/web/read": 10, "archive/web/records": 9}, "source web: 1 archive bytes are not accounted for"),
    ({"side/pairs/in": 1}, "table pairs: 1 rows are not accounted for"),
]


@pytest.mark.parametrize("counts", BALANCED.values(), ids=BALANCED)
def test_books_that_balance(counts: dict[str, int]) -> None:
    assert faults(counts) == []


@pytest.mark.parametrize("counts, sentence", UNBALANCED)
def test_books_that_do_not_balance(counts: dict[str, int], sentence: str) -> None:
    assert faults(counts) == [sentence]


def test_neither_languages_nor_sources_nor_units_make_up_for_each_other() -> None:
    """Ten documents in and ten out, but not the same ones."""
    for inside, outside in (("a/en/docs", "a/zh/docs"), ("a/en/docs", "b/en/docs"), ("a/en/docs", "a/en/bytes")):
        assert len(faults({f"in/{inside}": 10, f"kept/{outside}": 10})) == 2


@pytest.mark.parametrize("name", [n for n, counts in BALANCED.items() if counts and "no books" not in n])
def test_every_counter_of_the_books_matters(name: str) -> None:
    for changed in BALANCED[name]:
        assert faults(BALANCED[name] | {changed: BALANCED[name][changed] + 1})


def row(output: str, rows: int, **counters: int) -> Shard:
    named = {key.replace("__", "/"): value for key, value in counters.items()}
    return Shard("stage", "id", "key", "key", "docs", output, "digest", rows, counters=tuple(sorted(named.items())))


def test_counters_of_rows_are_added_up() -> None:
    rows = [row("docs", 1, in__a__en__docs=2), row("docs", 1), row("docs", 1, in__a__en__docs=3, pairs=1)]
    assert total(rows) == {"in/a/en/docs": 5, "pairs": 1}


def test_rows_written_are_rows_counted() -> None:
    counters = {"in__a__en__docs": 3, "kept__a__en__docs": 2, "dropped__a__en__docs__x": 1}
    assert row_faults([row("docs", 2, **counters), row("dropped", 1)]) == []
    assert row_faults([row("docs", 3, **counters), row("dropped", 1)]) == ["3 rows of docs written, 2 counted"]
    assert row_faults([row("docs", 2, **counters), row("dropped", 0)]) == ["0 rows of dropped written, 1 counted"]
    # A stage that only reads documents, such as `sign`, counts them and writes other things.
    assert row_faults([row("bands", 40, in__a__en__docs=2, kept__a__en__docs=2)]) == []
    assert row_faults([row("bands", 40, in__a__en__docs=2)]) == ["source a, language en: 2 docs are not accounted for"]


def test_what_a_stage_takes_in_is_what_the_ones_before_it_kept() -> None:
    before = {"in/a/en/docs": 9, "kept/a/en/docs": 7, "kept/a/en/bytes": 70, "kept/b/zh/docs": 2, "kept/b/fr/docs": 0}
    after = {"in/a/en/docs": 7, "in/a/en/bytes": 70, "in/b/zh/docs": 2, "kept/a/en/docs": 1}
    assert flow_faults(before, after) == []
    assert flow_faults(before, after | {"in/a/en/docs": 6}) == ["source a, language en: 7 docs kept before, 6 in"]
    assert flow_faults(before, after | {"in/c/en/docs": 1}) == ["source c, language en: 0 docs kept before, 1 in"]
    assert flow_faults(before, {}) == [
        "source a, language en: 70 bytes kept before, 0 in",
        "source a, language en: 7 docs kept before, 0 in",
        "source b, language zh: 2 docs kept before, 0 in",
    ]
