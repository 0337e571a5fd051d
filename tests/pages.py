"""Pages of documentation as programs: Markdown in, fenced blocks out, each executed or checked in a working folder.

The words behind a block's language say what is done with it:

    bash run, python run      executed; `exit=N` is the expected status
    bash check                for clusters, networks, minutes of work: programs, flags, recipes, variables must exist
    text output               what the run block above prints; hashes, seconds and sizes of files may differ
    text excerpt              lines of it, in order; numbers may differ, and `...` stands for what is left out
    toml file=NAME            written to the working folder
    yaml                      must be YAML
    python in=PATH after=X    put into a file of the copy of the checkout that the page works in, below the line X
    sql                       given to DuckDB; must find something
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import duckdb
import yaml

from manifests.__main__ import parser as manifests_parser
from pipeline.__main__ import parser as pipeline_parser
from pipeline.recipe import load_recipe
from training.config import load_config

REPO = Path(__file__).resolve().parent.parent
HOME = "~/glasspile"  # the working folder as the pages show it
OTHER_PROGRAMS = ("aws",)
MODES = {
    "bash": ("run", "check"),
    "python": ("run", "in"),
    "sql": ("",),
    "text": ("output", "excerpt", ""),
    "toml": ("file",),
    "yaml": ("",),
}


@dataclass(frozen=True)
class Block:
    """One fenced block; `options` are the words behind the language: a mode, and name=value pairs."""

    page: str
    line: int
    lang: str
    options: dict[str, str]
    text: str

    @property
    def mode(self) -> str:
        return next(iter(self.options), "")

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Place:
    """A working folder, what the last run block printed, and the pages begun in it: True at their end."""

    folder: Path
    env: dict[str, str]
    printed: str = ""
    done: dict[str, bool] = field(default_factory=dict)


def blocks(page: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    opened: tuple[int, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```") and opened is None:
            opened, lines = (number, line.removeprefix("```")), []
        elif line == "```" and opened:
            lang, *options = opened[1].split()
            named = {key: value for key, _, value in (option.partition("=") for option in options)}
            yield Block(page, opened[0], lang, named, "".join(f"{kept}\n" for kept in lines))
            opened = None
        else:
            lines.append(line)
    assert opened is None, f"{page}:{opened}: the block has no end"


def read(page: str) -> list[Block]:
    """The blocks of a page of the project."""
    return list(blocks(page, (REPO / page).read_text(encoding="utf-8")))


def execute(block: Block, place: Place) -> None:
    """Do with a block what its mode says; AssertionError where the page is wrong."""
    if block.mode == "run":
        command = ["bash", "-euo", "pipefail", "-c"] if block.lang == "bash" else [sys.executable, "-c"]
        done = subprocess.run([*command, block.text], cwd=place.folder, env=place.env, capture_output=True, text=True)
        assert done.returncode == int(block.options.get("exit", "0")), (
            f"{block.where}: status {done.returncode}\n{block.text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
        place.printed = done.stdout.replace(str(place.folder), HOME)
    elif block.lang == "sql":
        with duckdb.connect() as database:
            assert database.execute(block.text.replace("'runs/", f"'{place.folder}/runs/")).fetchall(), block.where
    elif block.lang == "yaml":
        assert yaml.safe_load(block.text), block.where
    elif block.mode == "check":
        check(block.text, place.folder)
    elif block.mode == "output":
        if os.environ.get("GLASSPILE_DOCS") == "write":
            rewrite(block, place.printed)
        else:
            shown, printed = steady(block.text), steady(place.printed)
            assert shown == printed, f"{block.where} is not what is printed now:\n{place.printed}"
    elif block.mode == "excerpt":
        left = iter([shape(line) for line in place.printed.splitlines()])
        for line in block.text.splitlines():
            assert line == "..." or shape(line) in left, (
                f"{block.where}: {line!r} is not printed there:\n{place.printed}"
            )
    elif block.mode == "file":
        tomllib.loads(block.text)
        (place.folder / block.options["file"]).write_text(block.text, encoding="utf-8")
    elif block.mode == "in":
        insert(place.folder / block.options["in"], block.options.get("after"), block.text)


def steady(text: str) -> list[str]:
    """Lines without what differs between two runs or machines: hashes, seconds, sizes of compressed files."""
    text = re.sub(r"\b[0-9a-f]{12,}\b", "HASH", text.rstrip())
    text = re.sub(r"\b\d+\.\d+ s\b", "N s", text)
    text = re.sub(r"\b[\d,]+ (?:of [\d,]+ )?bytes\b|(?<=\.gz at )\d+", "N", text)
    return [line.rstrip() for line in text.splitlines()]


def shape(line: str) -> str:
    """A line without its numbers and widths."""
    line = re.sub(r"\b[0-9a-f]{12,}\b", "#", line)
    line = re.sub(r"(?<![\w-])[-+]?\d[\d,.]*%?|(?<=\s)-(?=\s|$)", "#", line)
    return " ".join(re.sub(r"--+", "--", line).split())


def insert(file: Path, after: str | None, text: str) -> None:
    """Put lines at the end of a file, or below the one line that is `after`."""
    before = file.read_text(encoding="utf-8")
    if after:
        assert before.count(f"\n{after}") == 1, f"{file} has no single line that begins with {after!r}"
        head, line, tail = before.partition(f"\n{after}")
        rest, tail = tail.split("\n", 1)
        file.write_text(f"{head}{line}{rest}\n{text}{tail}", encoding="utf-8")
    else:
        file.write_text(f"{before}\n\n{text}", encoding="utf-8")


def rewrite(block: Block, text: str) -> None:
    """Put a new text into an output block, whose page may have grown or shrunk above it."""
    file = REPO / block.page
    old, new = f"```text output\n{block.text}```", f"```text output\n{text.rstrip()}\n```"
    page = file.read_text(encoding="utf-8")
    assert page.count(old) == 1, f"{block.where}: two output blocks show the same"
    file.write_text(page.replace(old, new), encoding="utf-8")


def check(text: str, folder: Path) -> None:
    """AssertionError for commands that cannot work: unknown programs, flags, recipes, make variables."""
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0, text
    for words in commands(text):
        if words[0] == "export":
            sources = [path for path in REPO.glob("*/*.py") if path.parent.name != "tests"]
            known = "".join(path.read_text(encoding="utf-8") for path in sources)
            for name in (word.partition("=")[0] for word in words[1:]):
                read = name in known or name.startswith(("AWS_", "PYTORCH_"))
                assert read, f"{shlex.join(words)}: nothing reads {name}"
        else:
            check_command(words, folder)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command; one goes on where a line ends in a backslash or inside quotes."""
    pending = ""
    for line in text.splitlines():
        pending += line.removesuffix("\\") + " "
        if line.endswith("\\") or pending.count("'") % 2:
            continue
        if words := shlex.split(pending, comments=True):
            yield words
        pending = ""
    assert not pending, pending


def check_training(words: list[str]) -> None:
    """A program of the trainer and its words; a configuration among them must be one."""
    chosen = import_module(words[0]).parser().parse_intermixed_args(words[1:])
    if hasattr(chosen, "config"):
        load_config(chosen.config, getattr(chosen, "overrides", None) or getattr(chosen, "set", []))


def check_command(words: list[str], folder: Path) -> None:
    """One command; its words are those that a shell would pass."""
    line = shlex.join(words)
    program, *rest = words
    if program == "make":
        makefile = (REPO / "Makefile").read_text(encoding="utf-8")
        for name, given, _ in (word.partition("=") for word in rest):
            assert not given or f"$({name})" in makefile or f"\n{name} ?=" in makefile, f"{line}: no variable {name}"
        env = os.environ | {"PYTHON": "true", "MAKEFLAGS": ""}
        done = subprocess.run(["make", "-n", *rest], cwd=REPO, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        for made in map(shlex.split, done.stdout.splitlines()):
            if made[:3] == [".venv/bin/python", "-m", "pipeline"]:
                check_command(made, folder)
    elif program.endswith("python") and rest[:2] == ["-m", "pipeline"]:
        arguments = pipeline_parser().parse_args(rest[2:])
        if hasattr(arguments, "recipe"):
            file = folder / arguments.recipe
            arguments.recipe = str(file) if file.is_file() else arguments.recipe
            load_recipe(arguments.recipe, arguments.settings, arguments.inputs)
    elif program.endswith("python") and rest[:2] == ["-m", "manifests"]:
        manifests_parser().parse_args(rest[2:])
    elif program.endswith("python") and rest[1].startswith("training."):
        check_training(rest[1:])
    elif program == "srun":
        check_command(rest, folder)
    elif program == ".venv/bin/torchrun":
        from torch.distributed.run import parse_args

        launched = parse_args(rest)
        assert launched.module, line
        check_training([launched.training_script, *launched.training_script_args])
    elif program == ".venv/bin/ray":
        from ray.scripts.scripts import cli

        known = {option for parameter in cli.commands[rest[0]].params for option in parameter.opts}
        assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= known, line
    else:
        assert program in OTHER_PROGRAMS, f"{line}: what is {program}?"
