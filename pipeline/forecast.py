"""`plan`: a recipe and a root in, a table out of what a run would do and why, without doing or writing anything."""

from manifests import runs
from manifests.storage import Storage, StorageError
from pipeline.driver import Driver, StagePlan
from pipeline.executor import Executor
from pipeline.plan import Node
from pipeline.recipe import Recipe
from stages import fetch
from stages.sign import Sign

HEADER = ("stage", "id", "passes", "tasks", "done", "to run", "MB to read", "why")


def forecast(recipe: Recipe, storage: Storage) -> str:
    """Stages, tasks, what is committed, what would run and why, as plain text."""
    driver = Driver(recipe, storage, no_executor)
    try:
        last = {stage.stage: stage.stage_id for stage in runs.read_run(storage)}
    except FileNotFoundError:
        last = {}
    remembered = driver.remembered()
    fetched = fetch.fetch(recipe.sources, remembered)
    driver.rows[fetch.STAGE] = list(fetched.rows)
    size = sum(file.size for file in fetched.files)
    duplicates = len(fetched.rows) - len(fetched.files)
    lines = [
        f"recipe {recipe.name}, root {storage.uri}",
        f"{len(fetched.files)} inputs, {size / 1e6:,.1f} MB"
        + (f"; {duplicates} more have the content of one of them (duplicate_input)" if duplicates else ""),
        f"snapshots, oldest first: {', '.join(recipe.snapshots)}",
    ]
    lines += [node.stage.curve() for node in driver.graph.nodes if isinstance(node.stage, Sign)]
    known = {row.task_key for row in remembered}
    for snapshot in recipe.snapshots[:-1] if known else ():
        new = sum(file.key not in known for file in fetched.files if file.source.snapshot == snapshot)
        if new:
            lines.append(f"snapshot {snapshot} is closed and gets {new} new inputs: its duplicates are sought again")
    table: list[tuple[str, ...]] = [HEADER]
    waiting: list[str] = []
    for node in driver.graph.targets():
        chain = " > ".join(n.name for n in driver.graph.chains(node)[0])
        if waiting:
            table.append((chain, node.step.stage_id, "", "?", "?", "?", "?", f"its tasks follow from {waiting[-1]}"))
            continue
        plan = driver.plan(node, fetched.files)
        for before in driver.gatherings(plan):
            table.append(line(before, before.node.name, last))
        table.append(line(plan, chain, last))
        if any(tasks for _, tasks in plan.todo()):
            waiting.append(node.name)
        else:
            driver.merge(plan, plan.done)
    return "\n".join(lines + columns(table))


def line(plan: StagePlan, chain: str, last: dict[str, str]) -> tuple[str, ...]:
    """A row of the table; `last` are the stage ids of the last complete run by name."""
    todo = [task for _, tasks in plan.todo() for task in tasks]
    return (
        chain,
        plan.node.step.stage_id,
        str(len(plan.work)),
        str(plan.tasks),
        str(plan.tasks - len(todo)),
        str(len(todo)),
        f"{sum(task.size for task in todo) / 1e6:,.1f}",
        reason(plan.node, plan, len(todo), last),
    )


def reason(node: Node, plan: StagePlan, todo: int, last: dict[str, str]) -> str:
    """Why a stage has something to do."""
    if not todo:
        return "committed"
    if node.name not in last:
        return "no complete run here yet" if not last else "new in the recipe"
    if last[node.name] != node.step.stage_id:
        return f"changed: it was {last[node.name]} in the last run, itself or a stage before it"
    return "new or changed inputs" if todo < plan.tasks else "all its inputs are new or changed"


def columns(table: list[tuple[str, ...]]) -> list[str]:
    """Rows with aligned columns."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def no_executor() -> Executor:
    """A forecast runs nothing."""
    raise StorageError("a forecast tried to run a task")
