"""The trainer under Ray Train: the run that torchrun would give, digit for digit, on the workers of a Ray cluster.

Ray starts the processes and their process group, and starts them again after a failure; checkpoints, metrics and the
run's folder are the trainer's own, so the folder has to be one that all nodes share. Nothing is sent through Ray but
the configuration.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import ray

from manifests.storage import StorageError
from training.config import Config, load_config, parse_config
from training.fsdp import open_data, train
from training.order import PlanError, check_world
from training.parallel import backend_of

# What a Ray that is started here takes from the environment; a user's own setting wins.
SERVICES = {
    "RAY_worker_niceness": "0",  # Ray's 15 lets any other program of the machine starve the run
    "RAY_enable_metrics_collection": "false",  # there is no dashboard to show them
    "RAY_USAGE_STATS_ENABLED": "0",
}


class Failed(RuntimeError):
    """A run that failed on its workers; the message is what the first rank that failed said last."""


@dataclass(frozen=True)
class Launch:
    """What a worker is told: the resolved configuration, where to stop, and the folder that paths begin in."""

    config: str
    until: int | None
    folder: str


def work(launch: Launch) -> None:
    """One rank; Ray has set up its process group."""
    os.chdir(launch.folder)
    train(parse_config(json.loads(launch.config)), launch.until)


def launch(config: Config, workers: int, address: str, restarts: int = 0, until: int | None = None) -> None:
    """Train on so many workers of a Ray cluster, or of a Ray that is started here for it: `address` is "local"."""
    _, run = open_data(config)
    check_world([phase.batch for phase in run.order.phases], workers, config.microbatch)
    try:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
        from ray.train.v2.api.exceptions import TrainingFailedError
    except ImportError as error:
        raise PlanError("Ray Train is not installed; `make setup-train` installs what training needs") from error
    os.environ.update({name: value for name, value in SERVICES.items() if name not in os.environ})
    if address == "local":
        ray.init("local", num_cpus=max(workers, os.cpu_count() or 1), include_dashboard=False, log_to_driver=True)
    else:
        ray.init(address, log_to_driver=True)
    try:
        cuda = config.device == "cuda" or not config.device and ray.cluster_resources().get("GPU", 0) >= workers
        told = Launch(config.text(), until, str(Path.cwd()))
        TorchTrainer(
            lambda: work(told),
            torch_config=TorchConfig(backend=backend_of("cuda" if cuda else "cpu")),
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=cuda),
            run_config=RunConfig(
                name="ray",
                storage_path=str(Path(config.run).resolve()),
                failure_config=FailureConfig(max_failures=restarts),
            ),
        ).fit()
    except TrainingFailedError as error:
        raise Failed(sentence(error)) from error
    finally:
        ray.shutdown()


def sentence(error: Exception) -> str:
    """What the first rank that failed said last."""
    if failures := getattr(error, "worker_failures", None):
        rank, first = min(failures.items(), key=lambda item: item[0])
        return f"rank {rank}: {str(first).strip().splitlines()[-1]}"
    return str(error).strip().splitlines()[-1]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m training.launch_ray", description="Train on a Ray cluster.")
    made.add_argument("config", metavar="CONFIG", help="a TOML file, a run's config.json, or the name of a preset")
    made.add_argument("overrides", nargs="*", metavar="NAME=VALUE", help="such as optimizer.clip=0.5")
    made.add_argument("--workers", type=int, default=1, metavar="N", help="ranks, each with one GPU or one core (1)")
    made.add_argument("--ray", default="local", metavar="ADDRESS", help="local (a Ray on this machine), auto, or where")
    made.add_argument(
        "--restarts", type=int, default=0, metavar="N", help="how often a failed run is started again (0)"
    )
    made.add_argument("--until", type=int, metavar="STEP", help="stop before this step, as if the plan ended there")
    return made


def main(arguments: Iterable[str] | None = None) -> int:
    """Train; status 2, one sentence, for what cannot be, and 1 for a run that failed on its workers."""
    chosen = parser().parse_intermixed_args(None if arguments is None else list(arguments))
    try:
        config = load_config(chosen.config, chosen.overrides)
        launch(config, chosen.workers, chosen.ray, chosen.restarts, chosen.until)
    except (PlanError, StorageError, ConnectionError) as error:
        print(f"training.launch_ray: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"training.launch_ray: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
