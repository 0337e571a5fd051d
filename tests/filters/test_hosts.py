"""One spelling of addresses, and registered domains by the rules of publicsuffix.org, by hand in both languages."""

import re
from importlib.resources import files
from pathlib import Path
from unicodedata import normalize

import pytest

from filters.hosts import (
    LONGEST_HOST,
    address,
    hash_entries,
    hash_texts,
    public_suffixes,
    registered_domain,
)
from tests.filters.url_lists import SUFFIXES

# URL or entry of a list, host and rest
ADDRESSES = [
    ("http://Example.COM/A/b?Q=1#f", ("example.com", "/a/b?q=1#f")),
    ("https://user:pw@www.example.com:8080/x", ("www.example.com", "/x")),
    ("example.com", ("example.com", "")),
    ("//example.com./", ("example.com", "/")),
    ("http://example.com?q=a@b.com", ("example.com", "?q=a@b.com")),
    ("http://a@b@example.com/", ("example.com", "/")),
    ("http:\\\\example.com\\x", ("example.com", "\\x")),
    ("http://example.com\\@good.com/", ("example.com", "\\@good.com/")),
    ("ftp://[2001:DB8::1]:21/x", ("[2001:db8::1]", "/x")),
    (" 12.16.1.10/%7Eweb_ani ", ("12.16.1.10", "/~web_ani")),
    ("http://食狮.公司.cn/中%E6%96%87", ("xn--85x722f.xn--55qx5d.cn", "/中文")),
    ("http://食狮。公司．ＣＮ", ("xn--85x722f.xn--55qx5d.cn", "")),
    ("http://%E9%A3%9F%E7%8B%AE.cn", ("xn--85x722f.cn", "")),
    ("http://xn--85x722f.com.cn/", ("xn--85x722f.com.cn", "/")),
    ("http://BÜCHER.example", ("xn--bcher-kva.example", "")),
    ("http:///path", None),
    ("http://a..b/", None),
    ("http://.com/", None),
    ("two words.com", None),
    ("", None),
]

# host, registered domain by RULES
DOMAINS = [
    ("www.example.com", "example.com"),
    ("com", None),
    ("a.b.co.uk", "b.co.uk"),
    ("co.uk", None),
    ("x.b.ide.kobe.jp", "b.ide.kobe.jp"),
    ("ide.kobe.jp", None),
    ("www.city.kobe.jp", "city.kobe.jp"),
    ("kobe.jp", "kobe.jp"),
    ("me.github.io", "me.github.io"),
    ("github.io", None),
    ("www.食狮.公司.cn", "xn--85x722f.xn--55qx5d.cn"),
    ("公司.cn", None),
    ("a.b.unlisted", "b.unlisted"),
    ("localhost", None),
    ("10.0.0.1", None),
    ("[::1]", None),
]


@pytest.mark.parametrize(("url", "parts"), ADDRESSES)
def test_address(url: str, parts: tuple[str, str] | None) -> None:
    assert address(url) == parts


def test_a_host_that_is_too_long_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """To put n marks in order, and to write n letters as punycode, takes n² steps: longer ones are not looked at."""
    seen: list[int] = []

    def counted(form: str, text: str) -> str:
        seen.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr("filters.hosts.unicodedata.normalize", counted)
    marks = "%CC%81%CC%A7"
    assert address("http://" + marks * 50_000 + ".com/") is None
    assert address(f"http://{'中' * (LONGEST_HOST + 1)}.com/") is None
    assert seen == []
    label = "e" + marks * 20
    assert address(f"http://{label}.com/")[0].endswith(".com") and address("http://中国.com/")[0] == "xn--fiqs8s.com"
    assert address("http://" + "a" * 5000 + ".com/")[0].endswith("a.com")
    assert max(seen) <= LONGEST_HOST


@pytest.mark.parametrize(("host", "domain"), DOMAINS)
def test_registered_domain(host: str, domain: str | None) -> None:
    assert registered_domain(host, SUFFIXES) == domain


def test_the_vectors_of_publicsuffix(shared_data: Path) -> None:
    suffixes = public_suffixes((shared_data / "url" / "public_suffix_list.dat").read_text(encoding="utf-8"))
    installed = files("publicsuffixlist").joinpath("public_suffix_list.dat").read_text(encoding="utf-8")
    text = (shared_data / "url" / "test_psl.txt").read_text(encoding="utf-8")
    vectors = re.findall(r"^checkPublicSuffix\((?:null|'(.*)'), (?:null|'(.*)')\);", text, re.MULTILINE)
    assert len(vectors) == 78
    for host, domain in vectors:
        wanted = address(domain)[0] if domain else None
        for rules in (suffixes, public_suffixes(installed)):
            assert registered_domain(host, rules) == wanted, host


def test_lines_of_lists() -> None:
    lines = "\ufeffa.com\r\n\n# note\n  b.com\t\nB.com/X/\n食狮.cn\nno host\n_x.y-z.net\n.c.com\nlast.com"
    hashes, unused = hash_entries(lines.removeprefix("\ufeff").encode())
    wanted = ["a.com", "b.com", "b.com/x", "xn--85x722f.cn", "_x.y-z.net", "c.com", "last.com"]
    assert sorted(hashes.tolist()) == sorted(hash_texts(wanted).tolist())
    assert unused == 1
    assert hash_entries(b"")[0].tolist() == []
