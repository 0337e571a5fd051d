"""`python -m pipeline.sample --seed N --out DIR`: writes a sample crawl with its gold table and prints one line."""

import argparse
from pathlib import Path

from pipeline.sample.crawl import FILES, RECORDS, generate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.sample", description="A sample crawl and its gold table.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--records", type=int, default=RECORDS)
    options = parser.parse_args()
    gold = generate(options.seed, options.out, options.records)
    print(f"{len(gold)} records in {FILES} archives, {sum(row.length for row in gold):,} bytes: {options.out}")


if __name__ == "__main__":
    main()
