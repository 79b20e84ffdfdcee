"""Evaluates the components of a reward for many environments at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllama_sb3.errors import ComponentError
from rllama_sb3.rewards.component import RewardComponent
from rllama_sb3.rewards.composer import component_error, describe, to_number
from rllama_sb3.rewards.potential import PotentialShaping
from rllama_sb3.rewards.transition import Transition, TransitionBatch, row_of
from rllama_sb3.rewards.vectorized import (
    VectorizedComponent,
    each_env,
    environment_error,
    is_vectorized,
)


class OnePerEnv(VectorizedComponent):
    """A component that is not vectorised, copied for each of n environments.

    Args:
        component: The component; it is copied, and left as it is.
        n_envs: n.
    """

    def __init__(self, component: RewardComponent, n_envs: int) -> None:
        self._copies = [copy.deepcopy(component) for _ in range(n_envs)]

    def compute(self, transition: Transition) -> float:
        """Is not asked: there is one component for each environment."""
        raise NotImplementedError("use compute_batch")

    def reset_batch(
        self, starts: NDArray[np.intp], obs: Any, infos: Sequence[Mapping[str, Any]]
    ) -> None:
        """Resets the components of the environments in which an episode begins."""
        for index in starts.tolist():
            try:
                self._copies[index].reset(row_of(obs, index), infos[index])
            except Exception as error:
                raise environment_error(index, error) from error

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns what each component gives for its own environment."""
        return each_env(
            to_number(component.compute(batch.row(index)))
            for index, component in enumerate(self._copies)
        )


class BatchComposer:
    """Components of one reward, evaluated together for n environments.

    Potentials are not among them: they are not paid as they are, and the states that they are
    asked about are not only those that a step led to.

    Args:
        components: By name; each is copied, so that the environments share no state with others.
        n_envs: n.
    """

    def __init__(self, components: Mapping[str, RewardComponent], n_envs: int) -> None:
        self._components = [
            (row, name, _vectorize(component, n_envs))
            for row, (name, component) in enumerate(components.items())
            if not isinstance(component, PotentialShaping)
        ]

    def reset(self, starts: NDArray[np.intp], obs: Any, infos: Sequence[Mapping[str, Any]]) -> None:
        """Tells every component in which environments an episode begins.

        Raises:
            ComponentError: A component raised; it is named.
        """
        for _, name, component in self._components:
            try:
                component.reset_batch(starts, obs, infos)
            except Exception as error:
                raise component_error(name, error) from error

    def evaluate(self, batch: TransitionBatch, values: NDArray[np.float64]) -> None:
        """Writes the raw values of each component into its row of ``values``.

        Args:
            batch: What happened.
            values: Of shape (number of components, n); the rows of potentials are left alone.

        Raises:
            ComponentError: A component raised, or gave something else than n numbers; it is named.
        """
        for row, name, component in self._components:
            try:
                values[row] = to_numbers(component.compute_batch(batch), len(batch))
            except Exception as error:
                raise component_error(name, error) from error


def to_numbers(values: Any, n_envs: int) -> NDArray[Any]:
    """Returns what was given for n environments.

    Raises:
        ComponentError: It is not an array with one number for each.

    Example:
        >>> to_numbers(np.array(["0.5", "1"]), 2)
        Traceback (most recent call last):
        rllama_sb3.errors.ComponentError: must give an array with one number for each of 2
        environments, but gave an array of shape (2,) of <U3 (ndarray)
    """
    # NumPy would also turn text and objects into numbers, and drop imaginary parts and masks.
    if type(values) is np.ndarray and values.dtype.kind in "biuf" and values.shape == (n_envs,):
        return values
    raise ComponentError(
        f"must give an array with one number for each of {n_envs} environments, but gave "
        f"{describe(values)}"
    )


def _vectorize(component: RewardComponent, n_envs: int) -> VectorizedComponent:
    if isinstance(component, VectorizedComponent) and is_vectorized(type(component)):
        return copy.deepcopy(component)
    return OnePerEnv(component, n_envs)
