"""datatrove's own web pipeline, run by its own environment: a folder of WARC files in, token files out. Also, ahead of
the measurement, the tokenizer that it needs: byte-level BPE from the texts of a JSONL file.

The steps, their order and their settings follow datatrove's FineWeb example, with three differences that are all in its
favour or forced: no step writes what it drops, the deduplicated text is not stored on its way to the tokens, and the
language model is the file that we use (its own is a download of 126 MB). Extraction has 10 s a page, since the default
of 1 s loses pages on a busy machine, which would be less work and not more speed.
"""

import argparse
import json
import shutil
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.io import strip_protocol
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils.lid import FT176LID
from huggingface_hub import cached_assets_path
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

EXTRACTION_SECONDS = 10.0
END = "</s>"


def install_model(model: Path) -> None:
    """Put the language model where datatrove looks before it downloads one."""
    folder = cached_assets_path(library_name="datatrove", namespace="lid", subfolder="ft176")
    target = Path(folder) / strip_protocol(FT176LID.MODEL_URL).replace("/", "_")
    shutil.copyfile(model, target)
    target.with_name(target.name + ".completed").touch()


def run(warcs: Path, out: Path, model: Path, tokenizer: Path, workers: int) -> None:
    """The whole pipeline, one step of executors after the other."""
    install_model(model)
    files = len(list(warcs.glob("*.warc.gz")))
    config = MinhashConfig()

    def execute(name: str, steps: list[PipelineStep], tasks: int) -> None:
        LocalPipelineExecutor(
            steps, tasks=tasks, workers=min(workers, tasks), logging_dir=str(out / "logs" / name)
        ).run()

    def folder(name: str) -> str:
        return str(out / name)

    execute(
        "pages",
        [
            WarcReader(str(warcs), glob_pattern="*.warc.gz"),
            Trafilatura(favour_precision=True, timeout=EXTRACTION_SECONDS),
            LanguageFilter(["en", "zh"]),
            GopherRepetitionFilter(),
            GopherQualityFilter(),
            C4QualityFilter(filter_no_terminal_punct=False),
            FineWebQualityFilter(),
            JsonlWriter(folder("text")),
        ],
        files,
    )
    reader = JsonlReader(folder("text"))
    execute("signatures", [reader, MinhashDedupSignature(folder("signatures"), config)], files)
    buckets = MinhashDedupBuckets(folder("signatures"), folder("buckets"), config=config)
    execute("buckets", [buckets], config.num_buckets)
    execute("clusters", [MinhashDedupCluster(folder("buckets"), folder("remove"), config)], 1)
    tokens = DocumentTokenizer(folder("tokens"), str(tokenizer), eos_token=END, seed=1)
    execute("tokens", [reader, MinhashDedupFilter(folder("remove")), tokens], files)


def train(texts: Path, tokenizer: Path, size: int) -> None:
    """A tokenizer of `size` tokens from the `text` of each line."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    with texts.open(encoding="utf-8") as lines:
        made.train_from_iterator((json.loads(line)["text"] for line in lines), trainer)
    made.save(str(tokenizer))


def main() -> None:
    """`run WARCS OUT MODEL TOKENIZER WORKERS` or `train TEXTS TOKENIZER SIZE`."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    running, training = verbs.add_parser("run"), verbs.add_parser("train")
    for name in ("warcs", "out", "model", "tokenizer"):
        running.add_argument(name, type=Path)
    running.add_argument("workers", type=int)
    for name in ("texts", "tokenizer"):
        training.add_argument(name, type=Path)
    training.add_argument("size", type=int)
    given = parser.parse_args()
    if given.verb == "run":
        run(given.warcs, given.out, given.model, given.tokenizer, given.workers)
    else:
        train(given.texts, given.tokenizer, given.size)


if __name__ == "__main__":
    main()
