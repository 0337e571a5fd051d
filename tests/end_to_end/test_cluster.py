"""A Ray cluster of two nodes, of which one is lost in the middle of a run."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from pipeline.driver import Result
from tests.end_to_end.conftest import Crawl
from tests.end_to_end.test_same_bytes import REPO, command, commits, root_of

PORT = 6397
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a node of one CPU; its processes end with the one that is returned."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # Elsewhere, programs that look for a cluster would find the address of this one; and names of sockets are short.
    folder = tempfile.mkdtemp(prefix="ray-")
    monkeypatch.setenv("RAY_TMPDIR", folder)
    nodes = []

    def one(*flags: str) -> subprocess.Popen[bytes]:
        ray_start = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus=1"]
        nodes.append(subprocess.Popen([*ray_start, *flags], start_new_session=True, stdout=subprocess.DEVNULL))
        return nodes[-1]

    yield one
    for node in nodes:
        kill(node)
    shutil.rmtree(folder, ignore_errors=True)


def kill(node: subprocess.Popen[bytes]) -> None:
    """What a power cut does."""
    if node.poll() is None:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


@pytest.mark.soak
@pytest.mark.ray
def test_a_node_is_lost(crawl: Crawl, reference: tuple[Path, Result], tmp_path: Path, start: Start) -> None:
    address = f"{ray.util.get_node_ip_address()}:{PORT}"
    start("--head", f"--port={PORT}", "--include-dashboard=false")
    time.sleep(15)
    second = start(f"--address={address}")
    time.sleep(15)
    root = tmp_path / "root"
    run = subprocess.Popen(command(crawl, root, "--ray", address), cwd=REPO, stdout=subprocess.PIPE, text=True)
    while commits(root) < 4 and run.poll() is None:
        time.sleep(0.1)
    assert run.poll() is None
    kill(second)
    output, _ = run.communicate(timeout=500)
    assert run.returncode == 0
    assert root_of(output) == reference[1].root
