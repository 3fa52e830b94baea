"""From tables of a TOML file to dataclasses, with errors that name the key, what was found and what is allowed.

A dataclass is the schema: the type of a field says what its key takes, `option(...)` adds limits and a description.
"""

import difflib
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from scarlet_sed.errors import ConfigError

T = TypeVar("T")

_NAMES = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    Path: "a path (string)",
}


def option(
    default: Any = MISSING,
    *,
    doc: str,
    choices: Sequence[str] | None = None,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    factory: Any = MISSING,
) -> Any:
    """Declare a key.

    Args:
        default: the value where the key is absent; without one the key is required.
        doc: one line that says what it is, with its unit.
        choices: the strings allowed.
        above, at_least, at_most: limits of a number.
        factory: makes the default, for tables.
    """
    metadata = {"doc": doc, "choices": choices, "above": above, "at_least": at_least, "at_most": at_most}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def build(cls: type[T], table: Any, where: str, folder: Path) -> T:
    """Make the dataclass `cls` from a table.

    Args:
        cls: the dataclass that is the schema.
        table: what the TOML file holds there.
        where: the dotted key of the table, "" at the top.
        folder: what relative paths are relative to.

    Raises:
        ConfigError: for an unknown or missing key, a wrong type, or a value that is not allowed.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"`{where}` is {_found(table)}", fix=f"make it a table: [{where}]")
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cast(Any, cls))}
    for key in table:
        if key not in known:
            raise _unknown(key, list(known), where)
    values: dict[str, Any] = {}
    for name, entry in known.items():
        path = f"{where}.{name}" if where else name
        if name in table:
            values[name] = _value(hints[name], table[name], path, entry.metadata, folder)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise ConfigError(f"the key `{path}` is missing", fix=f"give {entry.metadata.get('doc', 'it')}")
    return cls(**values)


def _unknown(key: str, known: list[str], where: str) -> ConfigError:
    path = f"{where}.{key}" if where else key
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    guess = f"did you mean `{close[0]}`? " if close else ""
    place = f"`{where}`" if where else "the top level"
    return ConfigError(f"unknown key `{path}`", fix=f"{guess}{place} takes: {', '.join(known)}")


def _value(kind: Any, found: Any, path: str, rules: Mapping[str, Any], folder: Path) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union(arguments, found, path, rules, folder)
    if is_dataclass(kind):
        return build(cast(type, kind), found, path, folder)
    if origin is tuple:
        return _sequence(arguments, found, path, rules, folder)
    if origin is dict:
        if not isinstance(found, Mapping):
            raise _wrong(path, found, "a table")
        return {key: _value(arguments[1], item, f"{path}.{key}", rules, folder) for key, item in found.items()}
    return _scalar(kind, found, path, rules, folder)


def _union(kinds: tuple[Any, ...], found: Any, path: str, rules: Mapping[str, Any], folder: Path) -> Any:
    real = [kind for kind in kinds if kind is not type(None)]
    fitting = [kind for kind in real if _accepts(kind, found)]
    if not fitting:
        raise _wrong(path, found, " or ".join(_name(kind, rules) for kind in real))
    return _value(fitting[0], found, path, rules, folder)


def _accepts(kind: Any, found: Any) -> bool:
    if kind is float:
        return isinstance(found, (int, float)) and not isinstance(found, bool)
    if kind is int:
        return isinstance(found, int) and not isinstance(found, bool)
    if kind in (str, Path):
        return isinstance(found, str)
    if kind is bool:
        return isinstance(found, bool)
    if is_dataclass(kind) or get_origin(kind) is dict:
        return isinstance(found, Mapping)
    return isinstance(found, list)


def _sequence(kinds: tuple[Any, ...], found: Any, path: str, rules: Mapping[str, Any], folder: Path) -> tuple:
    many = len(kinds) == 2 and kinds[1] is Ellipsis
    wanted = "a list" if many else f"a list of {len(kinds)} numbers"
    if not isinstance(found, list) or (not many and len(found) != len(kinds)):
        raise _wrong(path, found, wanted)
    each = [kinds[0]] * len(found) if many else kinds
    return tuple(
        _value(k, item, f"{path}[{i}]", rules, folder) for i, (k, item) in enumerate(zip(each, found, strict=True))
    )


def _scalar(kind: Any, found: Any, path: str, rules: Mapping[str, Any], folder: Path) -> Any:
    if not _accepts(kind, found):
        raise _wrong(path, found, _name(kind, rules))
    if kind is Path:
        return (folder / Path(found).expanduser()).resolve()
    if kind is str:
        return _choice(found, path, rules.get("choices"))
    if kind in (int, float):
        _check_limits(found, path, rules)
    return kind(found)


def _choice(found: str, path: str, choices: Sequence[str] | None) -> str:
    if choices is None or found in choices:
        return found
    close = difflib.get_close_matches(found, choices, n=1, cutoff=0.6)
    guess = f"did you mean {close[0]!r}? " if close else ""
    raise ConfigError(f"`{path}` is {found!r}", fix=f"{guess}allowed are: {', '.join(map(repr, choices))}")


def _check_limits(found: float, path: str, rules: Mapping[str, Any]) -> None:
    above, at_least, at_most = rules.get("above"), rules.get("at_least"), rules.get("at_most")
    bad = (
        not math.isfinite(found)
        or (above is not None and found <= above)
        or (at_least is not None and found < at_least)
        or (at_most is not None and found > at_most)
    )
    if bad:
        limits = [
            f"{word} {limit:g}"
            for word, limit in (("above", above), ("at least", at_least), ("at most", at_most))
            if limit is not None
        ]
        raise ConfigError(f"`{path}` is {found!r}", fix=f"give a number {' and '.join(limits) or 'that is finite'}")


def _name(kind: Any, rules: Mapping[str, Any]) -> str:
    if kind is str and rules.get("choices"):
        return "one of " + ", ".join(map(repr, rules["choices"]))
    if is_dataclass(kind) or get_origin(kind) is dict:
        return "a table"
    return _NAMES.get(kind, "a list")


def _wrong(path: str, found: Any, wanted: str) -> ConfigError:
    return ConfigError(f"`{path}` is {_found(found)}", fix=f"give {wanted}")


def _found(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value!r} ({_NAMES.get(type(value), type(value).__name__).removesuffix(' (string)')})"
