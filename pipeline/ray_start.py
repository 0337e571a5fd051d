"""Joining a Ray cluster, or starting one on this machine."""

import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

import ray

from pipeline.node import baggage
from stages.base import UserError

OBJECT_STORE = 128 << 20
# What Ray starts beside itself for clusters and for people.
HELPERS = (b"/autoscaler/_private/monitor.py", b"/dashboard/dashboard.py", b"/_private/log_monitor.py")
THREADS = {"OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
# What a Ray that is started here, and its workers, take from the environment; a user's own setting wins.
SERVICES = {
    "RAY_worker_niceness": "0",  # Ray's 15 lets any other program of the machine starve the run
    "RAY_enable_metrics_collection": "false",  # there is no dashboard to show them
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def connect(address: str, actors: int | None) -> bool:
    """Join or start Ray; True when it was started here and must be stopped here."""
    if ray.is_initialized():
        return False
    for name, value in SERVICES.items():
        os.environ.setdefault(name, value)
    try:
        if address == "local":
            # Inherited by all that Ray starts here; a runtime_env would make it start every worker a second time.
            os.environ.update(THREADS)
            ray.init(
                address="local",
                num_cpus=max(actors or 0, os.cpu_count() or 1),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE,
            )
            end_helpers()
            return True
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"working_dir": baggage(), "env_vars": THREADS},
        )
    except Exception as error:  # Ray raises nothing narrower where its processes do not come up in time
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if address == "local":
            raise UserError(f"Ray did not start: {reason}; is this machine overloaded, or its /tmp full?") from error
        raise UserError(
            f"cannot reach Ray at {address!r}: {reason}; "
            "is `ray start` running there, with the same RAY_AUTH_MODE and token?"
        ) from error
    return True


def end_helpers() -> None:
    """End the helpers of a Ray that this process has started: they hold 270 MB, and would be waited for at its end."""
    for folder in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread or a child that is gone, or a kernel that does not say
            for child in (folder / "children").read_text().split():
                command = Path("/proc", child, "cmdline").read_bytes().split(b"\0")
                if any(part.endswith(HELPERS) for part in command):
                    os.kill(int(child), signal.SIGKILL)
