"""Priors on images learnt from what was seen through PSFs, with noise and neighbours: Monte Carlo EM.

Rounds of two steps (Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39, 1; Wei & Tanner 1990, J. Am. Stat. Assoc. 85,
699; with diffusion models as priors Rozet et al. 2024, arXiv:2405.13712): draw images of every galaxy from its
posterior with the present prior, then learn the next prior from the draws. Draws are as wide as what is not known, so
that the prior does not shrink to what the most likely images have in common. What the data say little of changes little
in a round: there the prior stays as wide as the first one was.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from scarlet_sed.errors import DataError, ParameterError
from scarlet_sed.infer.build import as_observations
from scarlet_sed.infer.optimize import fit
from scarlet_sed.infer.restored import draw_images
from scarlet_sed.infer.stamps import Stamps
from scarlet_sed.infer.status import FitStatus
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.parameters import as_float, resolve
from scarlet_sed.priors.base import MorphologyPrior
from scarlet_sed.priors.gaussian import GaussianImagePrior, GaussianImages, Moments, moments_of
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import Array, HostArray


class Drawn(NamedTuple):
    """Images of galaxies, drawn from their posteriors.

    Args:
        images: (draw, galaxy, side, side) of unit sum.
        unsettled: share of all draws whose search for a maximum did not end.
    """

    images: HostArray
    unsettled: float

    @property
    def by_galaxy(self) -> HostArray:
        """(galaxy draw, side, side), the draws of one galaxy behind each other."""
        return np.swapaxes(self.images, 0, 1).reshape(-1, *self.images.shape[2:])


Expect = Callable[[GaussianImages, int], Drawn]
"""Draws with a prior, from a seed."""
Blend = tuple[Scene, Any]
"""A scene that has a learnt prior on some images, and its observations."""


class Round(NamedTuple):
    """What one round found.

    Args:
        number: from one.
        prior: learnt from its draws.
        drawn: with the prior of the round before.
        change: mean of |ln ratio| of the deviations along the axes to those of the prior before.
    """

    number: int
    prior: GaussianImages
    drawn: Drawn
    change: float

    def __str__(self) -> str:
        return f"round {self.number}: deviations change by {self.change:.1%}, {self.drawn.unsettled:.1%} unsettled"


def relearn(
    first: GaussianImages,
    expect: Expect,
    *,
    rounds: int = 5,
    rank: int | None = None,
    worth: float = 20.0,
    seed: int = 0,
    after: tuple[int, GaussianImages] | None = None,
) -> Iterator[Round]:
    """Rounds of drawing and learning, each as it is done.

    Args:
        first: prior to begin with.
        expect: what draws images: see `draws_of_stamps` and `draws_of_blends`.
        rounds: the number of the last one.
        rank: how many axes; None for as many as the first prior has.
        worth: galaxies that the first prior counts for in each round, beside those that were seen: the maximum of a
            posterior whose conjugate prior it is (Gauvain & Lee 1994, IEEE Trans. Speech Audio Process. 2, 291).
        seed: of everything random.
        after: number and prior of a round to go on from.

    Raises:
        ParameterError: for numbers that make no sense.
        DataError: if there are fewer galaxies than a prior of that rank can be learnt from.
    """
    if rounds < 1 or not worth >= 0:
        raise ParameterError(
            f"rounds is {rounds} and worth {worth}", fix="give a round at least, and no negative worth"
        )
    done, prior = (0, first) if after is None else after
    axes = first.deviations.size if rank is None else rank
    for number in range(done + 1, rounds + 1):
        drawn = expect(prior, seed + number)
        found = learnt(drawn, first, axes, worth)
        yield Round(number, found, drawn, _change(prior, found))
        prior = found


def learnt(drawn: Drawn, first: GaussianImages, rank: int, worth: float) -> GaussianImages:
    """The prior of drawn images, in the coordinates of the first one.

    Args:
        drawn: at least an eighth as many galaxies as there are axes, for each is seen in eight orientations.
        first, rank, worth: see `relearn`.

    Raises:
        DataError: for fewer.
    """
    galaxies, side = drawn.images.shape[1:3]
    rank = min(rank, side * side - 1)
    if 8 * galaxies <= rank:
        raise DataError(f"{galaxies} galaxies know no {rank} axes", fix="give more of them, or ask for fewer axes")
    images = drawn.by_galaxy.astype(np.float64)
    own = moments_of(images / images.sum(axis=(1, 2), keepdims=True), first.coordinates)
    together = _together(own, first.moments, worth / (galaxies + worth)) if worth else own
    return GaussianImages.of_moments(together, first.coordinates, rank)


def draws_of_stamps(stamps: Stamps, draws: int = 2) -> Expect:
    """Draws of galaxies that were seen alone.

    Args:
        stamps: of as many pixels as the prior's images.
        draws: of each galaxy.
    """

    def expect(prior: GaussianImages, seed: int) -> Drawn:
        if prior.shape != stamps.shape:
            raise ParameterError(
                f"the prior's images have {prior.shape} pixels and the stamps {stamps.shape}",
                fix="begin with a prior of the stamps' size",
            )
        found = draw_images(prior, stamps, draws, jax.random.key(seed))
        return Drawn(found.images, found.unsettled)

    return expect


def draws_of_blends(blends: Sequence[Blend], draws: int = 2, **options: Any) -> Expect:
    """Draws of galaxies that were seen together, by fits of their scenes.

    Every image that has a learnt prior gets the present one. As in `restored`, a draw is a fit to data with some more
    noise and to priors whose middles are moved; priors of all other parameters stay where they are, which is right as
    long as the data say more of these. A blend whose fit is not finite is left out of the draw's round.

    Args:
        blends: scenes, each with its observations. Free parameters start at their present values.
        draws: of each galaxy, a fit of every blend each.
        **options: of `fit`.
    """

    def expect(prior: GaussianImages, seed: int) -> Drawn:
        found, statuses = [], []
        for number, (scene, observations) in enumerate(blends):
            own = [
                _drawn_blend(scene, as_observations(observations), prior, jax.random.key(seed), (number, draw), options)
                for draw in range(draws)
            ]
            statuses += [status for _, status in own]
            if all(status is not FitStatus.NOT_FINITE for _, status in own):
                found.append(np.stack([images for images, _ in own]))
        if not found:
            raise DataError("no blend could be fitted", fix="fit one by one, and look at `status`")
        settled = np.mean([status is FitStatus.CONVERGED for status in statuses])
        return Drawn(np.concatenate(found, axis=1), 1 - float(settled))

    return expect


def learnt_paths(scene: Scene, shape: tuple[int, int]) -> list[str]:
    """Paths of the images of that shape which have a learnt prior.

    Raises:
        ParameterError: if there are none.
    """
    paths = [
        path
        for path, leaf in scene.parameters.items()
        if isinstance(leaf.prior, MorphologyPrior) and leaf.prior.event_shape == shape
    ]
    if not paths:
        raise ParameterError(
            f"a scene has no free image of {shape} pixels with a learnt prior",
            fix="give its galaxies ss.Pixels(ss.Parameter(prior.mean, prior), pixel_scale)",
        )
    return paths


def _drawn_blend(
    scene: Scene,
    observations: Sequence[Observation],
    prior: GaussianImages,
    key: Array,
    place: tuple[int, int],
    options: dict[str, Any],
) -> tuple[HostArray, FitStatus]:
    """(galaxy, side, side) images, and how the fit ended."""
    for number in place:
        key = jax.random.fold_in(key, number)
    of_prior, of_noise = jax.random.split(key)
    paths = learnt_paths(scene, prior.shape)
    for path, own in zip(paths, jax.random.split(of_prior, len(paths)), strict=True):
        scene = scene.free(path, GaussianImagePrior(_moved(prior, own)))
    noisier = [
        _noisier(observation, own)
        for observation, own in zip(observations, jax.random.split(of_noise, len(observations)), strict=True)
    ]
    fitted = fit(scene, noisier, **{"progress": False, "uncertainties": False, **options})
    images = np.stack([np.asarray(fitted.scene.values[path], np.float64) for path in paths])
    return images, fitted.status


def _moved(prior: GaussianImages, key: Array) -> GaussianImages:
    """The same distribution around a draw from it."""
    middle = prior.numbers(jax.random.normal(key, prior.mean.shape, prior.mean.dtype))
    moved: GaussianImages = eqx.tree_at(lambda p: p.mean, prior, middle)
    return moved


def _noisier(observation: Observation, key: Array) -> Observation:
    """With its noise once more."""
    noise = resolve(observation.noise).sample(key, as_float(observation.weights))
    return observation.with_data(np.asarray(observation.data) + np.asarray(noise))


def _together(own: Moments, first: Moments, share: float) -> Moments:
    """Moments of a mixture, of which the second has a share."""
    away = own.mean - first.mean
    return Moments(
        (1 - share) * own.mean + share * first.mean,
        (1 - share) * own.covariance + share * first.covariance + share * (1 - share) * np.outer(away, away),
    )


def _change(before: GaussianImages, after: GaussianImages) -> float:
    shared = min(before.deviations.size, after.deviations.size)
    ratio = np.asarray(after.deviations[:shared], float) / np.asarray(before.deviations[:shared], float)
    return float(np.mean(np.abs(np.log(ratio))))
