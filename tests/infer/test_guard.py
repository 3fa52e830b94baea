"""What keeps free images of neighbours apart."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.sampling.target import maximum_at, target_at

BAND = ("hsc_g",)
SCALE = 0.1


def blob(side: int, x: float, y: float, width: float = 1.5) -> np.ndarray:
    across, up = (np.arange(side) - (side - 1) / 2 - at for at in (x, y))
    return np.exp(-0.5 * (across**2 + up[:, None] ** 2) / width**2) + 1e-4


def observed(data: np.ndarray | None = None, side: int = 40) -> ss.Observation:
    data = np.zeros((1, side, side)) if data is None else data
    return ss.Observation(data, BAND, ss.PSF.gaussian(fwhm=2.5), sigma=1.0, pixel_scale=SCALE, name="o")


def scene(places: list[float], sides: list[int], images: list[np.ndarray] | None = None, **options: float) -> ss.Scene:
    """Galaxies in a row, at these pixels east of the middle."""
    images = [blob(side, 0.0, 0.0) for side in sides] if images is None else images
    flux = ss.Parameter(np.array([300.0]), dist.HalfNormal(1000.0))
    sources = {
        f"s{i}": ss.Source(
            (SCALE * place, 0.0),
            ss.FreeSpectrum(flux, BAND) * ss.Pixels.from_image(image, SCALE, ss.SmoothImage(image.shape, 1.0)),
        )
        for i, (place, image) in enumerate(zip(places, images, strict=True))
    }
    return ss.Scene(sources, ss.Frame.covering(observed()), **options)


@pytest.mark.parametrize("sides", [[13, 13, 13], [13, 17, 13]], ids=["boxes of one size", "boxes of two sizes"])
def test_it_is_the_cosine_of_each_pair(sides: list[int]) -> None:
    places = [-4.0, 0.0, 5.0]
    guarded = LogPosterior(scene(places, sides, flux_guard=7.0), observed())
    plain = LogPosterior(scene(places, sides), observed())
    lost = float(guarded.log_prob(guarded.start)) - float(plain.log_prob(plain.start))
    # each galaxy on its own, on the canvas: the PSF is not part of it, so none is drawn here either
    cubes = []
    for group, drawn in zip(plain.program.groups, plain.program.stamps(plain.start), strict=True):
        for stamp, (row, column), valid in zip(drawn.stamps, group.offsets, group.valid, strict=True):
            canvas = np.zeros(scene(places, sides).frame.shape)
            canvas[row : row + stamp.shape[0], column : column + stamp.shape[1]] = stamp
            cubes += [canvas / np.linalg.norm(canvas)] if valid else []
    assert len(cubes) == 3
    cosines = [np.sum(cubes[i] * cubes[j]) for i in range(3) for j in range(i)]
    assert max(cosines) > 0.05
    assert lost == pytest.approx(-7.0 * sum(cosines), rel=1e-3)


def test_strangers_and_single_galaxies_lose_nothing() -> None:
    for places in ([-13.0, 13.0], [0.0]):
        posterior = LogPosterior(scene(places, [11] * len(places), flux_guard=1e3), observed())
        assert abs(float(posterior.program.log_guard(posterior.start))) < 2e-3
    parametric = ss.Scene(
        {
            "a": ss.Source(
                (0.0, 0.0), ss.FreeSpectrum(ss.Parameter(np.ones(1), dist.HalfNormal(10.0)), BAND) * ss.Gaussian(0.2)
            )
        },
        ss.Frame.covering(observed()),
        flux_guard=5.0,
    )
    assert LogPosterior(parametric, observed()).program.guard is None


def test_no_program_is_made_for_another_strength() -> None:
    step = jax.jit(lambda program, values: program.log_prior(values))
    for strength in (1.0, 2.0):
        posterior = LogPosterior(scene([-3.0, 3.0], [13, 13], flux_guard=strength), observed())
        step(posterior.program, posterior.start)
    assert step._cache_size() == 1


def test_walks_at_a_temperature_know_of_it() -> None:
    posterior = LogPosterior(scene([-3.0, 3.0], [13, 13], flux_guard=90.0), observed())
    coordinates = maximum_at(posterior, posterior.start, 0).coordinates
    target = target_at(posterior.program, coordinates)
    places = 0.3 * jax.random.normal(jax.random.key(0), (3, coordinates.size))
    away = [float(target.tempered(q, jnp.asarray(1.0)) - target.potential(q)) for q in places]
    guards = [float(posterior.program.log_guard(target.values(q))) for q in places]
    assert np.ptp(guards) > 0.3
    np.testing.assert_allclose(away, away[0], atol=0.05)


def test_numpyro_knows_of_it() -> None:
    seen = observed()
    guarded = scene([-3.0, 3.0], [13, 13], flux_guard=9.0)
    values = {path: jnp.asarray(leaf.value) for path, leaf in guarded.parameters.items()}
    levels = [
        numpyro.infer.util.log_density(ss.numpyro_model(each, seen), (), {}, values)[0]
        for each in (guarded, scene([-3.0, 3.0], [13, 13]))
    ]
    posterior = LogPosterior(guarded, seen)
    assert float(levels[0] - levels[1]) == pytest.approx(float(posterior.program.log_guard(posterior.start)), abs=1e-2)


def test_a_faint_neighbour_is_left_its_own_light() -> None:
    """One band: the data do not say whose light a pixel's is, and each image begins as both galaxies."""
    places = [-3.5, 3.5]
    truth = scene(places, [21, 21], [blob(21, 0.0, 0.0)] * 2)
    data = np.asarray(ss.render(truth, observed()))
    seen = observed(data + np.random.default_rng(0).normal(size=data.shape))
    both = [blob(21, 0.0, 0.0) + 0.7 * blob(21, side * 7.0, 0.0) for side in (1, -1)]
    errors = []
    for strength in (0.0, 300.0):
        begin = scene(places, [21, 21], both, flux_guard=strength)
        found = ss.fit(begin, seen, progress=False, uncertainties=False)
        images = [np.asarray(found.scene.values[f"s{i}.morphology.image"]) for i in range(2)]
        exact = blob(21, 0.0, 0.0) / blob(21, 0.0, 0.0).sum()
        errors.append([np.linalg.norm(image - exact) / np.linalg.norm(exact) for image in images])
    # 0.27 and 0.29 become 0.21 and 0.25
    assert np.all(np.array(errors[1]) < 0.9 * np.array(errors[0]))


def test_it_is_saved_with_the_scene_and_older_scenes_have_none(tmp_path) -> None:
    guarded = scene([-3.0, 3.0], [13, 13], flux_guard=9.0)
    assert ss.load_scene(ss.save_scene(guarded, tmp_path / "new")).flux_guard == 9.0
    assert guarded.with_sources(dict(guarded.sources)).flux_guard == 9.0
    path = ss.save_scene(guarded, tmp_path / "old") / "scene.json"
    text = path.read_text()
    older = text.replace('"flux_guard": 9.0', '"error_budget": 0.001')
    assert older != text
    path.write_text(older)
    assert ss.load_scene(path.parent).flux_guard == 0.0


@pytest.mark.parametrize("strength", [-1.0, np.nan, np.inf])
def test_a_strength_that_is_none_is_a_typed_error(strength: float) -> None:
    with pytest.raises(ParameterError, match="flux_guard"):
        scene([0.0], [11], flux_guard=strength)
