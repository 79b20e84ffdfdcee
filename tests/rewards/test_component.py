from __future__ import annotations

import pickle
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from rllama_sb3.errors import ConfigError
from rllama_sb3.rewards import component as component_module
from rllama_sb3.rewards.component import (
    FunctionComponent,
    RewardComponent,
    component_registry,
    create_component,
    get_component_factory,
    load_entry_points,
    register_component,
)
from rllama_sb3.rewards.transition import Transition


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers or loads is gone after it."""
    registry = component_module._components
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    monkeypatch.setattr(component_module, "_loaded_entry_points", set())


def step(env_reward: float = 1.0) -> Transition:
    return Transition(0, 0, 1, env_reward, False, False, {})


def doubled(transition: Transition, factor: float = 2.0) -> float:
    return factor * transition.env_reward


class Offset(RewardComponent):
    def __init__(self, offset: float) -> None:
        if offset == 13:
            raise ValueError("offset must not be 13.")
        self.offset = offset

    def compute(self, transition: Transition) -> float:
        return transition.env_reward + self.offset


def test_a_function_is_registered_under_its_own_name_and_returned_unchanged() -> None:
    assert register_component(doubled) is doubled
    assert get_component_factory("doubled") is doubled
    assert component_registry()["doubled"] is doubled


def test_a_class_is_registered_under_a_given_name_and_returned_unchanged() -> None:
    assert register_component(name="shifted")(Offset) is Offset
    assert get_component_factory("shifted") is Offset
    assert "Offset" not in component_registry()


def test_a_registered_component_takes_three_lines() -> None:
    @register_component
    def halved(transition: Transition, *, divisor: float = 2) -> float:
        return transition.env_reward / divisor

    assert create_component("halved").compute(step(3.0)) == 1.5
    assert create_component("halved", {"divisor": 3}).compute(step(3.0)) == 1.0


def test_a_class_is_created_with_its_parameters() -> None:
    register_component(Offset)
    component = create_component("Offset", {"offset": 2})
    assert isinstance(component, Offset)
    assert component.compute(step()) == 3.0


def test_the_registry_is_read_only() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        component_registry()["x"] = doubled  # type: ignore[index]


def test_a_taken_name_is_refused_for_a_different_object() -> None:
    register_component(name="mine")(doubled)
    with pytest.raises(
        ConfigError, match=r"'mine' is already registered by .*doubled, but got '.*Offset'.*name="
    ):
        register_component(name="mine")(Offset)
    assert get_component_factory("mine") is doubled


def test_the_same_qualified_name_replaces_itself_as_in_a_notebook_cell() -> None:
    def define(value: float) -> Any:
        @register_component
        def cell(transition: Transition) -> float:
            return value

        return cell

    define(1.0)
    again = define(2.0)
    assert get_component_factory("cell") is again


@pytest.mark.parametrize("name", ["my-reward", "2fast", "", "a.b", "class", 3])
def test_a_name_that_is_no_identifier_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="must be a valid Python identifier, but got"):
        register_component(name=name)(doubled)


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(ConfigError, match=r"identifier, but got '<lambda>'\. Give one with name="):
        register_component(lambda transition: 0.0)
    register_component(name="zero")(lambda transition: 0.0)
    assert create_component("zero").compute(step()) == 0.0


def test_what_is_no_component_is_refused() -> None:
    class Plain:
        def compute(self, transition: Transition) -> float:
            return 0.0

    class Unfinished(RewardComponent):
        pass

    def without_transition() -> float:
        return 0.0

    with pytest.raises(ConfigError, match="class must derive from RewardComponent"):
        register_component(Plain)
    with pytest.raises(ConfigError, match="class must define compute"):
        register_component(Unfinished)
    with pytest.raises(ConfigError, match="function must take transition first"):
        register_component(without_transition)
    with pytest.raises(ConfigError, match=r"must be a subclass .* or a function.*\(name=\.\.\.\)"):
        register_component("mine")  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["Ofset", 7, None, ["Offset"]])
def test_an_unknown_name_is_an_error_that_hints_at_import(name: Any) -> None:
    register_component(Offset)
    with pytest.raises(ConfigError, match=r"x\.class: must be a registered component.*--import"):
        get_component_factory(name, ("x", "class"))


def test_an_unknown_name_is_answered_with_the_nearest_one() -> None:
    register_component(Offset)
    with pytest.raises(ConfigError, match=r"but got 'Ofset'\. Did you mean 'Offset'\?"):
        create_component("Ofset", path=("x",))


def test_parameters_that_do_not_fit_are_named_by_their_path() -> None:
    register_component(Offset)
    register_component(doubled)
    with pytest.raises(ConfigError, match=r"^x\.params\.offset: must be a number, but got 'a'"):
        create_component("Offset", {"offset": "a"}, ("x",))
    with pytest.raises(ConfigError, match=r"^x\.params\.factr: is not a parameter of doubled"):
        create_component("doubled", {"factr": 1}, ("x",))
    with pytest.raises(ConfigError, match=r"^x\.params: offset must not be 13, but got"):
        create_component("Offset", {"offset": 13}, ("x",))


def test_a_function_component_pickles_when_its_function_does() -> None:
    component = FunctionComponent(doubled, {"factor": 3.0})
    copy = pickle.loads(pickle.dumps(component))
    assert copy == component
    assert copy.compute(step()) == 3.0


def test_a_function_component_keeps_its_own_copy_of_the_parameters() -> None:
    params = {"factor": 3.0}
    component = FunctionComponent(doubled, params)
    params["factor"] = 4.0
    assert component.compute(step()) == 3.0


def test_reset_does_nothing_by_default() -> None:
    FunctionComponent(doubled).reset(0, {})
    assert not FunctionComponent(doubled).policy_invariant


def install_entry_points(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> list[str]:
    groups: list[str] = []

    def fake(*, group: str) -> list[EntryPoint]:
        groups.append(group)
        return list(points)

    monkeypatch.setattr(component_module, "entry_points", fake)
    return groups


def entry_point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, component_module.ENTRY_POINT_GROUP)


def test_entry_points_are_loaded_only_when_a_name_is_not_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register_component(Offset)
    groups = install_entry_points(monkeypatch, entry_point("plugged", f"{__name__}:doubled"))
    assert get_component_factory("Offset") is Offset
    assert groups == []
    assert get_component_factory("plugged") is doubled
    assert groups == ["rllama_sb3.components"]


def test_an_entry_point_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    install_entry_points(monkeypatch, entry_point("plugged", f"{__name__}:doubled"))
    load_entry_points()
    monkeypatch.setattr(EntryPoint, "load", lambda self: pytest.fail("loaded again"))
    load_entry_points()


def test_an_entry_point_that_registers_its_components_itself_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register_component(Offset)
    install_entry_points(
        monkeypatch,
        entry_point("a_module", "json"),
        entry_point("registered", f"{__name__}:Offset"),
    )
    before = set(component_registry())
    load_entry_points()
    assert set(component_registry()) == before


@pytest.mark.parametrize(
    "value", ["not_a_module_of_any_package", "json:dumps_nothing", "json:JSONEncoder"]
)
def test_a_broken_entry_point_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    install_entry_points(monkeypatch, entry_point("broken", value))
    with pytest.raises(ConfigError, match="entry point 'broken' of an unknown package must be"):
        get_component_factory("missing")
