"""Curves of runs: their `metrics.jsonl` in, a PNG or SVG file out; several runs lie over each other.

Loss as it was and as a running mean, by language and by stream, gradient norm, learning rate, throughput, all over
tokens, so that runs with other batches can be compared. Needs matplotlib, the extra `plot`, and no torch.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.order import PlanError
from training.record import read_lines

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:  # said in one sentence by `draw`
    if error.name != "matplotlib":
        raise
    DRAWS = False
else:
    DRAWS = True

# What the two formats would otherwise write of the day and of the program.
METADATA = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
COLOURS = ("#4878a8", "#d98c5f", "#5f9e6e", "#b55d60", "#857aab", "#8d7866", "#d18fc0", "#8c8c8c")
STYLES = ("-", "--", ":", "-.")
Series = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Curves:
    """The records of a run, under the name that the legend shows."""

    name: str
    records: tuple[dict[str, Any], ...]

    def series(self, value: Callable[[dict[str, Any]], float | None]) -> Series:
        """Tokens and a value of each step at which it is known."""
        known = [(record["tokens"], found) for record in self.records if (found := value(record)) is not None]
        return [tokens for tokens, _ in known], [found for _, found in known]

    def names(self, table: str) -> list[str]:
        """The languages or streams that the run has losses of."""
        return sorted({name for record in self.records for name in record[table]})

    def summary(self) -> str:
        """Where the run is, and the loss of each language at its beginning and now."""
        last, window = self.records[-1], max(1, min(20, len(self.records) // 10))
        moved = []
        for name in self.names("languages"):
            losses = self.series(of("languages", name))[1]
            first, now = (sum(part) / len(part) for part in (losses[:window], losses[-window:]))
            moved.append(f"{name} from {first:.3f} to {now:.3f}")
        return (
            f"{self.name}: step {last['step'] + 1:,}, {last['tokens']:,} tokens; loss {', '.join(moved)} "
            f"(means over {window:,} steps)"
        )

    def boundaries(self) -> list[float]:
        """Tokens at which a phase followed another."""
        pairs = zip(self.records, self.records[1:], strict=False)
        return [before["tokens"] for before, after in pairs if before["phase"] != after["phase"]]


def load(folder: str) -> Curves:
    """The curves of a run folder, or of a `metrics.jsonl`; PlanError where there are none."""
    path = Path(folder)
    path = path / "metrics.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise PlanError(f"{path}: no such file; name the folder of a run that has taken a step")
    records = tuple(values for _, values in read_lines(path))
    if not records:
        raise PlanError(f"{path} holds no step yet")
    return Curves(folder.rstrip("/"), records)


def of(table: str, name: str) -> Callable[[dict[str, Any]], float | None]:
    """What a record's table holds of a language or a stream."""
    return lambda record: record[table].get(name)


def smooth(values: Sequence[float]) -> list[float]:
    """The mean over the last hundredth of the steps, 64 at most, at each of them."""
    window = max(1, min(64, len(values) // 100))
    return [sum(part) / len(part) for i in range(len(values)) if (part := values[max(0, i + 1 - window) : i + 1])]


def draw(runs: Sequence[Curves], file: str) -> None:
    """Draw six panels; the suffix chooses the format. The same records give the same bytes."""
    suffix = Path(file).suffix.lower()
    if suffix not in METADATA:
        raise PlanError(f"--out {file}: the name must end in .png or .svg")
    if not DRAWS:
        raise PlanError("training.plot needs matplotlib; install it with `pip install -c constraints.txt -e '.[plot]'`")
    with matplotlib.rc_context({"svg.hashsalt": "glasspile", "svg.fonttype": "path", "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(13.5, 7.2), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, 3).flat
        for axes, (title, lines, log) in zip(panels, panel_lines(runs), strict=True):
            axes.set_title(title)
            axes.set_xlabel("tokens")
            axes.grid(alpha=0.25)
            axes.set_yscale("log" if log else "linear")
            for label, colour, style, series in lines:
                plot_line(axes, label, colour, style, series)
            for run in runs:
                for tokens in run.boundaries():
                    axes.axvline(tokens, color="black", linestyle=":", linewidth=1)
            if any(label for label, *_ in lines):
                axes.legend(fontsize=7)
        try:
            figure.savefig(file, metadata=METADATA[suffix])
        except OSError as error:
            raise PlanError(f"--out {file}: cannot be written ({error.strerror})") from error


Line = tuple[str, str, str, Series]


def panel_lines(runs: Sequence[Curves]) -> list[tuple[str, list[Line], bool]]:
    """Title, lines and whether the axis is logarithmic, for each panel."""

    def plain(key: str) -> list[Line]:
        named = zip(runs, colours(len(runs)), strict=True)
        return [(run.name, colour, "-", run.series(lambda record: record[key])) for run, colour in named]

    def split(table: str) -> list[Line]:
        names = sorted({name for run in runs for name in run.names(table)})
        lines = []
        for i, run in enumerate(runs):
            for name, colour in zip(names, colours(len(names)), strict=True):
                series = run.series(of(table, name))
                label = name if len(runs) == 1 else f"{run.name} {name}"
                lines += [(label, colour, STYLES[i % len(STYLES)], series)] if series[0] else []
        return lines

    return [
        ("loss", plain("loss"), False),
        ("loss by language", split("languages"), False),
        ("loss by stream", split("streams"), False),
        ("gradient norm", plain("norm"), True),
        ("learning rate", plain("lr"), False),
        ("tokens per second", plain("tokens_per_second"), False),
    ]


def colours(count: int) -> list[str]:
    """So many colours; they come again where there are more lines than colours."""
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def plot_line(axes: "Axes", label: str, colour: str, style: str, series: Series) -> None:
    """One curve: each step faint, the running mean on it."""
    tokens, values = series
    mean = smooth(values)
    if mean != list(values):
        axes.plot(tokens, values, color=colour, linewidth=0.6, alpha=0.3)
    axes.plot(tokens, mean, color=colour, linestyle=style, linewidth=1.3, label=label)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m training.plot", description="Draw the curves of runs.")
    made.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a run")
    made.add_argument("--out", default="", metavar="FILE", help="FILE.png or FILE.svg; curves.png in the first run's")
    return made


def main(arguments: Iterable[str] | None = None) -> int:
    """Draw, and say where; status 2, one sentence, for what cannot be drawn."""
    chosen = parser().parse_args(None if arguments is None else list(arguments))
    file = chosen.out or str(Path(chosen.runs[0]) / "curves.png")
    try:
        runs = [load(run) for run in chosen.runs]
        draw(runs, file)
    except PlanError as error:
        print(f"training.plot: {error}", file=sys.stderr)
        return 2
    for run in runs:
        print(run.summary())
    print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
