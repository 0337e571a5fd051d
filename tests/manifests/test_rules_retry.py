"""What another threshold would have dropped: counted by hand, and checked against real runs with that threshold."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests import showrules
from manifests.__main__ import main
from manifests.latest import Run
from manifests.query import Amount
from manifests.retry import Outcome, StageTrial, Trial, comparisons, retry
from manifests.storage import StorageError
from tests.manifests.rule_roots import NOTES, RULES, make, random_notes

Printed = pytest.CaptureFixture[str]
ALL = 1_000_000
MANY = random_notes(300, seed=11)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make(tmp_path_factory.mktemp("few"), NOTES, RULES)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make(tmp_path_factory.mktemp("many"), MANY, RULES)


def amount(*names: str) -> Amount:
    return Amount(len(names), sum(note.size for note in NOTES if note.id in names))


# Seen and dropped are the same for all; here newly dropped and newly kept.
CASES = [
    ("word_count >= 1", "en", [], ["short"]),  # "both" failed another rule too; "marks" has no word
    ("word_count >= 0", "en", [], ["short", "marks"]),
    ("word_count >= 1", "zh", [], ["yes"]),
    ("word_count >= 6", "en", [], []),  # "calm" has just six
    ("word_count > 6", "en", ["calm"], []),
    ("word_count > 5", "zh", ["tea"], []),
    ("word_count<=5 and word_count >= 2", "en", ["calm"], ["short"]),
    ("digit_ratio <= 1", "en", [], ["numbers"]),
    ("digit_ratio <= 1 and word_count >= 2", "en", [], ["short", "numbers", "both"]),
    ("chinese_text > 0.5", "zh", [], []),  # "yes" has 0.5, but was dropped for its length
    ("chinese_text >= 0.1", "zh", [], []),  # "phone" is too short as well, "english" has none
    ("han_ratio >= 0", "zh", [], ["english"]),  # the signal names the rule as well
    ("dup_line_ratio < 0.7", "zh", [], ["lines"]),
]


@pytest.mark.parametrize("expression, lang, gone, back", CASES)
def test_by_hand(run: Run, expression: str, lang: str, gone: list[str], back: list[str]) -> None:
    (stage,) = retry(run, expression).stages
    here = [note for note in NOTES if note.lang == lang]
    assert stage.languages[lang] == Outcome(
        amount(*(note.id for note in here)),
        amount(*(note.id for note in here if note.fails)),
        amount(*gone),
        amount(*back),
    )


def dropped_ids(run: Run) -> set[str]:
    paths = [row.path for row in run.rows["filter"] if row.output == "dropped"]
    tables = [pq.read_table(f"{run.storage.uri}/{path}", columns=["doc_id"]) for path in paths]
    return {value.hex() for table in tables for value in table["doc_id"].to_pylist()}


@pytest.mark.parametrize(
    "expression",
    [
        "word_count >= 7",
        "word_count > 2",
        "word_count < 12",
        "digit_ratio <= 0.05",
        "dup_line_ratio <= 0.5 and dup_line_ratio >= 0.1",
        "chinese_text >= 0.8 and curly_bracket_ratio < 0.1 and word_count >= 2",
    ],
)
def test_a_real_run_with_the_other_threshold_drops_the_same(many: Run, tmp_path: Path, expression: str) -> None:
    trial = retry(many, expression, ids=ALL)
    (stage,) = trial.stages
    changes = [
        {"override": c.rule.name, "lang": c.rule.lang}
        | {side: value for side, value in (("lo", c.lo), ("hi", c.hi)) if value is not None}
        for c in stage.changes
    ]
    # A doc_id comes from the source's name, the path below its root and the row, so it is the same in both runs.
    other = make(tmp_path, MANY, [*RULES, *changes])
    gone, back = set(stage.dropped_ids), set(stage.kept_ids)
    assert dropped_ids(other) == (dropped_ids(many) | gone) - back
    assert gone or back
    assert gone.isdisjoint(dropped_ids(many)) and back <= dropped_ids(many)
    amounts = stage.languages.values()
    assert len(gone) == sum(outcome.newly_dropped.docs for outcome in amounts)
    assert len(back) == sum(outcome.newly_kept.docs for outcome in amounts)


def test_one_language(many: Run) -> None:
    """Only rules that hold for the language change, and only its documents are counted."""
    (everything,) = retry(many, "word_count >= 7").stages
    (chinese,) = retry(many, "word_count >= 7", lang="zh").stages
    assert chinese.languages == {"zh": everything.languages["zh"]}
    assert set(everything.languages) == {"en", "fr", "zh"}


def test_few_ids_are_the_smallest(many: Run) -> None:
    (everything,) = retry(many, "word_count >= 7", ids=ALL).stages
    (few,) = retry(many, "word_count >= 7", ids=3).stages
    assert list(few.dropped_ids) == sorted(everything.dropped_ids)[:3]


def test_early_exit_is_warned_about(tmp_path: Path) -> None:
    """ "both" fails the first tier, so its digits were not measured: it seems to stay, as an upper bound says."""
    found = retry(make(tmp_path, NOTES, RULES, early_exit=True), "word_count >= 2")
    assert found.stages[0].languages["en"].newly_kept == amount("short", "both")
    assert len(found.warnings) == 1 and "upper bound" in found.warnings[0]


@pytest.mark.parametrize(
    "expression, complaint",
    [
        ("", "'' is no comparison; say what is kept"),
        ("word_count", "is no comparison"),
        ("word_count = 5", "is no comparison"),
        ("2 < word_count < 5", "is no comparison"),
        ("word_count < 5 and", "is no comparison"),
        ("word_count < 5 or word_count > 7", "is no comparison"),
        ("word_count < nan", "is no comparison"),
        ("word_cuont < 5", "did you mean 'word_count'?"),
        ("word_count < 2", "would keep nothing"),
    ],
)
def test_mistakes(run: Run, capsys: Printed, expression: str, complaint: str) -> None:
    if not expression:
        with pytest.raises(StorageError, match="no comparison"):
            retry(run, expression)
        return
    assert main(["rules", run.storage.uri, "--try", expression]) == 2
    assert complaint in capsys.readouterr().err


def test_a_rule_of_another_language(run: Run) -> None:
    with pytest.raises(StorageError, match="1e39 is beyond the range of float32"):
        comparisons("word_count <= 1e39")
    with pytest.raises(StorageError, match="no rule or signal for zh is named 'digit_ratio'"):
        retry(run, "digit_ratio < 0.1", lang="zh")


def test_without_values(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="--set filter.values=true"):
        retry(make(tmp_path, NOTES, RULES, values=False), "word_count > 1")


@pytest.mark.parametrize("text, parts", [("a<1", 1), (" a >= -1.5e3 and b<= .5 ", 2), ("x.y-z > +2", 1)])
def test_what_is_a_comparison(text: str, parts: int) -> None:
    assert len(comparisons(text)) == parts


def test_printed(run: Run, capsys: Printed) -> None:
    assert main(["rules", run.storage.uri, "--try", "word_count > 5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "filter: word_count [*] keeps [5.0000005, 100] instead of [4, 100]"
    assert lines[1] == '  in a recipe: { override = "word_count", lo = 5.0000005, hi = 100, lang = "*" }'
    cells = {line[:13].strip(): line[13:].split() for line in lines[3:10]}
    assert cells["newly dropped"] == ["0", "0.0%", "0.00", "1", "20.0%", "0.00", "1", "50.0%", "0.00"]
    assert cells["dropped then"] == ["4", "80.0%", "0.00", "5", "100.0%", "0.00", "2", "100.0%", "0.00"]
    header = lines[3]
    assert header.startswith("filter ") and lines[10].startswith("filter would drop, for example: ")
    assert header.index("en docs") < header.index("zh docs") < header.index("other docs")


def test_stages_for_different_languages_share_a_table() -> None:
    one = Outcome(Amount(10, 0), Amount(2, 0), Amount(1, 0), Amount(0, 0))
    stages = [
        StageTrial(name, False, (), {lang: one}, (), ()) for name, lang in (("a", "en"), ("b", "zh"), ("c", "zh"))
    ]
    lines = list(showrules.show_trial(Trial("x > 1", tuple(stages), ())))
    assert [line.split()[:3] for line in lines if "docs" in line] == [["a,", "b", "en"], ["c", "en", "docs"]]
    assert lines[7].split() == ["dropped", "then", "3", "30.0%", "0.00", "3", "30.0%", "0.00"]


def test_json(run: Run, capsys: Printed) -> None:
    assert main(["rules", run.storage.uri, "--try", "word_count > 5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["expression", "stages", "warnings"]
    (stage,) = found["stages"]
    assert stage["languages"]["zh"]["newly_dropped"] == {"docs": 1, "bytes": len("我喜欢喝茶。".encode())}
    assert len(stage["dropped_ids"]) == 2  # "tea" and "thé"
