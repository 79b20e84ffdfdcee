"""What a reward component is, and the registry that turns a name in a file into one.

A component gives the *raw* value of one named source of reward; its weight is the shaper's
business. Names are registered by code that was imported, never looked up by import path, so that
a configuration file cannot run code.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from keyword import iskeyword
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, TypeVar, cast, overload

from rllama_sb3.errors import ConfigError, Path, Problem, did_you_mean
from rllama_sb3.rewards.parameters import construct, parse_parameters
from rllama_sb3.rewards.transition import Transition

ENTRY_POINT_GROUP: Final = "rllama_sb3.components"

AnyFactory = TypeVar("AnyFactory", bound=Callable[..., Any])


class RewardComponent(ABC):
    """One named source of reward.

    A subclass gives the raw value of a step; what it remembers between steps it forgets in
    :meth:`reset`. Every environment has an instance of its own.

    Attributes:
        policy_invariant: Whether adding the component can never change which policies are
            optimal, as for potential-based shaping.
        pursues_task: Whether the component can tell a solved task from an unsolved one. A reward
            of which no component does is most likely missing one.

    Example:
        >>> class Speed(RewardComponent):
        ...     def compute(self, transition):
        ...         return abs(float(transition.next_obs[1]))
    """

    policy_invariant: ClassVar[bool] = False
    pursues_task: bool = True

    def reset(self, obs: Any, info: Mapping[str, Any]) -> None:  # noqa: B027  a hook, not a duty
        """Forgets the last episode; called at the start of each, after the environment's reset.

        Args:
            obs: The first observation, as the environment gave it.
            info: The info of that reset.
        """

    @abstractmethod
    def compute(self, transition: Transition) -> float:
        """Returns the raw value of one step, before its weight: a finite number.

        Called once for each step of the environment, in order.

        Args:
            transition: What happened in the step.
        """


@dataclass(frozen=True)
class FunctionComponent(RewardComponent):
    """A plain function ``(transition, **params) -> float`` as a component; picklable if it is.

    Args:
        function: Gives the raw value of a transition.
        params: Its other arguments, the same at every step.
    """

    function: Callable[..., float]
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Copied, so that later changes of a config do not reach into a built component.
        object.__setattr__(self, "params", dict(self.params))

    def compute(self, transition: Transition) -> float:
        """Returns what the function gives for the transition."""
        return self.function(transition, **self.params)


class Registry(Generic[AnyFactory]):
    """Names, and the classes or functions that imported modules registered under them.

    Args:
        kind: What is registered, as it is called in messages: ``"component"``.
        base: The class that registered classes derive from; without one, only functions are.
        arguments: What registered functions are called with; their first parameters.
    """

    def __init__(self, kind: str, base: type | None, *arguments: str) -> None:
        self.kind, self.base, self.arguments = kind, base, arguments
        self._factories: dict[str, AnyFactory] = {}

    @property
    def factories(self) -> Mapping[str, AnyFactory]:
        """What is registered now, read-only."""
        return MappingProxyType(self._factories)

    def add(self, factory: AnyFactory, name: str | None = None) -> None:
        """Registers a class or function under a name, its own by default.

        Raises:
            ConfigError: It is neither a complete class nor a function, the name is not an
                identifier, or something else has that name.
        """
        self.check(factory)
        name = factory.__name__ if name is None else name
        if not isinstance(name, str) or not name.isidentifier() or iskeyword(name):
            rule = f"the name of a {self.kind} must be a valid Python identifier"
            raise ConfigError(Problem((), rule, name, "Give one with name=."))
        known = self._factories.get(name)
        # The same qualified name is the same thing again: a notebook cell run twice, or a reload.
        if known is not None and _qualified_name(known) != _qualified_name(factory):
            raise ConfigError(
                Problem(
                    (),
                    f"the {self.kind} {name!r} is already registered by {_qualified_name(known)}",
                    _qualified_name(factory),
                    "Register it under another name with name=.",
                )
            )
        self._factories[name] = factory

    def get(self, name: str, path: Path = ()) -> AnyFactory:
        """Returns what is registered under a name, loading entry points when nothing is yet.

        Raises:
            ConfigError: Nothing is; says which name is near, and how to register one's own.
        """
        if isinstance(name, str) and name not in self._factories:
            load_entry_points()
        if not isinstance(name, str) or name not in self._factories:
            near = did_you_mean(name, self._factories)
            own = f"A {self.kind} of your own needs --import my_package.my_module."
            remedy = f"{near} {own}".strip()
            raise ConfigError(Problem(path, f"must be a registered {self.kind}", name, remedy))
        return self._factories[name]

    def check(self, factory: object) -> None:
        """Raises ConfigError unless it is a complete class, or a function, of this kind."""
        if inspect.isclass(factory) and self.base is not None:
            problem = f"a {self.kind} class must derive from {self.base.__name__}"
            if issubclass(factory, self.base):
                missing = ", ".join(sorted(getattr(factory, "__abstractmethods__", ())))
                problem = f"a {self.kind} class must define {missing}" if missing else ""
        elif inspect.isfunction(factory):
            n_arguments = len(self.arguments)
            first = list(inspect.signature(factory).parameters.values())[:n_arguments]
            by_position = [
                parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
                for parameter in first
            ]
            problem = f"a {self.kind} function must take {' and '.join(self.arguments)} first"
            problem = "" if by_position == [True] * n_arguments else problem
        else:
            classes = "" if self.base is None else f"a subclass of {self.base.__name__} or "
            problem = f"a {self.kind} must be {classes}a function"
        if problem:
            use = f"Write @register_{self.kind} or @register_{self.kind}(name=...) above it."
            raise ConfigError(Problem((), problem, factory, use))


_components: Final[Registry[Callable[..., Any]]] = Registry(
    "component", RewardComponent, "transition"
)
_loaded_entry_points: set[tuple[str, str]] = set()


@overload
def register_component(factory: AnyFactory, /) -> AnyFactory: ...
@overload
def register_component(*, name: str) -> Callable[[AnyFactory], AnyFactory]: ...
def register_component(factory: Any = None, /, *, name: str | None = None) -> Any:
    """Registers a component, so that configurations can name it; returns it unchanged.

    Stands above a :class:`RewardComponent` subclass, whose constructor takes the parameters, or
    above a plain function ``(transition, **params) -> float``. Annotated parameters are checked
    when a configuration is read. Registering the same qualified name again replaces it.

    Args:
        factory: The class or function.
        name: The name in configurations; by default that of the class or function.

    Raises:
        ConfigError: The name is taken by something else or is no identifier, or what is decorated
            is neither a complete component class nor a function of a transition.

    Example:
        >>> @register_component(name="doc_speed")
        ... def speed(transition, scale: float = 1.0):
        ...     return scale * abs(float(transition.next_obs[1]))
        >>> create_component("doc_speed", {"scale": 2}).params
        {'scale': 2.0}
    """

    def register(decorated: Any) -> Any:
        _components.add(decorated, name)
        return decorated

    return register if factory is None else register(factory)


def component_registry() -> Mapping[str, Callable[..., Any]]:
    """Returns the registered component classes and functions by name, as a read-only view."""
    return _components.factories


def get_component_factory(name: str, path: Path = ()) -> Callable[..., Any]:
    """Returns the class or function registered as a component under a name.

    Args:
        name: As in the ``class`` key of a configuration.
        path: Keys from the root of the experiment to the name, for the message.

    Raises:
        ConfigError: Nothing is registered so, or a module of the entry-point group
            ``rllama_sb3.components``, loaded when a name is not found, cannot be.
    """
    return _components.get(name, path)


def create_component(
    name: str, params: Mapping[str, Any] | None = None, path: Path = ()
) -> RewardComponent:
    """Builds the component registered under a name.

    Args:
        name: As in the ``class`` key of a configuration.
        params: Its parameters, checked against the annotations of the class or function.
        path: Keys from the root of the experiment to the component's entry, for messages.

    Raises:
        ConfigError: The name is unknown, or the parameters do not fit.
    """
    factory = get_component_factory(name, (*path, "class") if path else ())
    params_path = (*path, "params") if path else ()
    if inspect.isclass(factory):
        return cast(RewardComponent, construct(factory, params or {}, params_path))
    return FunctionComponent(factory, parse_parameters(factory, params or {}, params_path))


def load_entry_points() -> None:
    """Loads what installed packages offer in the entry-point group ``rllama_sb3.components``.

    An entry point names a module that registers its components and schedules when imported, or
    one component, which is registered under the entry point's name. Each is loaded once.

    Raises:
        ConfigError: One cannot be loaded; says which, of which package.
    """
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        if (entry_point.name, entry_point.value) in _loaded_entry_points:
            continue
        try:
            loaded = entry_point.load()
            if not inspect.ismodule(loaded) and loaded not in _components.factories.values():
                _components.add(loaded, entry_point.name)
        except Exception as error:
            package = entry_point.dist.name if entry_point.dist else "an unknown package"
            rule = f"the entry point {entry_point.name!r} of {package} must be loadable"
            found = f"{type(error).__name__}: {error}"
            raise ConfigError(
                Problem((), rule, found, f"Repair or uninstall {package}.")
            ) from error
        _loaded_entry_points.add((entry_point.name, entry_point.value))


def _qualified_name(factory: Callable[..., Any]) -> str:
    return f"{factory.__module__}.{factory.__qualname__}"
