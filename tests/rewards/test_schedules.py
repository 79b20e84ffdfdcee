from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rllama_sb3.errors import ComponentError, ConfigError
from rllama_sb3.rewards import weight_schedule
from rllama_sb3.rewards.schedules import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    FunctionSchedule,
    LinearSchedule,
    PiecewiseSchedule,
    Step,
    WeightSchedule,
    build_schedule,
    check_schedule,
    register_schedule,
    schedule_registry,
    schedule_schema,
)

WEIGHTS = st.floats(-1e6, 1e6)
STEPS = st.integers(0, 10**7)
LATE = 10**12


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    registry = weight_schedule._schedules
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))


@st.composite
def anneals(draw: st.DrawFn) -> LinearSchedule | CosineSchedule:
    start = draw(STEPS)
    end = start + draw(st.integers(1, 10**7))
    w0, w1 = draw(WEIGHTS), draw(WEIGHTS)
    if draw(st.booleans()):
        return LinearSchedule(initial_weight=w0, final_weight=w1, start_step=start, end_step=end)
    return CosineSchedule(initial_weight=w0, final_weight=w1, start_step=start, end_step=end)


@st.composite
def exponentials(draw: st.DrawFn) -> ExponentialSchedule:
    weight = draw(WEIGHTS)
    return ExponentialSchedule(
        initial_weight=weight,
        decay_rate=draw(st.floats(1e-3, 1.0)),
        decay_steps=draw(st.integers(1, 10**5)),
        min_weight=draw(st.floats(0.0, abs(weight))),
        staircase=draw(st.booleans()),
    )


@st.composite
def piecewises(draw: st.DrawFn) -> PiecewiseSchedule:
    steps = sorted(draw(st.sets(st.integers(1, 10**7), min_size=1, max_size=6)))
    points = tuple((step, draw(WEIGHTS)) for step in steps)
    return PiecewiseSchedule(
        initial_weight=draw(WEIGHTS), points=points, staircase=draw(st.booleans())
    )


CONSTANTS = WEIGHTS.map(lambda weight: ConstantSchedule(initial_weight=weight))
SCHEDULES = CONSTANTS | anneals() | exponentials() | piecewises()


def weights_of(schedule: WeightSchedule) -> list[float]:
    """The weights that a stock schedule was given, or the floor that it has."""
    if isinstance(schedule, ConstantSchedule):
        return [schedule.initial_weight]
    if isinstance(schedule, ExponentialSchedule):
        sign = math.copysign(1.0, schedule.initial_weight)
        return [schedule.initial_weight, sign * schedule.min_weight]
    if isinstance(schedule, PiecewiseSchedule):
        return [schedule.initial_weight, *(weight for _, weight in schedule.points)]
    assert isinstance(schedule, LinearSchedule | CosineSchedule)
    return [schedule.initial_weight, schedule.final_weight]


# Every stock schedule


@given(SCHEDULES)
def test_the_first_weight_is_exactly_the_initial_weight(schedule: Any) -> None:
    assert schedule(0) == schedule.initial_weight


@given(SCHEDULES, STEPS)
def test_a_weight_lies_within_the_weights_given(schedule: WeightSchedule, step: int) -> None:
    given_weights = weights_of(schedule)
    assert min(given_weights) <= schedule(step) <= max(given_weights)


@given(SCHEDULES, STEPS)
def test_a_schedule_is_pure_and_gives_a_float(schedule: WeightSchedule, step: int) -> None:
    first = schedule(step)
    schedule(LATE)
    assert schedule(step) == first
    assert type(first) is float


@given(SCHEDULES, STEPS)
def test_a_schedule_survives_pickling(schedule: WeightSchedule, step: int) -> None:
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy == schedule
    assert copy(step) == schedule(step)
    assert copy.end_step == schedule.end_step


@given(SCHEDULES, STEPS)
def test_the_weight_stays_the_same_from_the_end_step_on(
    schedule: WeightSchedule, step: int
) -> None:
    assume(schedule.end_step is not None)
    end = schedule.end_step or 0
    assert schedule(end + step) == schedule(end) == schedule(end + LATE)


@given(SCHEDULES, STEPS)
def test_a_constant_schedule_is_the_same_everywhere(schedule: WeightSchedule, step: int) -> None:
    assume(schedule.is_constant)
    assert schedule(step) == schedule(0)


@given(anneals() | exponentials(), st.tuples(STEPS, STEPS))
def test_the_size_of_the_way_made_never_shrinks(
    schedule: LinearSchedule | CosineSchedule | ExponentialSchedule, steps: tuple[int, int]
) -> None:
    earlier, later = sorted(steps)
    first, way = schedule.initial_weight, weights_of(schedule)[1] - schedule.initial_weight
    assert math.copysign(1, way) * (schedule(later) - schedule(earlier)) >= 0
    assert abs(schedule(later) - first) >= abs(schedule(earlier) - first)


@given(SCHEDULES)
def test_a_schedule_cannot_be_changed(schedule: Any) -> None:
    with pytest.raises(AttributeError, match="cannot assign to field 'initial_weight'"):
        schedule.initial_weight = 2.0


# Closed forms


@given(WEIGHTS, WEIGHTS, STEPS, st.integers(1, 10**7), STEPS)
def test_linear_is_the_straight_line(w0: float, w1: float, start: int, n: int, step: int) -> None:
    schedule = LinearSchedule(
        initial_weight=w0, final_weight=w1, start_step=start, end_step=start + n
    )
    share = min(max((step - start) / n, 0.0), 1.0)
    assert schedule(step) == pytest.approx((1 - share) * w0 + share * w1, rel=1e-12, abs=1e-8)
    assert schedule(start) == w0
    assert schedule(start + n) == w1


@given(WEIGHTS, WEIGHTS, STEPS, st.integers(1, 10**7), STEPS)
def test_cosine_is_half_a_wave(w0: float, w1: float, start: int, n: int, step: int) -> None:
    schedule = CosineSchedule(
        initial_weight=w0, final_weight=w1, start_step=start, end_step=start + n
    )
    share = min(max((step - start) / n, 0.0), 1.0)
    wave = w1 + (w0 - w1) * (1 + math.cos(math.pi * share)) / 2
    assert schedule(step) == pytest.approx(wave, rel=1e-12, abs=1e-8)
    assert schedule(start) == w0
    assert schedule(start + n) == w1


@given(st.floats(0, 1e6), st.floats(0.01, 1), st.integers(1, 10**5), st.floats(0, 1), STEPS)
def test_exponential_is_the_floored_power(
    w0: float, rate: float, decay_steps: int, floor_share: float, step: int
) -> None:
    floor = w0 * floor_share
    schedule = ExponentialSchedule(
        initial_weight=w0, decay_rate=rate, decay_steps=decay_steps, min_weight=floor
    )
    assert schedule(step) == max(floor, w0 * rate ** (step // decay_steps))


@given(exponentials(), STEPS)
def test_the_staircase_meets_the_smooth_curve_at_each_decay_and_lies_above_between(
    schedule: ExponentialSchedule, step: int
) -> None:
    common = {key: getattr(schedule, key) for key in ("initial_weight", "decay_rate")}
    common |= {key: getattr(schedule, key) for key in ("decay_steps", "min_weight")}
    stairs = ExponentialSchedule(**common, staircase=True)
    smooth = ExponentialSchedule(**common, staircase=False)
    decay = step // schedule.decay_steps * schedule.decay_steps
    assert stairs(step) == stairs(decay) == smooth(decay)
    assert abs(stairs(step)) >= abs(smooth(step))


@given(piecewises(), STEPS)
def test_piecewise_passes_through_its_points(schedule: PiecewiseSchedule, step: int) -> None:
    for point_step, weight in schedule.points:
        assert schedule(point_step) == weight
    points = [(0, schedule.initial_weight), *schedule.points, (LATE, schedule.points[-1][1])]
    index = max(i for i, (point_step, _) in enumerate(points) if point_step <= step)
    (t0, w0), (t1, w1) = points[index], points[index + 1]
    between = w0 if schedule.staircase else w0 + (w1 - w0) * (step - t0) / (t1 - t0)
    assert schedule(step) == pytest.approx(between, rel=1e-9, abs=1e-8)


# Exponential


def test_weight_never_falls_below_min_weight_however_late() -> None:
    schedule = ExponentialSchedule(initial_weight=10.0, decay_rate=0.9995, min_weight=0.5)
    assert schedule(10**18) == 0.5
    unfloored = ExponentialSchedule(initial_weight=10.0, decay_rate=0.5)
    assert unfloored(10**18) == 0.0


def test_the_seeds_staircase_multiplies_once_every_decay_steps() -> None:
    schedule = ExponentialSchedule(initial_weight=1.0, decay_rate=0.5, decay_steps=10)
    assert [schedule(t) for t in (0, 9, 10, 19, 20)] == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_a_negative_weight_decays_towards_zero_and_stops_at_the_size_of_the_floor() -> None:
    schedule = ExponentialSchedule(initial_weight=-8.0, decay_rate=0.5, min_weight=1.0)
    assert [schedule(t) for t in (0, 1, 2, 3, 4, 99)] == [-8.0, -4.0, -2.0, -1.0, -1.0, -1.0]
    assert schedule.end_step == 3
    assert ExponentialSchedule(initial_weight=-8.0, decay_rate=0.5)(1) == -4.0


@given(exponentials())
def test_end_step_is_the_first_step_on_the_floor(schedule: ExponentialSchedule) -> None:
    assume(schedule.end_step)
    end = schedule.end_step
    assert end is not None
    assert abs(schedule(end)) == schedule.min_weight < abs(schedule(end - 1))


@pytest.mark.parametrize("staircase", [True, False])
def test_end_step_is_found_at_once_for_the_slowest_decay(staircase: bool) -> None:
    schedule = ExponentialSchedule(
        decay_rate=1 - 1e-9, decay_steps=1000, min_weight=0.1, staircase=staircase
    )
    assert schedule.end_step == pytest.approx(1000 * math.log(0.1) / math.log(1 - 1e-9))


def test_a_floor_that_no_training_reaches_is_no_end() -> None:
    endless = ExponentialSchedule(
        decay_rate=1 - 1e-16, decay_steps=10**12, min_weight=0.1, staircase=False
    )
    assert endless.end_step is None


def test_a_floor_of_zero_is_never_reached() -> None:
    schedule = ExponentialSchedule(initial_weight=1.0, decay_rate=0.5)
    assert schedule.end_step is None
    assert not schedule.is_constant


# What is constant, and when a schedule ends


@pytest.mark.parametrize(
    ("schedule", "is_constant", "end_step"),
    [
        (ConstantSchedule(), True, 0),
        (LinearSchedule(initial_weight=1, final_weight=0, end_step=80), False, 80),
        (LinearSchedule(initial_weight=1, final_weight=1, end_step=80), True, 80),
        (CosineSchedule(initial_weight=1, final_weight=0, start_step=5, end_step=9), False, 9),
        (ExponentialSchedule(decay_rate=1.0), True, 0),
        (ExponentialSchedule(initial_weight=0.0, decay_rate=0.5), True, 0),
        (ExponentialSchedule(initial_weight=2, min_weight=2, decay_rate=0.5), True, 0),
        (PiecewiseSchedule(initial_weight=2, points=((5, 2.0), (9, 2.0))), True, 0),
        (PiecewiseSchedule(initial_weight=2, points=((5, 1.0), (9, 1.0))), False, 5),
        (PiecewiseSchedule(initial_weight=2, points=((5, 2.0), (9, 1.0))), False, 9),
    ],
)
def test_a_schedule_knows_whether_and_when_it_settles(
    schedule: WeightSchedule, is_constant: bool, end_step: int | None
) -> None:
    assert (schedule.is_constant, schedule.end_step) == (is_constant, end_step)


# Building from a configuration


@pytest.mark.parametrize(
    ("config", "schedule"),
    [
        ({}, ConstantSchedule(initial_weight=1.0)),
        ({"initial_weight": -2}, ConstantSchedule(initial_weight=-2.0)),
        (
            {"schedule_type": "linear", "final_weight": 0, "end_step": "80%"},
            LinearSchedule(initial_weight=1.0, final_weight=0.0, end_step=800),
        ),
        (
            {"schedule_type": "linear", "final_weight": 0.5, "start_step": "12.5%"},
            LinearSchedule(initial_weight=1.0, final_weight=0.5, start_step=125, end_step=1000),
        ),
        (
            {"schedule_type": "cosine", "final_weight": 0, "end_step": 5000},
            CosineSchedule(initial_weight=1.0, final_weight=0.0, end_step=5000),
        ),
        (
            {"schedule_type": "exponential", "decay_rate": 0.9995, "min_weight": 0.0},
            ExponentialSchedule(initial_weight=1.0, decay_rate=0.9995),
        ),
        (
            {"schedule_type": "piecewise", "points": [["10%", 2], [500, 3], ["50.1%", 0]]},
            PiecewiseSchedule(initial_weight=1.0, points=((100, 2), (500, 3), (501, 0))),
        ),
    ],
)
def test_a_mapping_becomes_the_schedule_that_it_describes(
    config: dict[str, Any], schedule: WeightSchedule
) -> None:
    assert build_schedule(config, total_timesteps=1000) == schedule
    assert check_schedule(config, total_timesteps=1000) == []


def test_building_leaves_the_mapping_as_it_was() -> None:
    config = {"schedule_type": "linear", "final_weight": 0}
    build_schedule(config, total_timesteps=10)
    assert config == {"schedule_type": "linear", "final_weight": 0}


@given(st.integers(1, 10**9), st.integers(1, 100))
def test_a_share_is_the_nearest_step(total: int, percent: int) -> None:
    assume(total * percent >= 50 * 2)
    config = {"schedule_type": "linear", "final_weight": 0, "end_step": f"{percent}%"}
    end_step = build_schedule(config, total_timesteps=total).end_step
    assert end_step is not None
    assert abs(100 * end_step - total * percent) <= 50


LINEAR = {"schedule_type": "linear", "final_weight": 0}
EXPONENTIAL = {"schedule_type": "exponential", "decay_rate": 0.5}
PIECEWISE = {"schedule_type": "piecewise"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (3, "w: must be a mapping, but got 3."),
        ({"schedule_type": "linaer"}, "w.schedule_type: must be a registered schedule, but got "
         "'linaer'. Did you mean 'linear'? A schedule of your own needs --import"),
        ({"schedule_type": 3}, "w.schedule_type: must be a registered schedule, but got 3."),
        ({"decay_rate": 0.5}, "w.decay_rate: does not apply to schedule_type 'constant'. "
         "Its keys: initial_weight. Only exponential takes decay_rate."),
        ({**LINEAR, "end_step": 9, "end_stp": 5}, "w.end_stp: does not apply to schedule_type "
         "'linear'. Did you mean 'end_step'? Its keys: initial_weight, final_weight, "),
        ({"initial_weight": float("nan")}, "w.initial_weight: must be a finite number, but got"),
        ({"initial_weight": float("inf")}, "w.initial_weight: must be a finite number, but got"),
        ({"initial_weight": "1"}, "w.initial_weight: must be a number, but got '1'. Remove the"),
        ({"initial_weight": True}, "w.initial_weight: must be a number, but got True."),
        (LINEAR, "w.end_step: a share of the training needs its length, but got '100%'. "
         "Pass total_timesteps, or write a number of steps."),
        ({"schedule_type": "linear", "end_step": 5}, "w.final_weight: is required by Linear"),
        ({**LINEAR, "end_step": -1}, "w.end_step: must be at least 0, but got -1."),
        ({**LINEAR, "end_step": 1e3}, "w.end_step: must be an integer, but got 1000.0. Write 1000"),
        ({**LINEAR, "end_step": "half"}, "w.end_step: must be a number of steps, or a share of "
         "the training from '0%' to '100%', but got 'half'."),
        ({**LINEAR, "end_step": "101%"}, "w.end_step: must be a number of steps, or a share"),
        ({**LINEAR, "end_step": "50"}, "w.end_step: must be a number of steps, or a share of the "
         "training from '0%' to '100%', but got '50'. Remove the quotes."),
        ({**LINEAR, "end_step": 0}, "w.end_step: must be greater than start_step, 0, but got 0."),
        ({**LINEAR, "end_step": 5, "start_step": 5}, "w.end_step: must be greater than start"),
        ({**LINEAR, "initial_weight": 1e308, "final_weight": -1e308, "end_step": 9},
         "w.final_weight: must not be so far from initial_weight, 1e+308, but got -1e+308."),
        ({**EXPONENTIAL, "decay_rate": 0}, "w.decay_rate: must be greater than 0, but got 0."),
        ({**EXPONENTIAL, "decay_rate": 1.01}, "w.decay_rate: must be at most 1, but got 1.01."),
        ({**EXPONENTIAL, "decay_steps": 0}, "w.decay_steps: must be at least 1, but got 0."),
        ({**EXPONENTIAL, "decay_steps": "5%"}, "w.decay_steps: must be an integer, but got '5%'"),
        ({**EXPONENTIAL, "min_weight": -1}, "w.min_weight: must be at least 0, but got -1."),
        ({**EXPONENTIAL, "min_weight": 2}, "w.min_weight: must be at most the size of "
         "initial_weight, 1.0, but got 2.0. Lower it: a weight that decays never grows."),
        ({**PIECEWISE, "points": []}, "w.points: must have at least 1 item, but got []."),
        ({**PIECEWISE, "points": 3}, "w.points: must be a list, but got 3."),
        ({**PIECEWISE, "points": [[5]]}, "w.points[0]: must not lack a part, but got [5]."),
        ({**PIECEWISE, "points": [["a", 1]]}, "w.points[0][0]: must be a number of steps, or"),
        ({**PIECEWISE, "points": [[0, 1]]}, "w.points[0][0]: must be greater than the step "
         "before it, 0, but got 0."),
        ({**PIECEWISE, "points": [[9, 1], [5, 2]]}, "w.points[1][0]: must be greater than the "
         "step before it, 9, but got 5."),
        ({**PIECEWISE, "points": [[9, 1e308], [10, -1e308]]}, "w.points[1][1]: must not be so"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_mapping_is_named_by_its_path(config: Any, message: str) -> None:
    (problem,) = check_schedule(config, path=("w",))
    assert str(problem).startswith(message)
    with pytest.raises(ConfigError, match=r"^w") as caught:
        build_schedule(config, path=("w",))
    assert caught.value.problems == (problem,)


def test_every_problem_of_a_mapping_is_listed() -> None:
    config = {**EXPONENTIAL, "decay_rate": 2, "min_weight": "a", "final_weight": 0}
    assert [problem.path for problem in check_schedule(config)] == [
        *[("final_weight",), ("decay_rate",), ("min_weight",)]
    ]


def test_a_constructor_called_from_python_checks_as_well() -> None:
    with pytest.raises(ConfigError, match=r"decay_rate: must be at most 1, but got 1\.5"):
        ExponentialSchedule(decay_rate=1.5)
    with pytest.raises(ConfigError, match="end_step: a share of the training needs its length"):
        LinearSchedule(final_weight=0.0, end_step="80%")  # type: ignore[arg-type]


# A user's own schedules


def pulse(global_step: int, *, initial_weight: float, period: Step = 2) -> float:
    return initial_weight if global_step % period == 0 else 0.0


def test_a_registered_function_is_a_schedule_type(own_registry: None) -> None:
    assert register_schedule(pulse) is pulse
    config = {"schedule_type": "pulse", "initial_weight": 3, "period": "50%"}
    schedule = build_schedule(config, total_timesteps=10)
    assert [schedule(t) for t in (0, 4, 5, 10)] == [3.0, 0.0, 3.0, 3.0]
    assert not schedule.is_constant
    assert schedule.end_step is None
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert build_schedule({"schedule_type": "pulse"})(2) == 1.0
    (problem,) = check_schedule({"schedule_type": "pulse", "period": "50%"})
    assert problem.path == ("period",)
    (problem,) = check_schedule({"schedule_type": "pulse", "perid": 3})
    assert "Did you mean 'period'?" in problem.remedy


def test_a_registered_class_is_a_schedule_type(own_registry: None) -> None:
    @register_schedule(name="harmonic")
    class Harmonic(WeightSchedule):
        def __init__(self, initial_weight: float = 1.0, half_life: Step = 1) -> None:
            self.initial_weight, self.half_life = initial_weight, half_life

        def __call__(self, global_step: int) -> float:
            return self.initial_weight / (1 + global_step / self.half_life)

    assert schedule_registry()["harmonic"] is Harmonic
    config = {"schedule_type": "harmonic", "initial_weight": 4, "half_life": "10%"}
    schedule = build_schedule(config, total_timesteps=100)
    assert schedule(10) == 2.0
    assert (schedule.is_constant, schedule.end_step) == (False, None)


def test_an_end_step_that_a_schedule_needs_is_the_end_of_the_training(own_registry: None) -> None:
    @register_schedule
    def sawtooth(global_step: int, *, initial_weight: float, end_step: Step) -> float:
        return initial_weight * (global_step % end_step)

    assert build_schedule({"schedule_type": "sawtooth"}, total_timesteps=50)(49) == 49.0


def test_a_function_may_collect_keys(own_registry: None) -> None:
    @register_schedule
    def collecting(global_step: int, initial_weight: float, **extra: float) -> float:
        return initial_weight + sum(extra.values())

    assert build_schedule({"schedule_type": "collecting", "a": 1, "b": 2})(0) == 4.0


def test_a_schedule_without_initial_weight_is_refused(own_registry: None) -> None:
    with pytest.raises(ConfigError, match="schedule flat must take initial_weight"):
        register_schedule(name="flat")(_without_initial_weight)
    assert "flat" not in schedule_registry()


def _without_initial_weight(global_step: int) -> float:
    return 1.0


_without_initial_weight.__name__ = "flat"


def test_what_is_no_schedule_is_refused(own_registry: None) -> None:
    with pytest.raises(ConfigError, match=r"'linear' is already registered by .*LinearSchedule"):
        register_schedule(name="linear")(pulse)
    with pytest.raises(ConfigError, match="class must derive from WeightSchedule"):
        register_schedule(dict)
    with pytest.raises(ConfigError, match="function must take global_step first"):
        register_schedule(name="none")(lambda *, initial_weight: 1.0)
    with pytest.raises(ConfigError, match="schedule must be a valid Python identifier"):
        register_schedule(name="my-pulse")(pulse)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "at global step 7, schedule 'odd' must give a finite weight, but gave nan"),
        (float("inf"), "at global step 7, schedule 'odd' must give a finite weight, but gave inf"),
        (None, "at global step 7, schedule 'odd' raised TypeError: "),
    ],
)
def test_a_function_without_a_finite_weight_is_named_with_its_step(
    value: Any, message: str
) -> None:
    schedule = FunctionSchedule("odd", lambda global_step: value, {})
    with pytest.raises(ComponentError, match=message):
        schedule(7)


def test_a_schedule_that_is_broken_at_the_start_is_found_when_it_is_checked(
    own_registry: None,
) -> None:
    @register_schedule
    def broken(global_step: int, *, initial_weight: float) -> float:
        return initial_weight / global_step

    class Endless(WeightSchedule):
        def __init__(self, initial_weight: float, fail: bool = False) -> None:
            self.fail = fail

        def __call__(self, global_step: int) -> float:
            if self.fail:
                raise RuntimeError("no weight")
            return math.inf

    register_schedule(name="endless")(Endless)
    messages: Mapping[str, dict[str, Any]] = {
        "w: at global step 0, schedule 'broken' raised ZeroDivisionError: float division by zero.":
            {"schedule_type": "broken"},
        "w: at global step 0, schedule 'endless' must give a finite weight, but got inf.":
            {"schedule_type": "endless"},
        "w: at global step 0, schedule 'endless' raised RuntimeError: no weight.":
            {"schedule_type": "endless", "fail": True},
    }  # fmt: skip
    for message, config in messages.items():
        assert [str(problem) for problem in check_schedule(config, path=("w",))] == [message]


def test_the_registry_has_the_stock_types() -> None:
    stock = {"constant", "linear", "exponential", "cosine", "piecewise"}
    assert stock <= set(schedule_registry())


def test_the_schema_of_a_type_names_its_keys() -> None:
    schema = schedule_schema("linear")
    assert schema["required"] == ["final_weight"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["end_step"]["default"] == "100%"
    assert schema["properties"]["end_step"]["anyOf"][0] == {"type": "integer", "minimum": 0}
    assert schedule_schema("exponential")["properties"]["decay_rate"]["maximum"] == 1
    with pytest.raises(ConfigError, match="must be a registered schedule, but got 'x'"):
        schedule_schema("x")
