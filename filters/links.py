"""Links inside lines: the text of a line in, the spans of its links out, in code points. The surprise is what is no
link: only a name that ends in a well-known top-level domain goes without http or www before it, so that main.py,
os.path, 1.2.3.4 and two sentences with no space between them stay, which MAP-Neo's expressions delete; and a link ends
where Chinese text begins, with no space on either side."""

import re

# Nothing of these belongs to a link: CJK punctuation, kana, ideographs, Hangul, full-width forms.
CJK = "\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U000323af"
# What may stand inside a link, besides letters and digits (RFC 3986).
MARKS = r"\-._~:/?#\[\]@!$&'()*+,;=%"
# Names under these are sites wherever they stand; .py, .md, .rs, .sh, .so, .zip, .info and .name are left out, as file
# names and attributes end in them, and .is, .it, .me, .no, .so, .to, as words do.
DOMAINS = "com org net edu gov mil cn hk tw mo jp kr sg uk eu de fr es nl ch at be au nz ca br ru ua cz".split()
# English words among them begin a sentence after a missing space, and so need two more names: bbc.co.uk, univie.ac.at.
LONG = ("at", "be", "es", "ca", "mo", "mil")
# Names of techniques, not of sites.
TECHNIQUES = r"(?:asp|ado|vb)\.net\b"

_BODY = rf"(?:(?![{CJK}])[\w{MARKS}])"
_ALONE = rf"(?<![@./\\-])(?<![^\W{CJK}])"  # follows no name, path or mail sign
_SHORT = "|".join(name for name in DOMAINS if name not in LONG)
_SITE = rf"(?:[A-Za-z0-9-]{{1,63}}\.)+(?:{_SHORT})|(?:[A-Za-z0-9-]{{1,63}}\.){{2,}}(?:{'|'.join(LONG)})"
LINK = re.compile(
    rf"(?:(?i:https?|ftp)://|{_ALONE}(?i:www)\.(?=[\w-]+\.)){_BODY}+"
    # The last label of a bare site is whole; Chinese text may touch it.
    rf"|{_ALONE}(?!(?i:{TECHNIQUES}))(?:{_SITE})(?![.]?(?:(?![{CJK}])[\w@-]))(?::\d+)?(?:[/?]{_BODY}*)?"
)
# RE2 for lines that can hold one; only these are searched.
CANDIDATE = rf"(?i)://|www\.|\.(?:{'|'.join(DOMAINS)})(?:[^a-z0-9_]|$)"
CLOSING = ".,;:!?)]}，。；：！？、）】》」”"
PAIRS = {")": "(", "]": "[", "}": "{", ">": "<", "）": "（", "】": "【", "》": "《", "」": "「", "”": "“", "〉": "〈"}


def link_spans(line: str) -> list[tuple[int, int]]:
    """[start, end) of each link, with brackets that hold nothing else, and the blanks that it would leave behind."""
    found: list[tuple[int, int]] = []
    bare = 0  # nothing stays of the line before it
    stays = False  # whether anything but white space stays before the link
    for match in LINK.finditer(line):
        start = match.start()
        end = start + trimmed(match.group())
        while start and end < len(line) and PAIRS.get(line[end]) == line[start - 1]:
            start, end = start - 1, end + 1
        stays = stays or bool(line[bare:start].strip())
        if not stays:
            while end < len(line) and line[end].isspace():
                end += 1
            start, bare = bare, end
        elif end == len(line) or line[end].isspace() or line[end] in CLOSING:
            while line[start - 1].isspace():
                start -= 1
        found.append((start, end))
    return found


def trimmed(link: str) -> int:
    """Length of a link without the marks that end a sentence, the brackets that were opened before it, and those that
    it would leave open."""
    surplus = {mark: link.count(mark) - link.count(PAIRS[mark]) for mark in ")]"}
    end = len(link)
    while link[end - 1] in ".,;:!?'*_~([" or surplus.get(link[end - 1], 0) > 0:
        end -= 1
        if link[end] in surplus:
            surplus[link[end]] -= 1
        elif link[end] in "([":
            surplus[")" if link[end] == "(" else "]"] += 1
    return end
