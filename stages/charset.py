"""The bytes of a page and the charset that HTTP named come in; text, charset, how it was found and how much could not
be decoded go out. The surprising thing: no declaration is believed unread. Bytes that are valid UTF-8 are UTF-8
whatever the page says, and Chinese must read like Chinese: the share of very common characters tells GB18030 and Big5
apart, and both from other bytes that happen to decode."""

import codecs
import re
from typing import NamedTuple

from resiliparse.parse.encoding import detect_encoding

BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
META = re.compile(rb"""<meta\s[^<>]{0,500}?charset\s*=\s*["']?\s*([\w:.-]{2,40})""", re.IGNORECASE)
XML = re.compile(rb"""\s*<\?xml\s[^<>]{0,200}?encoding\s*=\s*["']([\w:.-]{2,40})""", re.IGNORECASE)
ASCII = bytes(range(128))
# Labels as browsers read them (WHATWG Encoding, which also reads utf-16 in a page that is ASCII as utf-8).
LABELS = {
    label: charset
    for charset, labels in {
        "utf-8": "utf-8 utf8 unicode-1-1-utf-8 utf-16 utf-16le utf-16be unicode",
        "gb18030": "gb2312 gbk gb18030 x-gbk gb_2312 gb_2312-80 gb-2312 gb2312-80 csgb2312 chinese cn-gb euc-cn cp936",
        "big5-hkscs": "big5 big-5 big5-hkscs big5hkscs cn-big5 csbig5 x-x-big5 cp950",
        "windows-1252": "iso-8859-1 iso8859-1 iso_8859-1 iso88591 latin1 latin-1 l1 ascii us-ascii windows-1252 cp1252",
        "windows-1254": "iso-8859-9 iso8859-9 latin5 windows-1254 cp1254",
        "cp874": "iso-8859-11 iso8859-11 tis-620 windows-874 cp874",
        "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji windows-31j cp932",
        "cp949": "euc-kr euckr euc_kr ks_c_5601-1987 ksc5601 ks_c_5601 korean windows-949 uhc cp949",
    }.items()
    for label in labels.split()
}
OTHERS = re.compile(r"iso8859-\d+|cp125\d|koi8-[ru]|cp866|mac-(cyrillic|roman)|euc_jp|iso2022_jp|hz")  # Python's names
CHINESE = ("gb18030", "big5-hkscs")
JAPANESE = ("euc_jp", "cp932")
EAST_ASIAN = (*CHINESE, *JAPANESE, "cp949")
# Very common characters of both scripts: about half of running Chinese, a tenth of Han characters picked by chance.
COMMON = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多"
    "经么去法学如都同现当没动面起看定天分还进好小部其些主样理心本前开但因只从想实日者意无力与长把机十民第公此已工使情明性知全"
    "三又关点正业外将两高间由问很最重并物手应向头文体政美相见被利什二等产或新己制身加月话合回代内信表化老给世位次度任先海通教"
    "原东立及比员解水名真论处各入几口认条平系气题活更别打女变四总何电数安少报才结反受目太量再感建务做接必场件计管期市直资区保"
    "社便治展科司五基书非界达光强即且权思设式路记品住告类求据程交规首页版登录注册网站链联系搜索评论阅读图片新闻服务信息中心下载"
    "這個們來為國說時會對於著過發後裡種經麼學現當沒動還進樣從開實無與長機關點業將兩間問應頭體見產製話東員論處幾認條係氣題"
    "別變總電數報結務場計管資區書達強權設記類據規頁錄註冊網連繫評閱讀圖聞訊載"
)
HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
HAN_RUN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{2,}")
KANA = re.compile("[\u3041-\u30ff]")
HIGH = re.compile("[^\x00-\x7f]+")
MAX_SHARE = 0.05  # of unknown characters among those that are not ASCII: with more, it is another charset
LEAST_DECLARED = 0.2  # of common characters: Korean, Japanese and Big5 bytes read as GB18030 have 0.1
LEAST_GUESSED = 0.3


class Decoded(NamedTuple):
    """A page as text; `replaced` counts U+FFFD, `share` is that count over the characters that are not ASCII.
    `how`: bom, utf-8 (by its bytes), http, meta, guessed, detected, or fallback (the least bad of those)."""

    text: str
    charset: str
    how: str
    replaced: int
    share: float

    def is_undecodable(self) -> bool:
        """Whether it is noise: a fifth of what is not ASCII is unknown, and more than a few characters are."""
        return self.replaced >= 20 and self.share > 0.2


def decode(body: bytes, http_charset: str | None) -> Decoded:
    """The text of a page, without NUL characters."""
    for bom, charset in BOMS:
        if body.startswith(bom):
            return _decode(body[len(bom) :], charset, "bom")
    if body.count(b"\0") * 8 > len(body) and b"<\0" in body:
        little = body[1::2].count(b"\0") > body[::2].count(b"\0")
        return _decode(body, "utf-16-le" if little else "utf-16-be", "detected")
    high = body.translate(None, ASCII)
    text = _decode(body, "utf-8", "utf-8")
    if not text.replaced and len(high) >= 64:
        return text  # no other charset is valid UTF-8 by chance for that long
    if text.share <= MAX_SHARE:
        return _rather(body, high, http_charset) or text
    declared = _declared(body, http_charset)
    found = (charset_of(detect_encoding(body, html5_compatible=False)) or "windows-1252", "detected")
    guesses = [(charset, "guessed") for charset in CHINESE]
    tried = []
    first = [found] if found[0] in EAST_ASIAN else []
    for charset, how in (*declared, *first, *guesses, found, ("utf-8", "utf-8")):
        text = _decode(body, charset, how)
        if is_plausible(text):
            return text
        if charset != "windows-1252":  # which decodes everything
            tried.append(text)
    return min(tried, key=lambda text: text.share)._replace(how="fallback")


def charset_of(label: str | None) -> str | None:
    """The charset that browsers use for a label; None for one that they would not know either."""
    label = (label or "").strip().lower()
    if label in LABELS:
        return LABELS[label]
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    return name if OTHERS.fullmatch(name) else None


def is_plausible(decoded: Decoded) -> bool:
    """Whether the text looks as text of that charset does."""
    if decoded.share > MAX_SHARE:
        return False
    if decoded.charset == "windows-1252":
        # Western text has single letters with accents, Chinese bytes read as Western are long runs of them.
        runs = [len(run) for run in HIGH.findall(decoded.text)]
        return 4 * sum(run for run in runs if run > 2) <= sum(runs)
    han = "".join(HAN.findall(decoded.text))
    if decoded.charset in JAPANESE:
        return len(KANA.findall(decoded.text)) >= 0.05 * len(han)
    if decoded.charset not in CHINESE or not han:
        return decoded.how != "guessed"
    common = sum(character in COMMON for character in han) / len(han)
    if decoded.how == "guessed":
        in_runs = sum(len(run) for run in HAN_RUN.findall(decoded.text))  # not one letter with an accent and the next
        kana = len(KANA.findall(decoded.text))
        return len(han) >= 4 and common >= LEAST_GUESSED and 2 * in_runs > len(han) and 10 * kana < len(han)
    return common >= LEAST_DECLARED


def _decode(body: bytes, charset: str, how: str) -> Decoded:
    text = body.decode(charset, "replace")
    replaced = text.count("\ufffd")
    share = replaced / max(1, len(text) - len(text.encode("ascii", "ignore"))) if replaced else 0.0
    return Decoded(text.replace("\0", ""), charset, how, replaced, share)


def _declared(body: bytes, http_charset: str | None) -> list[tuple[str, str]]:
    """What HTTP and the page itself declare; real pages do so far below the first 1,024 bytes."""
    match = XML.match(body) or META.search(body)
    named = ((http_charset, "http"), (match[1].decode("ascii") if match else None, "meta"))
    return [(charset, how) for label, how in named if (charset := charset_of(label)) is not None]


def _rather(body: bytes, high: bytes, http_charset: str | None) -> Decoded | None:
    """Another reading of bytes that are valid UTF-8 too: escape sequences, or a few Chinese characters."""
    if b"\x1b$" in body:
        return _decode(body, "iso2022_jp", "detected")
    few = 0 < len(high) < 64 and max(high) < 0xE0  # and none that is Chinese in UTF-8
    if few or b"~{" in body:
        for charset, how in _declared(body, http_charset):
            text = _decode(body, charset, how)
            if (few and charset in CHINESE or charset == "hz") and not text.replaced and HAN.search(text.text):
                return text
    return None
