"""The effect of each rule, in every way that a run keeps it, against counts worked by hand from the table NOTES."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from manifests import showrules
from manifests.__main__ import main
from manifests.latest import Run
from manifests.rulestats import Effect, RuleStats, rule_stats
from manifests.storage import StorageError, open_storage
from tests.manifests.faulty_s3 import FaultyS3
from tests.manifests.rule_roots import NOTES, RULES, make

Printed = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make(tmp_path_factory.mktemp("rules"), NOTES, RULES)


def effects(stats: RuleStats) -> dict[tuple[str, str], Effect]:
    assert len(stats.stages) == 1
    return {(item.rule.name, lang): e for item in stats.stages[0].rules for lang, e in item.languages.items()}


def sizes(*names: str) -> int:
    return sum(note.size for note in NOTES if note.id in names)


EN, ZH, FR = (sum(note.size for note in NOTES if note.lang == lang) for lang in ("en", "zh", "fr"))
# seen, fired, alone, bytes, bytes fired, unmeasured
EXPECTED = {
    ("word_count", "en"): (5, 3, 2, EN, sizes("short", "both", "marks"), 0),
    ("word_count", "zh"): (5, 2, 1, ZH, sizes("yes", "phone"), 0),
    ("word_count", "fr"): (2, 1, 1, FR, sizes("oui"), 0),
    ("digit_ratio", "en"): (5, 2, 1, EN, sizes("numbers", "both"), 1),
    ("chinese_text", "zh"): (5, 2, 1, ZH, sizes("english", "phone"), 0),
    ("dup_line_ratio", "en"): (5, 0, 0, EN, 0, 0),
    ("dup_line_ratio", "zh"): (5, 1, 1, ZH, sizes("lines"), 0),
    ("dup_line_ratio", "fr"): (2, 0, 0, FR, 0, 0),
    ("curly_bracket_ratio", "en"): (5, 0, 0, EN, 0, 0),
    ("curly_bracket_ratio", "zh"): (5, 0, 0, ZH, 0, 0),
    ("curly_bracket_ratio", "fr"): (2, 0, 0, FR, 0, 0),
}
TOGETHER = {
    "en": (5, 4, 3, EN, sizes("short", "numbers", "both", "marks"), 1),
    "zh": (5, 4, 3, ZH, sizes("yes", "english", "phone", "lines"), 0),
    "fr": (2, 1, 1, FR, sizes("oui"), 0),
}


def test_effects(run: Run) -> None:
    stats = rule_stats(run)
    assert effects(stats) == {key: Effect(*row) for key, row in EXPECTED.items()}
    assert stats.stages[0].together == {lang: Effect(*row) for lang, row in TOGETHER.items()}
    assert stats.warnings == ()


def test_one_language(run: Run) -> None:
    assert effects(rule_stats(run, lang="zh")) == {k: Effect(*v) for k, v in EXPECTED.items() if k[1] == "zh"}


def test_without_values_the_dropped_rows_tell_the_same(tmp_path: Path) -> None:
    """All but the bytes, and what was not measured of a rule for several languages."""
    stats = rule_stats(make(tmp_path, NOTES, RULES, values=False))
    expected = {}
    for (name, lang), (seen, fired, alone, _, _, unmeasured) in EXPECTED.items():
        single = name in ("digit_ratio", "chinese_text")
        expected[name, lang] = Effect(seen, fired, alone, None, None, unmeasured if single else None)
    assert effects(stats) == expected
    assert {lang: (e.seen, e.fired, e.alone) for lang, e in stats.stages[0].together.items()} == {
        lang: row[:3] for lang, row in TOGETHER.items()
    }
    assert stats.warnings == ("filter kept no measured values: bytes are not known",)


def test_a_stage_for_one_language_and_one_source(tmp_path: Path) -> None:
    """Documents that the stage never saw are not counted, with values and without."""
    rules = [RULES[0], RULES[2]]
    for values in (True, False):
        found = rule_stats(make(tmp_path / str(values), NOTES, rules, values=values, lang=["zh"], sources=["notes"]))
        assert {key: (e.seen, e.fired, e.alone) for key, e in effects(found).items()} == {
            ("word_count", "zh"): (5, 2, 1),
            ("chinese_text", "zh"): (5, 2, 1),
        }
        assert set(found.stages[0].together) == {"zh"}


def test_early_exit(tmp_path: Path) -> None:
    """What fails the first tier is not put to the second: 3 English, 2 Chinese, 1 French document."""
    found = rule_stats(make(tmp_path, NOTES, RULES, early_exit=True))
    seen = {key: (e.seen, e.fired, e.alone, e.unmeasured) for key, e in effects(found).items()}
    assert seen["word_count", "en"] == (5, 3, 3, 0)
    assert seen["digit_ratio", "en"] == (2, 1, 1, 0)
    assert seen["chinese_text", "zh"] == (3, 1, 1, 0)
    assert seen["dup_line_ratio", "zh"] == (3, 1, 1, 0)
    assert seen["curly_bracket_ratio", "fr"] == (1, 0, 0, 0)
    assert len(found.warnings) == 1 and found.warnings[0].startswith("filter ran with early_exit: ")


def test_rules_that_never_fire(run: Run) -> None:
    """The bound is the number of documents of the rule's language: English and Chinese have five, French has two."""
    assert rule_stats(run, large=5).warnings == (
        "filter: the rule dup_line_ratio never fired on 5 documents in en",
        "filter: the rule curly_bracket_ratio never fired on 5 documents in en",
        "filter: the rule curly_bracket_ratio never fired on 5 documents in zh",
    )
    assert rule_stats(run, large=6).warnings == ()


def test_a_rule_that_could_not_be_measured(tmp_path: Path) -> None:
    blank = [note for note in NOTES if note.id == "marks"]
    rule = {"signal": "digit_ratio", "hi": 0.3}
    found = rule_stats(make(tmp_path, blank, [rule]), large=1)
    assert found.warnings == (
        "filter: the rule digit_ratio never fired on 1 documents in en, of which none could be measured",
    )


def test_the_table(run: Run) -> None:
    """English beside Chinese beside the others; dashes where a rule does not hold."""
    lines = list(showrules.show_rules(rule_stats(run)))
    cells = {line.split()[0]: line.split()[1:] for line in lines[2:9]}
    header = lines[2]
    assert header.index("en seen") < header.index("zh seen") < header.index("other seen")
    share = f"{sizes('numbers', 'both') / EN:.1%}"
    assert cells["digit_ratio"] == ["5", "2", "40.0%", "1", share, "1", *["-"] * 12]
    assert cells["word_count"][6:10] == ["5", "2", "40.0%", "1"]
    assert cells["word_count"][12:16] == ["2", "1", "50.0%", "1"]
    definition = next(line for line in lines if line.startswith("filter  chinese_text"))
    assert definition.split() == ["filter", "chinese_text", "zh", "1", "han_ratio", "in", "[0.5,", "inf)", "ours"]
    assert any(line.startswith("any rule") for line in lines)


def test_equal_names_share_a_line() -> None:
    one, two = Effect(1, 0, 0, 9, 0, 0), Effect(2, 1, 0, None, None, 0)
    lines: list[tuple[str, dict[str, Effect]]] = []
    for name, groups in (("a", {"en": one}), ("b", {"en": one}), ("a", {"zh": two}), ("a", {"zh": one})):
        showrules.place(lines, name, dict(groups))
    assert lines == [("a", {"en": one, "zh": two}), ("b", {"en": one}), ("a", {"zh": one})]
    assert showrules.grouped({"fr": one, "de": two, "en": two}) == {"other": Effect(3, 1, 0, None, None, 0), "en": two}


def test_json(run: Run, capsys: Printed) -> None:
    assert main(["rules", run.storage.uri, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["recipe", "root", "stages", "warnings"]
    stage = found["stages"][0]
    assert (stage["stage"], stage["early_exit"], stage["values"]) == ("filter", False, True)
    first = stage["rules"][0]
    assert first["rule"] == {
        "name": "word_count", "signal": "word_count", "lo": 4.0, "hi": 100.0,
        "lang": "*", "source": "Gopher", "tier": 0,
    }  # fmt: skip
    assert first["languages"]["zh"] == asdict(Effect(*EXPECTED["word_count", "zh"]))


def test_mistakes(run: Run, small_corpus: Path, tmp_path: Path, capsys: Printed) -> None:
    assert main(["rules", run.storage.uri, "--stage", "filtre"]) == 2
    assert "--stage filtre: the run has no such stage with rules; did you mean 'filter'?" in capsys.readouterr().err
    assert main(["rules", run.storage.uri, "--plot", "x.png"]) == 2
    assert "--histogram SIGNAL" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["rules", run.storage.uri, "--histogram", "word_count", "--try", "word_count > 1"])
    unruled = make(tmp_path, NOTES, [])
    with pytest.raises(StorageError, match="no stage of this run has rules"):
        rule_stats(unruled)


def test_a_side_file_that_is_gone(tmp_path: Path, capsys: Printed) -> None:
    run = make(tmp_path, NOTES, RULES)
    side = next(row for row in run.rows["filter"] if row.output == "signals")
    (tmp_path / "corpus" / str(side.path)).unlink()
    assert main(["rules", run.storage.uri]) == 2
    assert "`verify` lists all that is damaged" in capsys.readouterr().err


def test_a_root_in_s3(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    with FaultyS3() as store:
        store.make_bucket("corpus")
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        there = open_storage("s3://corpus/rules")
        for entry in run.storage.list(""):
            there.put(entry.path, run.storage.get(entry.path))
        for more in ([], ["--histogram", "word_count"], ["--try", "word_count >= 3"]):
            answers = []
            for root in (run.storage.uri, "s3://corpus/rules"):
                assert main(["rules", root, *more]) == 0
                answers.append(capsys.readouterr().out)
            assert answers[0] == answers[1]
