"""Trees of modules as JSON and arrays, and back.

A JSON scalar is itself. Everything else is an object with one telling key: `class`, `prior`, `constraint`, `dict`,
`list`, `tuple`, `array`, `float`, `grid` (pixels on the sky), `shared` (a number: constants that several places hold
together are written once) or `emulator` (the hash of the weights that ship with the package, which are not written).
"""

import importlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

from scarlet_sed.errors import FileFormatError
from scarlet_sed.instrument.geometry import PixelGrid
from scarlet_sed.io import encoding_priors as priors
from scarlet_sed.shared import Shared
from scarlet_sed.sps.emulator.neural import NeuralEmulator
from scarlet_sed.sps.emulator.shipped import shipped_emulator

_PACKAGE = "scarlet_sed"
_NAME = re.compile(rf"({_PACKAGE}(?:\.[a-z_][a-z0-9_]*)*):(\w+)")
_MOVED = {
    f"{_PACKAGE}.constraints:{name}": f"{_PACKAGE}.distributions:{name}"
    for name in ("EllipticityPrior", "LogUniformRedshift", "SmoothImage")
}
"""Names of classes in files that were written before the classes moved."""


class Classes:
    """The classes that may be stored and created: this package's, and those the user passes.

    Args:
        extra: the user's own subclasses of `equinox.Module` or of a numpyro distribution.
    """

    def __init__(self, extra: Iterable[type] = ()) -> None:
        self.extra = {class_name(cls): cls for cls in extra}
        self.written: dict[int, int] = {}
        self.read: dict[int, Any] = {}

    def allows(self, cls: type) -> bool:
        return class_name(cls) in self.extra or bool(_NAME.fullmatch(class_name(cls)))

    def find(self, name: Any, base: type, where: str) -> type:
        """The class of that name.

        Raises:
            FileFormatError: if it is not among the allowed ones.
        """
        found = self.extra.get(name) if isinstance(name, str) else None
        if found is None:
            # a class made in a notebook or a script has the module __main__ there, and another name elsewhere
            same = [cls for known, cls in self.extra.items() if str(name).split(":")[-1] == known.split(":")[-1]]
            found = same[0] if len(same) == 1 else _of_package(name)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise FileFormatError(
                f"{where} holds an object of the unknown class {name!r}", fix="pass it: classes=[...]"
            )
        return found


def class_name(cls: type) -> str:
    """The name under which a class is stored."""
    return f"{cls.__module__}:{cls.__qualname__}"


def _of_package(name: Any) -> Any:
    match = _NAME.fullmatch(_MOVED.get(name, name)) if isinstance(name, str) else None
    if match is None:
        return None
    try:
        return getattr(importlib.import_module(match[1]), match[2], None)
    except ImportError:
        return None


def encode(node: Any, arrays: dict[str, np.ndarray], classes: Classes, path: str = "") -> Any:
    """A node as JSON; arrays are put in `arrays` under new names.

    Raises:
        FileFormatError: for something that has no safe form, named by its path.
    """

    def below(child: Any, name: str) -> Any:
        return encode(child, arrays, classes, f"{path}.{name}" if path else name)

    if node is None or isinstance(node, (bool, int, str)):
        return node
    if isinstance(node, (np.generic, np.ndarray, jax.Array)):
        return _encode_array(node, arrays, path)
    if isinstance(node, float):
        return node if math.isfinite(node) else {"float": repr(node)}
    if isinstance(node, NeuralEmulator) and node.name == shipped_emulator().name:
        return {"emulator": node.name}
    if isinstance(node, Shared) and id(node) in classes.written:
        return {"shared": classes.written[id(node)]}
    if isinstance(node, eqx.Module) and classes.allows(type(node)):
        present = [f.name for f in fields(node) if hasattr(node, f.name)]
        module = {"class": class_name(type(node)), "fields": {n: below(getattr(node, n), n) for n in present}}
        if not isinstance(node, Shared):
            return module
        classes.written[id(node)] = len(classes.written)
        return {"shared": classes.written[id(node)], **module}
    if isinstance(node, PixelGrid):
        return {"grid": below(node.__getstate__(), "grid")}
    if isinstance(node, dist.Distribution):
        known = priors.distribution_name(node)
        if known is None and classes.allows(type(node)):
            known = class_name(type(node))
        if known is not None:
            arguments = priors.distribution_arguments(node)
            return {"prior": known, "arguments": {n: below(v, n) for n, v in arguments.items()}}
    if isinstance(node, constraints.Constraint):
        known = priors.constraint_name(node)
        if known is not None:
            arguments = priors.constraint_arguments(node)
            return {"constraint": known, "arguments": {n: below(v, n) for n, v in arguments.items()}}
    if isinstance(node, Mapping) and all(isinstance(key, str) for key in node):
        return {"dict": [[key, below(value, key)] for key, value in node.items()]}
    if type(node) in (list, tuple):
        return {type(node).__name__: [below(item, str(i)) for i, item in enumerate(node)]}
    raise FileFormatError(
        f"{path or 'the scene'} holds a {class_name(type(node))}, which a scene file cannot store",
        fix="pass your own classes in classes=[...]; hold only arrays, numbers, strings, dicts, lists, modules, priors",
    )


def _encode_array(node: Any, arrays: dict[str, np.ndarray], path: str) -> dict[str, Any]:
    kind = "jax" if isinstance(node, jax.Array) else "scalar" if isinstance(node, np.generic) else "numpy"
    dtype = getattr(node, "dtype", None)
    if isinstance(node, jax.core.Tracer) or not isinstance(dtype, np.dtype) or dtype.kind not in "biufc":
        raise FileFormatError(
            f"{path or 'the scene'} holds an array of type {dtype}",
            fix="save outside jit, with arrays of numbers",
        )
    name = f"a{len(arrays)}"
    arrays[name] = np.asarray(node)
    return {"array": name, "kind": kind}


def decode(node: Any, arrays: Mapping[str, np.ndarray], classes: Classes, where: str) -> Any:
    """What `encode` encoded.

    Args:
        node: JSON.
        arrays: by name.
        classes: what may be created.
        where: the file, for messages.

    Raises:
        FileFormatError: for anything `encode` would not write.
    """

    def below(child: Any) -> Any:
        return decode(child, arrays, classes, where)

    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    try:
        match node:
            case {"emulator": digest}:
                return _shipped(digest, where)
            case {"shared": number, "class": name, "fields": values}:
                classes.read[number] = _module(classes.find(name, Shared, where), values, below, where)
                return classes.read[number]
            case {"shared": number}:
                return classes.read[number]
            case {"class": name, "fields": values}:
                return _module(classes.find(name, eqx.Module, where), values, below, where)
            case {"prior": name, "arguments": values}:
                cls = priors.distribution_class(name) or classes.find(name, dist.Distribution, where)
                return priors.make_distribution(cls, {key: below(value) for key, value in values.items()})
            case {"constraint": name, "arguments": values}:
                return priors.make_constraint(name, {key: below(value) for key, value in values.items()})
            case {"dict": pairs}:
                return {key: below(value) for key, value in pairs}
            case {"list": items}:
                return [below(item) for item in items]
            case {"tuple": items}:
                return tuple(below(item) for item in items)
            case {"grid": state}:
                return _grid(below(state))
            case {"array": name, "kind": kind}:
                return _array(arrays[name], kind, where)
            case {"float": text} if text in ("nan", "inf", "-inf"):
                return float(text)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"{where} is damaged ({type(error).__name__}: {error})", fix="save the scene again"
        ) from error
    raise FileFormatError(f"{where} is damaged (unknown entry {str(node)[:60]})", fix="save the scene again")


def _module(cls: type, values: Mapping[str, Any], below: Any, where: str) -> Any:
    known = {field.name for field in fields(cls)}
    # what came to a class later says by its default what there was before
    later = {f.name for f in fields(cls) if f.metadata.get("static") and f.default is not MISSING}
    optional = {field.name for field in fields(cls) if not field.init} | later
    wrong = sorted((set(values) - known) | (known - optional - set(values)))
    if wrong:
        raise FileFormatError(
            f"{where} and the class {class_name(cls)} disagree on the fields {', '.join(wrong)}",
            fix="read it with the version of the class that wrote it",
        )
    module: Any = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(module, name, below(value))
    return module


def _grid(state: Mapping[str, Any]) -> PixelGrid:
    """The grid with this state; it is the very same one, as none made from its WCS need be."""
    (height, width), header = state["shape"], state["_header"]
    if not (isinstance(height, int) and isinstance(width, int) and isinstance(header, (str, type(None)))):
        raise ValueError("a pixel grid that is none")
    grid = object.__new__(PixelGrid)
    vars(grid).update({name: state[name] for name in ("shape", "_header", "_scale", "origin")})
    return grid


def _shipped(digest: str, where: str) -> NeuralEmulator:
    emulator = shipped_emulator()
    if emulator.name != digest:
        raise FileFormatError(
            f"{where} was made with other weights of the emulator ({str(digest)[:12]}...) than those that ship here",
            fix="read it with the version of the package that wrote it",
        )
    return emulator


def _array(array: np.ndarray, kind: str, where: str) -> Any:
    if kind == "numpy":
        return array
    if kind == "scalar":
        return array[()]
    if kind != "jax":
        raise ValueError(f"an array of kind {kind!r}")
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise FileFormatError(
            f"{where} holds {array.dtype} arrays, which jax would round", fix="enable x64 before you load it"
        )
    return jnp.asarray(array)
