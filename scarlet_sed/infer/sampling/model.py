"""A scene as a plain NumPyro model, to be put inside of a larger one."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpyro

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import Array


def numpyro_model(scene: Scene, observations: Any) -> Callable[..., dict[str, Array]]:
    """A NumPyro model of a scene: every free parameter is a sample site named by its path.

    Call it inside of a model of your own to share or to replace parameters: what is given in `values` is taken from
    there, and its prior in the scene does not count.

        def model():
            mean = numpyro.sample("mean", dist.Normal(9, 1))
            with numpyro.plate("galaxies", len(names)):
                mass = numpyro.sample("log_mass", dist.Normal(mean, 0.3))
            inner({f"{name}.spectrum.log_mass": mass[i] for i, name in enumerate(names)})

    Args:
        scene: with proper priors.
        observations: one or several.

    Returns:
        a function of `values`, parameters by path, none by default; it returns all parameters by path.

    Raises:
        ImproperPriorError: if a prior is not a density.
    """
    posterior = LogPosterior(scene, observations)
    posterior.require_proper_priors()
    priors = {path: leaf.prior for path, leaf in posterior.parameters.items()}
    shapes = {path: posterior.start[place.family].shape[1:] for path, place in posterior.places.items()}

    def model(values: Mapping[str, Any] | None = None) -> dict[str, Array]:
        given = {} if values is None else dict(values)
        unknown = sorted(set(given) - set(priors))
        if unknown:
            raise ParameterError(f"{unknown[0]!r} is not a free parameter", fix=f"choose among {sorted(priors)[:20]}")
        found = {path: _given(path, value, shapes[path]) for path, value in given.items()}
        for path, prior in priors.items():
            if path not in found:
                # a prior of smaller shape holds for each element on its own
                each = shapes[path][: len(shapes[path]) - len(prior.event_shape)]
                found[path] = numpyro.sample(path, prior.expand(each).to_event(len(each)))
        packed = posterior.pack(found)
        numpyro.factor("log_likelihood", posterior.program.log_likelihood(packed))
        if posterior.program.guard is not None:
            numpyro.factor("flux_guard", posterior.program.log_guard(packed))
        return found

    return model


def _given(path: str, value: Any, shape: tuple[int, ...]) -> Array:
    array = jnp.asarray(value)
    if array.shape != shape:
        raise ParameterError(f"{path!r} has the shape {shape}, not {array.shape}", fix="give every element")
    return array
