"""From TOML values to the fields of dataclasses: every key and type is checked, and a mistake names what is meant."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from manifests.asset import Asset
from stages.base import UserError

if typing.TYPE_CHECKING:  # their tables take 0.3 s, and not every recipe filters
    from stages.filter import Rule
    from stages.trim import LineRule


def build(kind: type[Any], raw: Mapping[str, Any], where: str) -> Any:
    """A dataclass from a TOML table, every key and type checked."""
    if not isinstance(raw, Mapping):
        raise UserError(f"{where} must be a table, not {raw!r}")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    known(raw, fields, where)
    missing = [
        name
        for name, f in fields.items()
        if name not in raw and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{where}: {missing[0]} is missing")
    try:
        return kind(**{name: convert(value, hints[name], f"{where}: {name}") for name, value in raw.items()})
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def convert(value: Any, hint: Any, where: str) -> Any:
    """A TOML value as the type that a field declares."""
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        fitting = [a for a in arguments if a is not type(None)]
        return convert(value, fitting[0], where)
    if typing.get_origin(hint) is tuple:
        if isinstance(value, Mapping) and typing.get_origin(arguments[0]) is tuple:
            value = sorted(value.items())
        if not isinstance(value, list | tuple):
            raise UserError(f"{where} must be a list, not {value!r}")
        if isinstance(arguments[0], type) and dataclasses.is_dataclass(arguments[0]):
            return (line_rules_of if arguments[0].__name__ == "LineRule" else rules_of)(value, where)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(convert(item, arguments[0], where) for item in value)
        if len(value) != len(arguments):
            raise UserError(f"{where}: {value!r} should have {len(arguments)} parts")
        return tuple(convert(item, a, where) for item, a in zip(value, arguments, strict=True))
    if hint is Asset:
        return build(Asset, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise UserError(f"{where} is too large a number") from None
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where} must be a finite number, not {value}")
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where} must be of type {hint.__name__}, not {value!r}")
    return value


def rules_of(items: Sequence[Any], where: str) -> "tuple[Rule, ...]":
    """Rules of a list `rules`: names of rule tables, rules written in place, and `{ override = NAME, ... }`, which
    changes the bounds of a rule that stands before it, or takes it out with `drop = true`."""
    from stages.filter import Override, Rule, checked, load_rules, overridden

    rules: tuple[Rule, ...] = ()
    for item in items:
        if isinstance(item, str):
            rules += load_rules(packaged(item))
        elif isinstance(item, Mapping) and "override" in item:
            rules = overridden(rules, build(Override, item, where))
        elif isinstance(item, Mapping):
            rules += (checked(build(Rule, item, where)),)
        else:
            raise UserError(f"{where} holds names of rule tables, or rules, not {item!r}")
    return rules


def line_rules_of(items: Sequence[Any], where: str) -> "tuple[LineRule, ...]":
    """Line rules of a list `rules`, written as rules of documents are, with `line` in place of `signal`."""
    from stages.filter import Override, overridden
    from stages.trim import LineRule, load_line_rules

    rules: tuple[LineRule, ...] = ()
    for item in items:
        if isinstance(item, str):
            rules += load_line_rules(packaged(item))
        elif isinstance(item, Mapping) and "override" in item:
            rules = overridden(rules, build(Override, item, where))
        elif isinstance(item, Mapping):
            rules += (build(LineRule, item, where),)
        else:
            raise UserError(f"{where} holds names of tables of line rules, or line rules, not {item!r}")
    return rules


def packaged(name: str) -> str:
    """Text of a recipe or rule table that comes with Glasspile."""
    file = files("pipeline.recipes") / f"{name}.toml"
    if not file.is_file():
        names = [p.name.removesuffix(".toml") for p in files("pipeline.recipes").iterdir() if p.name.endswith(".toml")]
        raise UserError(f"no recipe or rule table {name!r}{nearest(name, names)}")
    return file.read_text(encoding="utf-8")


def known(raw: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    """UserError for a key that is not among the known names."""
    names = list(names)
    for key in raw:
        if key not in names:
            raise UserError(f"{where}: unknown key {key!r}{nearest(key, names)}")


def nearest(name: str, names: Iterable[str | None]) -> str:
    """The end of an error sentence: the nearest known name, or all of them."""
    candidates = sorted(n for n in names if n)
    close = difflib.get_close_matches(name, candidates, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(candidates)}"
