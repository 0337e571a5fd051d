"""Plain values, as TOML and JSON give them, in; frozen records of checked types out, or one sentence that says what is
wrong and where."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from inspect import Parameter, signature
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from training.order import PlanError
from training.plan import nearest

Record = TypeVar("Record")
LARGEST = 1e300  # no number of a configuration is near it, and infinities are beyond


class ConfigError(PlanError):
    """A configuration that cannot be; the message is one sentence that says where and how to mend it."""


def build(cls: type[Record], raw: Any, where: str) -> Record:
    """A record from a table; an unknown key is an error that names the nearest known one."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where} must be a table, not {raw!r}")
    hints = get_type_hints(cls)
    if unknown := [key for key in raw if key not in hints]:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}{nearest(unknown[0], hints)}")
    for name, parameter in signature(cls).parameters.items():
        if parameter.default is Parameter.empty and name not in raw:
            raise ConfigError(f"{where}: {name} is missing")
    return cls(**{key: convert(hints[key], value, f"{where}: {key}") for key, value in raw.items()})


def convert(kind: Any, value: Any, where: str) -> Any:
    """A plain value as the type of a field; whole numbers may be written as 3e9."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return build(kind, value, where)
    if kind is Any or origin is Literal and value in inner or kind in (str, bool) and type(value) is kind:
        return value
    if origin is dict and isinstance(value, Mapping):
        return {key: convert(inner[1], each, f"{where}.{key}") for key, each in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [inner[0]] * len(value) if inner[1] is Ellipsis else inner
        if len(kinds) == len(value):
            return tuple(convert(each, item, where) for each, item in zip(kinds, value, strict=True))
    if kind in (int, float) and type(value) in (int, float) and abs(value) < LARGEST and kind(value) == value:
        return kind(value)
    name = getattr(kind, "__name__", str(kind)) if origin is None else str(kind)
    wanted = f"one of {', '.join(map(repr, inner))}" if origin is Literal else f"of type {name}"
    raise ConfigError(f"{where} must be {wanted}, not {value!r}")
