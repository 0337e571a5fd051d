"""Language and script of each document of a batch: an Arrow string column and a model come in; a label, a script and a
score per document go out. The surprise: a long text is read through windows spread evenly over it, so it costs no more
than a short one, and a label that the writing contradicts is not believed: Japanese without kana is Chinese."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from filters.ftz import Model
from filters.ngrams import DIM, Tables, add_features, best_label
from filters.script import HANI, HANS, HANT, JPAN, KORE, SCRIPT_OF, SCRIPTS, count_scripts
from filters.text import TextView

UNKNOWN = "und"
CHINESE = ("zh", "yue", "wuu")  # labels of lid.176 for what is written in Han alone

# A text of up to WINDOWS * WINDOW_BYTES is read whole. With 16 KiB at least 99.5 % of the documents of every collection
# tried keep the label of their whole text, those that are half code and half Chinese included (4 KiB: 98.7 %).
WINDOWS = 16
WINDOW_BYTES = 1024
# Length is counted in bytes of letters, since a Han character says as much as three Latin letters: two characters.
MIN_LETTER_BYTES = 6
# The score of a short text tells a label from a guess: of 100,000 lines of documentation in en and zh, those below 0.25
# have the wrong label in one half (zh 80 %, en 30 %). A long text scores low where it is mixed with code or tables, and
# its label still is that of its prose: scores of whole documents go down to 0.09.
SHORT_LETTER_BYTES = 100
MIN_SCORE_SHORT = 0.25
MIN_SCORE = 0.05
# Builds and machines differ in the seventh digit of a score.
SCORE_DECIMALS = 3


@dataclass(frozen=True)
class Measured:
    """What the model and the alphabet say about each document, before any threshold."""

    label: NDArray[np.int32]  # index into the labels of the model
    score: NDArray[np.float64]  # rounded; 0 where the model knows no word and no n-gram of the text
    letters: NDArray[np.int64]  # [n, len(SCRIPTS)], letters read in each script
    letter_bytes: NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """What was found, one value per document. The score is the probability that the model gave to its own label, also
    where the writing or a threshold overruled it; 0 means that the model knew nothing of the text."""

    lang: pa.Array  # string: a label of the model (ISO 639) or "und"
    script: pa.Array  # string: ISO 15924 in lower case; for Chinese hans, hant or undecided hani; zyyy without letters
    score: pa.Array  # float32, 3 decimals


def _as_written(lang: NDArray[np.object_], letters: NDArray[np.int64]) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Labels that the letters allow, and which of them the letters prove: Han without kana or hangul is Chinese, mostly
    kana is Japanese, mostly hangul is Korean; a label whose script does not occur is unknown."""
    han = letters[:, HANI : HANT + 1].sum(axis=1)
    half = letters[:, HANI:].sum(axis=1) / 2
    japanese, korean = letters[:, JPAN] > 0, letters[:, KORE] > 0
    chinese = np.isin(lang, CHINESE)
    only_han = (han > 0) & ~japanese & ~korean
    written = lang.copy()
    written[chinese & (han == 0) | (lang == "ja") & (han == 0) & ~japanese | (lang == "ko") & ~korean] = UNKNOWN
    proven = only_han & ((han > half) | (lang == "ja"))
    written[proven & ~chinese] = "zh"
    for script, language in ((JPAN, "ja"), (KORE, "ko")):
        mostly = letters[:, script] > half
        written[mostly] = language
        proven |= mostly
    return written, proven


def _script(letters: NDArray[np.int64], chinese: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Index into SCRIPTS of the most frequent script; Han, kana and hangul count as one, and are named together."""
    own = letters[:, [HANI, JPAN, KORE]]
    own[:, 0] += letters[:, HANS] + letters[:, HANT]
    other = letters[:, KORE + 1 :]
    orthography = np.select(
        [letters[:, HANS] > letters[:, HANT], letters[:, HANS] < letters[:, HANT]], [HANS, HANT], HANI
    )
    han = chinese | ((own[:, 1] == 0) & (own[:, 2] == 0))
    east = np.select([han, own[:, 2] > own[:, 1]], [orthography, KORE], JPAN)
    script = np.where(chinese | (own.sum(axis=1) >= other.max(axis=1)), east, KORE + 1 + other.argmax(axis=1))
    return np.where(letters[:, HANI:].any(axis=1), script, 0)


@njit(cache=True, nogil=True)
def _measure(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    windows: int,
    window_bytes: int,
    tables: Tables,
    script_of: NDArray[np.uint8],
    label: NDArray[np.int32],
    score: NDArray[np.float64],
    letters: NDArray[np.int64],
    letter_bytes: NDArray[np.int64],
) -> None:
    """Fills the last four, one row per document; see Measured."""
    scratch = np.empty(4 * windows * window_bytes + 8, np.uint32)
    hidden = np.empty(DIM, np.float32)
    for doc in range(len(offsets) - 1):
        start, end = offsets[doc], offsets[doc + 1]
        whole = end - start <= windows * window_bytes
        for d in range(DIM):  # a slice assignment would compile for 3 s more, for its error message
            hidden[d] = tables.rows[0, d]  # the end of the text is a word of its own
        features = 0
        for window in range(1 if whole else windows):
            first, last = start, end
            if not whole:  # one window in the middle of each of equal parts, cut between characters
                first += (end - start) * (2 * window + 1) // (2 * windows) - window_bytes // 2
                last = first + window_bytes
                while first < last and (data[first] & 0xC0) == 0x80:
                    first += 1
                while first < last < end and (data[last] & 0xC0) == 0x80:
                    last -= 1
            features += add_features(data, first, last, tables, scratch, hidden)
            letter_bytes[doc] += count_scripts(data, first, last, script_of, letters[doc])
        for d in range(DIM):
            hidden[d] *= np.float32(1.0 / (features + 1))
        label[doc], probability = best_label(hidden, tables)
        score[doc] = probability if features else 0.0


class Identifier:
    """Identifies languages with one model; what the parameters mean, and why, is said beside the constants above."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._names = np.array((*model.labels, UNKNOWN), object)

    def identify(
        self,
        column: pa.Array | pa.ChunkedArray,
        min_score: float = MIN_SCORE,
        min_score_short: float = MIN_SCORE_SHORT,
        short_letter_bytes: int = SHORT_LETTER_BYTES,
        min_letter_bytes: int = MIN_LETTER_BYTES,
        windows: int = WINDOWS,
        window_bytes: int = WINDOW_BYTES,
    ) -> Labels:
        """Labels of a string column without nulls; each depends on its own document alone."""
        found = self.measure(column, windows, window_bytes)
        lang = self._names[found.label]
        written, proven = _as_written(lang, found.letters)
        needed = np.where(found.letter_bytes < short_letter_bytes, min_score_short, min_score)
        guessed = ~proven & ((found.score < needed) | (found.score == 0))
        written[guessed | (found.letter_bytes < min_letter_bytes)] = UNKNOWN
        script = np.array(SCRIPTS, object)[_script(found.letters, np.isin(written, CHINESE))]
        score = pa.array(found.score.astype(np.float32))
        return Labels(pa.array(written, pa.string()), pa.array(script, pa.string()), score)

    def measure(
        self, column: pa.Array | pa.ChunkedArray, windows: int = WINDOWS, window_bytes: int = WINDOW_BYTES
    ) -> Measured:
        """The model's own labels and the letters, for a string column without nulls."""
        view = TextView(column)
        data = view.data.view()
        data.flags.writeable = False  # Arrow hands out both kinds, and numba would compile the kernel for each
        found = Measured(
            np.zeros(len(view), np.int32),
            np.zeros(len(view), np.float64),
            np.zeros((len(view), len(SCRIPTS)), np.int64),
            np.zeros(len(view), np.int64),
        )
        _measure(data, view.offsets, windows, window_bytes, self.model.tables, SCRIPT_OF, *vars(found).values())
        np.round(found.score, SCORE_DECIMALS, out=found.score)
        return found
