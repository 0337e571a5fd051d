"""Questions to a small corpus whose answers can be counted in the table `small_corpus.DOCS`."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.compare import CountChange, compare
from manifests.gone import Dropped, sample
from manifests.latest import Run, open_run, stage_languages
from manifests.query import Amount, Kept, Stream, funnel
from manifests.storage import StorageError
from manifests.why import Answer, History, InputFate, Place, why
from tests.manifests.small_corpus import BY_NAME, DOCS, GRAPH, RECIPE, build


@pytest.fixture(scope="module")
def run(small_corpus: Path) -> Run:
    return open_run(str(small_corpus))


class TestFunnel:
    # Documents and bytes kept, and the share of the documents that the stage decided about.
    @pytest.mark.parametrize(
        "stage, everything, en, zh, other",
        [
            ("extract", (8, 1527, 8 / 9), (0, 0, None), (0, 0, None), (0, 0, None)),
            ("read", (2, 160, 1.0), (0, 0, None), (0, 0, None), (0, 0, None)),
            ("language", (10, 1687, 1.0), (4, 800, 1.0), (4, 827, 1.0), (2, 60, 1.0)),
            ("filter-en", (9, 1487, 9 / 10), (3, 600, 3 / 4), (4, 827, 1.0), (2, 60, 1.0)),
            ("filter-zh", (8, 1407, 8 / 9), (3, 600, 1.0), (3, 747, 3 / 4), (2, 60, 1.0)),
            ("apply", (6, 1010, 6 / 8), (2, 500, 2 / 3), (2, 450, 2 / 3), (2, 60, 1.0)),
            ("all stages", (6, 1010, 6 / 11), (2, 500, 2 / 4), (2, 450, 2 / 4), (2, 60, 1.0)),
        ],
    )
    def test_kept_after_each_stage(self, run: Run, stage: str, everything: tuple, en: tuple, zh: tuple, other: tuple):
        found = funnel(run)
        line = next(line for line in (*found.stages, found.left) if line.stage == stage)
        assert line.groups == {"all": Kept(*everything), "en": Kept(*en), "zh": Kept(*zh), "other": Kept(*other)}

    def test_only_document_stages_have_a_line(self, run: Run) -> None:
        found = funnel(run)
        assert [line.stage for line in found.stages] == [
            "extract",
            "read",
            "language",
            "filter-en",
            "filter-zh",
            "apply",
        ]
        assert [line.unknown for line in found.stages] == [9, 2, 0, 0, 0, 0]

    def test_reasons_by_language(self, run: Run) -> None:
        found = {(r.stage, r.reason): r.groups for r in funnel(run).reasons}
        assert list(found) == [
            ("extract", "empty"),
            ("filter-en", "word_count"),
            ("filter-zh", "han_ratio"),
            ("apply", "near"),
            ("apply", "exact"),
        ]
        assert found["extract", "empty"]["?"] == Amount(1, 0)
        assert found["filter-en", "word_count"]["en"] == Amount(1, 200) == found["filter-en", "word_count"]["all"]
        assert found["apply", "near"]["zh"] == Amount(1, 297)
        assert found["apply", "near"]["en"] == Amount(0, 0)

    def test_tokens_by_stream(self, run: Run) -> None:
        assert funnel(run).streams == (
            Stream("books", "und", 10, 1, 1),
            Stream("books", "zh", 50, 1, 1),
            Stream("web", "en", 500, 2, 1),
            Stream("web", "fr", 50, 1, 1),
            Stream("web", "zh", 100, 1, 1),
        )

    def test_inputs_and_lost_ranges(self, run: Run) -> None:
        found = funnel(run)
        assert (found.files, found.duplicate_files) == (4, 1)
        assert [(a.source, a.read, a.lost) for a in found.archives] == [("web", 2000, 20)]


def one(answer: Answer) -> History:
    assert len(answer.documents) == 1
    return answer.documents[0]


def fates(history: History) -> list[tuple[str, str]]:
    return [(step.stage, step.fate) for step in history.steps]


class TestWhy:
    def test_a_filtered_english_page(self, run: Run) -> None:
        found = one(why(run, "http://tea.example/stub"))
        assert fates(found) == [("extract", "kept"), ("language", "kept"), ("filter-en", "dropped")]
        gone = found.dropped
        assert gone is not None
        assert (gone.reason, gone.value, gone.lo, gone.hi) == ("word_count", 12.0, 50.0, 10000.0)
        assert [(rule.name, rule.lo, rule.hi) for rule in gone.failed] == [
            ("word_count", 50.0, 10000.0),
            ("few_lines", 3.0, None),
        ]

    def test_a_filtered_chinese_page(self, run: Run) -> None:
        found = one(why(run, "http://cha.example/短"))
        assert fates(found) == [
            ("extract", "kept"),
            ("language", "kept"),
            ("filter-en", "passed"),
            ("filter-zh", "dropped"),
        ]
        assert found.dropped is not None
        # The column is float32; the answer is the decimal that was meant.
        assert (found.dropped.reason, found.dropped.value, found.dropped.lo) == ("han_ratio", 0.2, 0.3)
        assert found.dropped.text == "短a" * 20

    @pytest.mark.parametrize(
        "url, reason, score, twin",
        [("http://copy.example/", "exact", 1.0, "tea"), ("http://mirror.example/", "near", 0.875, "cha")],
    )
    def test_a_duplicate_names_its_twin(self, run: Run, url: str, reason: str, score: float, twin: str) -> None:
        found = one(why(run, url))
        assert found.dropped is not None and found.twin is not None
        assert (found.dropped.stage, found.dropped.reason, found.dropped.score) == ("apply", reason, score)
        kept = BY_NAME[twin]
        assert (found.twin.doc_id, found.twin.url, found.twin.stays) == (kept.id.hex(), kept.url, True)

    @pytest.mark.parametrize(
        "query",
        ["b-17", BY_NAME["book"].id.hex(), BY_NAME["book"].id.hex().upper()],
        ids=["source_id", "doc_id", "upper case"],
    )
    def test_by_id(self, run: Run, query: str) -> None:
        found = one(why(run, query))
        assert (found.doc_id, found.lang, found.script, found.lang_score) == (
            BY_NAME["book"].id.hex(),
            "zh",
            "hans",
            0.9,
        )
        assert fates(found)[0] == ("read", "kept")

    @pytest.mark.parametrize("query", ["<urn:uuid:0a>", "urn:uuid:0a", "0a"])
    def test_by_record_id(self, run: Run, query: str) -> None:
        assert one(why(run, query)).doc_id == BY_NAME["tea"].id.hex()

    def test_all_documents_of_a_url(self, run: Run) -> None:
        found = why(run, "http://tea.example/").documents
        assert [history.doc_id for history in found] == [BY_NAME["tea"].id.hex(), BY_NAME["tea2"].id.hex()]

    @pytest.mark.parametrize(
        "name, shard, row, first_token",
        [("tea", "web/en", 0, 0), ("tea2", "web/en", 1, 100), ("cha", "web/zh", 0, 0), ("book", "books/zh", 0, 0)],
    )
    def test_the_place_of_the_tokens(self, run: Run, name: str, shard: str, row: int, first_token: int) -> None:
        place = one(why(run, BY_NAME[name].id.hex())).place
        assert place is not None
        assert place == Place(place.shard, row, first_token)
        stored = pq.read_table(f"{run.storage.uri}/{place.shard}").to_pylist()
        assert stored[row]["doc_id"] == BY_NAME[name].id
        assert f"{stored[row]['source']}/{stored[row]['lang']}" == shard

    def test_what_was_cut_out(self, run: Run) -> None:
        assert [(c.reason, c.spans, c.chars) for c in one(why(run, "http://fr.example/")).cuts] == [
            ("boilerplate", 1, 20)
        ]

    @pytest.mark.parametrize("path", ["copy-of-1.warc", "/crawl/copy-of-1.warc"])
    def test_an_input_that_was_not_read(self, run: Run, path: str) -> None:
        assert why(run, path).inputs == (InputFate("web", "copy-of-1.warc", 1, False, "1.warc"),)

    def test_an_input_that_was_read(self, run: Run) -> None:
        assert [(fate.read, fate.twin) for fate in why(run, "0.warc").inputs] == [(True, None)]

    @pytest.mark.parametrize("query", ["http://tea.example", "http://cha.example/茶叶", "ff" * 16, "b-1", ""])
    def test_never_seen(self, run: Run, query: str) -> None:
        assert why(run, query) == Answer(query, (), ())

    @pytest.mark.parametrize(
        "more, expected",
        [
            ("", {"filter-en": ("en",), "filter-zh": ("zh",)}),
            ('[set]\n"filter-en.lang" = ["de"]\n', {"filter-en": ("de",), "filter-zh": ("zh",)}),
            ("not TOML", {}),
        ],
    )
    def test_languages_of_stages(self, more: str, expected: dict[str, tuple[str, ...]]) -> None:
        assert stage_languages(RECIPE + more) == expected


class TestDropped:
    @pytest.mark.parametrize(
        "stage, rule, lang, expected",
        [
            ("", "", "", ["copy", "mirror", "short", "stub", "void"]),
            ("apply", "", "", ["copy", "mirror"]),
            ("", "near", "", ["mirror"]),
            ("", "", "zh", ["mirror", "short"]),
            ("", "", "en", ["copy", "stub"]),
            ("", "few_lines", "", ["stub"]),  # failed beside the reason
            ("", "stop_word_count", "", []),  # a rule that nothing failed
            ("filter-zh", "han_ratio", "en", []),
            ("tokens", "", "", []),
        ],
    )
    def test_selection(self, run: Run, stage: str, rule: str, lang: str, expected: list[str]) -> None:
        found = sample(run, stage, rule, lang, 10, 0)
        assert sorted(names(found.documents)) == expected
        assert found.total == len(expected)

    def test_documents_with_text_come_first(self, run: Run) -> None:
        for seed in range(5):
            assert names(sample(run, "", "", "", 1, seed).documents) == ["short"]

    def test_the_seed_decides(self, run: Run) -> None:
        found = {seed: tuple(names(sample(run, "", "", "", 3, seed).documents)) for seed in range(20)}
        assert found == {seed: tuple(names(sample(run, "", "", "", 3, seed).documents)) for seed in range(20)}
        assert len(set(found.values())) > 5
        assert {name for chosen in found.values() for name in chosen} == {"copy", "mirror", "short", "stub", "void"}

    def test_a_misspelt_stage(self, run: Run) -> None:
        with pytest.raises(StorageError, match="did you mean 'filter-zh'"):
            sample(run, "filter-hz", "", "", 1, 0)


def names(documents: tuple[Dropped, ...]) -> list[str]:
    by_id = {doc.id.hex(): doc.name for doc in DOCS}
    return [by_id[gone.doc_id] for gone in documents]


class TestDiff:
    def test_a_run_and_itself(self, run: Run) -> None:
        found = compare(run, run)
        assert found.same
        assert (found.recipe, found.stages, found.counts, found.only_a.docs, found.only_b.docs) == ((), (), (), 0, 0)

    def test_another_recipe_that_keeps_the_same(self, run: Run) -> None:
        stages = [replace(stage, text=RECIPE + "# a remark\n", stage_id="new") for stage in run.stages]
        found = compare(run, replace(run, stages=tuple(stages)))
        assert found.same and found.counts == ()
        assert "+# a remark" in found.recipe
        assert all(
            change.id_a != change.id_b == "new" and change.content_a == change.content_b for change in found.stages
        )

    def test_documents_that_only_one_run_keeps(self, run: Run, tmp_path: Path) -> None:
        """In b the Chinese page `cha` fails the filter, and so its mirror stays; `note` never came in."""
        gone = replace(BY_NAME["cha"], stage="filter-zh", reason="han_ratio", value=0.1, lo=0.3, failed=(0,))
        mirror = replace(BY_NAME["mirror"], stage="", reason="", kept="", score=None)
        same = [doc for doc in DOCS if doc.name not in ("cha", "mirror", "note")]
        build(str(tmp_path), docs=[*same, gone, mirror])
        found = compare(run, open_run(str(tmp_path)))
        assert not found.same and found.recipe == ()
        assert {change.stage for change in found.stages} == {stage for stage, _, _ in GRAPH} - {"fetch"}
        assert [change for change in found.counts if change.lang == "zh"] == [
            CountChange("filter-zh", "zh", "dropped", "han_ratio", 1, 2),
            CountChange("filter-zh", "zh", "kept", "", 3, 2),
            CountChange("apply", "zh", "dropped", "near", 1, 0),
        ]
        assert CountChange("apply", "und", "kept", "", 1, 0) in found.counts
        assert not [change for change in found.counts if change.lang == "en"]
        assert (found.only_a.docs, found.only_a.fates) == (2, {"filter-zh: han_ratio": 1, "never came in": 1})
        assert set(found.only_a.ids) == {BY_NAME["cha"].id.hex(), BY_NAME["note"].id.hex()}
        assert (found.only_b.docs, found.only_b.fates) == (1, {"apply: near": 1})
        assert found.only_b.ids == (mirror.id.hex(),)
