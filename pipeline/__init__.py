"""Recipes, plans and runs: what turns the stages into one reproducible corpus.

Importing it pins the cache of compiled kernels, which must happen before numba is imported: numba does not see that a
kernel of one file changed when it has cached a caller in another, so the cache belongs to one state of the sources.
"""

import hashlib
import os
from pathlib import Path

KERNELS = ("dedup", "filters", "tokenizer")


def kernel_cache() -> Path:
    """Folder for kernels compiled from the present sources, below GLASSPILE_CACHE or the checkout's .cache."""
    checkout = Path(__file__).resolve().parent.parent
    digest = hashlib.blake2b(digest_size=8)
    for package in KERNELS:
        for source in sorted((checkout / package).glob("*.py")):
            digest.update(source.read_bytes())
    base = Path(os.environ.get("GLASSPILE_CACHE", checkout / ".cache"))
    return base / f"kernels-{digest.hexdigest()}"


os.environ.setdefault("NUMBA_CACHE_DIR", str(kernel_cache()))
