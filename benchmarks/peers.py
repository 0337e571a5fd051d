"""The peers of the benchmarks: one pinned environment each under .peers/, made by `python -m benchmarks.peers`.

A peer that does not install or start is printed as such, with the reason, and its bar counts as not measured; that is
no failure of ours, so the exit status is 0.
"""

import hashlib
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import CHECKOUT, table

ENVIRONMENTS = CHECKOUT / ".peers"
PINS = CHECKOUT / "benchmarks" / "peers"


@dataclass(frozen=True)
class Peer:
    """A program that we are measured against; `probe` is Python that must run in its environment."""

    name: str
    version: str
    probe: str

    @property
    def python(self) -> Path:
        return ENVIRONMENTS / self.name / "bin" / "python"

    @property
    def pins(self) -> Path:
        return PINS / f"{self.name}.txt"

    @property
    def stamp(self) -> Path:
        """Exists when the environment holds exactly these pins."""
        digest = hashlib.sha256(self.pins.read_bytes()).hexdigest()[:16]
        return ENVIRONMENTS / self.name / f"pins-{digest}"


DATATROVE = Peer(
    "datatrove",
    "0.10.1",
    "import cchardet, fasteners, fasttext, magic, orjson, spacy, tokenizers, trafilatura, warcio; "
    "import datatrove.pipeline.dedup, datatrove.pipeline.filters, datatrove.pipeline.tokens",
)
DOLMA = Peer("dolma", "1.2.1", "import dolma.taggers.gopher")
RENSA = Peer("rensa", "0.5.0", "import rensa")
# The package itself imports Triton, which builds of torch for CPUs do not have: torchtitan_run.py does without.
TORCHTITAN = Peer(
    "torchtitan",
    "0.2.2",
    "import datasets, importlib.metadata, tokenizers, torch, torchdata, tyro; importlib.metadata.version('torchtitan')",
)
PEERS = (DATATROVE, DOLMA, RENSA, TORCHTITAN)


def trouble(peer: Peer) -> str:
    """Why a peer cannot be measured, in one line; "" when it can."""
    if not peer.python.exists() or not peer.stamp.exists():
        return "not installed; run `make bench-setup`"
    return said(subprocess.run([str(peer.python), "-c", peer.probe], capture_output=True, text=True))


def install(peer: Peer) -> str:
    """Make a peer's environment unless it is there; gives why it cannot be measured, or ""."""
    if not peer.stamp.exists():
        shutil.rmtree(ENVIRONMENTS / peer.name, ignore_errors=True)
        print(f"installing {peer.name} {peer.version}", file=sys.stderr)
        try:
            venv.create(ENVIRONMENTS / peer.name, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return f"no environment: {error}"
        # The pins are complete, so that nothing is left for pip to choose.
        command = [str(peer.python), "-m", "pip", "install", "-q", "--no-input", "--no-deps", "-r", str(peer.pins)]
        if wrong := said(subprocess.run(command, capture_output=True, text=True)):
            return wrong
        peer.stamp.touch()
    return trouble(peer)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a failed command printed, or ""."""
    if not done.returncode:
        return ""
    return next((line for line in reversed(done.stderr.splitlines()) if line.strip()), f"exit status {done.returncode}")


def main() -> int:
    """Install all peers and print how that went."""
    rows = [[peer.name, peer.version, install(peer) or "ready"] for peer in PEERS]
    print(table(["peer", "version", "state"], rows))
    for name, _, state in rows:
        if state != "ready":
            print(f"not measured: every bar against {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
