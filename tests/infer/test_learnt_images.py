"""Free images with a learnt prior: their leading numbers are correlated with all else, and their errors are right."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.infer.covariance import LEADING, curvature_at
from scarlet_sed.infer.fisher import Direction, gauss_newton
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.sampling.target import Target, maximum_at, stretched, target_at


def test_leading_numbers_are_directions(two_images: ss.FitResult) -> None:
    posterior: LogPosterior = two_images.posterior
    curvature = curvature_at(posterior, posterior.unconstrain(two_images.values))
    paths = [direction.path for direction in curvature.directions]
    assert paths.count("a.morphology.image") == LEADING
    # two fluxes and two images
    assert len(paths) == 2 * LEADING + 2
    assert two_images.laplace is not None
    assert two_images.laplace.order == ["a.spectrum.flux", "b.spectrum.flux"]


def test_errors_are_those_of_all_numbers_together(two_images: ss.FitResult) -> None:
    posterior: LogPosterior = two_images.posterior
    at = posterior.unconstrain(two_images.values)
    every = [
        Direction(path, place.family, place.row, element)
        for path, place in posterior.places.items()
        for element in range(int(np.prod(at[place.family].shape[1:])))
    ]
    of_image = np.array([direction.path.endswith("image") for direction in every])
    matrix = gauss_newton(posterior, at, every) + np.diag(np.where(of_image, 1.0, 0.0))
    covariance = np.linalg.inv(matrix)
    assert two_images.uncertainties is not None
    for name in "ab":
        (flux,) = [i for i, direction in enumerate(every) if direction.path == f"{name}.spectrum.flux"]
        place = posterior.places[f"{name}.spectrum.flux"]
        family = posterior.program.families[place.family]
        slope = jax.jacfwd(family.constrain)(at[place.family])[place.row, 0, place.row, 0]
        whole = float(slope) * np.sqrt(covariance[flux, flux])
        assert float(two_images.uncertainties[f"{name}.spectrum.flux"][0]) == pytest.approx(whole, rel=0.05)

        own = [i for i, direction in enumerate(every) if direction.path == f"{name}.morphology.image"]
        place = posterior.places[f"{name}.morphology.image"]
        family = posterior.program.families[place.family]
        jacobian = np.asarray(jax.jacfwd(lambda u, f=family: f.constrain(u))(at[place.family]), float)
        jacobian = jacobian[place.row, :, :, place.row].reshape(144, -1)
        exact = np.sqrt(np.diag(jacobian @ covariance[np.ix_(own, own)] @ jacobian.T)).reshape(12, 12)
        told = np.asarray(two_images.uncertainties[f"{name}.morphology.image"], float)
        bright = np.asarray(two_images.scene.values[f"{name}.morphology.image"]) > 1 / 144
        assert np.median(told[bright] / exact[bright]) == pytest.approx(1, abs=0.1)
        assert np.all(np.abs(np.log(told[bright] / exact[bright])) < np.log(1.6))


def test_it_is_sampled(two_images: ss.FitResult) -> None:
    found = ss.sample(two_images, warmup=100, draws=150, progress=False)
    assert found.diagnosis is not None
    assert found.diagnosis.worst_rhat < 1.05
    assert found.diagnosis.divergences == 0
    for name in "ab":
        drawn = found.draws[f"{name}.morphology.image"]
        np.testing.assert_allclose(drawn.sum(axis=(-2, -1)), 1, atol=1e-4)
        told = np.asarray(two_images.uncertainties[f"{name}.morphology.image"], float)
        bright = drawn.mean(axis=(0, 1)) > 1 / 144
        assert np.median(drawn.std(axis=(0, 1))[bright] / told[bright]) == pytest.approx(1, abs=0.2)
    # a tree of two images of 12 x 12 pixels and two fluxes
    assert jnp.isfinite(found.diagnosis.least_bulk)
    walked = ss.annealed_langevin(two_images, step=1.0, progress=False)
    assert walked.status is ss.SampleStatus.UNADJUSTED
    for name in "ab":
        known, drawn = (each.draws[f"{name}.morphology.image"].astype(float) for each in (found, walked))
        mean, spread = known.mean(axis=(0, 1)), known.std(axis=(0, 1))
        bright = mean > 1 / 144
        # neighbouring pixels go together: some 500 draws know their deviations to 0.03, on both sides
        assert np.median((drawn.std(axis=(0, 1)) / spread)[bright]) == pytest.approx(1, abs=0.1)
        assert np.sqrt(np.mean((((drawn.mean(axis=(0, 1)) - mean) / spread)[bright]) ** 2)) < 0.15


def test_images_are_stretched_round(two_images: ss.FitResult) -> None:
    posterior: LogPosterior = two_images.posterior
    coordinates = maximum_at(posterior, two_images.values, 2).coordinates
    target = target_at(posterior.program, coordinates)
    stretch = stretched(target)
    whitened = jax.random.normal(jax.random.key(0), (coordinates.size,))
    np.testing.assert_allclose(stretch.stretch.undone(stretch.stretch(whitened)), whitened, atol=1e-5)
    again = stretch.whitened(posterior.program, stretch.values(posterior.program, whitened)[0])
    # dark pixels of an image in 32 bits know their numbers to a few hundredths
    np.testing.assert_allclose(again, whitened, atol=0.1)

    def curvatures(target: Target) -> np.ndarray:
        hessian = jax.hessian(target.potential)(jnp.zeros(coordinates.size))
        return np.linalg.eigvalsh(np.asarray(hessian, float))

    before, after = (curvatures(target_at(posterior.program, each)) for each in (coordinates, stretch))
    # every direction is among those that are looked for; curvatures in 32 bits know two digits
    assert np.abs(before - 1).max() > 0.1
    assert np.abs(after - 1).max() < 0.25 * np.abs(before - 1).max()


def test_images_go_on_from_a_checkpoint(two_images: ss.FitResult, tmp_path: Path) -> None:
    settings = {"chains": 2, "warmup": 25, "progress": False, "checkpoint": tmp_path}
    first = ss.sample(two_images, draws=25, **settings)
    longer = ss.sample(two_images, draws=50, **settings)
    np.testing.assert_array_equal(longer.whitened[:, :25], first.whitened)
