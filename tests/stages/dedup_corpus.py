"""A seeded corpus with duplicates of every kind, English, Chinese and both: own ids, which say what it is, and texts.

Families of edits at many similarities, chains of edits, copies, copies of near duplicates, texts that are almost
nothing, and sites whose pages share their boilerplate. Nothing here knows what a shingle is.
"""

import random
from collections.abc import Sequence

Lines = list[tuple[str, str]]  # own id, text


def vocabulary(seed: int) -> tuple[list[str], list[str]]:
    """English-like words and Chinese characters."""
    rng = random.Random(seed)
    syllables = [a + b for a in "bcdfglmnprst" for b in ("a", "e", "i", "o", "ou", "ing")]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(800)]
    return words, [chr(0x4E00 + rng.randrange(4000)) for _ in range(1500)]


WORDS, HAN = vocabulary(3)


def units(rng: random.Random, lang: str, count: int) -> list[str]:
    """Random units of a text: words, characters, or both."""
    if lang == "en":
        return rng.choices(WORDS, k=count)
    if lang == "zh":
        return rng.choices(HAN, k=count)
    return [rng.choice(WORDS) if rng.random() < 0.15 else rng.choice(HAN) for _ in range(count)]


def spelled(lang: str, text: Sequence[str]) -> str:
    """Units as a text."""
    return " ".join(text).capitalize() + "." if lang == "en" else "".join(text) + "\u3002"


def edited(rng: random.Random, lang: str, text: list[str], length: int) -> list[str]:
    """The text with so many units in a row replaced: the more, the lower the similarity."""
    start = rng.randrange(len(text) - length)
    return text[:start] + units(rng, lang, length) + text[start + length :]


def corpus(seed: int) -> Lines:
    """Documents by own id, which begins with the language and says what was planted."""
    rng = random.Random(seed)
    made: Lines = []
    for lang in ("en", "zh", "mx"):
        for family in range(3):
            base = units(rng, lang, rng.randint(90, 160))
            members = [base] + [edited(rng, lang, base, length) for length in (1, 1, 2, 4, 6, 8, 10, 13, 18, 40)]
            made += [(f"{lang}-family{family}-{i}", spelled(lang, text)) for i, text in enumerate(members)]
            made += [(f"{lang}-family{family}-{i}-copy", spelled(lang, members[i])) for i in (0, 2, 2, 4, 5)]
        step = units(rng, lang, 120)
        for i in range(6):
            made.append((f"{lang}-chain-{i}", spelled(lang, step)))
            step = edited(rng, lang, step, 5)
        boilerplate = units(rng, lang, 90)
        own = [units(rng, lang, 40) for _ in range(34)]
        own += [edited(rng, lang, text, 1) for text in own[:3]]
        made += [(f"{lang}-site-{i}", spelled(lang, boilerplate + text)) for i, text in enumerate(own)]
    texts = dict(made)
    made += [(f"en-shouted{i}", texts[f"en-family{i}-0"].upper().replace(" ", " -- ")) for i in range(2)]
    made += [(f"zh-spaced{i}", "\u3000".join(texts[f"zh-family{i}-0"])) for i in range(2)]
    short = ["", " \n", "!!!", "!!!", "One two", "one two?", "One two", "三四", "三 四", "三四", "five", "六"]
    made += [(f"sh-{i}", text) for i, text in enumerate(short)]
    rng.shuffle(made)
    return made


def planted(seed: int) -> list[tuple[str, str, str, str, str]]:
    """(source, own id, text, reason, own id of the one that stays): fates that follow by hand, b before a."""
    rng = random.Random(seed)
    table = []
    for lang in ("en", "zh"):
        base = units(rng, lang, 120)
        near = edited(rng, lang, base, 4)  # 8 of 116 shingles differ: 108 / 124 = 0.87
        far = near[:100] + edited(rng, lang, near[100:], 8)  # near to `near`, not to `base`
        table += [
            ("b", f"{lang}-base", spelled(lang, base), "kept", ""),
            ("a", f"{lang}-copy", spelled(lang, base), "exact_duplicate", f"{lang}-base"),
            ("a", f"{lang}-near", spelled(lang, near), "near_duplicate", f"{lang}-base"),
            # Whichever of the two comes first, it goes, so the other one must name what stays.
            ("a", f"{lang}-near-copy", spelled(lang, near), "near_duplicate", f"{lang}-base"),
            ("a", f"{lang}-far", spelled(lang, far), "kept", ""),
        ]
    return table + [
        ("a", "en-alone", spelled("en", units(rng, "en", 100)), "kept", ""),
        ("b", "en-short", "Hello world", "kept", ""),
        ("a", "en-short-too", "hello, World!", "near_duplicate", "en-short"),
        ("b", "zh-short", "你好", "kept", ""),
        ("a", "zh-short-too", "你 好", "near_duplicate", "zh-short"),
        ("a", "zh-short-copy", "你好", "exact_duplicate", "zh-short"),
        ("b", "zz-nothing", "?!", "kept", ""),
        ("a", "zz-nothing-too", "?!", "exact_duplicate", "zz-nothing"),
        ("a", "zz-nothing-else", "!?", "kept", ""),
    ]
