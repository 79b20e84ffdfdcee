"""What is told of a step, and of an episode when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class ComponentValues(dict[str, float]):
    """``info["reward_components"]``: the raw value of each component at a step.

    A ``DummyVecEnv`` copies infos deeply at every step, which takes longer than all else that is
    done to record these. Each step has a dict of its own, and numbers need no copy.

    Example:
        >>> import copy
        >>> copy.deepcopy({"reward_components": ComponentValues(env=1.0)})
        {'reward_components': {'env': 1.0}}
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> ComponentValues:
        return self


def summarize_episode(
    names: Iterable[str],
    *,
    env_return: float,
    length: int,
    raw: Sequence[float],
    weighted: Sequence[float],
) -> dict[str, Any]:
    """Returns ``info["reward_shaping"]``.

    Args:
        names: The components.
        env_return: The sum of the original environment's rewards.
        length: The number of steps.
        raw: The sum of each component's raw values.
        weighted: The sum of each component's weighted values.

    Example:
        >>> summarize_episode(["env"], env_return=3.0, length=2, raw=[3.0], weighted=[6.0])
        {'env_return': 3.0, 'shaped_return': 6.0, 'length': 2,
         'components': {'env': {'raw': 3.0, 'weighted': 6.0}}}
    """
    return {
        "env_return": env_return,
        "shaped_return": sum(weighted),
        "length": length,
        "components": {
            name: {"raw": raw_sum, "weighted": weighted_sum}
            for name, raw_sum, weighted_sum in zip(names, raw, weighted, strict=True)
        },
    }
