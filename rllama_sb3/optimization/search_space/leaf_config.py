"""A declared leaf of a search space: which values may be suggested, as plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from optuna.trial import BaseTrial
from pydantic import BaseModel, ConfigDict, Field, Strict, StrictBool, StrictStr

from rllama_sb3.errors import NO_VALUE, Problem
from rllama_sb3.optimization.search_space.conditions import Condition, parse_when, same_value

Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]

# 1 - 0.99 is 0.010000000000000009: rounded on the way there and back, values stay what was written.
_DECIMALS: Final = 15
_NUMERIC: Final = ("low", "high", "log", "step", "transform")


class LeafConfig(BaseModel):
    """A declared leaf, such as ``{suggest: float, low: 0.1, high: 10.0, log: true}``.

    With ``transform: one_minus`` the config gets 1 - x where x is suggested, so that a discount
    factor near 1 can be searched by the logarithm of its distance from 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    suggest: Literal["float", "int", "categorical"] = Field(description="What kind of value.")
    low: Number | None = Field(None, description="The least value, inclusive.")
    high: Number | None = Field(None, description="The greatest value, inclusive.")
    log: StrictBool = Field(False, description="Search the logarithm of the value.")
    step: Number | None = Field(None, description="Distance between values, counted from low.")
    choices: list[Any] | None = Field(None, description="The values of a categorical leaf.")
    transform: Literal["one_minus"] | None = Field(
        None, description="one_minus: low, high and the parameter are of 1 minus the value."
    )
    name: StrictStr | None = Field(
        None, description="Optuna's name of the parameter; the dotted path by default."
    )
    when: dict[StrictStr, Any] | None = Field(
        None,
        description="By dotted path the value, or list of values, that the config must have there "
        "for this leaf to be in it.",
    )

    def check(self) -> list[Problem]:
        """Returns what is wrong between the keys, which pydantic does not see."""
        wrong_when = [] if self.when is None else parse_when(self.when)[1]
        return [*self._check_values(), *wrong_when]

    def conditions(self) -> tuple[Condition, ...]:
        """Returns what must hold for the leaf to be in the config of a trial."""
        return () if self.when is None else parse_when(self.when)[0]

    def may_suggest(self, value: Any) -> bool:
        """Whether some trial can get exactly this value; never in a range of real numbers."""
        if self.choices is not None:
            return any(same_value(choice, value) for choice in self.choices)
        if self.suggest == "float" or isinstance(value, bool) or not isinstance(value, int):
            return False
        assert self.low is not None  # check() has seen to it.
        assert self.high is not None
        return value in range(int(self.low), int(self.high) + 1, int(self.step or 1))

    def _check_values(self) -> list[Problem]:
        if self.suggest == "categorical":
            return [*self._check_foreign(_NUMERIC), *self._check_choices()]
        problems = self._check_foreign(("choices",))
        problems += [
            Problem((key,), "missing key", NO_VALUE, f"Add the {side} end of the range.")
            for key, side, end in (("low", "lower", self.low), ("high", "upper", self.high))
            if end is None
        ]
        if self.suggest == "int":
            problems += self._check_integers()
        if not problems:
            problems += self._check_range()
        return problems

    def check_base(self, value: Any) -> Problem | None:
        """Returns why a config's own value cannot be the first trial, or None if it can."""
        remedy = "The first trial is the config as it is."
        if self.suggest == "categorical":
            if any(same_value(choice, value) for choice in self.choices or ()):
                return None
            rule = "must have the config's own value among its choices"
            return Problem(("choices",), rule, self.choices, f"Add {value!r}. {remedy}")
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            rule = f"can only search a number as {self.suggest}"
            return Problem((), rule, value, "Search it as categorical, or write a number there.")
        if self.suggest == "int" and value != int(value):
            rule = "can only search a whole number as int"
            return Problem((), rule, value, "Search it as float.")
        if self.log and self.invert(value) <= 0:
            rule = "must be greater than 0 in the config too, where its logarithm is searched"
            example = one_minus(self.low or 0.0) if self.transform else self.low
            return Problem(("log",), rule, value, f"Write for example {example!r} there. {remedy}")
        return None

    def suggest_value(self, trial: BaseTrial, name: str) -> Any:
        """Returns what the trial suggests, as the config has it."""
        if self.choices is not None:
            labels = [_label(choice) for choice in self.choices]
            chosen = trial.suggest_categorical(name, labels)
            return next(c for c in self.choices if same_value(_label(c), chosen))
        assert self.low is not None  # check() has seen to it.
        assert self.high is not None
        if self.suggest == "int":
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(name, int(self.low), int(self.high), step=step, log=self.log)
        value = trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)
        return one_minus(value) if self.transform else value

    def invert(self, value: Any) -> Any:
        """Returns the parameter for which :meth:`suggest_value` returns ``value``."""
        if self.suggest == "categorical":
            return _label(value)
        if self.suggest == "int":
            return int(value)
        return one_minus(value) if self.transform else float(value)

    def _check_foreign(self, keys: Iterable[str]) -> list[Problem]:
        own = "choices" if self.suggest == "categorical" else "low, high, log and step"
        return [
            Problem((key,), f"does not apply to suggest: {self.suggest}", remedy=f"Use {own}.")
            for key in keys
            if key in self.model_fields_set
        ]

    def _check_choices(self) -> list[Problem]:
        if not self.choices:
            value = NO_VALUE if self.choices is None else self.choices
            rule = "missing key" if self.choices is None else "must have at least one value"
            return [Problem(("choices",), rule, value, "List the values to choose from.")]
        problems = []
        for index, choice in enumerate(self.choices):
            path = ("choices", index)
            if not _is_plain(choice):
                rule = "must be text, a finite number, true, false, null, or a list of these"
                problems.append(Problem(path, rule, choice))
            elif any(_label(choice) == _label(other) for other in self.choices[:index]):
                problems.append(Problem(path, "must differ from the other choices", choice))
        return problems

    def _check_integers(self) -> list[Problem]:
        problems = [
            Problem((key,), "must be a whole number, as suggest is int", value)
            for key, value in (("low", self.low), ("high", self.high), ("step", self.step))
            if value is not None and value != int(value)
        ]
        if self.transform:
            rule = "applies to suggest: float only"
            problems.append(Problem(("transform",), rule, self.transform))
        return problems

    def _check_range(self) -> list[Problem]:
        assert self.low is not None
        assert self.high is not None
        if self.low > self.high:
            return [Problem(("low",), f"must not be greater than high, {self.high!r}", self.low)]
        problems = []
        if self.log and self.low <= 0:
            remedy = "Raise it, or leave out log."
            problems.append(Problem(("low",), "must be greater than 0 with log", self.low, remedy))
        if self.step is not None:
            if self.log:
                rule, remedy = "cannot be used together with log", "Leave out one of the two."
                problems.append(Problem(("step",), rule, self.step, remedy))
            elif self.step <= 0:
                problems.append(Problem(("step",), "must be greater than 0", self.step))
            elif (Decimal(str(self.high)) - Decimal(str(self.low))) % Decimal(str(self.step)):
                rule = f"must lead from low to high, from {self.low!r} to {self.high!r}"
                problems.append(Problem(("step",), rule, self.step))
        return problems


def one_minus(value: float) -> float:
    """Returns 1 minus a value.

    Example:
        >>> one_minus(0.99)
        0.01
    """
    return round(1.0 - value, _DECIMALS)


def _label(choice: Any) -> Any:
    """What Optuna stores for a choice: lists, which it cannot store everywhere, as text."""
    return json.dumps(choice) if isinstance(choice, list) else choice


def _is_plain(choice: Any) -> bool:
    if isinstance(choice, list):
        return all(_is_plain(item) for item in choice)
    if isinstance(choice, float):
        return math.isfinite(choice)
    return choice is None or isinstance(choice, str | bool | int)
