"""numpyro distributions and constraints by name: the allow-list of what a scene file may create."""

from collections.abc import Callable, Mapping
from typing import Any

import numpyro.distributions as dist
from numpyro.distributions import constraints

from scarlet_sed.constraints import ellipse, image_simplex

# made from the attributes that their `arg_constraints` name
_PLAIN = (
    "AsymmetricLaplace",
    "Beta",
    "Cauchy",
    "Delta",
    "Dirichlet",
    "DoublyTruncatedPowerLaw",
    "Exponential",
    "Gamma",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "InverseGamma",
    "Kumaraswamy",
    "Laplace",
    "LogNormal",
    "LogUniform",
    "Logistic",
    "Normal",
    "Pareto",
    "SoftLaplace",
    "StudentT",
    "Uniform",
    "Weibull",
)

# made from other attributes
_ATTRIBUTES = {
    "MultivariateNormal": ("loc", "scale_tril"),
    "LeftTruncatedDistribution": ("base_dist", "low"),
    "RightTruncatedDistribution": ("base_dist", "high"),
    "TwoSidedTruncatedDistribution": ("base_dist", "low", "high"),
    "ExpandedDistribution": ("base_dist", "batch_shape"),
    "Independent": ("base_dist", "reinterpreted_batch_ndims"),
    "ImproperUniform": ("support", "batch_shape", "event_shape"),
}

_DISTRIBUTIONS: dict[str, type] = {
    name: getattr(dist, name, None) or getattr(dist.distribution, name) for name in (*_PLAIN, *_ATTRIBUTES)
}

_SINGLETONS: dict[str, constraints.Constraint] = {
    "real": constraints.real,
    "real_vector": constraints.real_vector,
    "positive": constraints.positive,
    "nonnegative": constraints.nonnegative,
    "unit_interval": constraints.unit_interval,
    "simplex": constraints.simplex,
    "softplus_positive": constraints.softplus_positive,
    "circular": constraints.circular,
    "ordered_vector": constraints.ordered_vector,
    "positive_ordered_vector": constraints.positive_ordered_vector,
    "ellipse": ellipse,
    "image_simplex": image_simplex,
}

_BOUNDED: dict[str, tuple[Callable[..., constraints.Constraint], tuple[str, ...]]] = {
    "interval": (constraints.interval, ("lower_bound", "upper_bound")),
    "open_interval": (constraints.open_interval, ("lower_bound", "upper_bound")),
    "greater_than": (constraints.greater_than, ("lower_bound",)),
    "greater_than_eq": (constraints.greater_than_eq, ("lower_bound",)),
    "less_than": (constraints.less_than, ("upper_bound",)),
    "less_than_eq": (constraints.less_than_eq, ("upper_bound",)),
    "independent": (constraints.independent, ("base_constraint", "reinterpreted_batch_ndims")),
}


def distribution_name(prior: dist.Distribution) -> str | None:
    """The name under which a numpyro distribution is stored, or None if it is not on the list."""
    return next((name for name, cls in _DISTRIBUTIONS.items() if type(prior) is cls), None)


def distribution_class(name: str) -> type | None:
    """The class of that name on the list."""
    return _DISTRIBUTIONS.get(name)


def distribution_arguments(prior: dist.Distribution) -> dict[str, Any]:
    """What to construct the same distribution from."""
    if isinstance(prior, dist.ImproperUniform):
        # the constructor wraps its support once
        support = prior.support.base_constraint
        return {"support": support, "batch_shape": prior.batch_shape, "event_shape": prior.event_shape}
    return {name: getattr(prior, name) for name in _argument_names(type(prior))}


def _argument_names(cls: type[dist.Distribution]) -> tuple[str, ...]:
    own = _ATTRIBUTES.get(cls.__name__) if _DISTRIBUTIONS.get(cls.__name__) is cls else None
    return own or getattr(cls, "constructor_arguments", None) or tuple(cls.arg_constraints)


def make_distribution(cls: type[dist.Distribution], arguments: Mapping[str, Any]) -> dist.Distribution:
    """A distribution from its arguments, all of them: a ValueError where one is missing or unknown."""
    if set(arguments) != set(_argument_names(cls)):
        raise ValueError(f"{cls.__name__} takes {_argument_names(cls)}, not {tuple(arguments)}")
    if cls is _DISTRIBUTIONS["ExpandedDistribution"]:
        return arguments["base_dist"].expand(arguments["batch_shape"])
    if cls is _DISTRIBUTIONS["Independent"]:
        return arguments["base_dist"].to_event(arguments["reinterpreted_batch_ndims"])
    return cls(**arguments)


def constraint_name(constraint: constraints.Constraint) -> str | None:
    """The name under which a constraint is stored, or None if it is not on the list."""
    for name, known in _SINGLETONS.items():
        if type(constraint) is type(known):
            return name
    for name, (_, attributes) in _BOUNDED.items():
        if type(constraint) is _BOUNDED_TYPES[name] and all(hasattr(constraint, a) for a in attributes):
            return name
    return None


def constraint_arguments(constraint: constraints.Constraint) -> dict[str, Any]:
    """What to construct the same constraint from."""
    name = constraint_name(constraint)
    return {} if name in _SINGLETONS else {a: getattr(constraint, a) for a in _BOUNDED[str(name)][1]}


def make_constraint(name: str, arguments: Mapping[str, Any]) -> constraints.Constraint:
    """A constraint from its name and arguments; a name that is not on the list is a KeyError."""
    if name in _SINGLETONS:
        return _SINGLETONS[name]
    make, attributes = _BOUNDED[name]
    return make(*(arguments[a] for a in attributes))


def _sample_arguments(attributes: tuple[str, ...]) -> tuple[Any, ...]:
    return (constraints.real, 1) if attributes[0] == "base_constraint" else (0.0, 1.0)[: len(attributes)]


_BOUNDED_TYPES = {name: type(make(*_sample_arguments(attributes))) for name, (make, attributes) in _BOUNDED.items()}
