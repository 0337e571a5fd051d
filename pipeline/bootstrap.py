"""Set-up with nothing but the standard library: makes `.venv` with pinned packages, or says what is missing.

Run as `python3 pipeline/bootstrap.py [--extra test] [--extra train]`. It does nothing when the environment already
holds what pyproject.toml and constraints.txt ask for. TORCH=cpu or TORCH=cuda in the environment chooses the build of
torch; without it any that is installed will do, and else that for CPUs, a tenth of the size, where pip finds one.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
ENVIRONMENT = CHECKOUT / ".venv"
NEEDED_BYTES = 3 << 30
PYTHONS = ((3, 11), (3, 12))
# What pip says in its many ways when it cannot reach the package index.
NO_NETWORK = (
    "Connection",
    "Temporary failure in name resolution",
    "Name or service not known",
    "ProxyError",
    "Retrying",
)


def main() -> int:
    """Set up; 0 done, 2 with one sentence on standard error where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", action="append", default=[], choices=("test", "train"))
    extras = sorted(set(parser.parse_args().extra))
    trouble = missing(extras) or install(extras) or pull_assets()
    if trouble:
        print(f"setup: {trouble}", file=sys.stderr)
        return 2
    return 0


def missing(extras: list[str]) -> str:
    """What this machine lacks, or ""."""
    if sys.version_info[:2] not in PYTHONS:
        have = ".".join(map(str, sys.version_info[:2]))
        return f"Python 3.11 or 3.12 is needed, this is {have}; run `make PYTHON=python3.11 ...`"
    if stamped(extras):
        return ""
    if "test" in extras and not shutil.which("g++"):
        return "no C++ compiler (g++) was found, which the tests' reference fasttext needs to build; install g++"
    free = shutil.disk_usage(CHECKOUT).free
    if free < NEEDED_BYTES:
        return f"{free / 1e9:.1f} GB are free in {CHECKOUT}, the packages need {NEEDED_BYTES / 1e9:.1f} GB; make room"
    return ""


def stamps(extras: list[str]) -> list[Path]:
    """Files that say which state of the pins, with which extras, the environment was made from."""
    wanted = "".join((CHECKOUT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "constraints.txt"))
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:16]
    return [ENVIRONMENT / f"glasspile-{digest}-{extra}" for extra in ["base", *extras]]


def stamped(extras: list[str]) -> bool:
    """Whether the environment holds what is asked for."""
    return all(stamp.exists() for stamp in stamps(extras))


def install(extras: list[str]) -> str:
    """Create the environment and install; gives what went wrong in one sentence, or ""."""
    if stamped(extras) and not os.environ.get("TORCH"):
        return ""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        print(f"setup: creating {ENVIRONMENT}", file=sys.stderr)
        try:
            venv.create(ENVIRONMENT, with_pip=True, clear=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return f"the environment {ENVIRONMENT} could not be created ({error}); on Debian install python3-venv"
    if trouble := install_torch() if extras else "":
        return trouble
    if stamped(extras):
        return ""
    target = "." + (f"[{','.join(extras)}]" if extras else "")
    print(f"setup: installing glasspile{target[1:]} and its pinned packages", file=sys.stderr)
    if trouble := pip(["-e", target]):
        return trouble
    for stamp in stamps(extras):
        stamp.touch()
    return ""


def install_torch() -> str:
    """Install the build of torch that is wanted; gives what went wrong, or ""."""
    wanted = os.environ.get("TORCH", "")
    if wanted not in ("", "cpu", "cuda"):
        return f"TORCH={wanted}: the builds of torch are cpu and cuda"
    there = [path.name for path in ENVIRONMENT.glob("lib/python*/site-packages/torch-*.dist-info")]
    if not (request := torch_request(wanted, there[0] if there else "")):
        return ""
    print(f"setup: installing {request}", file=sys.stderr)
    trouble = pip([request])
    if trouble and not wanted:
        return ""  # whichever build pip finds comes with the other packages
    more = "; PIP_EXTRA_INDEX_URL may name an index that has the build" if trouble else ""
    return trouble + more


def torch_request(wanted: str, there: str) -> str:
    """What pip is asked for, "" where the build that is installed will do."""
    if there and wanted in ("", "cpu" if "+cpu" in there else "cuda"):
        return ""
    pins = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pin = next(line.removeprefix("torch==") for line in pins if line.startswith("torch=="))
    if wanted == "cuda":
        return f"torch==={pin}"  # the build of the package index has no local part in its version
    return f"torch=={pin}+cpu"


def pip(arguments: list[str]) -> str:
    """Install with pip, within the pins; gives what went wrong in one sentence, or ""."""
    # Modules are compiled when they are first imported: most never are, and compiling them all takes minutes.
    flags = ["-q", "--no-compile", "-c", "constraints.txt"]
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", *flags, *arguments]
    settings = os.environ | {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, env=settings)
    return explain(done.stdout + done.stderr) if done.returncode else ""


def explain(output: str) -> str:
    """One sentence about what pip printed when it failed."""
    if "No space left" in output:
        return f"the disk of {CHECKOUT} is full; make room and run again"
    if "g++" in output or "gcc" in output or "error: command" in output:
        return "a package could not be compiled; install g++ and the Python headers (Debian: g++ python3-dev)"
    if any(sign in output for sign in NO_NETWORK) or "No matching distribution" in output:
        return (
            "the package index cannot be reached, or lacks a pinned package; check the network and pip's configuration"
        )
    last = [line for line in output.splitlines() if line.strip()][-1:] or ["pip failed"]
    return f"pip: {last[0]}"


def pull_assets() -> str:
    """Fetch the models that every run needs; gives what went wrong, or ""."""
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "pipeline", "assets", "pull"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["assets could not be fetched"])[-1]
    return ""


if __name__ == "__main__":
    sys.exit(main())
