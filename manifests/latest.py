"""The latest complete run of a root, opened: an address in, its stages and all their manifest rows out.

What cannot be opened is said in one sentence: no such root, no complete run, another layout, a damaged manifest.
"""

import math
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from manifests.agreement import first_line
from manifests.balance import total
from manifests.runs import LAYOUT_MARK, RUN, RunStage, read_rows, read_run
from manifests.storage import Storage, StorageError, open_storage
from manifests.store import LAYOUT, Shard


@dataclass(frozen=True)
class Run:
    """The latest complete run of a root: its stages, upstream before downstream, and their manifest rows."""

    storage: Storage
    stages: tuple[RunStage, ...]
    rows: dict[str, list[Shard]]

    @cached_property
    def counts(self) -> dict[str, Counter[str]]:
        """Counters of each stage as a whole."""
        return {stage.stage: total(self.rows[stage.stage]) for stage in self.stages}

    @cached_property
    def languages(self) -> dict[str, tuple[str, ...]]:
        """The languages that each stage holds for; stages that hold for all are left out."""
        return stage_languages(self.stages[0].text)

    def inputs(self) -> list[Shard]:
        """One row for each input file."""
        return [row for stage in self.stages for row in self.rows[stage.stage] if row.kind == "input"]

    def docs_stages(self) -> list[RunStage]:
        """The stages that give documents, in the order of the run."""
        return [stage for stage in self.stages if any(row.output == "docs" for row in self.rows[stage.stage])]

    def leaves(self) -> list[RunStage]:
        """The stages whose documents no other stage changes or drops: what they keep is the corpus."""
        docs = self.docs_stages()
        taken = {name for stage in docs for name in stage.after}
        return [stage for stage in docs if stage.stage not in taken]

    def corpus(self) -> list[Shard]:
        """The files of the documents that stay."""
        return [
            row for s in self.leaves() for row in self.rows[s.stage] if row.output == "docs" and row.rows and row.path
        ]

    def entries(self) -> list[RunStage]:
        """The stages at which documents come in."""
        docs = self.docs_stages()
        names = {stage.stage for stage in docs}
        return [stage for stage in docs if not names & set(stage.after)]


def open_run(uri: str) -> Run:
    """The latest complete run below an address; StorageError, one sentence, when there is none that can be read."""
    storage = open_storage(uri)
    stages = read_stages(storage)
    rows = {}
    for stage in stages:
        try:
            rows[stage.stage] = read_rows(storage, stage.stage)
        except (FileNotFoundError, pa.ArrowException, OSError) as error:
            raise StorageError(
                f"{storage.uri}/manifests/{stage.stage}.parquet cannot be read ({first_line(error)}); "
                "run the recipe again, it is written anew from the committed manifests"
            ) from error
    return Run(storage, tuple(stages), rows)


def read_stages(storage: Storage) -> list[RunStage]:
    """The stages of the latest complete run; StorageError when there is none, or one of another layout."""
    if not storage.uri.startswith("s3://") and not Path(storage.uri).is_dir():
        raise StorageError(f"{storage.uri}: there is no such folder; give the root of a corpus, such as runs/sample")
    try:
        layout = storage.get(LAYOUT_MARK).decode(errors="replace").strip()
    except FileNotFoundError:
        layout = ""
    if layout and layout != str(LAYOUT):
        raise StorageError(f"{storage.uri}: this corpus has layout {layout}, this program reads layout {LAYOUT}")
    try:
        return read_run(storage)
    except FileNotFoundError as error:
        raise StorageError(
            f"{storage.uri}: no run was completed here; `python -m pipeline run RECIPE` starts one or goes on with it"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"{storage.uri}/{RUN} cannot be read ({first_line(error)}); run the recipe again") from error


def number(value: float | None) -> float | None:
    """A stored float32 as the shortest decimal that means it; None for what was not measured."""
    return None if value is None or math.isnan(value) else float(str(np.float32(value)))


def stage_languages(recipe: str) -> dict[str, tuple[str, ...]]:
    """The languages that each stage holds for, by stage, from the recipe as it was run; stages for all are left out.

    Settings (`[set]`, where those of the command line stand too) win over the stage's own table.
    """
    try:
        raw = tomllib.loads(recipe)
    except tomllib.TOMLDecodeError:
        # A recipe and its base may each have, say, a [run] table; what is lost is a remark beside a stage.
        return {}
    given = {f"{stage.get('name', stage.get('use'))}.lang": stage.get("lang") for stage in raw.get("stage", [])}
    given |= raw.get("set", {})
    return {
        key.removesuffix(".lang"): tuple(value)
        for key, value in given.items()
        if key.endswith(".lang") and isinstance(value, list)
    }
