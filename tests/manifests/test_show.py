"""What a page wrote never steers the terminal that an answer is printed on."""

import pytest

from manifests.dup import Clusters, Duplicates, Host, Large, Sizes
from manifests.gone import Dropped, DroppedSample
from manifests.pairs import Pair, Side
from manifests.query import GROUPS
from manifests.rebuild import Piece
from manifests.show import show_answer, show_sample
from manifests.showdup import show_duplicates
from manifests.textdiff import Difference, printable
from manifests.why import Answer, Cut, History, InputFate, Step, Twin

URL, ID, HOST, TEXT = "http://x.com/\x1b[2J", "a\x1b[31mRED", "x\u202ecom", "坏\u2066茶\x9b2J\rtea\x07"
ARCHIVE = "a\x1b]0;.warc"
FORBIDDEN = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u202a", "\u202e", "\u2066", "\u2069"]


def gone(url: str | None, source_id: str | None) -> Dropped:
    return Dropped(
        "0" * 32, "web", source_id, url, "zh", "apply", "near_duplicate",
        None, None, None, (), "1" * 32, 0.9, ARCHIVE, 7, 9, TEXT,
    )  # fmt: skip


def history(url: str | None) -> History:
    cut = Cut("lines", 1, 3, (Piece("trim", "lines", 0, 3, TEXT),))
    return History(
        "0" * 32, "web", ID, url, "zh", None, None, ARCHIVE, 7, 9, (Step("apply", "dropped", ()),),
        gone(url, ID), Twin("1" * 32, url, "web", ID, True), (cut,), None, None, (Difference(TEXT, TEXT, TEXT, TEXT),),
    )  # fmt: skip


def test_no_control_reaches_a_terminal() -> None:
    dropped = (gone(URL, ID), gone(None, ID), gone(None, None))
    pair = Pair("0.8", "zh", "near_duplicate", 0.9, Side("0" * 32, URL, 9), Side("1" * 32, ID, 9), None)
    clusters = (Clusters("cluster", (Sizes(2, 2, 1, 2),), (Large(2, "1" * 32, URL),)),)
    found = Duplicates("r", "0", dict.fromkeys(GROUPS, 2), (), {}, clusters, (Host(HOST, 1, 1),), (pair,), ())
    fates = (InputFate("web", ARCHIVE, 9, False, ARCHIVE), InputFate("web", ARCHIVE, 9, True, None))
    lines = [
        *show_sample(DroppedSample(3, dropped)),
        *show_answer(Answer(URL, (history(URL), history(None)), fates)),
        *show_duplicates(found),
    ]
    assert [line for line in lines if any(char in line for char in FORBIDDEN)] == []
    shown = "\n".join(lines)
    assert all(part in shown for part in ("http://x.com/ [2J", "a [31mRED", "x com", "a ]0;.warc", "坏 茶 2J tea"))


@pytest.mark.parametrize("text", ["http://例子.cn/茶?a=b", "é\u0301 مرحبا", "👩\u200d💻"])
def test_what_is_no_control_stays(text: str) -> None:
    assert printable(text) == text
