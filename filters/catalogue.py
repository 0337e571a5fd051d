"""The registry of signals: a signal is a function of a TextView that gives one float64 per document. The surprise: NaN
means "not measured" (a ratio whose denominator is zero, a document without a URL), never bad and never good. Ask
`filters.signals.signal_named` for a signal: importing that module is what fills the registry."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from filters.text import TextView

Values = NDArray[np.float64]
Signal = Callable[[TextView], Values]

SIGNALS: dict[str, Signal] = {}
# What a signal looks at besides the text: columns (`url`, `lang_score`) and lists (`bad_words`), by signal.
NEEDS: dict[str, tuple[str, ...]] = {}
COLUMNS = ("url", "lang_score")


def signal(function: Signal) -> Signal:
    """Registers a signal under the function's name."""
    return register(function.__name__, function)


def signal_of(*needs: str) -> Callable[[Signal], Signal]:
    """Registers a signal that looks at columns or lists besides the text."""

    def registered(function: Signal) -> Signal:
        NEEDS[function.__name__] = needs
        return register(function.__name__, function)

    return registered


def register(name: str, function: Signal) -> Signal:
    """Registers a signal under a name; ValueError where it is taken."""
    if name in SIGNALS:
        raise ValueError(f"two signals are named {name!r}")
    SIGNALS[name] = function
    return function


def ratio(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Values:
    """part / whole, NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole != 0)
