"""What the lines of a list of takedowns mean, and the names of the commits that they make."""

import pyarrow as pa
import pytest

from stages.base import UserError
from stages.forget import commit_key, parse
from stages.schema import ID

DOC = "00112233445566778899aabbccddeeff"


@pytest.mark.parametrize(
    "line, meant, others",
    [
        (DOC, [0], []),
        (DOC.upper() + "  # a letter of 3 May", [0], []),
        ("https://www.Secret.example/one/?utm_source=x#top", [1, 2], []),
        ("secret.example", [1, 2, 3, 4], ["a remark"]),
        ("WWW.secret.example", [1, 2, 3, 4], []),
        ("bbs.secret.example", [4], []),
        ("例子.测试  # 站长", [5, 6], []),
        ("http://例子.测试/茶", [5], []),
        ("ecret.example", [], []),
        ("# nothing", [], []),
        ("", [], []),
    ],
)
def test_what_a_line_means(line: str, meant: list[int], others: list[str]) -> None:
    urls = [
        None,
        "http://secret.example/one",
        "https://WWW.secret.example:443/one#x",
        "http://me@secret.example/two",
        "http://bbs.secret.example/",
        "https://xn--fsqu00a.xn--0zwm56d/%e8%8c%b6",
        "http://例子.测试/",
        "http://notsecret.example/?u=http://secret.example/one",
        "index.html",
        "http:\\\\secret.example.org\\one",
    ]
    ids = [bytes.fromhex(DOC), *(bytes([i]) * 16 for i in range(1, len(urls)))]
    table = pa.table({"doc_id": pa.array(ids, ID), "url": pa.array(urls, pa.string())}).combine_chunks()
    found = parse("\n".join([*(f"# {other}" for other in others), line]), "list")
    assert found.means(table).nonzero()[0].tolist() == meant
    assert found.means(table.slice(1)).nonzero()[0].tolist() == [row - 1 for row in meant if row]


@pytest.mark.parametrize("line", [DOC[:-1], "secret", "secret.example/one", "two words", "//", "秘密"])
def test_a_line_that_means_nothing_is_named(line: str) -> None:
    with pytest.raises(UserError, match=f"list.txt, line 2: {line!r} is no doc_id of 32 hexadecimal digits, no URL"):
        parse(f"# list\n{line}\n", "list.txt")


def test_a_commit_is_named_after_what_is_forgotten() -> None:
    one, two = bytes(16), bytes([1]) * 16
    assert commit_key("k", []) == "k"
    assert commit_key("k", [one, two]) == commit_key("k", [two, one, two]) != commit_key("k", [one])


# A corpus: own id, file, URL, text. Earlier files come first; c is a later snapshot.
