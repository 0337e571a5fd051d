"""Lists from outside: archives and text files compiled once per machine, refused with a sentence where they cannot be
used; and the filter stage that gives them to its rules."""

import bz2
import gzip
import io
import lzma
import multiprocessing
import tarfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard

from filters.hosts import hash_texts
from filters.lookup import place_of
from filters.rules import Rule, load_rules
from manifests.asset import Asset, AssetError, assets_of
from manifests.fingerprint import fingerprint
from manifests.storage import open_storage
from stages import lists
from stages.base import Task
from stages.filter import Filter
from stages.lists import HARMFUL, compiled, described, mapped, open_lists
from stages.schema import DOC

REPO = Path(__file__).resolve().parents[2]
ARCHIVE = {
    "blacklists/adult/domains": "a.com\nb.com\nsame.com\n",
    "blacklists/adult/urls": "c.com/x/\n色情.cn/图\n",
    "blacklists/adult/expressions": "(never|read)\n",
    "blacklists/gambling/domains": "same.com\nno host\nbet.cn",
    "blacklists/press/domains": "news.com\n",
    "blacklists/liste_blanche/domains": "good.com\n",
    "blacklists/README": "text",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of assets."""
    monkeypatch.setenv("GLASSPILE_ASSETS", str(tmp_path / "assets"))
    return tmp_path / "assets"


def asset(path: Path, content: bytes | str) -> Asset:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(raw)
    return Asset(str(path), sha256(raw).hexdigest())


def archive(files: Mapping[str, str], links: Mapping[str, str] | None = None) -> bytes:
    """A tar.gz."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return out.getvalue()


def content(table: np.ndarray, *texts: str) -> list[int]:
    """Categories of each text in a compiled list, 0 where it is not there."""
    places = [place_of(table[0], np.uint64(state)) for state in hash_texts(texts)]
    return [int(table[1, place]) if place >= 0 else 0 for place in places]


def test_an_archive_by_category(tmp_path: Path) -> None:
    path = Path(asset(tmp_path / "ut1.tar.gz", archive(ARCHIVE)).uri)
    texts = ("a.com", "c.com/x", "xn--feuo36e.cn/图", "same.com", "bet.cn", "news.com", "good.com")
    table, unused = compiled(path, HARMFUL)
    adult, gambling = 1 << sorted(HARMFUL).index("adult"), 1 << sorted(HARMFUL).index("gambling")
    assert content(table, *texts) == [adult, adult, adult, adult | gambling, gambling, 0, 0]
    assert (table.shape, unused) == ((2, 6), 1)
    assert (np.diff(table[0].astype(object)) > 0).all()
    assert content(compiled(path, ("press", "gambling"))[0], *texts) == [0, 0, 0, 1, 1, 2, 0]


def test_no_harmless_category_by_default() -> None:
    assert len(set(HARMFUL)) == len(HARMFUL) <= lists.MOST_CATEGORIES
    assert not {"press", "blog", "sports", "bank", "liste_bu", "liste_blanche", "translation", "forums"} & set(HARMFUL)


@pytest.mark.parametrize("name", ["own.txt", "flat.tar.gz"])
def test_a_list_without_categories_is_taken_whole(tmp_path: Path, name: str) -> None:
    text = "# mine\r\na.com\r\n\r\nhttps://b.cn/x\r\n"
    made = asset(tmp_path / name, archive({"domains": text}) if name.endswith("gz") else text)
    table, unused = compiled(made.path(), ("adult", "press"))
    assert (content(table, "a.com", "b.cn/x", "b.cn"), unused) == ([4, 4, 0], 0)


def test_lines_longer_than_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "CHUNK_BYTES", 7)
    hosts = [f"{'x' * i}.com" for i in range(1, 30)]
    table, _ = compiled(Path(asset(tmp_path / "own.txt", "\n".join(hosts)).uri), HARMFUL)
    assert all(content(table, *hosts)) and table.shape == (2, len(hosts))


@pytest.mark.parametrize(
    ("raw", "categories", "message"),
    [
        (archive(ARCHIVE), ("adlut",), "has no category adlut$"),
        (archive(ARCHIVE), ("adult", "games"), "has no category games$"),
        (archive({"README": "text"}), HARMFUL, "has no category adult, aggressive"),
        (archive(ARCHIVE, {"blacklists/porn": "adult"}), ("porn",), "has no category porn$"),
        (b"# nothing\n", HARMFUL, "holds no host and no URL$"),
        (archive({f"adult/{i}/domains": "a.com\n" * 999 for i in range(99)})[:-90], HARMFUL, "."),
        (gzip.compress(b"a.com\n"), HARMFUL, "is compressed; uncompress it, or pack it into a tar archive$"),
        (lzma.compress(b"a.com\n"), HARMFUL, "is compressed; "),
        (bz2.compress(b"a.com\n"), HARMFUL, "is compressed; "),
        (zstandard.compress("a.com\n色情.cn\n".encode()), HARMFUL, "is compressed; "),
        (b"a.com\nb.com\0\n", HARMFUL, "holds zero bytes; give a UTF-8 text file or a tar archive$"),
        ("a.com\n色情.cn\n".encode("gb18030"), HARMFUL, "is not UTF-8 text; give a text file or a tar archive$"),
    ],
)
def test_what_cannot_be_a_list(tmp_path: Path, raw: bytes, categories: tuple[str, ...], message: str) -> None:
    path = tmp_path / "list"
    path.write_bytes(raw)
    with pytest.raises(AssetError, match=message):
        compiled(path, categories)


def test_compiled_once_and_shared(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = asset(tmp_path / "own.txt", "a.com\nb.com\n")
    first = mapped(made, HARMFUL)
    assert not first.flags.writeable and type(first) is np.ndarray
    files = sorted(path.name for path in (folder / "compiled").iterdir())
    assert [name.rpartition(".")[2] for name in files] == ["lock", "npy"]  # nothing half written is left
    monkeypatch.setattr(lists, "compiled", None)  # never called again
    assert mapped(made, tuple(reversed(HARMFUL))).tolist() == first.tolist()
    with pytest.raises(TypeError):
        mapped(made, ("adult",))  # other categories are another list


def _map(made: Asset, results: "multiprocessing.Queue[int]") -> None:
    results.put(mapped(made, HARMFUL).shape[1])


def test_processes_that_start_together(tmp_path: Path, folder: Path) -> None:
    made = asset(tmp_path / "own.txt", "".join(f"{i}.com\n" for i in range(1000)))
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_map, args=(made, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=120) for _ in workers] == [1000, 1000]
    for worker in workers:
        worker.join()
    assert len(list((folder / "compiled").glob("*.npy"))) == 1


def test_a_folder_that_cannot_be_written(tmp_path: Path, folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    with pytest.raises(AssetError, match="cannot be written .*GLASSPILE_ASSETS"):
        mapped(asset(tmp_path / "own.txt", "a.com"), HARMFUL)


def test_several_files_make_one_list(tmp_path: Path) -> None:
    made = [
        ("bad_words", asset(tmp_path / "en.txt", "\ufeffass\n# note\n\n kick ass \n")),
        ("bad_words-zh", asset(tmp_path / "zh.txt", "色情\n")),
        ("url_blocklist", asset(tmp_path / "a.txt", "a.com")),
        ("url_blocklist-own", asset(tmp_path / "b.txt", "b.com")),
        ("url_hard_words", asset(tmp_path / "hard.txt", "Porn\n赌场")),
    ]
    opened = open_lists(made, HARMFUL)
    assert sorted(opened) == ["bad_words", "url_blocklist", "url_hard_words"]
    assert np.count_nonzero(opened["bad_words"].letters.marks == 2) == 3
    assert [table.shape for table in opened["url_blocklist"].tables] == [(2, 1), (2, 1)]
    assert opened["url_hard_words"] == (frozenset({"porn"}), ("赌场",))
    assert described("bad_words", made[0][1]) == "2 words"
    assert described("url_blocklist", made[2][1]) == "1 hosts and URLs (without a category); 0 lines hold neither"


def test_words_that_are_not_text(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"bad.txt is not UTF-8 \(byte 2\); convert it"):
        open_lists([("bad_words", asset(tmp_path / "bad.txt", "ok\xff".encode("latin-1")))], HARMFUL)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rules": "urls"}, "the rule urls_category needs the list 'url_blocklist': give the stage a line "),
        (
            {"rules": "badwords"},
            "the rule badwords_ratio needs the list 'bad_words'.*`assets add bad_words FILE`.*drop",
        ),
        ({"lists": (("bad_word", Asset("x", "0")),)}, "no list is named 'bad_word'; did you mean 'bad_words'?"),
        ({"categories": ("adult", "adult")}, "categories must be 1 to 23 different names, not 2"),
        ({"categories": ()}, "categories must be 1 to 23 different names, not 0"),
    ],
)
def test_a_stage_without_its_list_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Filter("f", **(fields | {"rules": table(fields["rules"]) if "rules" in fields else ()}))


def table(name: str) -> tuple[Rule, ...]:
    return load_rules((REPO / "pipeline" / "recipes" / f"{name}.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_matrix_rules_need_no_list(lang: str) -> None:
    stage = Filter("f", lang=(lang,), rules=table(f"matrix-{lang}"))
    assert stage.lists == () and list(assets_of(stage)) == []


def test_a_filter_with_lists(tmp_path: Path) -> None:
    words = (("url_strict_words", "groupsex"), ("url_hard_words", "porn"), ("url_soft_words", "webcam\nescort"))
    made = [("url_blocklist", asset(tmp_path / "ut1.tar.gz", archive(ARCHIVE)))]
    made += [("bad_words", asset(tmp_path / "bad.txt", "色情\nass"))]
    made += [(name, asset(tmp_path / f"{name}.txt", text)) for name, text in words]
    stage = Filter("f", rules=(*table("urls"), *table("badwords")), lists=tuple(made))
    assert [found.name for found in assets_of(stage)] == [Path(a.uri).name for _, a in made]
    other = Filter("f", rules=stage.rules, lists=(("url_blocklist", Asset("moved", made[0][1].sha256)), *made[1:]))
    assert fingerprint(stage) == fingerprint(other)
    urls = [
        None,
        "http://www.a.com/1",
        "https://news.com/",
        "http://x.cn/Porn",
        "http://y.cn/webcam/escort",
        "http://z.cn",
    ]
    texts = ["text", "text", "text", "正文", "正文", "这是色情网站"]
    rows = {"url": urls, "text": texts, "lang": ["en", "en", "en", "zh", "zh", "zh"]}
    plain = {"doc_id": [bytes([i] * 16) for i in range(6)], "source": ["s"] * 6, "snapshot": ["1"] * 6}
    plain |= {"script": [""] * 6, "lang_score": [1.0] * 6, "priority": [0] * 6}
    columns = [pa.array((rows | plain).get(f.name, [None] * 6), f.type) for f in DOC]
    worker = stage.open(open_storage(str(tmp_path / "root")))
    worker.begin(Task("t"))
    mapped_batch = worker.transform(pa.record_batch(columns, schema=DOC))
    assert mapped_batch.keep.tolist() == [True, False, True, False, False, False]
    reasons = mapped_batch.dropped["reason"].to_pylist()
    assert reasons == ["urls_category", "urls_hard_words", "urls_soft_words", "badwords_ratio"]
    assert mapped_batch.dropped["value"].to_pylist() == pytest.approx([1, 1, 2, 2 / 6])
    assert mapped_batch.counters == {f"unmeasured/{rule.label}/*": 1 for rule in table("urls")}


def test_the_real_archive(tmp_path: Path, shared_data: Path) -> None:
    path = tmp_path / "ut1.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(shared_data / "url" / "ut1", "blacklists")
    found, unused = compiled(path, HARMFUL)
    assert unused == 0 and 8_000 < found.shape[1] < 10_000
    harmful = {host for name in HARMFUL for host in hosts(shared_data, name)}
    white = hosts(shared_data, "liste_bu") | hosts(shared_data, "liste_blanche")
    assert len(white) > 2_500
    assert {host for host in white if any(content(found, host))} == white & harmful
    assert len(white & harmful) < 5
    assert all(content(compiled(path, ("liste_bu", "sports"))[0], "wikipedia.org", *hosts(shared_data, "sports")))


def hosts(shared_data: Path, category: str) -> set[str]:
    file = shared_data / "url" / "ut1" / category / "domains"
    return set(file.read_text(encoding="ascii").split()) if file.exists() else set()
