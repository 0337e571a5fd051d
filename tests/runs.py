"""Whole runs for tests: a recipe and a root in, a complete run out; in this process, unless an executor is given."""

from collections.abc import Callable
from pathlib import Path

from manifests.storage import open_storage
from pipeline.driver import Driver, Result
from pipeline.executor import Executor
from pipeline.local import LocalExecutor
from pipeline.recipe import Recipe


def once() -> Executor:
    """An executor that tries each task once."""
    return LocalExecutor(attempts=1)


def run_recipe(recipe: Recipe, root: Path | str, executor: Callable[[], Executor] = once) -> Result:
    """Bring the root up to date with the recipe."""
    return Driver(recipe, open_storage(str(root)), executor, quiet=True).run()
