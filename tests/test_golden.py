"""Golden outputs: code is not part of any identity, so a stage whose output changes must change its `version`.

When this test fails, decide whether the change is meant. If it is, raise `version` of the stage named (and only then),
run `python -m tests.test_golden`, and commit the new tests/golden.toml: roots made before will run the stage again.
"""

import json
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from manifests.balance import total
from manifests.fingerprint import fingerprint
from pipeline.recipe import Recipe, parse_recipe
from tests.runs import run_recipe

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden.toml"
ARTICLES = HERE.parent / "pipeline" / "sample" / "articles"
RECIPE = """
base = "web"
[[source]]
name = "text"
kind = "jsonl"
inputs = ["{folder}/*.jsonl"]
[[source]]
name = "pages"
kind = "warc"
inputs = ["{folder}/*.warc"]
[set]
"vocab.size" = 512
"""
PAGE = """<!doctype html><html><head><title>{title}</title><meta charset="{charset}"></head><body>
<nav><a href="/">Home</a> <a href="/list">首页</a></nav><main><article><h1>{title}</h1>{paragraphs}</article></main>
<footer>© 2024 example</footer></body></html>"""


def write_inputs(folder: Path) -> None:
    """Articles of the sample crawl as JSON lines with exact copies and near copies, and as pages of a plain archive."""
    texts = []
    for lang in ("en", "zh", "other"):
        for path in sorted((ARTICLES / lang).glob("*.txt"))[:12]:
            texts.append((path.stem, path.read_text(encoding="utf-8").split("\n\n", 1)[1]))
    lines = [{"id": name, "url": f"https://a.example/{name}", "text": text} for name, text in texts]
    lines += [{"id": f"copy-{i}", "text": lines[i]["text"]} for i in (0, 13)]
    lines += [{"id": f"near-{i}", "text": lines[i]["text"] + "\nUpdated. 已更新。"} for i in (1, 14)]
    lines += [{"id": "short", "text": "Too short. 太短。"}, {"id": "spam", "text": "buy now cheap " * 90}]
    body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (folder / "text.jsonl").write_text(body, encoding="utf-8")
    records = []
    for number, (name, text) in enumerate(texts[8:20]):
        charset = "gbk" if number == 5 else "utf-8"
        paragraphs = "".join(f"<p>{paragraph}</p>" for paragraph in text.split("\n\n"))
        html = PAGE.format(title=name, charset=charset, paragraphs=paragraphs).encode(charset, "xmlcharrefreplace")
        payload = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + html
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://b.example/{name}\r\n"
            f"WARC-Date: 2024-01-01T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:{number:032d}>\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        records.append(head.encode() + payload + b"\r\n\r\n")
    (folder / "pages.warc").write_bytes(b"".join(records))


def measure(folder: Path) -> dict[str, tuple[int, str]]:
    """Version and digest of every stage over the inputs; what is addressed by task keys is left out."""
    write_inputs(folder)
    recipe: Recipe = parse_recipe(RECIPE.format(folder=folder), "golden")
    result = run_recipe(recipe, folder / "root")
    found = {}
    for stage in recipe.stages:
        rows = result.rows[stage.name]
        contents = sorted(
            (r.source or "", r.output, r.lang or "", r.digest)
            for r in rows
            if r.kind in ("docs", "dropped", "tokens", "model")
        )
        counts: Counter[str] = total(rows)
        found[stage.name] = (stage.version, fingerprint(contents, dict(counts), size=8))
    return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    return measure(tmp_path_factory.mktemp("golden"))


def test_every_stage_is_golden(measured: dict[str, tuple[int, str]]) -> None:
    assert set(tomllib.loads(GOLDEN.read_text())) == set(measured)


@pytest.mark.parametrize("stage", sorted(tomllib.loads(GOLDEN.read_text())) if GOLDEN.exists() else [])
def test_an_output_changes_only_with_its_version(measured: dict[str, tuple[int, str]], stage: str) -> None:
    golden = tomllib.loads(GOLDEN.read_text())[stage]
    version, digest = measured[stage]
    if version == golden["version"]:
        assert digest == golden["digest"], f"the output of {stage} changed, its version did not"
    else:
        pytest.fail(f"{stage} has version {version}, tests/golden.toml {golden['version']}: write it anew")


def test_the_digest_sees_one_letter(
    tmp_path: Path, measured: dict[str, tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = write_inputs

    def write_another(folder: Path) -> None:
        real(folder)
        text = (folder / "text.jsonl").read_text(encoding="utf-8")
        (folder / "text.jsonl").write_text(text.replace(" the ", " a ", 1), encoding="utf-8")

    monkeypatch.setattr(sys.modules[__name__], "write_inputs", write_another)
    changed = measure(tmp_path)
    assert changed["read"] != measured["read"] and changed["filter-en"] != measured["filter-en"]
    assert changed["extract"] == measured["extract"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        stages = measure(Path(name))
    text = "# Version and digest of every stage's output: see tests/test_golden.py.\n"
    text += "".join(f'{stage} = {{ version = {v}, digest = "{d}" }}\n' for stage, (v, d) in sorted(stages.items()))
    GOLDEN.write_text(text)
    sys.stdout.write(text)
