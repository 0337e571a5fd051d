"""One thread for torch: for toys on few cores, threads that wait for each other take longer than the work. And no
process group that a module leaves to the next."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """For all tests of the trainer in this process."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def no_group_stays() -> Iterator[None]:
    """For each module."""
    yield
    if dist.is_initialized():
        dist.destroy_process_group()
