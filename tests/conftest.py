"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Several test processes share two cores; one thread each is faster, and reproducible.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
