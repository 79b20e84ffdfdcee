"""Steps of several environments at once, for single cases and at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rllama_sb3.rewards import Transition
from rllama_sb3.rewards.transition import TransitionBatch

# Numbers whose sums and products are exact, so that the order of an addition shows in no value.
DYADIC: Final = (-2.0, -1.5, -1.0, -0.25, 0.0, 0.0, 0.5, 1.0, 1.0, 2.0, 3.0, 4.0)
NOT_FINITE: Final = (np.nan, np.inf, -np.inf)

# Observations of one environment: their shape, by key for a Dict.
Shapes = tuple[int, ...] | Mapping[str, tuple[int, ...]]
SPACES: Final[dict[str, Shapes]] = {
    "discrete": (),
    "vector": (3,),
    "matrix": (2, 3),
    "dict": {"place": (3,), "room": (), "map": (2, 3)},
}


def batch_of(
    obs: Any = None,
    *,
    action: Any = None,
    next_obs: Any = None,
    reward: Sequence[float] | None = None,
    terminated: Sequence[bool] | None = None,
    truncated: Sequence[bool] | None = None,
    infos: Sequence[Mapping[str, Any]] | None = None,
) -> TransitionBatch:
    """One step of as many environments as there are in what is given."""
    given = (obs, action, next_obs, reward, terminated, truncated, infos)
    (n_envs,) = {_n_rows(part) for part in given if part is not None}
    ended = np.zeros(n_envs, bool) if terminated is None else np.array(terminated)
    cut = np.zeros(n_envs, bool) if truncated is None else np.array(truncated)
    return TransitionBatch(
        obs=_as_arrays(obs),
        action=np.zeros(n_envs, int) if action is None else _as_arrays(action),
        next_obs=_as_arrays(obs if next_obs is None else next_obs),
        env_reward=np.zeros(n_envs) if reward is None else np.array(reward, np.float64),
        terminated=ended,
        truncated=cut,
        ended=(ended | cut).nonzero()[0],
        infos=[{}] * n_envs if infos is None else infos,
    )


def transitions_of(batch: TransitionBatch) -> list[Transition]:
    """The same steps one by one, taken apart without the code under test."""

    def part(values: Any, index: int) -> Any:
        if isinstance(values, dict):
            return {key: array[index] for key, array in values.items()}
        return None if values is None else values[index]

    return [
        Transition(
            part(batch.obs, index),
            part(batch.action, index),
            part(batch.next_obs, index),
            float(batch.env_reward[index]),
            bool(batch.terminated[index]),
            bool(batch.truncated[index]),
            batch.infos[index],
        )
        for index in range(len(batch.env_reward))
    ]


def random_batch(
    rng: np.random.Generator,
    n_envs: int,
    shapes: Shapes,
    *,
    action: NDArray[Any] | None = None,
    odd: bool = False,
) -> TransitionBatch:
    """One step of n environments, some of whose episodes end with it.

    Observations of shape () are integers, as those of a Discrete space; ``odd`` numbers are among
    the others now and then.
    """

    def observations(of: Shapes) -> Any:
        if isinstance(of, Mapping):
            return {key: observations(shape) for key, shape in of.items()}
        return random_array(rng, (n_envs, *of), integers=not of, odd=odd)

    if action is None:
        action = random_action(rng, n_envs)
    flags = rng.choice(["", "", "terminated", "truncated"], n_envs)
    return batch_of(
        observations(shapes),
        action=action,
        next_obs=observations(shapes),
        reward=rng.choice(DYADIC, n_envs).tolist(),
        terminated=(flags == "terminated").tolist(),
        truncated=(flags == "truncated").tolist(),
        infos=[random_info(rng) for _ in range(n_envs)],
    )


def random_array(
    rng: np.random.Generator, shape: tuple[int, ...], *, integers: bool = False, odd: bool = False
) -> NDArray[Any]:
    """A few exact numbers, in one of the types that observations come in."""
    if integers:
        return rng.integers(0, 5, shape).astype(rng.choice(["int64", "uint8", "int8"]))
    values = rng.choice(DYADIC + NOT_FINITE if odd else DYADIC, shape)
    return values.astype(rng.choice(["float32", "float64"]))


def random_action(rng: np.random.Generator, n_envs: int, kind: str = "") -> NDArray[Any]:
    """The actions of n environments: Discrete, Box or MultiDiscrete."""
    kind = kind or rng.choice(["discrete", "box", "multi_discrete"])
    shape = (n_envs,) if kind == "discrete" else (n_envs, 2)
    return random_array(rng, shape, integers=kind != "box")


def random_info(rng: np.random.Generator) -> dict[str, Any]:
    """An info, in which what is optional may be missing."""

    def number() -> Any:
        kinds = [float, float, np.float32, int, np.int64, lambda value: bool(value > 0)]
        return kinds[rng.integers(len(kinds))](rng.choice(DYADIC))

    info = {"x": number(), "pair": [number(), number()], "nested": {"deep": number()}}
    if rng.random() < 0.85:
        info["maybe"] = number()
    if rng.random() < 0.5:
        info["is_success"] = [True, False, np.True_, None][rng.integers(4)]
    return info


def _n_rows(part: Any) -> int:
    return len(next(iter(part.values()))) if isinstance(part, dict) else len(part)


def _as_arrays(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: np.asarray(value) for key, value in part.items()}
    return None if part is None else np.asarray(part)
