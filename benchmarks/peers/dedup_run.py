"""Near duplicates removed by a peer, in the peer's own environment: a folder of JSON lines by language in, the ids of
the documents that stay out. datatrove runs its four MinHash stages with their defaults, once for each language since
its word tokenizer is chosen for a run, and writes the texts that stay; rensa keeps everything in memory, needs its
shingles made (see minhash_run.py) and writes ids alone. Run: dedup_run.py PEER FOLDER OUT
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from minhash_run import PERMUTATIONS, shingles

THRESHOLD = 0.8


def datatrove(folder: Path, out: Path) -> None:
    """Signatures, buckets, clusters, filter."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    config = MinhashConfig()
    for lang, language in (("en", "eng"), ("zh", "zho")):
        place = out / lang
        files = len(list((folder / lang).glob("*.jsonl")))

        def execute(steps: list[PipelineStep], tasks: int, name: str, place: Path = place) -> None:
            LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(place / "logs" / name)).run()

        reader = JsonlReader(str(folder / lang))
        sign = MinhashDedupSignature(str(place / "signatures"), config, language=language)
        execute([reader, sign], files, "sign")
        buckets = MinhashDedupBuckets(str(place / "signatures"), str(place / "buckets"), config=config)
        execute([buckets], config.num_buckets, "buckets")
        execute([MinhashDedupCluster(str(place / "buckets"), str(place / "remove"), config)], 1, "cluster")
        writer = JsonlWriter(str(place / "kept"), compression=None)
        execute([reader, MinhashDedupFilter(str(place / "remove")), writer], files, "filter")


def rensa(folder: Path, out: Path) -> None:
    """One deduplicator over all documents."""
    from rensa import RMinHashDeduplicator

    ids: list[str] = []

    def entries() -> Iterator[tuple[str, list[str]]]:
        for path in sorted(folder.glob("*/*.jsonl")):
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    document = json.loads(line)
                    ids.append(document["id"])
                    yield document["id"], shingles(document["text"], document["lang"])

    kept = RMinHashDeduplicator(THRESHOLD, PERMUTATIONS, True).add_pairs(entries())
    out.mkdir()
    lines = (json.dumps({"id": name}) + "\n" for name, keep in zip(ids, kept, strict=True) if keep)
    (out / "kept.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    {"datatrove": datatrove, "rensa": rensa}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
