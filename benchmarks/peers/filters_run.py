"""Quality filters of a peer, in the peer's own environment: a JSONL file of documents {lang, text} in, seconds of CPU
out. Only filtering is timed: no import, no reading, one document before that does not count.

datatrove: GopherRepetition, GopherQuality, C4Quality and FineWebQuality as they come, each on every document; Chinese
words are spaCy's characters, since its own choice, jieba, would be slower still. dolma: the tagger gopher_v2, which
measures Gopher's rules and decides nothing. Run: filters_run.py PEER FILE.jsonl
"""

import json
import sys
import time
from collections.abc import Callable

Measure = Callable[[str], object]


def datatrove(lang: str) -> Measure:
    """The four filters, every one on every text."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from quality_run import Characters

    language = "eng" if lang == "en" else Characters()
    filters = [
        GopherRepetitionFilter(language=language),
        GopherQualityFilter(language=language),
        C4QualityFilter(language=language),
        FineWebQualityFilter(language=language),
    ]

    def measure(text: str) -> object:
        found = []
        for one in filters:
            try:
                found.append(one.filter(Document(text=text, id="")))
            except (ValueError, ZeroDivisionError, IndexError) as error:
                found.append(type(error).__name__)
        return found

    return measure


def dolma(lang: str) -> Measure:
    """The second version of its Gopher tagger."""
    from dolma.core.data_types import Document
    from dolma.taggers.gopher import GopherTaggerV2

    tagger = GopherTaggerV2()
    return lambda text: tagger.predict(Document(source="", id="", text=text))


MEASURES = {"datatrove": datatrove, "dolma": dolma}


def main() -> None:
    """Print the seconds."""
    peer, path = sys.argv[1:]
    with open(path, encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    measure = MEASURES[peer](documents[0]["lang"])
    measure(documents[0]["text"])
    start = time.process_time()
    for document in documents:
        measure(document["text"])
    print(time.process_time() - start)


if __name__ == "__main__":
    main()
