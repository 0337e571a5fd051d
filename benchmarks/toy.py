"""A stage with next to no work, whose tasks cost what the engine costs: one row written, one manifest committed."""

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from manifests.fingerprint import fingerprint
from manifests.storage import Storage
from stages.base import Plan, Stage, Task
from stages.output import Output

NUMBER = pa.schema([("key", pa.string())])


@dataclass(frozen=True)
class Tiny(Stage):
    """`count` tasks; each writes its own key."""

    count: int = 0
    use: ClassVar[str] = "tiny"

    def tasks(self, plan: Plan) -> list[Task]:
        return [Task(fingerprint(plan.stage_id, number)) for number in range(self.count)]

    def open(self, storage: Storage) -> "Writer":
        return Writer()


class Writer:
    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        out.file("side", "side", NUMBER).write(pa.record_batch([[task.key]], schema=NUMBER))
