"""One thread for torch: for toys on few cores, threads that wait for each other take longer than the work."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """For all tests of the trainer in this process."""
    torch.set_num_threads(1)
