"""The table of rules in docs/filters.md says what the catalogue says."""

import pytest

from benchmarks.rule_table import BEGIN, END, HEAD, PAGE, TABLES, fixed, rules_of


@pytest.mark.parametrize("table", TABLES)
def test_the_page_has_every_rule_as_it_is(table: str) -> None:
    page = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    section = page.partition(f"### {table}\n")[2].partition("\n### ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line[:1] == "|"]
    assert rows[0] == list(HEAD)
    expected = [[cell.strip() for cell in fixed(rule)] for rule in rules_of(table)]
    assert [row[:5] for row in rows[2:]] == expected, "run `python -m benchmarks.rule_table`"
