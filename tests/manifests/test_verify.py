"""Every kind of damage that `verify` must find: a corpus is built once, copied, harmed in one place, and looked at."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.storage import open_storage
from manifests.store import SUFFIX, RowGroup, Shard, decode, encode
from manifests.verify import Fault, verify
from tests.manifests.small_corpus import RECIPE, build

Change = Callable[[Shard], Shard | None]


@pytest.fixture
def root(small_corpus: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_corpus, tmp_path / "corpus")


def faults(root: Path) -> list[Fault]:
    return list(verify(str(root)).faults)


def only(found: list[Fault]) -> Fault:
    assert len(found) == 1, found
    return found[0]


def rows_of(root: Path, stage: str) -> list[Shard]:
    return decode((root / f"manifests/{stage}.parquet").read_bytes())


def data_file(root: Path, stage: str, output: str, lang: str = "") -> str:
    """A file with rows of a stage, relative to the root."""
    return next(
        row.path
        for row in rows_of(root, stage)
        if row.output == output and row.rows and row.path and lang in (row.lang or "")
    )


def edit(path: Path, change: Change) -> int:
    """Change rows of a manifest file; gives how many differ or are gone."""
    before = decode(path.read_bytes())
    after = [changed for row in before if (changed := change(row)) is not None]
    path.write_bytes(encode(after))
    return len(set(before) - set(after))


def edit_everywhere(root: Path, change: Change) -> None:
    """Tell the same lie in every manifest, so that only the data or the books can contradict it."""
    for path in [*root.glob("manifests/*.parquet"), *root.glob(f"*/*{SUFFIX}"), *root.glob("*/merged.parquet")]:
        if path.name != "run.parquet":
            edit(path, change)


def count(stage: str, name: str, extra: int) -> Change:
    """A change that adds to one counter of a stage where it is counted."""

    def change(row: Shard) -> Shard:
        if row.stage != stage or name not in row.count():
            return row
        return replace(row, counters=tuple((k, v + extra if k == name else v) for k, v in row.counters))

    return change


def test_a_sound_corpus(root: Path) -> None:
    found = verify(str(root))
    assert found.faults == ()
    assert {found.root} == set(pq.read_table(root / "manifests/run.parquet")["root"].to_pylist())
    stored = [
        row
        for stage in root.glob("manifests/*.parquet")
        if stage.name != "run.parquet"
        for row in decode(stage.read_bytes())
    ]
    assert found.files == len({row.path for row in stored if row.path and row.kind != "input"})
    assert (found.removed, found.other_folders) == ((), 0)


class TestData:
    @pytest.mark.parametrize(
        "stage, output", [("apply", "docs"), ("apply", "dropped"), ("tokens", "tokens"), ("tokens", "places")]
    )
    def test_one_flipped_byte(self, root: Path, stage: str, output: str) -> None:
        path = data_file(root, stage, output)
        data = bytearray((root / path).read_bytes())
        data[len(data) // 3] ^= 1
        (root / path).write_bytes(data)
        found = faults(root)
        assert {(fault.kind, fault.where) for fault in found} == {("data", path)}
        assert "sha256" in found[0].what

    def test_a_lost_row(self, root: Path) -> None:
        path = data_file(root, "tokens", "tokens", "en")
        table = pq.read_table(root / path)
        pq.write_table(table.slice(1), root / path)
        found = faults(root)
        assert {(fault.kind, fault.where) for fault in found} == {("data", path)}
        assert "has 1 rows, not 2" in [fault.what for fault in found]
        assert "has 400 tokens, not 500" in [fault.what for fault in found]

    def test_a_changed_row(self, root: Path) -> None:
        """Equal numbers of rows, bytes and tokens: only the digests tell."""
        path = data_file(root, "tokens", "tokens", "zh")
        table = pq.read_table(root / path)
        later = [[token + 1 for token in row] for row in table["tokens"].to_pylist()]
        tokens = pa.array(later, table.schema.field("tokens").type)
        pq.write_table(table.set_column(0, table.schema.field("tokens"), tokens), root / path)
        whats = [fault.what for fault in faults(root)]
        assert any(what.startswith("row group 0: digest is") for what in whats)
        assert any(what.startswith("its content is not that of digest") for what in whats)

    def test_the_same_rows_written_anew(self, root: Path) -> None:
        """Another codec: other bytes, the same content, so the content digest is not at fault."""
        path = data_file(root, "apply", "docs")
        pq.write_table(pq.read_table(root / path), root / path, compression="none")
        whats = [fault.what for fault in faults(root)]
        assert len(whats) == 2 and "bytes, not" in whats[0] and "its sha256 is" in whats[1]

    def test_a_missing_file(self, root: Path) -> None:
        path = data_file(root, "apply", "docs")
        (root / path).unlink()
        assert only(faults(root)) == Fault("data", path, "is missing; the manifest of apply names it")

    def test_a_torn_file(self, root: Path) -> None:
        path = data_file(root, "apply", "docs")
        data = (root / path).read_bytes()
        (root / path).write_bytes(data[: len(data) // 2])
        whats = [fault.what for fault in faults(root)]
        assert len(whats) == 3 and whats[2].startswith("cannot be read: ")

    def test_a_wrong_number_of_tokens(self, root: Path) -> None:
        """Training trusts the manifest's token counts, so they are counted again."""

        def change(row: Shard) -> Shard:
            groups = tuple(RowGroup(g.rows, g.bytes, g.tokens + 1, g.digest) for g in row.row_groups)
            return replace(row, row_groups=groups) if (row.output, row.lang) == ("tokens", "zh") else row

        edit_everywhere(root, change)
        assert {fault.what for fault in faults(root)} == {
            "row group 0: tokens is 100, not 101",
            "row group 0: tokens is 50, not 51",
        }


class TestManifests:
    def test_a_changed_counter(self, root: Path) -> None:
        assert edit(root / "manifests/apply.parquet", count("apply", "kept/web/zh/docs", 1)) == 1
        found = faults(root)
        assert [fault.kind for fault in found] == ["manifest", "balance", "balance", "flow"]
        assert found[0].where == "manifests/apply.parquet"
        assert found[0].what.endswith("differs from what was committed in counters")

    @pytest.mark.parametrize("output", ["docs", "dropped"])
    def test_a_lost_manifest_row(self, root: Path, output: str) -> None:
        victim = next(
            row for row in rows_of(root, "language") if row.output == output and not row.counters or output == "docs"
        )
        assert edit(root / "manifests/language.parquet", lambda row: None if row == victim else row) == 1
        found = faults(root)
        assert "its row is missing" in found[0].what and found[0].where == "manifests/language.parquet"
        assert "root" in {fault.kind for fault in found}

    def test_a_task_that_is_lost_from_the_merged_rows(self, root: Path) -> None:
        key = rows_of(root, "tokens")[0].commit_key
        edit(root / "manifests/tokens.parquet", lambda row: None if row.commit_key == key else row)
        found = faults(root)
        assert [fault.what.split()[0] for fault in found if fault.kind == "root"] == ["root", "tokens"]

    def test_a_manifest_object_is_gone(self, root: Path) -> None:
        next(root.glob(f"apply-*/*{SUFFIX}")).unlink()
        fault = only(faults(root))
        assert (fault.kind, fault.where) == ("manifest", "apply") and fault.what.endswith("has no manifest object")

    @pytest.mark.parametrize("place", [f"apply-*/*{SUFFIX}", "apply-*/merged.parquet", "manifests/apply.parquet"])
    def test_an_unreadable_manifest_removes_no_orphan(self, root: Path, place: str) -> None:
        path = next(root.glob(place))
        path.write_bytes(path.read_bytes()[:-20])
        before = sorted(root.rglob("*.parquet"))
        found = verify(str(root), gc=True)
        assert ("manifest", str(path.relative_to(root))) in {(fault.kind, fault.where) for fault in found.faults}
        assert found.removed == () and sorted(root.rglob("*.parquet")) == before

    def test_what_a_later_run_takes_as_done(self, root: Path) -> None:
        path = next(root.glob("tokens-*/merged.parquet"))
        assert edit(path, lambda row: replace(row, rows=row.rows + 1) if row.lang == "zh" else row) == 2
        found = faults(root)
        assert {(fault.kind, fault.where) for fault in found} == {("manifest", str(path.relative_to(root)))}
        assert all(fault.what.endswith("committed in rows") for fault in found)

    def test_a_wrong_root_hash(self, root: Path) -> None:
        table = pq.read_table(root / "manifests/run.parquet")
        place = table.schema.get_field_index("root")
        pq.write_table(table.set_column(place, "root", [["0" * 32] * len(table)]), root / "manifests/run.parquet")
        fault = only(faults(root))
        assert (fault.kind, fault.where) == ("root", "manifests/run.parquet")
        assert fault.what.startswith(f"root is recorded as {'0' * 32}, the manifest rows give ")


class TestBooks:
    """Lies that all manifests agree on."""

    def test_a_document_that_is_not_accounted_for(self, root: Path) -> None:
        edit_everywhere(root, count("filter-zh", "dropped/web/zh/docs/han_ratio", -1))
        assert faults(root) == [
            Fault("balance", "filter-zh", "source web, language zh: 1 docs are not accounted for"),
            Fault("balance", "filter-zh", "1 rows of dropped written, 0 counted"),
        ]

    def test_bytes_that_are_lost_between_stages(self, root: Path) -> None:
        for name in ("in/books/zh/bytes", "kept/books/zh/bytes"):
            edit_everywhere(root, count("apply", name, -3))
        assert faults(root) == [
            Fault("flow", "filter-zh -> apply", "source books, language zh: 150 bytes kept before, 147 in"),
            Fault("flow", "apply -> tokens", "source books, language zh: 147 bytes kept before, 150 in"),
        ]

    def test_archive_bytes(self, root: Path) -> None:
        edit_everywhere(root, count("extract", "archive/web/lost", -4))
        assert only(faults(root)) == Fault("balance", "extract", "source web: 8 archive bytes are not accounted for")

    def test_a_stage_that_took_nothing(self, root: Path) -> None:
        edit_everywhere(root, lambda row: None if row.stage == "tokens" else row)
        assert Fault("flow", "apply -> tokens", "source books, language zh: 1 docs kept before, 0 in") in faults(root)


class TestOrphans:
    def test_a_file_that_no_manifest_names(self, root: Path) -> None:
        path = data_file(root, "apply", "docs")
        orphan = f"{path.split('/')[0]}/{'0' * 32}.{'1' * 32}.parquet"
        shutil.copy(root / path, root / orphan)
        fault = only(faults(root))
        assert (fault.kind, fault.where) == ("orphan", orphan)
        found = verify(str(root), gc=True)
        assert (found.faults, found.removed) == ((), (orphan,))
        assert not (root / orphan).exists() and (root / path).exists()
        assert faults(root) == []

    def test_an_orphan_in_the_folder_of_another_recipe(self, root: Path) -> None:
        folder = root / f"filter-{'0' * 16}"
        folder.mkdir()
        (folder / f"{'2' * 32}.{'3' * 32}.parquet").write_bytes(b"1234")
        found = verify(str(root))
        assert [fault.kind for fault in found.faults] == ["orphan"]
        assert (found.other_folders, found.other_bytes) == (1, 4)
        assert verify(str(root), gc=True).other_bytes == 0

    def test_the_results_of_another_recipe_are_no_orphans(self, root: Path) -> None:
        before = verify(str(root))
        build(str(root), recipe=RECIPE + "# stricter\n")
        found = verify(str(root), gc=True)
        assert (found.faults, found.removed) == ((), ())
        assert found.other_folders == 7
        assert found.other_bytes > before.bytes
        assert found.root == before.root

    def test_other_files_below_the_root_are_left_alone(self, root: Path) -> None:
        (root / "notes.txt").write_text("mine")
        (root / "assets").mkdir()
        (root / "assets/model.bin").write_bytes(b"1")
        assert verify(str(root), gc=True).removed == ()


def test_gc_removes_what_killed_processes_left(root: Path) -> None:
    scratch = open_storage(str(root)).scratch()
    files = [scratch / name for name in ("fresh.parquet", "old.parquet", "spill-fresh/rows-0", "spill-old/rows-0")]
    for path in files:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half a file")
    for path in (scratch / "old.parquet", scratch / "spill-old/rows-0", scratch / "spill-old", scratch / "spill-fresh"):
        os.utime(path, (0, 0))
    assert verify(str(root)).faults == () and all(path.exists() for path in files)
    assert verify(str(root), gc=True).removed == (str(scratch / "old.parquet"), str(scratch / "spill-old"))
    assert [path.exists() for path in files] == [True, False, True, False]
