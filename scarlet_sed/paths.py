"""Paths: where numbers live in a tree of modules, and how other ones get there.

A slot's name is its path through the tree, `galaxy.disk.radius`: names of fields, keys of mappings, and places in
sequences, with dots between.
"""

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

import equinox as eqx

from scarlet_sed.errors import ParameterError
from scarlet_sed.shared import Shared

T = TypeVar("T")


class Slot(NamedTuple):
    """One place in a tree where a number lives: its path, what it holds and in which unit."""

    path: str
    leaf: Any
    unit: str
    doc: str


def transparent(**kwargs: Any) -> Any:
    """Declare a field that does not appear in the paths of what lies below it."""
    return eqx.field(metadata={"transparent": True}, **kwargs)


def slots(tree: Any) -> Iterator[Slot]:
    """Every slot of a tree of modules, dicts and sequences, in a fixed order.

    Raises:
        ParameterError: if two slots have the same path.
    """
    seen: set[str] = set()
    for slot in _walk(tree, ""):
        if slot.path in seen:
            raise ParameterError(
                f"two parameters are named {slot.path!r}", fix="give the sources or components other names"
            )
        seen.add(slot.path)
        yield slot


def _walk(node: Any, prefix: str) -> Iterator[Slot]:
    if isinstance(node, Shared):
        return
    if isinstance(node, eqx.Module):
        for field in fields(node):
            value = getattr(node, field.name, None)
            if field.metadata.get("parameter"):
                if value is not None:
                    yield Slot(prefix + field.name, value, field.metadata["unit"], field.metadata["doc"])
            else:
                yield from _walk(value, _inner_prefix(field, prefix))
    elif isinstance(node, Mapping):
        for key in node:
            yield from _walk(node[key], f"{prefix}{key}.")
    elif isinstance(node, (tuple, list)):
        for index, item in enumerate(node):
            yield from _walk(item, f"{prefix}{index}.")


def _inner_prefix(field: Any, prefix: str) -> str:
    """How the paths of what lies below a field begin."""
    return prefix if field.metadata.get("transparent") else f"{prefix}{field.name}."


def matching(tree: Any, pattern: str) -> list[Slot]:
    """The slots whose path matches a glob (`*` also crosses dots).

    Raises:
        ParameterError: if none does.
    """
    found = [slot for slot in slots(tree) if fnmatch.fnmatchcase(slot.path, pattern)]
    if not found:
        known = ", ".join(slot.path for slot in slots(tree))
        raise ParameterError(f"no parameter matches {pattern!r}", fix=f"choose among: {_shorten(known)}")
    return found


def _shorten(text: str, limit: int = 600) -> str:
    return text if len(text) <= limit else text[:limit] + " ..."


def replace_slots(tree: T, leaves: Mapping[str, Any]) -> T:
    """A new tree with the leaves at the given paths replaced.

    Raises:
        ParameterError: if a path is unknown.
    """
    known = {slot.path for slot in slots(tree)}
    unknown = [path for path in leaves if path not in known]
    if unknown:
        listed = ", ".join(slot.path for slot in slots(tree))
        raise ParameterError(f"unknown parameter {unknown[0]!r}", fix=f"choose among: {_shorten(listed)}")
    replaced: T = _replaced(tree, "", leaves)
    return replaced


def _replaced(node: Any, prefix: str, leaves: Mapping[str, Any]) -> Any:
    """A node with slots replaced; what holds none of them is the same object."""
    if isinstance(node, eqx.Module) and not isinstance(node, Shared):
        before = {field.name: getattr(node, field.name) for field in fields(node) if hasattr(node, field.name)}
        after = {f.name: _replaced_field(f, before[f.name], prefix, leaves) for f in fields(node) if f.name in before}
        return node if _same(before.values(), after.values()) else like(node, after)
    if isinstance(node, Mapping):
        mapped = {key: _replaced(item, f"{prefix}{key}.", leaves) for key, item in node.items()}
        return node if _same(node.values(), mapped.values()) else type(node)(mapped)  # type: ignore[call-arg]
    if isinstance(node, (tuple, list)):
        listed = [_replaced(item, f"{prefix}{index}.", leaves) for index, item in enumerate(node)]
        if _same(node, listed):
            return node
        return type(node)(*listed) if hasattr(node, "_fields") else type(node)(listed)
    return node


def _replaced_field(field: Any, value: Any, prefix: str, leaves: Mapping[str, Any]) -> Any:
    if field.metadata.get("parameter"):
        return leaves.get(prefix + field.name, value)
    return _replaced(value, _inner_prefix(field, prefix), leaves)


def _same(before: Iterable[Any], after: Iterable[Any]) -> bool:
    return all(old is new for old, new in zip(before, after, strict=True))


def like(module: eqx.Module, values: Mapping[str, Any]) -> Any:
    """A module of the same class with these fields, as when JAX rebuilds a tree: nothing is converted or checked."""
    new = object.__new__(type(module))
    for name, value in values.items():
        object.__setattr__(new, name, value)
    return new
