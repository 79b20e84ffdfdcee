"""Plain data to config models, and pydantic's errors to sentences that a user can act on.

Each section, and each reward component, is validated on its own, so that one run shows everything
that is wrong with a file, and so that the checks of good sections need not wait for the bad ones.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from rllama_sb3.config.merging import merge_configs
from rllama_sb3.config.models import ComponentConfig, ExperimentConfig, OneKey
from rllama_sb3.errors import NO_VALUE, ConfigError, Path, Problem, did_you_mean

_COMPONENTS: Final = "reward_shaping"
# What pydantic's error types say, in the words of this project; {names} come from the context.
_RULES: Final = {
    "missing": "missing key",
    "extra_forbidden": "unknown key",
    "invalid_key": "must have text as keys",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} item(s)",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}
_KINDS: Final = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a mapping",
}


class _Place(NamedTuple):
    """Where an error is, without the names that pydantic gives to branches of a union."""

    path: Path
    annotation: Any
    owner: Any
    union: Path | None
    in_branch: bool


def parse_experiment(data: Mapping[str, Any]) -> ExperimentConfig:
    """Returns the config that plain data describes; shares nothing mutable with it.

    Only shape and range are checked here. Whether the environment, the components, the schedules
    and the algorithm exist is checked by the modules that build them.

    Raises:
        ConfigError: Something is missing, unknown, of a wrong type or out of range; everything of
            that kind is listed.

    Example:
        >>> config = parse_experiment({
        ...     "env": {"id": "CartPole-v1"},
        ...     "algorithm": {"name": "PPO"},
        ...     "training": {"total_timesteps": 1_000},
        ... })
        >>> config.training.seed
        0
    """
    sections, problems = parse_sections(data)
    if problems:
        raise ConfigError(*problems)
    return ExperimentConfig(**sections)


def parse_sections(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Validates each section on its own.

    Returns:
        The valid sections by name, and everything that is wrong. A section with a problem is left
        out, except that ``reward_shaping`` is a dict of its valid components. A section that the
        data does not have is its default, or left out where it has none.
    """
    if not isinstance(data, Mapping):
        return {}, [Problem((), "must be a mapping", data, "Write keys such as env and training.")]
    plain = merge_configs(data, {})
    sections: dict[str, Any] = {}
    problems: list[Problem] = []
    fields = ExperimentConfig.model_fields
    for key in plain:
        if not isinstance(key, str):
            problems.append(Problem((), _RULES["invalid_key"], key, f"Quote it: '{key}'."))
        elif key not in fields:
            remedy = did_you_mean(key, fields)
            problems.append(Problem((key,), _RULES["extra_forbidden"], remedy=remedy))
    for name, section in fields.items():
        if name not in plain:
            if section.is_required():
                problems.append(_missing_section(name, section.annotation))
            else:
                sections[name] = section.get_default(call_default_factory=True)
        elif name == _COMPONENTS:
            found, wrong = _parse_components(plain[name])
            if found is not None:
                sections[name] = found
            problems.extend(wrong)
        else:
            assert isinstance(section.annotation, type)  # Every other section is a model.
            model, wrong = _parse_model(section.annotation, plain[name], (name,))
            if model is not None:
                sections[name] = model
            problems.extend(wrong)
    return sections, problems


def problems_from_validation_error(
    error: ValidationError, prefix: Path, model: type[BaseModel]
) -> list[Problem]:
    """Returns pydantic's errors as problems below ``prefix``, one for each wrong value.

    Pydantic tells for each branch of a union why the value does not fit it. Where the value has the
    shape of a branch, only what is wrong inside it is told; else the branches are listed in one
    sentence.
    """
    entries = [(_place(model, tuple(e["loc"])), e) for e in error.errors(include_url=False)]
    fitting = {place.union for place, _ in entries if place.in_branch}
    problems: list[Problem] = []
    told: set[Path] = set()
    for place, entry in entries:
        if place.union is None or place.in_branch:
            problems.append(_problem(place, entry).below(prefix))
        elif place.union not in fitting and place.union not in told:
            told.add(place.union)
            rule = f"must be {_kind(place.annotation)}"
            remedy = _scalar_remedy("bool_type", entry["input"])
            problems.append(Problem(place.path, rule, entry["input"], remedy).below(prefix))
    return problems


def _parse_model(
    model: type[Any], value: Any, path: Path
) -> tuple[BaseModel | None, list[Problem]]:
    try:
        parsed: BaseModel = model.model_validate(value)
        return parsed, []
    except ValidationError as error:
        return None, problems_from_validation_error(error, path, model)


def _parse_components(value: Any) -> tuple[dict[str, BaseModel] | None, list[Problem]]:
    if not isinstance(value, Mapping):
        remedy = "Write components by name below it, or {} for none."
        return None, [Problem((_COMPONENTS,), "must be a mapping", value, remedy)]
    found: dict[str, BaseModel] = {}
    problems: list[Problem] = []
    for name, component in value.items():
        if not isinstance(name, str):
            rule = _RULES["invalid_key"]
            problems.append(Problem((_COMPONENTS,), rule, name, f"Quote it: '{name}'."))
            continue
        model, wrong = _parse_model(ComponentConfig, component, (_COMPONENTS, name))
        if model is not None:
            found[name] = model
        problems.extend(wrong)
    return found, problems


def _missing_section(name: str, annotation: Any) -> Problem:
    keys = [key for key, field in annotation.model_fields.items() if field.is_required()]
    remedy = f"Add the section, with at least {' and '.join(keys)}."
    return Problem((name,), _RULES["missing"], remedy=remedy)


def _place(annotation: Any, loc: Path) -> _Place:
    """Follows an error's location through the annotations, dropping the names of union branches."""
    path: Path = ()
    owner: Any = None
    union: Path | None = None
    for depth, key in enumerate(loc):
        annotation = _bare(annotation)
        branches = get_args(annotation) if _is_union(annotation) else ()
        if branches:
            is_last = depth == len(loc) - 1
            if is_last:
                return _Place(path, annotation, owner, path, in_branch=False)
            union = path
            annotation = next((b for b in branches if _has_tag(b, str(key))), None)
            continue
        owner, annotation = annotation, _below(annotation, key)
        if key != "[key]":
            path = (*path, key)
    return _Place(path, annotation, owner, union, in_branch=union is not None)


def _below(annotation: Any, key: str | int) -> Any:
    """Returns the annotation of what ``key`` leads to, or None where the key is not known."""
    if _is_model(annotation):
        field = next((f for n, f in annotation.model_fields.items() if key == (f.alias or n)), None)
        return field.annotation if field else None
    arguments = get_args(annotation)
    return arguments[-1] if arguments else None


def _problem(place: _Place, entry: Mapping[str, Any]) -> Problem:
    kind, value = entry["type"], entry["input"]
    context = entry.get("ctx", {})
    if kind == "invalid_key" or entry["loc"][-1:] == ("[key]",):
        remedy = f"Quote it: '{value}'."
        return Problem(place.path[:-1], _RULES["invalid_key"], value, remedy)
    if kind in ("missing", "extra_forbidden"):
        return Problem(place.path, _RULES[kind], NO_VALUE, _key_remedy(kind, place))
    if kind == "literal_error":
        choices = [str(choice) for choice in _choices(place.annotation)]
        remedy = did_you_mean(value, choices)
        # The rule lists the choices already.
        remedy = "" if remedy.startswith("Known") else remedy
        return Problem(place.path, f"must be one of {', '.join(choices)}", value, remedy)
    if kind in _RULES:
        rule = _RULES[kind].format(**context)
    elif "error" in context:  # What a validator of ours raised.
        rule = str(context["error"]).rstrip(".")
    else:
        rule = entry["msg"][:1].lower() + entry["msg"][1:]
    return Problem(place.path, rule, value, _scalar_remedy(kind, value))


def _key_remedy(kind: str, place: _Place) -> str:
    fields = {field.alias or name: field for name, field in place.owner.model_fields.items()}
    if kind == "extra_forbidden":
        return did_you_mean(place.path[-1], fields)
    return f"Add it: {fields[str(place.path[-1])].description}"


def _scalar_remedy(kind: str, value: Any) -> str:
    """Returns what to write instead, where a value is only written in the wrong way."""
    if value is None:
        nothing = ", {} for none" if kind == "dict_type" else ""
        return f"Write a value{nothing}, or remove the key."
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"Quote it: '{value}'."
    if kind.startswith("int_") and isinstance(value, float) and value.is_integer():
        return f"Write {int(value)}."
    if not isinstance(value, str):
        return ""
    if kind == "bool_type" and value.casefold() in ("yes", "on", "no", "off", "true", "false"):
        return f"Write {str(value.casefold() in ('yes', 'on', 'true')).lower()}."
    if kind in ("int_type", "float_type") and _is_number(value):
        return "Remove the quotes."
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text.replace("_", ""))
    except ValueError:
        return False
    return True


def _kind(annotation: Any) -> str:
    """Returns what a value of this annotation is, in words."""
    if annotation == OneKey:
        return "a mapping with one key"
    annotation = _bare(annotation)
    if _is_union(annotation):
        return ", or ".join(_kind(branch) for branch in get_args(annotation))
    if _is_model(annotation):
        return f"a mapping with keys of {', '.join(annotation.model_fields)}"
    return _KINDS.get(get_origin(annotation) or annotation, "something else")


def _has_tag(branch: Any, tag: str) -> bool:
    """Whether pydantic calls this branch of a union by ``tag``: ``bool``, ``dict[str,any]``..."""
    branch = _bare(branch)
    name: str = (get_origin(branch) or branch).__name__
    return tag.split("[")[0] == name


def _bare(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Returns what a ``Literal`` allows, be it optional or not."""
    annotation = _bare(annotation)
    if not _is_union(annotation):
        return get_args(annotation)
    return tuple(c for branch in get_args(annotation) for c in get_args(_bare(branch)))


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
