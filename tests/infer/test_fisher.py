"""The Gauss-Newton matrix from images that sources share, against the whole Jacobian."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.infer import fisher
from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.curvature import whitened
from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.fisher import gauss_newton
from scarlet_sed.infer.windows import colours, common, overlap, within
from tests.infer.scenes import BANDS, every_direction, galaxy, mock, scene

POSITIONS = {"a": (-2.4, 0.1), "b": (-1.9, 0.0), "c": (0.0, -0.1), "d": (2.4, 0.0)}  # a and b are blended


def dense_gauss_newton(posterior: ss.LogPosterior, unconstrained: FamilyValues) -> np.ndarray:
    """J^T J from the whole Jacobian, rows in the order of `every_direction`."""
    jacobian = Compiled(lambda program, u: jax.jacfwd(lambda v: whitened(program, v))(u), level=0)
    by_observation = jacobian(posterior.program, unconstrained)
    columns = []
    for d in every_direction(posterior, unconstrained):
        rows = [np.asarray(families[d.family]) for families in by_observation]
        columns.append(np.concatenate([r.reshape(*r.shape[:4], -1)[..., d.row, d.element].ravel() for r in rows]))
    return np.stack(columns) @ np.stack(columns).T


def long_field(*, correlated: bool) -> ss.LogPosterior:
    """Four galaxies along a strip, two of them blended; sky and one shared radius are free."""
    psfs = [ss.PSF.gaussian(0.08, pixel_scale=0.05)] * 3
    observation = ss.Observation(
        np.zeros((3, 30, 130)), BANDS, psfs, sigma=np.full((3, 30, 130), 0.1), pixel_scale=0.05, name="strip"
    ).free("sky", dist.Normal(0, 1))
    if correlated:
        lag = np.exp(-0.5 * np.hypot(*np.mgrid[-3:4, -3:4]) ** 2)
        observation = observation.with_noise(ss.CorrelatedNoise(np.stack([lag] * 3), (30, 130)))
    sources = {name: galaxy(p, (5.0, 8.0, 9.0), 0.1, free=True) for name, p in POSITIONS.items()}
    frame = ss.Frame.covering(observation)
    model = ss.Scene({name: ss.Source(s.position, s.light, box=0.9) for name, s in sources.items()}, frame)
    return ss.LogPosterior(model.tie("d.morphology.radius", to="a.morphology.radius"), observation)


@pytest.mark.parametrize("correlated", [False, True])
def test_gauss_newton_by_windows_is_the_dense_one(correlated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = long_field(correlated=correlated)
    unconstrained = posterior.unconstrain(posterior.start)
    directions = every_direction(posterior, unconstrained)
    drawn: list[int] = []

    def counted(program, u, basis):
        drawn.append(int(sum(np.any(np.asarray(b), axis=tuple(range(1, b.ndim))) for b in basis).astype(bool).sum()))
        return derivatives(program, u, basis)

    derivatives = fisher.derivatives
    monkeypatch.setattr(fisher, "derivatives", counted)
    found = gauss_newton(posterior, unconstrained, directions)
    exact = dense_gauss_newton(posterior, unconstrained)
    scale = np.sqrt(np.diag(exact))
    assert np.max(np.abs(found - exact) / np.outer(scale, scale)) < 2e-3
    assert sum(drawn) < 0.7 * len(directions)  # c and d are drawn with a


def test_gauss_newton_is_the_hessian_of_a_linear_model() -> None:
    obs, frame = mock()
    posterior = ss.LogPosterior(scene(frame, free=False).free("*.flux", dist.Normal(0, 100)), obs)
    unconstrained = posterior.unconstrain(posterior.start)
    found = gauss_newton(posterior, unconstrained, every_direction(posterior, unconstrained))
    curvature = Compiled(lambda program, u: jax.hessian(lambda v: program.log_likelihood((v,)))(u), level=0)
    hessian = -curvature(posterior.program, unconstrained[0])
    size = unconstrained[0].size
    np.testing.assert_allclose(found, hessian.reshape(size, size)[: len(found), : len(found)], rtol=1e-3, atol=1e-3)


def test_windows() -> None:
    first, second, third = ((slice(0, 5), slice(0, 9)), (slice(3, 8), slice(8, 12)), (slice(5, 9), slice(0, 4)))
    assert overlap(first, second) and not overlap(first, third) and not overlap(second, third)
    assert common(first, second) == (slice(3, 5), slice(8, 9))
    assert within(common(first, second), second) == (slice(0, 2), slice(0, 1))
    assert colours([[first], [second], [third]]) == [0, 1, 0]
