"""MinHash signatures by a peer, in the peer's own environment: a JSONL file of documents in, seconds out.

Each gets its documents as its users do, as strings, and makes its own shingles as its documentation shows: rensa and
datasketch have none, so theirs are what text-dedup makes for Latin text, 5 lower-cased words, and 5 characters without
white space for Chinese. Only signing is timed: no import, no reading. Run: minhash_run.py PEER FILE.jsonl
"""

import json
import re
import sys
import time
from collections.abc import Callable

PERMUTATIONS = 128
WORDS = re.compile(r"\w+")
Signer = Callable[[str], object]


def shingles(text: str, lang: str) -> list[str]:
    """The shingles of a text as strings."""
    units = "".join(text.split()) if lang == "zh" else WORDS.findall(text.lower())
    join = "" if lang == "zh" else " "
    return [join.join(units[i : i + 5]) for i in range(max(1, len(units) - 4))]


def rensa_signer(lang: str) -> Signer:
    """rensa's default sketch, one call a document."""
    from rensa import RMinHash

    return lambda text: RMinHash.digest_matrix_from_token_sets([shingles(text, lang)], PERMUTATIONS, 1)


def datasketch_signer(lang: str) -> Signer:
    """datasketch with its batched update."""
    from datasketch import MinHash

    def sign(text: str) -> object:
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([shingle.encode() for shingle in shingles(text, lang)])
        return sketch

    return sign


def datatrove_signer(lang: str) -> Signer:
    """datatrove's signature step with its own shingles; 16 x 8 permutations, words by spaCy's blank tokenizers."""
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    config = MinhashConfig(n_grams=5, num_buckets=16, hashes_per_bucket=8)
    language = {"en": "eng", "zh": "zho"}[lang]
    step = MinhashDedupSignature("/tmp", config, language=language)
    return lambda text: step.get_signature(step.get_shingles(text))


SIGNERS = {"rensa": rensa_signer, "datasketch": datasketch_signer, "datatrove": datatrove_signer}


def main() -> None:
    """Print the seconds of CPU that signing took, after one document that does not count."""
    peer, path = sys.argv[1:]
    with open(path, encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    sign = SIGNERS[peer](documents[0]["lang"])
    sign(documents[0]["text"])
    start = time.process_time()
    for document in documents:
        sign(document["text"])
    print(time.process_time() - start)


if __name__ == "__main__":
    main()
