"""The log-posterior: the one object that fits, uncertainties and samplers use."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import ImproperPriorError, ParameterError
from scarlet_sed.infer.build import as_observations, build
from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.families import Family, FamilyValues, Place
from scarlet_sed.infer.program import Program
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.parameters import Parameter, free_parameters, set_values
from scarlet_sed.priors.base import MorphologyPrior
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import Array


class LogPosterior:
    """Scene and observations as a density over the free parameters.

    There are *two* densities, which must not be mixed up. `log_prob(values)` is the density in the parameters
    themselves: its maximum is the MAP, and `fit` climbs it. `log_density(unconstrained)` is the density in
    unconstrained numbers and includes the Jacobian of the transform: samplers need it.

    Both take families of stacked parameters (see `infer.families`); `pack` and `unpack` go from and to paths.

    Args:
        scene: what is modelled.
        observations: one observation, or several with distinct names.

    Raises:
        ParameterError: if nothing is free.
    """

    def __init__(self, scene: Scene, observations: Any) -> None:
        self.scene = scene
        self.observations: tuple[Observation, ...] = as_observations(observations)
        built = build(scene, self.observations)
        self.program: Program = built.program
        self.start: FamilyValues = built.values
        self.places: dict[str, Place] = built.places
        self.components = built.components

    @property
    def paths(self) -> list[str]:
        """The paths of the free parameters."""
        return list(self.places)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The free parameters of scene and observations, by path."""
        found = dict(self.scene.parameters)
        for observation in self.observations:
            found |= {f"{observation.name}.{path}": leaf for path, leaf in observation.parameters.items()}
        return found

    def log_prob(self, values: FamilyValues) -> Array:
        """Scalar log-posterior density in the parameters (no Jacobian), up to the evidence."""
        return log_prob(self.program, values)

    def log_density(self, unconstrained: FamilyValues) -> Array:
        """Scalar log-posterior density in the unconstrained numbers (with the Jacobian), up to the evidence."""
        return log_density(self.program, unconstrained)

    def log_likelihood(self, values: FamilyValues) -> Array:
        """Scalar log-likelihood."""
        return log_likelihood(self.program, values)

    def constrain(self, unconstrained: FamilyValues) -> FamilyValues:
        """Parameters from unconstrained numbers; never on a bound of a support, where rounding may put them."""
        return constrain_inside(self.program, unconstrained)

    def unconstrain(self, values: FamilyValues) -> FamilyValues:
        """Unconstrained numbers from parameters.

        Raises:
            ParameterError: if a value lies on the edge of its support, where it has no finite image.
        """
        unconstrained: FamilyValues = _unconstrain(self.program.families, values)
        finite = [np.isfinite(np.asarray(u)).reshape(u.shape[0], -1).all(axis=1) for u in unconstrained]
        for path, place in self.places.items():
            if not finite[place.family][place.row]:
                raise ParameterError(f"{path!r} lies on the edge of its prior's support", fix="start it inside")
        return unconstrained

    def unpack(self, values: FamilyValues) -> dict[str, Array]:
        """Parameter values by path."""
        return {path: values[place.family][place.row] for path, place in self.places.items()}

    def pack(self, values: Mapping[str, Any]) -> FamilyValues:
        """Families from parameter values by path, which may be traced; paths not given keep their starting values.

        Raises:
            ParameterError: for an unknown path.
        """
        rows: dict[int, dict[int, Any]] = {}
        for path, value in values.items():
            if path not in self.places:
                raise ParameterError(f"{path!r} is not a free parameter", fix=f"choose among {self.paths[:20]}")
            place = self.places[path]
            rows.setdefault(place.family, {})[place.row] = value
        return tuple(_with_rows(family, rows.get(index, {})) for index, family in enumerate(self.start))

    def at(self, values: FamilyValues) -> tuple[Scene, tuple[Observation, ...]]:
        """Scene and observations with their free parameters set to these values."""
        by_path = self.unpack(values)
        scene_paths = free_parameters(self.scene)
        scene = set_values(self.scene, {p: v for p, v in by_path.items() if p in scene_paths})
        observations = tuple(self._observation_at(o, by_path) for o in self.observations)
        return scene, observations

    @staticmethod
    def _observation_at(observation: Observation, by_path: Mapping[str, Array]) -> Observation:
        prefix = f"{observation.name}."
        own = {path.removeprefix(prefix): v for path, v in by_path.items() if path.startswith(prefix)}
        return set_values(observation, own) if own else observation

    def images(self, values: FamilyValues) -> dict[str, Array]:
        """(band, height, width) model image of each observation by name, sky included."""
        drawn = images(self.program, values)
        return {o.name: image for o, image in zip(self.observations, drawn, strict=True)}

    def require_proper_priors(self, *, slopes: bool = False) -> None:
        """Raise `ImproperPriorError` naming the parameters whose prior is not a density, or is none for samplers.

        Args:
            slopes: whether priors on images that no sampler may have will do.
        """
        families = self.program.families
        for path, place in self.places.items():
            prior = families[place.family].prior
            if isinstance(prior, MorphologyPrior) and prior.refusal and not slopes:
                raise ImproperPriorError(
                    f"{path} has a {type(prior).__name__} prior, which is for fits: {prior.refusal}",
                    fix="ask ss.annealed_langevin for approximate draws, which needs a score only; or give it a prior "
                    "with a density, such as ss.GaussianImagePrior; or freeze it",
                )
        improper = [path for path, place in self.places.items() if families[place.family].flat]
        if improper:
            raise ImproperPriorError(
                f"sampling needs proper priors, and these are flat without bounds: {', '.join(improper[:20])}",
                fix='give them a prior, e.g. scene.free("*.flux", dist.LogNormal(0, 3))',
            )


def _with_rows(family: Array, rows: Mapping[int, Any]) -> Array:
    """A (row, *shape) family with some of its rows replaced."""
    if any(isinstance(value, jax.core.Tracer) for value in rows.values()):
        stacked = jnp.stack([jnp.broadcast_to(value, family.shape[1:]) for value in rows.values()])
        return family.at[np.array(list(rows))].set(stacked.astype(family.dtype))
    # on the host, where nothing has to be compiled for the shape
    array = np.array(family)
    for row, value in rows.items():
        array[row] = value
    return jnp.asarray(array)


@jax.jit
def log_prob(program: Program, values: FamilyValues) -> Array:
    """Scalar log-posterior density of a program in its parameters."""
    return program.log_likelihood(values) + program.log_prior(values)


@jax.jit
def log_likelihood(program: Program, values: FamilyValues) -> Array:
    """Scalar log-likelihood of a program."""
    return program.log_likelihood(values)


@jax.jit
def constrain(program: Program, unconstrained: FamilyValues) -> FamilyValues:
    """Parameters of a program from unconstrained numbers."""
    return program.constrain(unconstrained)


@jax.jit
def constrain_inside(program: Program, unconstrained: FamilyValues) -> FamilyValues:
    """Parameters of a program from unconstrained numbers, with a way back: for results, not for densities."""
    return tuple(f.off_edges(f.constrain(u)) for f, u in zip(program.families, unconstrained, strict=True))


def _all_unconstrained(families: tuple[Family, ...], values: FamilyValues) -> FamilyValues:
    return tuple(f.unconstrain(v) for f, v in zip(families, values, strict=True))


_unconstrain = Compiled(_all_unconstrained, level=0)


@jax.jit
def log_density(program: Program, unconstrained: FamilyValues) -> Array:
    """Scalar log-posterior density of a program in its unconstrained numbers, Jacobian included."""
    values = program.constrain(unconstrained)
    prior = program.log_prior(values, unconstrained) + program.log_jacobian(unconstrained)
    return program.log_likelihood(values) + prior


@jax.jit
def log_jacobian(program: Program, unconstrained: FamilyValues) -> Array:
    """Scalar log-determinant of the transform from unconstrained numbers to the parameters of a program."""
    return program.log_jacobian(unconstrained)


@jax.jit
def images(program: Program, values: FamilyValues) -> tuple[Array, ...]:
    """Model images of a program."""
    return program.images(values)


@jax.jit
def source_images(program: Program, values: FamilyValues, source: Array) -> tuple[Array, ...]:
    """Images of the light of one source of a program, by index, without sky."""
    return program.source_images(values, source)


class Evaluation(NamedTuple):
    """What a program says at one place.

    Args:
        images: per observation (band, height, width) nJy per pixel, sky included.
        chi2: per observation (band,) chi-square.
        log_prob: scalar log-posterior density in the parameters.
    """

    images: tuple[Array, ...]
    chi2: tuple[Array, ...]
    log_prob: Array


@jax.jit
def evaluate(program: Program, values: FamilyValues) -> Evaluation:
    """Model images, chi-square and log-posterior of a program, drawn once and compiled as one."""
    drawn = program.images(values)
    return Evaluation(drawn, program.chi2(drawn, values), -program.negative_log_prob(drawn, values))


@jax.jit
def stamp_fluxes(program: Program, values: FamilyValues) -> tuple[Array, ...]:
    """Per group, the (n,) flux inside each component's box for a total flux of one."""
    return tuple(jnp.sum(jnp.sum(stamps, axis=-1), axis=-1) for stamps, *_ in program.stamps(values))
