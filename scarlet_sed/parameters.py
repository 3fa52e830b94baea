"""Parameters: numbers are fixed, priors are free, names are paths.

A module declares a slot for a number with `parameter(...)`. What a user puts there decides what it is: a number (or
array, or astropy Quantity) stays a constant; a numpyro distribution becomes a free `Parameter` that starts at the
prior's median; `Parameter(value, prior)` sets both. A slot's name is its path through the tree, `galaxy.disk.radius`.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from astropy.units import Quantity, UnitConversionError
from numpyro.distributions import constraints

from scarlet_sed.errors import ImproperPriorError, ParameterError, ShapeError, UnitError
from scarlet_sed.paths import like, matching, replace_slots, slots
from scarlet_sed.typing import Array

T = TypeVar("T")


class Parameter(eqx.Module):
    """A free number (or array) with its prior.

    Args:
        value: where it starts; any shape the slot takes. A prior of smaller shape applies to each element.
        prior: a numpyro distribution, or a numpyro constraint for a flat (improper) prior on that support.
    """

    value: Array
    prior: dist.Distribution

    def __init__(self, value: Any, prior: dist.Distribution | constraints.Constraint) -> None:
        self.value = as_float(value)
        if isinstance(prior, constraints.Constraint):
            event_shape = self.value.shape if prior.event_dim == self.value.ndim else ()
            prior = dist.ImproperUniform(prior, (), event_shape)
        if not isinstance(prior, dist.Distribution):
            raise ParameterError(
                f"the prior of a Parameter is a {type(prior).__name__}",
                fix="pass a numpyro distribution, or a numpyro constraint for a flat prior",
            )
        self.prior = prior
        check_value(self.value, prior)


class Tied(eqx.Module):
    """Stands for the value of another parameter of the same scene, named by its path."""

    path: str = eqx.field(static=True)


def as_float(value: Any) -> Array:
    """`value` as an array of the caller's default floating type (float32 unless the caller enabled x64).

    Numbers from the host are converted there.
    """
    dtype = jnp.result_type(float)
    if not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value)):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            return to_device(array, dtype)
    return jnp.asarray(value, dtype)


def to_device(array: np.ndarray, dtype: Any) -> Array:
    """A copy of an array of the host, converted there: by JAX it would be a program to compile for every shape."""
    return jax.device_put(np.array(array, dtype))


def prior_median(prior: dist.Distribution) -> Array:
    """The median of a prior (its mean where a median is not known).

    Raises:
        ImproperPriorError: if the prior has neither.
    """
    try:
        return as_float(prior.icdf(0.5))
    except (NotImplementedError, ImportError):  # numpyro asks for TensorFlow Probability for that of Beta
        pass
    try:
        mean = as_float(prior.mean)
    except NotImplementedError:
        mean = jnp.asarray(jnp.nan)
    if not bool(jnp.all(jnp.isfinite(mean))):
        raise ImproperPriorError(
            f"the prior {type(prior).__name__} has no median or mean to start from",
            fix="give the starting value too: Parameter(value, prior)",
        )
    return mean


def check_value(value: Array, prior: dist.Distribution) -> None:
    """Raise `ParameterError` for a concrete value that is not finite or lies outside its prior's support."""
    if isinstance(value, jax.core.Tracer):
        return
    host = np.asarray(value)
    if not np.all(np.isfinite(host)):
        raise ParameterError("a parameter's value is not finite", fix="give finite starting values")
    if not np.all(prior.support(host)):
        raise ParameterError(
            f"the value {np.array2string(host, threshold=6)} lies outside the support of its prior "
            f"({type(prior).__name__})",
            fix="start inside the support, or widen the prior",
        )


def parameter(*, unit: str = "", doc: str = "", shape: tuple[int, ...] | None = None, **kwargs: Any) -> Any:
    """Declare a slot for a number in a module.

    Args:
        unit: astropy unit string of the plain number inside; a Quantity is converted to it.
        doc: one line that says what it is.
        shape: the shape that scalars and the medians of scalar priors are broadcast to; None leaves them.
        **kwargs: `default=...` as in `equinox.field`. With `default=None` the slot may stay empty.
    """
    optional = "default" in kwargs and kwargs["default"] is None

    def convert(value: Any) -> Any:
        return None if optional and value is None else as_leaf(value, unit, shape)

    metadata = {"parameter": True, "unit": unit, "doc": doc}
    return eqx.field(converter=convert, metadata=metadata, **kwargs)


def as_leaf(value: Any, unit: str, shape: tuple[int, ...] | None) -> Any:
    """What a slot holds for what a user gave: an array, a `Parameter` or a tie, in the slot's unit and shape.

    Raises:
        ParameterError: if it is none of a finite number, array, Quantity, prior or Parameter.
        ShapeError: if it cannot be broadcast to the slot's shape.
        UnitError: for a Quantity of another kind.
    """
    if isinstance(value, Parameter):
        if shape is not None and value.value.shape != shape:
            return Parameter(_broadcast(value.value, shape), value.prior)
        return value
    if isinstance(value, Tied) or not _is_concrete(value):
        return value
    if isinstance(value, dist.Distribution):
        return as_leaf(Parameter(prior_median(value), value), unit, shape)
    if isinstance(value, Quantity):
        try:
            value = value.to_value(unit)
        except UnitConversionError as error:
            raise UnitError(
                f"cannot convert {value.unit} to {unit or 'a plain number'}", fix=f"give it in {unit}"
            ) from error
    try:
        array = as_float(value)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"{value!r} is not a number, array, Quantity or prior",
            fix="pass a number (fixed) or a prior (free)",
        ) from error
    # under a trace even constants become tracers
    if not isinstance(array, jax.core.Tracer) and not np.all(np.isfinite(array)):
        raise ParameterError(f"the value {value!r} is not finite", fix="pass finite numbers")
    return array if shape is None else _broadcast(array, shape)


def _broadcast(array: Array, shape: tuple[int, ...]) -> Array:
    try:
        return jnp.broadcast_to(array, shape)
    except ValueError as error:
        raise ShapeError(
            f"a value of shape {array.shape} where {shape or 'a single number'} is wanted",
            fix="give a value of that shape, or one number",
        ) from error


def _is_concrete(value: Any) -> bool:
    return not isinstance(value, (jax.core.Tracer, jax.ShapeDtypeStruct)) and type(value) is not object


def free_parameters(tree: Any) -> dict[str, Parameter]:
    """The free parameters of a tree by path."""
    return {slot.path: slot.leaf for slot in slots(tree) if isinstance(slot.leaf, Parameter)}


def free(tree: T, pattern: str, prior: dist.Distribution | constraints.Constraint) -> T:
    """Free every slot that matches: it keeps its present value and gets the prior."""
    values = current_values(tree)
    return replace_slots(tree, {s.path: Parameter(values[s.path], prior) for s in matching(tree, pattern)})


def freeze(tree: T, pattern: str) -> T:
    """Fix every slot that matches at its present value."""
    values = current_values(tree)
    return replace_slots(tree, {s.path: values[s.path] for s in matching(tree, pattern)})


def tie(tree: T, pattern: str, *, to: str) -> T:
    """Let every slot that matches share the value of the slot `to`."""
    target = matching(tree, to)
    if len(target) != 1:
        raise ParameterError(f"{to!r} names {len(target)} parameters", fix="tie to exactly one path")
    chosen = matching(tree, pattern)
    if any(s.path == target[0].path for s in chosen):
        raise ParameterError(f"{to!r} cannot be tied to itself", fix="exclude it from the pattern")
    return _checked_ties(replace_slots(tree, {s.path: Tied(target[0].path) for s in chosen}))


def _checked_ties(tree: T) -> T:
    current_values(tree)
    return tree


def current_values(tree: Any) -> dict[str, Array]:
    """The present value of every slot by path: constants, free values, and ties followed to their end.

    Raises:
        ParameterError: if a tie is circular or points nowhere.
    """
    leaves = {slot.path: slot.leaf for slot in slots(tree)}
    return {path: _follow(leaves, path) for path in leaves}


def tie_target(leaves: Mapping[str, Any], path: str) -> str:
    """The path at the end of a chain of ties that starts at `path`."""
    seen = [path]
    while isinstance(leaves[seen[-1]], Tied):
        target = leaves[seen[-1]].path
        if target not in leaves:
            raise ParameterError(
                f"{seen[-1]!r} is tied to {target!r}, which does not exist",
                fix="tie to a path of the same scene",
            )
        if target in seen:
            raise ParameterError(f"the tie of {path!r} is circular", fix="untie one of " + ", ".join(seen))
        seen.append(target)
    return seen[-1]


def _follow(leaves: Mapping[str, Any], path: str) -> Array:
    leaf = leaves[tie_target(leaves, path)]
    return leaf.value if isinstance(leaf, Parameter) else leaf


def resolve(tree: T) -> T:
    """The same tree with every Parameter and tie replaced by its plain value: what evaluation works on."""
    special = {s.path for s in slots(tree) if isinstance(s.leaf, (Parameter, Tied))}
    if not special:
        return tree
    values = current_values(tree)
    return replace_slots(tree, {path: values[path] for path in special})


def set_values(tree: T, values: Mapping[str, Array]) -> T:
    """A new tree whose parameters (free ones keep their prior) take the given values by path."""
    leaves = {slot.path: slot.leaf for slot in slots(tree)}
    new: dict[str, Any] = {}
    for path, value in values.items():
        leaf = leaves.get(path)
        if isinstance(leaf, Parameter):
            # the very same prior: sources share what it is built on
            new[path] = like(leaf, {"value": as_float(value), "prior": leaf.prior})
        else:
            new[path] = as_float(value)
    return replace_slots(tree, new)


class Parameterized(eqx.Module):
    """Mixin for objects that a user edits by path; every method returns a new object."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The free parameters by path."""
        return free_parameters(self)

    @property
    def values(self) -> dict[str, Array]:
        """The present values of all slots, free and fixed, by path."""
        return current_values(self)

    def free(self: T, pattern: str, prior: dist.Distribution | constraints.Constraint) -> T:
        """Free every parameter whose path matches the glob, from its present value, with this prior."""
        return free(self, pattern, prior)

    def freeze(self: T, pattern: str) -> T:
        """Fix every parameter whose path matches the glob at its present value."""
        return freeze(self, pattern)

    def tie(self: T, pattern: str, *, to: str) -> T:
        """Let every parameter whose path matches the glob share the value at the path `to`."""
        return tie(self, pattern, to=to)

    def set(self: T, values: Mapping[str, Any]) -> T:
        """Give parameters new values by path; free ones keep their priors."""
        return set_values(self, values)
