"""Takedown: a list of documents, URLs and hosts comes in; which documents of an input it means goes out, and what a
task that holds some of them is called.

The list is no part of any stage's identity. A task is known by its input and by the ids of the documents in it that are
to be forgotten, which follow from both alone: so a longer list runs no task again but those that hold what is new on
it, and a corpus made with the list from the start has the same tasks and the same content. What is imported where it is
used takes 0.3 s, and most runs have no list.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.fingerprint import fingerprint
from manifests.storage import Storage
from manifests.superseded import FORGOTTEN
from stages.base import UserError
from stages.dropped import dropped_rows
from stages.schema import DROPPED, ID

STAYS = ("doc_id", "source", "source_id", "url", "lang", "stage", "archive", "offset", "length")
HEX = frozenset("0123456789abcdef")
HOST = r"^(?:[^:/?#]*:)?//(?:[^/?#]*@)?(?P<host>\[[^\]]*\]|[^/?#:]*)"


@dataclass(frozen=True)
class Forget:
    """What is to be forgotten: doc_ids, URLs in one spelling, and hosts with all below them."""

    ids: frozenset[bytes] = frozenset()
    urls: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.ids or self.urls or self.hosts)

    def means(self, table: pa.RecordBatch | pa.Table) -> np.ndarray:
        """Which rows of a table with the columns doc_id and url are meant, bool[n]."""
        found = np.asarray(pc.is_in(table["doc_id"], pa.array(sorted(self.ids), ID)))
        if not self.urls and not self.hosts:
            return found
        # Hosts first: there are few, and most URLs need not be spelled.
        hosts = pc.struct_field(pc.extract_regex(table["url"], HOST), "host")
        near = [host for host in pc.unique(hosts).to_pylist() if host is not None and self.may_mean(host)]
        asked = pc.or_(
            pc.is_in(hosts, pa.array(near, pa.string())), pc.and_(pc.is_null(hosts), table["url"].is_valid())
        )
        rows = np.flatnonzero(np.asarray(asked))
        urls = table["url"].take(pa.array(rows)).to_pylist()
        found[rows] |= np.array([self.means_url(url) for url in urls], bool)
        return found

    def may_mean(self, host: str) -> bool:
        """Whether a URL of this host may be meant."""
        from filters.hosts import address

        name = address(f"//{host}")
        return not name or self.below(name[0]) or name[0].removeprefix("www.") in self.url_hosts

    def means_url(self, url: str) -> bool:
        """Whether the URL itself, its host, or a domain above that is meant."""
        from dedup.urls import spelling
        from filters.hosts import address

        name = address(url)
        return name is not None and (self.below(name[0]) or (bool(self.urls) and spelling(url) in self.urls))

    def below(self, host: str) -> bool:
        """Whether a host, or a domain above it, is meant."""
        labels = host.split(".")
        return bool(self.hosts) and any(".".join(labels[i:]) in self.hosts for i in range(len(labels)))

    @cached_property
    def url_hosts(self) -> set[str]:
        """The hosts of the URLs."""
        from filters.hosts import address

        return {name[0].removeprefix("www.") for name in map(address, self.urls) if name}


def parse(text: str, where: str) -> Forget:
    """The list: in each line a doc_id (32 hexadecimal digits), a URL, or a host; `#` begins a remark."""
    from dedup.urls import spelling
    from filters.hosts import address

    ids, urls, hosts = set[bytes](), set[str](), set[str]()
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip() if "//" in line else line.partition("#")[0].strip()
        if not entry or entry.startswith("#"):
            continue
        url = spelling(entry)
        host = address(entry) if "/" not in entry else None
        if len(entry) == 32 and set(entry.lower()) <= HEX:
            ids.add(bytes.fromhex(entry))
        elif url:
            urls.add(url)
        elif host and "." in host[0]:
            hosts.add(host[0].removeprefix("www."))
        else:
            raise UserError(
                f"{where}, line {number}: {entry!r} is no doc_id of 32 hexadecimal digits, no URL such as "
                "https://example.com/page and no host such as example.com"
            )
    return Forget(frozenset(ids), frozenset(urls), frozenset(hosts))


def list_path(digest: str) -> str:
    """Where a run keeps the list that it was given, relative to the root, for its workers and for the record."""
    return f"forget/{digest}.txt"


def open_list(storage: Storage, digest: str) -> Forget:
    """The list with this digest; of none, nothing is to be forgotten."""
    return parse(storage.get(list_path(digest)).decode(), list_path(digest)) if digest else Forget()


def commit_key(key: str, forgotten: Iterable[bytes]) -> str:
    """Name of the commit of a task: its own key, unless it holds documents that are to be forgotten."""
    ids = sorted({doc.hex() for doc in forgotten})
    return fingerprint(key, ids) if ids else key


def without(
    kept: pa.RecordBatch, gone: pa.RecordBatch, gone_bytes: np.ndarray, forget: Forget, stage: str
) -> tuple[pa.RecordBatch, pa.RecordBatch, np.ndarray, Sequence[bytes]]:
    """What an entry read, DOC and DROPPED, without what is to be forgotten: that is dropped with nothing but its name.
    Last the ids."""
    here, there = forget.means(kept), forget.means(gone)
    if not here.any() and not there.any():
        return kept, gone, gone_bytes, ()
    sizes = pc.binary_length(kept["text"]).to_numpy(zero_copy_only=False).astype(np.int64)
    some = dropped_rows(kept, np.flatnonzero(here), stage, FORGOTTEN)
    rows = pa.concat_batches([gone.filter(pa.array(there)), some])
    bare = pa.record_batch([bared(rows, field) for field in DROPPED], schema=DROPPED)
    rest = gone.filter(pa.array(~there))
    lengths = np.concatenate([gone_bytes[~there], gone_bytes[there], sizes[here]])
    return kept.filter(pa.array(~here)), pa.concat_batches([rest, bare]), lengths, bare["doc_id"].to_pylist()


def bared(rows: pa.RecordBatch, field: pa.Field) -> pa.Array:
    """A column of a forgotten document: who it was, and nothing that was measured of it or stood in it."""
    if field.name == "reason":
        return pa.array([FORGOTTEN] * rows.num_rows, field.type)
    return rows[field.name] if field.name in STAYS else pa.nulls(rows.num_rows, field.type)
