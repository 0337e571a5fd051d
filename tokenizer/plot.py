"""The compression report as a picture: its lines in, a PNG or SVG file out, English beside Chinese on one scale.

Needs matplotlib, the extra `plot`; nothing else of this package does. The same report gives the same bytes: no date, no
version and no random id is written.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tokenizer.report import Line

# What the two formats would otherwise write of the day and of the program.
METADATA = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}


def plot(lines: Sequence[Line], file: str) -> None:
    """Bars of bytes per token: a panel for each language, a group for each source, a bar for each tokenizer."""
    suffix = Path(file).suffix.lower()
    if suffix not in METADATA:
        raise ValueError(f"--plot {file}: the name must end in .png or .svg")
    langs = sorted({line.lang for line in lines})
    names = list(dict.fromkeys(line.tokenizer for line in lines))
    with matplotlib.rc_context({"svg.hashsalt": "glasspile", "svg.fonttype": "path", "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(1 + 4.0 * len(langs), 3.6), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, max(1, len(langs)), squeeze=False, sharey=True)[0]
        for axes, lang in zip(panels, langs, strict=False):
            sources = sorted({line.source for line in lines if line.lang == lang})
            for i, name in enumerate(names):
                found = {line.source: line for line in lines if (line.lang, line.tokenizer) == (lang, name)}
                width = 0.8 / len(names)
                places = [place + (i - (len(names) - 1) / 2) * width for place in range(len(sources))]
                heights = [float(found[source].as_dict()["bytes_per_token"]) for source in sources]
                axes.bar(places, heights, width, color=f"C{i}", label=name)
            axes.set_title(lang)
            axes.set_xticks(range(len(sources)), sources, rotation=30, ha="right", fontsize=8)
        panels[0].set_ylabel("bytes per token")
        panels[0].legend(fontsize=8)
        figure.savefig(file, metadata=METADATA[suffix])
