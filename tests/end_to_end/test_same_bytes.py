"""Same input and same recipe give the same content: whatever runs the tasks, whatever is killed, wherever it lies."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.driver import Result
from pipeline.executor import Executor
from pipeline.local import LocalExecutor
from tests.end_to_end.conftest import Crawl
from tests.manifests.faulty_s3 import Faults, FaultyS3
from tests.runs import run_recipe

REPO = Path(__file__).resolve().parents[2]
Reference = tuple[Path, Result]


def command(crawl: Crawl, root: Path, *flags: str) -> list[str]:
    """The command line of a run over the crawl."""
    inputs = ["--in", f"{crawl.folder}/*.warc.gz", "--set", "vocab.size=1024"]
    return [sys.executable, "-m", "pipeline", "run", "sample", "--out", str(root), "--quiet", *inputs, *flags]


def root_of(output: str) -> str:
    """The root hash that a run prints on its last line."""
    return output.strip().splitlines()[-1].removeprefix("root ")


def commits(root: Path) -> int:
    """Tasks that are committed below a root."""
    return len(list(root.glob("*/*.manifest.parquet")))


def left(root: Path) -> list[psutil.Process]:
    """Processes that were started for a root."""
    return [p for p in psutil.process_iter(["cmdline"]) if str(root) in " ".join(p.info["cmdline"] or [])]


@pytest.mark.ray
@pytest.mark.parametrize("actors", [1, 2, 4])
def test_ray_with_any_number_of_actors(crawl: Crawl, reference: Reference, tmp_path: Path, actors: int) -> None:
    done = subprocess.run(
        command(crawl, tmp_path / "root", "--ray", "local", "--actors", str(actors)),
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert root_of(done.stdout) == reference[1].root


def test_inputs_in_another_order(crawl: Crawl, reference: Reference, tmp_path: Path) -> None:
    files = crawl.files
    random.Random(1).shuffle(files)
    assert run_recipe(crawl.recipe(files), str(tmp_path / "root")).root == reference[1].root


def test_a_driver_killed_five_times(crawl: Crawl, reference: Reference, tmp_path: Path) -> None:
    root = tmp_path / "root"
    total = commits(reference[0])
    moments = sorted(random.Random(7).sample(range(total), 5))
    for moment in moments:
        log = tmp_path / f"log-{moment}"
        with log.open("w") as output:
            driver = subprocess.Popen(command(crawl, root, "--ray", "off"), cwd=REPO, stdout=output, stderr=output)
        end = time.monotonic() + 120
        while commits(root) < moment and driver.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        driver.send_signal(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL, "the run ended by itself: " + log.read_text()
    done = subprocess.run(command(crawl, root, "--ray", "off"), cwd=REPO, capture_output=True, text=True, timeout=300)
    assert root_of(done.stdout) == reference[1].root, done.stderr
    assert not left(root), "processes outlived their driver"


@pytest.mark.ray
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_on_ray_killed_in_the_middle(
    crawl: Crawl, reference: Reference, tmp_path: Path, how: signal.Signals
) -> None:
    root = tmp_path / "root"
    flags = ("--ray", "local", "--actors", "2")
    driver = subprocess.Popen(
        command(crawl, root, *flags), cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 120
    while commits(root) < commits(reference[0]) // 2 and driver.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    started = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(how)
    assert driver.wait(60) in (-how, 128 + how)
    _, alive = psutil.wait_procs(started, 20)
    assert not left(root), "processes outlived their driver"
    # Ray's own agents notice late that their driver was killed.
    assert how == signal.SIGKILL or not alive, "Ray outlived its driver"
    done = subprocess.run(command(crawl, root, *flags), cwd=REPO, capture_output=True, text=True, timeout=300)
    assert root_of(done.stdout) == reference[1].root, done.stderr


@pytest.mark.ray
def test_actors_killed_at_random(crawl: Crawl, reference: Reference, tmp_path: Path) -> None:
    from pipeline.ray_pool import RayExecutor

    root = str(tmp_path / "root")
    stop = threading.Event()
    killed: list[int] = []

    def executor() -> Executor:
        return RayExecutor("local", root, actors=2, attempts=10)

    def killer() -> None:
        rng = random.Random(3)
        while not stop.wait(rng.uniform(1.0, 3.0)) and len(killed) < 4:
            actors = [p.pid for p in psutil.Process().children(recursive=True) if is_actor(p)]
            if actors:
                killed.append(rng.choice(sorted(actors)))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        result = run_recipe(crawl.recipe(), root, executor)
    finally:
        stop.set()
        thread.join()
    assert killed, "no actor was killed"
    assert result.root == reference[1].root


def is_actor(process: psutil.Process) -> bool:
    """Whether a process is one of our actors."""
    try:
        return "ray::Runner" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    with FaultyS3() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_RETRY_MODE", "standard")
        server.make_bucket("corpus")
        yield server


def test_on_s3_that_fails_now_and_then(crawl: Crawl, reference: Reference, s3: FaultyS3) -> None:
    s3.faults = Faults(seed=5, slow_down=0.02, torn_upload=0.02, lost_reply=0.02, torn_download=0.02, slow_read=0.01)
    result = run_recipe(crawl.recipe(), "s3://corpus/root", LocalExecutor)
    assert s3.injected, "no fault was injected"
    assert result.root == reference[1].root
