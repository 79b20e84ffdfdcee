from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rllama_sb3 import seeding

# Shared cores are slow at times, which says nothing about the code.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROOTS = st.integers(0, 2**31 - 1)
INDICES = st.integers(0, 10_000)


@PATIENT
@given(ROOTS, INDICES, ROOTS, INDICES)
def test_no_tuning_seed_can_be_a_test_or_evaluation_seed(
    root: int, index: int, other_root: int, other_index: int
) -> None:
    tuning = seeding.tuning_seed(root, index)
    test = seeding.test_seed(other_root, other_index)
    assert 0 <= tuning < 2**30 <= test < 2**31
    assert 2**31 <= seeding.evaluation_seed(tuning) < 2**32
    assert 2**31 <= seeding.evaluation_seed(test) < 2**32


@PATIENT
@given(ROOTS, INDICES)
def test_seeds_are_a_function_of_root_and_index_alone(root: int, index: int) -> None:
    assert seeding.tuning_seed(root, index) == seeding.tuning_seed(root, index)
    assert seeding.test_seed(root, index) == seeding.test_seed(root, index)


@pytest.mark.parametrize("seed", [seeding.tuning_seed, seeding.test_seed])
def test_neighbouring_roots_and_indices_do_not_repeat_seeds(seed: object) -> None:
    assert callable(seed)
    assert len({seed(root, index) for root in range(10) for index in range(10)}) == 100


def test_seeds_stay_the_same_between_releases() -> None:
    # A study that is resumed must go on with the seeds it started with.
    assert [seeding.tuning_seed(0, i) for i in range(3)] == [821328062, 743699524, 993632895]
    assert seeding.test_seed(0, 0) == 2**30 + 821328062
