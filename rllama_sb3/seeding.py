"""Seeds of a study: which may be seen by the search, and which never are.

A search that reports its winner on the seeds it searched on reports its luck (Eimer et al. 2023,
"Hyperparameters in Reinforcement Learning and How To Tune Them"). So the two kinds of seed come
from two halves of one range, and no choice of root or index can make them meet::

    tuning seeds      [0,    2**30)   the search trains on them
    test seeds        [2**30, 2**31)  only the comparison after the search does
    evaluation seeds  [2**31, 2**32)  episodes in which a model is judged, never trained

Each is a pure function of the study's root seed and an index: not of time, worker or trial number.
"""

from __future__ import annotations

from typing import Final

import numpy as np

_HALF: Final = 2**30
_TRAINING_SEEDS: Final = 2**31


def tuning_seed(root: int, index: int) -> int:
    """Returns the ``index``-th seed that trials of a study with seed ``root`` train on.

    Example:
        >>> tuning_seed(0, 0) == tuning_seed(0, 0) != tuning_seed(0, 1)
        True
    """
    return _mix(root, index)


def test_seed(root: int, index: int) -> int:
    """Returns the ``index``-th seed kept for the comparison after the search.

    Example:
        >>> test_seed(0, 0) >= 2**30 > tuning_seed(0, 0)
        True
    """
    return _HALF + _mix(root, index)


def evaluation_seed(seed: int) -> int:
    """Returns the seed of the evaluation episodes of a run trained with ``seed``.

    Example:
        >>> evaluation_seed(7)
        2147483655
    """
    return _TRAINING_SEEDS + seed % _TRAINING_SEEDS


def _mix(root: int, index: int) -> int:
    return int(np.random.SeedSequence((root, index)).generate_state(1)[0]) % _HALF
