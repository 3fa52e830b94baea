"""Is a prior on images sampled rightly? Scenes that are linear in numbers of a normal prior: their posterior is known.

usage: python benchmarks/priors/toys.py [--draws 2000]

An image of n pixels of a galaxy, seen through a PSF with noise, is n - 1 numbers times fixed patterns on an even image;
the numbers have a known normal prior. `sample` draws them through the whole library: render, whiten, NUTS. Beside it
stands scarlet2's construction, a prior whose log_prob is zero and whose gradient is the score, under NumPyro's NUTS.
Prints a table and writes benchmarks/results/priors_toys.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.transforms import ZeroSumTransform
from numpyro.infer import MCMC, NUTS

import scarlet_sed as ss
from scarlet_sed.files import atomic
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.priors.base import StandardNormalPrior
from scarlet_sed.priors.coordinates import StatedNumbers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from table import markdown

RESULTS = Path(__file__).resolve().parents[1] / "results"
BAND = ("hsc_g",)
SIDES = (4, 16, 32)
FLUX = 1000.0


class Straight(StatedNumbers):
    """Numbers onto images by fixed patterns of zero sum: linear, so that pixels may be negative."""

    def __call__(self, x: Any) -> Any:
        pixels = self.shape[0] * self.shape[1]
        away = ZeroSumTransform(1)(x).reshape(*x.shape[:-1], *self.shape)
        return (1 + away) / pixels

    def _inverse(self, y: Any) -> Any:
        pixels = self.shape[0] * self.shape[1]
        return ZeroSumTransform(1).inv(y.reshape(*y.shape[:-2], pixels) * pixels - 1)

    def tree_flatten(self) -> tuple:
        return (), ((), {"shape": self.shape})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Straight) and other.shape == self.shape

    def __hash__(self) -> int:
        return hash((type(self), self.shape))


@final
class Known(StandardNormalPrior):
    """A normal energy of deviation one in every number."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    pytree_aux_fields = ("shape",)

    def __init__(self, shape: tuple[int, int], *, validate_args: bool | None = None) -> None:
        self.shape = shape
        super().__init__(event_shape=shape, validate_args=validate_args)

    @property
    def coordinates(self) -> dist.transforms.Transform:
        return Straight(self.shape)


def toy(side: int, seed: int) -> tuple[ss.Scene, ss.Observation]:
    """A scene at the even image, and what is seen of an image drawn from the prior."""
    rng = np.random.default_rng([side, seed])
    blank = ss.Observation(
        np.zeros((1, side + 10, side + 10)), BAND, ss.PSF.gaussian(fwhm=2.5), sigma=1.0, pixel_scale=0.1, name="o"
    )
    prior = Known((side, side))

    def scene(image: np.ndarray) -> ss.Scene:
        shape = ss.Pixels(ss.Parameter(image, prior), 0.1)
        return ss.Scene({"a": ss.Source((0.0, 0.0), ss.FreeSpectrum(np.array([FLUX]), BAND) * shape)}, frame)

    frame = ss.Frame.covering(blank)
    numbers = rng.normal(size=side * side - 1)
    # the even image first, for pixels of a start must not be negative; values do not tell a program what they mean
    even = scene(np.full((side, side), 1.0 / side**2))
    posterior = LogPosterior(even, blank)
    image = np.asarray(prior.coordinates(jnp.asarray(numbers)))
    clean = np.asarray(posterior.images(posterior.pack({"a.morphology.image": image}))["o"])
    noise = 0.5 * clean.std()
    seen = ss.Observation(
        clean + noise * rng.normal(size=clean.shape),
        BAND,
        ss.PSF.gaussian(fwhm=2.5),
        sigma=noise,
        pixel_scale=0.1,
        name="o",
    )
    return even, seen


def known_posterior(scene: ss.Scene, seen: ss.Observation) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the numbers, by linear algebra."""
    posterior = LogPosterior(scene, seen)
    side = scene.values["a.morphology.image"].shape[0]
    transform = Straight((side, side))

    def drawn(numbers: Any) -> Any:
        return posterior.images(posterior.pack({"a.morphology.image": transform(numbers)}))["o"].ravel()

    size = side * side - 1
    base = np.asarray(drawn(jnp.zeros(size)), float)
    each = jax.jit(drawn)
    matrix = np.stack([np.asarray(each(unit), float) - base for unit in np.eye(size, dtype=np.float32)], axis=1)
    sigma = 1 / np.sqrt(np.asarray(seen.weights, float).ravel())
    matrix, rest = matrix / sigma[:, None], (np.asarray(seen.data, float).ravel() - base) / sigma
    covariance = np.linalg.inv(matrix.T @ matrix + np.eye(size))
    return covariance @ matrix.T @ rest, covariance


def ours(side: int, draws: int) -> dict[str, Any]:
    scene, seen = toy(side, 0)
    mean, covariance = known_posterior(scene, seen)
    deviation = np.sqrt(np.diag(covariance))
    begun = time.perf_counter()
    fitted = ss.fit(scene, seen, uncertainties=False, progress=False)
    result = ss.sample(fitted, warmup=500, draws=draws, progress=False)
    seconds = time.perf_counter() - begun
    images = result.draws["a.morphology.image"]
    numbers = np.asarray(Straight((side, side)).inv(jnp.asarray(images)), float).reshape(-1, side * side - 1)
    found = result.diagnosis
    assert found is not None
    return {
        "n": side * side,
        "mean over its deviation, off": float(np.sqrt(np.mean(((numbers.mean(axis=0) - mean) / deviation) ** 2))),
        "slope of means": float(np.sum(numbers.mean(axis=0) * mean) / np.sum(mean**2)),
        "deviation, ratio": float(np.mean(numbers.std(axis=0) / deviation)),
        "deviation, rms off": float(np.sqrt(np.mean((numbers.std(axis=0) / deviation - 1) ** 2))),
        "rhat": found.worst_rhat,
        "bulk": found.least_bulk,
        "divergences": found.divergences,
        "leapfrogs a draw": found.leapfrogs / int(np.prod(result.shape)),
        "seconds": seconds,
    }


@jax.custom_jvp
def silent(x: Any) -> Any:
    """scarlet2's construction: no level, only a score."""
    return jnp.zeros(())


@silent.defjvp
def _silent_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    return jnp.zeros(()), jnp.sum(-primals[0] * tangents[0])


def of_scores(n: int, draws: int, *, honest: bool) -> dict[str, Any]:
    """Numbers of prior N(0, 1) seen at 3 with noise 1, so that they are 1.5 with a deviation of 0.707."""

    def potential(x: Any) -> Any:
        prior = -0.5 * jnp.sum(x**2) if honest else silent(x)
        return 0.5 * jnp.sum((x - 3.0) ** 2) - prior

    sampler = MCMC(
        NUTS(potential_fn=potential),
        num_warmup=500,
        num_samples=draws,
        num_chains=4,
        chain_method="vectorized",
        progress_bar=False,
    )
    sampler.run(jax.random.key(0), init_params=jnp.full((4, n), 1.5), extra_fields=("diverging", "accept_prob"))
    found, extra = np.asarray(sampler.get_samples(), float), sampler.get_extra_fields()
    return {
        "n": n,
        "mean": float(found.mean()),
        "deviation": float(found.std(axis=0).mean()),
        "acceptance": float(np.mean(extra["accept_prob"])),
        "divergences": int(np.sum(extra["diverging"])),
    }


def main() -> int:
    """Measure and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    options = parser.parse_args()
    rows = [ours(side, options.draws) for side in SIDES]
    print(markdown(tuple(rows[0]), [[f"{v:.4g}" for v in row.values()] for row in rows]))
    beside = {
        name: [of_scores(n, options.draws, honest=honest) for n in (16, 256, 1024)]
        for name, honest in (("a density", True), ("a score and no density (scarlet2)", False))
    }
    for name, each in beside.items():
        print(f"\n{name}: truth 1.5, 0.7071")
        print(markdown(tuple(each[0]), [[f"{v:.4g}" for v in row.values()] for row in each]))
    text = json.dumps({"scenes": rows, "scores": beside, "load_1min": os.getloadavg()[0]}, indent=1)
    with atomic(RESULTS / "priors_toys.json") as path:
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
