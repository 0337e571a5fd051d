"""Command line of the pipeline: `python -m pipeline run|plan|identify|signals|extract|assets`."""

import argparse
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from manifests.absent import without_pandas
from manifests.storage import StorageError, open_storage
from pipeline.recipe import Recipe, load_recipe
from stages.base import UserError

SAMPLE_SEED = 7
EXIT_USER, EXIT_FAILED = 2, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 done, 1 the work failed, 2 the user can mend it."""
    arguments = parser().parse_args(argv)
    without_pandas()
    try:
        return arguments.command(arguments)
    except (UserError, StorageError, OSError, pa.ArrowException) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER
    except KeyboardInterrupt:
        print("interrupted; run the same command again, it goes on where it stopped", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    verbs = top.add_subparsers(required=True, metavar="COMMAND")

    def verb(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text)
        made.set_defaults(command=command)
        return made

    for name, command, text in (
        ("run", run, "make a corpus: input to token shards; run it again to go on where it stopped"),
        ("plan", plan, "say what a run would do: stages, tasks, what is committed and why the rest would run"),
    ):
        one = verb(name, command, text)
        one.add_argument("recipe", help="a recipe file, or the name of one that comes along (sample, warc, cc, ...)")
        one.add_argument("--out", help="corpus root: a folder or s3://bucket/prefix (default runs/RECIPE)")
        one.add_argument("--in", dest="inputs", action="append", default=[], help="input file, folder, pattern or URI")
        one.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME.FIELD=VALUE")
        one.add_argument("--crawl", help="Common Crawl: which crawl, such as CC-MAIN-2024-22")
        one.add_argument("--limit", type=int, help="Common Crawl: how many of its WARC files")
        if name == "run":
            one.add_argument("--ray", default="local", help="local, auto, an address, or off (default local)")
            one.add_argument("--actors", type=positive, help="worker processes (default: the CPUs of the cluster)")
            one.add_argument("--keep-going", action="store_true", help="finish a stage's other tasks after a failure")
            one.add_argument("--quiet", action="store_true", help="no progress")
    identify = verb("identify", identify_command, "language, script and score of each line of a JSONL file")
    identify.add_argument("file", help="JSONL (.gz, .zst) with the keys id and text")
    identify.add_argument("-o", "--out", help="where to write (default: standard output)")
    signals = verb(
        "signals", signals_command, "quality signals of each line of a JSONL file, RedPajama-V2's by default"
    )
    signals.add_argument("file", help="JSONL (.gz, .zst) with the keys id and text, perhaps url")
    signals.add_argument("--signals", nargs="+", metavar="NAME", help="names of the catalogue")
    signals.add_argument("-o", "--out", help="where to write (default: standard output)")
    extract = verb("extract", extract_command, "text of each page of WARC files, as JSONL with url and text")
    extract.add_argument("files", nargs="+", help="WARC files, folders, patterns or URIs")
    extract.add_argument("-o", "--out", help="where to write (default: standard output)")
    assets = verb("assets", assets_command, "models and lists that the stages need")
    assets.add_argument("action", choices=("pull", "list", "add"))
    assets.add_argument("names", nargs="*", help="pull: names of files (default: what every run needs); add: LIST FILE")
    return top


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """The recipe with the settings of the command line."""
    inputs = list(arguments.inputs)
    if arguments.crawl or arguments.limit or (arguments.recipe == "cc" and not inputs):
        from pipeline.commoncrawl import archives

        inputs += archives(arguments.crawl, arguments.limit)
    if arguments.recipe == "sample" and not inputs:
        make_sample(Path("runs/sample-crawl"))
    return load_recipe(arguments.recipe, arguments.settings, inputs)


def positive(text: str) -> int:
    """A number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def root_of(arguments: argparse.Namespace) -> str:
    """The corpus root."""
    return arguments.out or f"runs/{Path(arguments.recipe).stem}"


def run(arguments: argparse.Namespace) -> int:
    """`run`."""
    from pipeline.driver import Driver, RunFailed
    from pipeline.executor import Executor
    from pipeline.report import failures, summary

    recipe, storage = recipe_of(arguments), open_storage(root_of(arguments))
    limits = recipe.limits

    def executor() -> Executor:
        if arguments.ray == "off":
            from pipeline.local import LocalExecutor

            return LocalExecutor(limits.attempts, limits.deadline)
        inputs = driver.first_inputs()

        def pool() -> Executor:
            from pipeline.ray_pool import RayExecutor

            return RayExecutor(arguments.ray, storage.uri, inputs, arguments.actors, limits.attempts, limits.deadline)

        if arguments.ray != "local":
            return pool()
        from pipeline.headstart import HeadStart

        return HeadStart(pool, arguments.actors or os.cpu_count() or 1, limits.attempts, limits.deadline)

    driver = Driver(recipe, storage, executor, arguments.keep_going, arguments.quiet)
    # Ray would see to that if it were started in this thread: what it starts, and scratch files, go before we do.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        result = driver.run()
    except RunFailed as error:
        print(failures(error), file=sys.stderr)
        return EXIT_FAILED
    print(summary(result, storage))
    return 0


def make_sample(folder: Path) -> None:
    """The embedded crawl, generated once."""
    from pipeline.sample import generate

    if not (folder / "gold.parquet").exists():
        print(f"writing the sample crawl to {folder}", file=sys.stderr)
        generate(SAMPLE_SEED, folder)


def plan(arguments: argparse.Namespace) -> int:
    """`plan`."""
    from pipeline.forecast import forecast

    print(forecast(recipe_of(arguments), open_storage(root_of(arguments))))
    return 0


def identify_command(arguments: argparse.Namespace) -> int:
    """`identify`."""
    from pipeline.identify import identify

    return identify(arguments.file, arguments.out)


def signals_command(arguments: argparse.Namespace) -> int:
    """`signals`."""
    from pipeline.measure import measure

    return measure(arguments.file, arguments.signals, arguments.out)


def extract_command(arguments: argparse.Namespace) -> int:
    """`extract`."""
    from pipeline.pages import extract_pages

    return extract_pages(arguments.files, arguments.out)


def assets_command(arguments: argparse.Namespace) -> int:
    """`assets`."""
    from pipeline.assets import add, list_assets, pull

    if arguments.action == "add":
        if len(arguments.names) != 2:
            raise UserError("assets add takes the name of a list and a file, such as bad_words-own words.txt")
        print(add(arguments.names[0], Path(arguments.names[1])))
        return 0
    lines = pull(names=arguments.names) if arguments.action == "pull" else []
    print("\n".join(lines) or list_assets())
    return 0


if __name__ == "__main__":
    status = main()
    gc.freeze()  # or Python looks through all that numba made once more as it ends, for 0.1 s
    sys.exit(status)
