"""Pages in Chinese, English and other languages, in charsets that are declared right, wrong and not at all."""

import codecs
import random

import pytest

from stages.charset import charset_of, decode

HANS = "人工智能的发展正在改变我们的生活。他们说，这些新的方法可以用来学习语言，也可以用来看书和写作。"
HANT = "人工智慧的發展正在改變我們的生活。他們說，這些新的方法可以用來學習語言，也可以用來看書和寫作。"
JA = "人工知能の発展は、私たちの生活を変えています。新しい方法で言葉を学ぶことができます。"
KO = "인공지능의 발전은 우리의 삶을 바꾸고 있습니다. 새로운 방법으로 언어를 배울 수 있습니다."
RU = "Развитие искусственного интеллекта меняет нашу жизнь. Новые методы помогают учить языки."
DE = "Die Künstliche Intelligenz verändert unser Leben: größere Möglichkeiten, Sprachen zu üben, für alle."
EN = "Artificial intelligence is changing our lives – “new methods” help people learn."


def page(text: str, declared: str | None, charset: str) -> bytes:
    meta = f'<meta http-equiv="Content-Type" content="text/html; charset={declared}">' if declared else ""
    return f"<html><head>{meta}<script>var x = 1;</script></head><body><p>{text}</p></body></html>".encode(charset)


PAGES = [
    # text, charset of the bytes, what HTTP says, what the page says, charset found, how
    (HANS, "utf-8", None, "utf-8", "utf-8", "utf-8"),
    (HANS, "utf-8", "gbk", "gb2312", "utf-8", "utf-8"),
    (HANS, "utf-8", "iso-8859-1", None, "utf-8", "utf-8"),
    (HANS, "utf-8", None, "big5", "utf-8", "utf-8"),
    (HANS, "gbk", "gbk", None, "gb18030", "http"),
    (HANS, "gbk", None, "gb2312", "gb18030", "meta"),
    (HANS, "gbk", None, None, "gb18030", "detected"),
    (HANS, "gbk", "utf-8", None, "gb18030", "detected"),
    (HANS, "gbk", "utf-8", "gb2312", "gb18030", "meta"),
    (HANS, "gbk", "iso-8859-1", None, "gb18030", "detected"),
    (HANS, "gbk", "iso-8859-1", "gb2312", "gb18030", "meta"),
    (HANS, "gbk", None, "big5", "gb18030", "detected"),
    (HANS, "gbk", None, "no-such-charset", "gb18030", "detected"),
    (HANS + "𠀀㐀", "gb18030", None, "gb2312", "gb18030", "meta"),
    (HANT, "utf-8", None, "big5", "utf-8", "utf-8"),
    (HANT, "big5", None, "big5", "big5-hkscs", "meta"),
    (HANT, "big5", None, None, "big5-hkscs", "detected"),
    (HANT, "big5", None, "gb2312", "big5-hkscs", "detected"),
    (HANT, "big5", "utf-8", "utf-8", "big5-hkscs", "detected"),
    (HANT + "嘅咗", "big5hkscs", "Big5-HKSCS", None, "big5-hkscs", "http"),
    (HANT, "gbk", None, "gb2312", "gb18030", "meta"),
    (HANS, "hz", None, "hz-gb-2312", "hz", "meta"),
    (HANS, "utf-16-le", None, None, "utf-16-le", "detected"),
    (HANT, "utf-16-be", None, "utf-16", "utf-16-be", "detected"),
    (JA, "euc_jp", None, None, "euc_jp", "detected"),
    (JA, "cp932", None, "Shift_JIS", "cp932", "meta"),
    (JA, "iso2022_jp", None, None, "iso2022_jp", "detected"),
    (KO, "cp949", None, "euc-kr", "cp949", "meta"),
    (KO, "cp949", None, None, "cp949", "detected"),
    (RU, "cp1251", None, None, "cp1251", "detected"),
    (RU, "koi8-r", "koi8-r", None, "koi8-r", "http"),
    (DE, "cp1252", None, "iso-8859-1", "windows-1252", "meta"),
    (DE, "cp1252", "utf-8", None, "windows-1252", "detected"),
    (DE, "utf-8", "iso-8859-1", None, "utf-8", "utf-8"),
    (EN, "cp1252", None, "utf-8", "cp1250", "detected"),  # which has the same quotation marks
    ("plain words", "ascii", None, "gb2312", "utf-8", "utf-8"),
]


@pytest.mark.parametrize("text, charset, http, meta, found, how", PAGES)
def test_pages(text: str, charset: str, http: str | None, meta: str | None, found: str, how: str) -> None:
    expected = page(text, meta, charset).decode(charset)
    decoded = decode(page(text, meta, charset), http)
    assert decoded.text == expected
    assert (decoded.charset, decoded.how, decoded.replaced) == (found, how, 0)


BOMS = [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")]


@pytest.mark.parametrize("bom, charset", BOMS)
def test_a_byte_order_mark_is_right_and_no_text(bom: bytes, charset: str) -> None:
    decoded = decode(bom + HANS.encode(charset), "gb2312")
    assert decoded == (HANS, charset, "bom", 0, 0.0)


def test_a_declaration_far_into_the_page_is_found() -> None:
    body = b"<html><!--" + b" " * 9000 + page("龘靐", "gbk", "gbk")
    assert decode(body, None).charset == "gb18030"
    assert "龘靐" in decode(body, None).text


def test_two_characters_that_are_valid_in_both_follow_the_declaration() -> None:
    two = "拢脗".encode("gbk")  # C2 A3 C3 82: also two letters of UTF-8
    assert decode(b'<meta charset="gbk">' + two, None).text.endswith("拢脗")
    assert decode(two, None).text == "£Â"


def test_damaged_utf8_stays_utf8() -> None:
    decoded = decode(HANS.encode() * 20 + HANS.encode()[:1], "gb2312")
    assert (decoded.charset, decoded.replaced) == ("utf-8", 1)
    assert decoded.text == HANS * 20 + "\ufffd" and not decoded.is_undecodable()


def test_nul_characters_are_dropped() -> None:
    assert decode("茶\0水\0".encode() * 9, None).text == "茶水" * 9


def test_noise_is_undecodable_and_pages_are_not() -> None:
    for seed in range(20):
        assert decode(b"<html>" + random.Random(seed).randbytes(3000), "utf-8").is_undecodable(), seed
    for text, charset, http, meta, _, _ in PAGES:
        assert not decode(page(text, meta, charset), http).is_undecodable()
    assert not decode(b"<p>One wrong byte: \xff</p>", "utf-8").is_undecodable()


LABELS = """
    gb18030: GB2312, gbk, x-gbk, GB_2312-80, cn-gb
    big5-hkscs: big5, BIG5-HKSCS, cn-big5
    windows-1252: latin1, ISO-8859-1, us-ascii
    utf-8: UTF8, unicode, utf-16
    cp932: Shift_JIS, sjis
    cp949: ks_c_5601-1987, euc-kr
    cp1251: windows-1251
    iso8859-2: iso-8859-2, latin2
    hz: hz-gb-2312
    None: utf-7, base64, rot13, idna, unicode_escape, x-user-defined, a\0b
"""


@pytest.mark.parametrize("line", LABELS.strip().splitlines())
def test_labels(line: str) -> None:
    charset, _, labels = line.strip().partition(": ")
    for label in labels.split(", "):
        assert str(charset_of(label)) == charset, label
    assert charset_of("") is None and charset_of(None) is None
