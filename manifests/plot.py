"""A histogram as a picture: bins in, a PNG or SVG file out, English beside Chinese on one scale of values.

Needs matplotlib, the extra `plot`; nothing else of this package does. The same histogram gives the same bytes: no date,
no version and no random id is written.
"""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from manifests.histogram import Histogram
from manifests.query import GROUPS
from manifests.storage import StorageError

# What the two formats would otherwise write of the day and of the program.
METADATA = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
KEPT, DROPPED = "#4878a8", "#d98c5f"


def plot(found: Histogram, file: str) -> None:
    """Draw a histogram; the suffix chooses the format."""
    suffix = Path(file).suffix.lower()
    if suffix not in METADATA:
        raise StorageError(f"--plot {file}: the name must end in .png or .svg")
    shown = [name for name in GROUPS[1:] if name != GROUPS[-1] or name in found.groups]
    with matplotlib.rc_context({"svg.hashsalt": "glasspile", "svg.fonttype": "path", "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(4.5 * len(shown), 3.6), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(f"{found.signal} at {', '.join(found.stages)}")
        for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            draw(axes, found, name)
        try:
            figure.savefig(file, metadata=METADATA[suffix])
        except OSError as error:
            raise StorageError(f"--plot {file}: cannot be written ({error.strerror})") from error


def draw(axes: Axes, found: Histogram, name: str) -> None:
    """One language group: stacked bars, and a line for each threshold that holds for it."""
    counts = found.groups.get(name)
    axes.set_title(name)
    axes.set_xlabel(found.signal)
    axes.set_ylabel("documents")
    if found.log:
        axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(found.edges[0], found.edges[-1])
    if counts:
        axes.stairs(counts.kept, found.edges, fill=True, color=KEPT, label="kept")
        both = [k + d for k, d in zip(counts.kept, counts.dropped, strict=True)]
        axes.stairs(both, found.edges, baseline=counts.kept, fill=True, color=DROPPED, label="dropped")
    for mark in found.thresholds:
        if mark.lang in ("*", name) or (name == GROUPS[-1] and mark.lang not in GROUPS):
            axes.axvline(mark.value, color="black", linestyle="--", linewidth=1)
            text = f"{mark.rule} {mark.side} = {mark.value:,.9g}"
            axes.annotate(
                text, (mark.value, 0.98), xycoords=("data", "axes fraction"), rotation=90, va="top", ha="right", size=7
            )
    if counts:
        axes.legend(fontsize=8)
