"""What a list of documents to forget means for a run: files in, the parsed list and its digest out; and which commits
of the passes from inputs are free of what is on it.

The surprise: nothing is remembered about earlier lists. Which documents an input holds is read from any commit of its
pass, whose rows, kept or dropped, name all of them; what that pass is called without those on the list follows.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from manifests.gone import opened
from manifests.storage import Storage
from manifests.store import Shard, committed, read_merged
from manifests.superseded import groups
from stages.base import UserError
from stages.forget import Forget, commit_key, parse

THREADS = 4


def load_lists(files: Sequence[str]) -> tuple[Forget, str]:
    """The lists that a recipe names, as one, and their text; UserError for one that cannot be read."""
    every, text = Forget(), ""
    for file in files:
        try:
            part = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"run.forget: {file} cannot be read as UTF-8 text: {error}") from error
        one = parse(part, file)
        every = Forget(every.ids | one.ids, every.urls | one.urls, every.hosts | one.hosts)
        text += part.rstrip("\n") + "\n"
    return every, text


def digest_of(text: str) -> str:
    """Name of a list in the root; "" for one without lines."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest() if text else ""


def committed_without(
    storage: Storage, folder: str, stage: str, keys: set[str], forget: Forget
) -> dict[str, list[Shard]]:
    """Rows of those passes in `keys`, which end in a stage, that are committed without what is to be forgotten."""
    present = committed(storage, folder, keys | {row.commit_key for row in read_merged(storage, folder)})
    passes: dict[str, list[Shard]] = {}
    for rows in present.values():
        passes |= {row.task_key: rows for row in rows if row.stage == stage and row.task_key in keys}

    def name(item: tuple[str, list[Shard]]) -> str:
        return commit_key(item[0], forgotten_in(storage, item[1], forget))

    with ThreadPoolExecutor(THREADS) as pool:
        names = dict(zip(passes, pool.map(name, passes.items()), strict=True))
    found = committed(storage, folder, set(names.values()))
    return {key: found[wanted] for key, wanted in names.items() if wanted in found}


def forgotten_in(storage: Storage, rows: Sequence[Shard], forget: Forget) -> list[bytes]:
    """The documents of a pass that are to be forgotten, from the documents that stay and from those that went."""
    found: list[bytes] = []
    for row in rows:
        if row.output in ("docs", "dropped") and row.rows and row.path:
            with opened(storage, row) as file:
                for table in groups(file, ["doc_id", "url"]):
                    table = table.combine_chunks()
                    found += table["doc_id"].filter(forget.means(table)).to_pylist()
    return found
