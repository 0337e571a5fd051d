"""Scripts of letters: against the names of the characters, and by hand for the ideographs of one orthography."""

import unicodedata
from collections import Counter

import numpy as np
import pytest

from filters.codepoints import ALPHA, CLASSES
from filters.script import COMMON, HANI, HANS, HANT, JPAN, SCRIPT_OF, SCRIPTS


def test_scripts_are_those_of_the_unicode_names() -> None:
    """Reference: the first word of a letter's name; nine in ten letters, since blocks hold a few guests."""
    names = {"LATIN": "latn", "GREEK": "grek", "CYRILLIC": "cyrl", "HEBREW": "hebr", "ARABIC": "arab", "THAI": "thai"}
    names |= {"HIRAGANA": "jpan", "KATAKANA": "jpan", "HANGUL": "kore", "DEVANAGARI": "deva", "GEORGIAN": "geor"}
    total, right, wrong = Counter[str](), Counter[str](), Counter[str]()
    for code in np.flatnonzero(CLASSES[:0x10000] & ALPHA):
        name = unicodedata.name(chr(code), "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ").split(" ")[0]
        script = SCRIPTS[SCRIPT_OF[code]]
        if name == "CJK":
            assert script in ("hani", "hans", "hant", "jpan"), hex(code)
        elif name in names:
            total[name] += 1
            right[name] += script == names[name]
        else:
            wrong[script] += script in names.values()
    assert {name for name in names if right[name] < 0.9 * total[name]} == set()
    assert wrong.total() < 60  # ª, the ohm sign and their like


@pytest.mark.parametrize(
    ("characters", "script"),
    [
        ("学国书马说门电这发觉", HANS),
        ("學國書馬說門電這發覺", HANT),
        ("大人中山水火一二三天", HANI),
        ("のカ権労働込畑図", JPAN),
        ("1.，。！ \n😀", COMMON),
    ],
)
def test_characters_of_one_orthography(characters: str, script: int) -> None:
    assert {character: SCRIPTS[SCRIPT_OF[ord(character)]] for character in characters} == dict.fromkeys(
        characters, SCRIPTS[script]
    )
