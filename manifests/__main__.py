"""`python -m manifests`: questions about the latest complete run below a root; text or JSON out.

Exit status: 0 answered, 1 never seen (why) or at fault (verify), 2 for a mistake of the user's, in one sentence.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

from manifests import compare, dup, excerpt, gone, query, show, showdup, showrules, verify, why
from manifests.histogram import Histogram, histogram
from manifests.latest import open_run
from manifests.pairs import write_pairs
from manifests.rebuild import rebuild
from manifests.retry import retry
from manifests.rulestats import rule_stats
from manifests.storage import StorageError

ROOT_HELP = "root of a corpus: a folder such as runs/sample, or s3://bucket/prefix"


def main(arguments: list[str] | None = None) -> int:
    """Parse, answer, print."""
    chosen = parser().parse_args(arguments)
    try:
        return chosen.answer(chosen)
    except StorageError as error:
        print(f"manifests: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (head, less) has enough; what Python flushes at exit must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """All commands."""
    top = argparse.ArgumentParser(prog="python -m manifests", description="What a run did, from its manifests.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    made = command(commands, "funnel", show_funnel, "documents, bytes and kept share after each stage, by language")
    made.add_argument("--short", action="store_true", help="without the table of reasons")

    made = command(commands, "rules", show_rules, "what each rule did, alone and with the others, by language")
    made.add_argument("--stage", default="", help="only the rules of this stage")
    made.add_argument("--lang", default="", help="only this language")
    other = made.add_mutually_exclusive_group()
    other.add_argument("--histogram", default="", metavar="SIGNAL", help="documents by value, with the thresholds")
    other.add_argument(
        "--try",
        default="",
        dest="expression",
        metavar="EXPRESSION",
        help="what another threshold would have dropped; say what is kept: 'word_count >= 100'",
    )
    made.add_argument("--plot", default="", metavar="FILE", help="the histogram as FILE.png or FILE.svg")

    made = command(commands, "why", show_why, "what happened to a document, stage by stage")
    made.add_argument("name", metavar="URL|ID", help="a URL, a doc_id, a source's own id, or the path of an input")

    made = command(commands, "rebuild", show_rebuild, "the text of a document as it was read, all cuts put back")
    made.add_argument("name", metavar="URL|ID", help="a URL, a doc_id, or a source's own id")

    made = command(commands, "dropped", show_dropped, "a sample of the dropped documents")
    made.add_argument("--stage", default="", help="only what this stage dropped")
    made.add_argument("--rule", default="", help="only what failed this rule, or went for this reason")
    made.add_argument("--lang", default="", help="only this language")
    made.add_argument("-n", type=positive, default=10, metavar="N", help="how many (10)")
    made.add_argument("--seed", type=int, default=0, help="another seed gives another sample (0)")

    made = command(commands, "dup", show_dup, "duplicates: methods, clusters, hosts, pairs side by side, probes")
    made.add_argument("--pairs", default="", metavar="FILE", help="write every removal to FILE as a JSON line")
    made.add_argument("--lang", default="", help="hosts, pairs and probes of this language only")
    made.add_argument("-n", type=positive, default=1, metavar="N", help="pairs of each band of scores and language (1)")
    made.add_argument("--seed", type=int, default=0, help="another seed gives other pairs (0)")

    made = command(commands, "diff", show_diff, "two runs compared: recipe, stages, counts, documents")
    made.add_argument("other", metavar="ROOT_B", help=ROOT_HELP)

    made = command(commands, "verify", show_verify, "check digests, balance, orphans; last line: the root hash")
    made.add_argument("--gc", action="store_true", help="remove orphans; no run may write to the root meanwhile")
    return top


def command(
    commands: Any, name: str, answer: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """A command with the arguments that all share."""
    made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    made.add_argument("root", metavar="ROOT", help=ROOT_HELP)
    made.add_argument("--json", action="store_true", help="one JSON object")
    made.set_defaults(answer=answer)
    return made


def positive(text: str) -> int:
    """A whole number above zero."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def show_funnel(chosen: argparse.Namespace) -> int:
    """`funnel`."""
    found = query.funnel(open_run(chosen.root))
    put(chosen, found, show.show_funnel(found, chosen.short))
    return 0


def show_rules(chosen: argparse.Namespace) -> int:
    """`rules`: effects, a histogram, or a trial."""
    if chosen.plot and not chosen.histogram:
        raise StorageError(f"--plot {chosen.plot}: say what is drawn with --histogram SIGNAL")
    run = open_run(chosen.root)
    if chosen.expression:
        trial = retry(run, chosen.expression, chosen.stage, chosen.lang)
        put(chosen, trial, showrules.show_trial(trial))
    elif chosen.histogram:
        drawn = histogram(run, chosen.histogram, chosen.stage, chosen.lang)
        if chosen.plot:
            draw(drawn, chosen.plot)
        put(chosen, drawn, showrules.show_histogram(drawn))
    else:
        stats = rule_stats(run, chosen.stage, chosen.lang)
        put(chosen, stats, showrules.show_rules(stats))
    return 0


def draw(drawn: Histogram, file: str) -> None:
    """A histogram as a picture, where matplotlib is installed."""
    try:
        from manifests.plot import plot
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise StorageError(
            "--plot needs matplotlib; install it with `pip install -c constraints.txt -e '.[plot]'`"
        ) from error
    plot(drawn, file)


def show_why(chosen: argparse.Namespace) -> int:
    """`why`; status 1 for what was never seen."""
    run = open_run(chosen.root)
    found = why.why(run, chosen.name)
    seen = bool(found.documents or found.inputs)
    lost = sum(archive.lost for archive in query.archives(run.counts.values()))
    hint = f"; {lost:,} bytes of the archives hold no readable record" if lost else ""
    unseen = f"{chosen.name}: no document or input of this run bears this URL or id{hint}"
    put(chosen, found, show.show_answer(found) if seen else [unseen])
    return 0 if seen else 1


def show_rebuild(chosen: argparse.Namespace) -> int:
    """`rebuild`: the bytes of the text and nothing else; status 1 for what the corpus does not hold."""
    found = rebuild(open_run(chosen.root), chosen.name)
    if found is None:
        print(f"{chosen.name}: no document of the corpus bears this URL or id; `why` tells its way", file=sys.stderr)
        return 1
    if chosen.json:
        put(chosen, found, [])
    else:
        sys.stdout.buffer.write(found.text.encode())
        sys.stdout.buffer.flush()
    return 0


def show_dropped(chosen: argparse.Namespace) -> int:
    """`dropped`."""
    run = open_run(chosen.root)
    found = gone.sample(run, chosen.stage, chosen.rule, chosen.lang, chosen.n, chosen.seed)
    found = replace(found, marks=excerpt.marks(run, found.documents, chosen.rule))
    put(chosen, found, show.show_sample(found, excerpt.REVERSE if sys.stdout.isatty() else excerpt.QUOTES))
    return 0


def show_dup(chosen: argparse.Namespace) -> int:
    """`dup`; with --pairs only that file is written."""
    run = open_run(chosen.root)
    if chosen.pairs:
        wrote = write_pairs(run, chosen.pairs, chosen.lang)
        put(chosen, wrote, [f"{wrote.pairs:,} removals written to {wrote.file}"])
    else:
        found = dup.duplicates(run, chosen.lang, chosen.n, seed=chosen.seed)
        put(chosen, found, showdup.show_duplicates(found))
    return 0


def show_diff(chosen: argparse.Namespace) -> int:
    """`diff`."""
    found = compare.compare(open_run(chosen.root), open_run(chosen.other))
    put(chosen, found, show.show_difference(found))
    return 0


def show_verify(chosen: argparse.Namespace) -> int:
    """`verify`; status 1 for any fault."""
    found = verify.verify(chosen.root, chosen.gc)
    put(chosen, found, show.show_verified(found))
    return 1 if found.faults else 0


def put(chosen: argparse.Namespace, answer: Any, lines: Iterable[str]) -> None:
    """Print an answer as JSON or as lines."""
    if chosen.json:
        print(json.dumps(asdict(answer), ensure_ascii=False, indent=1))
    else:
        print("\n".join(lines))
    sys.stdout.flush()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Without tearing down: a thread pool of pyarrow 26 that is still starting then aborts the process (status 134).
    os._exit(status)
