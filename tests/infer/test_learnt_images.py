"""Free images with a learnt prior: their leading numbers are correlated with all else, and their errors are right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.infer.covariance import LEADING, curvature_at
from scarlet_sed.infer.fisher import Direction, gauss_newton
from scarlet_sed.infer.posterior import LogPosterior


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
