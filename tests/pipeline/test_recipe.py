"""Recipes: what is accepted, what is refused and with which sentence, and what decides an identity."""

import pytest

from pipeline.plan import graph
from pipeline.recipe import Recipe, load_recipe, natural, parse_recipe
from stages.base import UserError

SOURCE = """
[[source]]
name = "web"
kind = "jsonl"
inputs = ["a.jsonl"]
"""
CHAIN = """
[[stage]]
use = "read"
[[stage]]
use = "filter"
name = "filter-zh"
lang = ["zh"]
rules = [{ signal = "han_ratio", lo = 0.3, lang = "zh", source = "ours" }]
[[stage]]
use = "sign"
[[stage]]
use = "exact"
[[stage]]
use = "apply"
after = ["filter-zh", "exact"]
"""


def recipe(text: str = SOURCE + CHAIN, *settings: str) -> Recipe:
    return parse_recipe(text, "test", settings)


def ids(text: str = SOURCE + CHAIN, *settings: str) -> dict[str, str]:
    return {node.name: node.step.stage_id for node in graph(recipe(text, *settings)).nodes}


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("x = [", "not valid TOML"),
        (SOURCE, "at least one"),
        (SOURCE.replace("kind", "knid") + CHAIN, "unknown key 'knid'; did you mean 'kind'"),
        (SOURCE.replace('"jsonl"', '"jsnol"') + CHAIN, "kind must be warc, jsonl or parquet"),
        (SOURCE.replace('["a.jsonl"]', "[]") + CHAIN, "inputs is empty"),
        (SOURCE.replace('"web"', '"Web/1"') + CHAIN, "a name is made of"),
        (SOURCE + CHAIN.replace('"exact"\n', '"exat"\n'), "use = 'exat'; did you mean 'exact'"),
        (SOURCE + CHAIN.replace("lang = [", "langs = ["), "unknown key 'langs'; did you mean 'lang'"),
        (SOURCE + CHAIN.replace('"han_ratio"', '"ham_ratio"'), "ham_ratio"),
        (SOURCE + CHAIN.replace("lo = 0.3", "low = 0.3"), "unknown key 'low'; did you mean 'lo'"),
        (SOURCE + CHAIN.replace('"exact"]', '"exat"]'), "after names 'exat'; did you mean 'exact'"),
        (SOURCE + CHAIN.replace('["zh"]', '"zh"'), "lang must be a list"),
        (SOURCE + CHAIN.replace('name = "filter-zh"', 'name = "web"'), "used twice"),
        (SOURCE + CHAIN.replace('use = "read"', 'use = "sign"\nname = "first"'), "needs `after`"),
        (SOURCE + CHAIN + '[[stage]]\nuse="filter"\nrules=["matrx-zh"]', "matrx-zh"),
        (
            SOURCE + CHAIN.replace('lang = "zh", source = "ours" }', 'lang = "zh" }, { signal = "han_ratio", hi = 1 }'),
            "named",
        ),
        (SOURCE.replace('"jsonl"', '"warc"') + CHAIN, "source web: warc needs one stage with use = 'extract', not 0"),
        (SOURCE + CHAIN.replace('lang = "zh", ', 'lang = "zn", '), "holds for 'zn', which this stage never sees"),
        (SOURCE + CHAIN + f"[run]\ndeadline = {10**400}", "deadline is too large a number"),
        (SOURCE + CHAIN + "[run]\ndeadline = inf", "must be a finite number"),
        (SOURCE + CHAIN + '[run]\nmemory = "plenty"', "memory must be a size such as 4GiB"),
        (SOURCE + CHAIN + '[run]\nmemory = "1GB"', "memory must be at least 1GiB"),
        (SOURCE + CHAIN + '[[stage]]\nuse = "tokens"', "needs one `vocab` in `after`, not 0"),
        ('base = "wbe"' + SOURCE + CHAIN, "'wbe'; did you mean 'web'"),
    ],
)
def test_a_mistake_is_named(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence.replace("[", r"\[").replace("(", r"\(")):
        graph(recipe(text))


def test_settings_reach_stages_and_sources() -> None:
    changed = recipe(SOURCE + CHAIN, "sign.bands=25", "web.inputs=['b', 'c']", "web.snapshot=s2", "run.attempts=5")
    assert getattr(changed.stages[2], "bands", None) == 25
    assert changed.sources[0].inputs == ("b", "c")
    assert changed.sources[0].snapshot == "s2"
    assert changed.limits.attempts == 5


@pytest.mark.parametrize("name", ["sample", "warc", "cc", "jsonl", "parquet"])
def test_the_text_that_is_kept_is_the_recipe_that_ran(name: str) -> None:
    settings = (
        "verify.threshold=0.7",
        "filter-zh.lang=['zh', 'ja']",
        r'language.model={ uri = "a\"b\\c\u007f.ftz", sha256 = "ab" }',
    )
    ran = load_recipe(name, settings, ["雨/*.warc.gz"])
    again = parse_recipe(ran.text, name)
    assert (again.sources, again.stages, again.limits) == (ran.sources, ran.stages, ran.limits)
    assert again.text == ran.text


@pytest.mark.parametrize(
    "setting, sentence",
    [
        ("sign.bnads=3", "unknown key 'bnads'; did you mean 'bands'"),
        ("sing.bands=3", "no stage or source 'sing'; did you mean 'sign'"),
        ("bands=3", "name.field"),
        ("sign.bands", "name.field=value"),
        ("sign.bands=many", "must be of type int"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        recipe(SOURCE + CHAIN, setting)


def test_a_change_reaches_the_stage_and_what_follows() -> None:
    before = ids()
    changed = ids(SOURCE + CHAIN, "sign.rows=6")
    assert {name for name in before if before[name] != changed[name]} == {"sign", "exact", "apply"}


def test_inputs_store_and_limits_are_no_identity() -> None:
    assert ids() == ids(SOURCE + CHAIN, "web.inputs=['z']", "filter-zh.store=true", "run.errors=0.5")


def test_a_rule_and_its_threshold_are_identity() -> None:
    assert ids()["filter-zh"] != ids(SOURCE + CHAIN.replace("lo = 0.3", "lo = 0.31"))["filter-zh"]


def test_what_flows_in_memory_and_what_is_stored() -> None:
    nodes = {node.name: node.step.stored for node in graph(recipe()).nodes}
    assert nodes == {"read": False, "filter-zh": True, "sign": True, "exact": True, "apply": True}
    with pytest.raises(UserError, match="store = false is not possible, since 2 stages"):
        graph(recipe(SOURCE + CHAIN, "filter-zh.store=false"))


def test_snapshots_are_ordered_by_their_numbers() -> None:
    assert sorted(["s10", "s9", "2024-22", "2024-3"], key=natural) == ["2024-3", "2024-22", "s9", "s10"]
