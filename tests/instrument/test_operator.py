"""The operator from canvas to observed pixels: golden images, geometry, derivatives, compilation, cost, bad input."""

import time

import galsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from jax.test_util import check_grads
from scipy.special import erf

from scarlet_sed.errors import PSFError, ShapeError
from scarlet_sed.instrument.operator import build_operator, local_jacobian
from scarlet_sed.instrument.psf import PSF
from tests.instrument.operator_truth import NIRCAM, nircam_psf, pixel_map, point, psf_at

SIGMA = 0.8
"""The model PSF's dispersion in model pixels at which the golden lines hold (0.7 gives 2e-3 in F115W)."""

TIGHT = galsim.GSParams(folding_threshold=2e-3, maxk_threshold=1e-4, maximum_fft_size=16384)


def worst(operator, shape, truth, positions, sigma=SIGMA):
    """Largest error over positions, in parts of the largest truth."""
    errors, peak = [], 0.0
    for position in positions:
        image = np.asarray(operator(jnp.asarray(point(shape, position, sigma))[None]))[0]
        expected = truth(position)
        errors.append(np.max(np.abs(image - expected)))
        peak = max(peak, np.max(expected))
    return max(errors) / peak


def near(rng, centre, n=4):
    return np.asarray(centre) + rng.uniform(-1, 1, (n, 2))


@pytest.mark.parametrize("band", NIRCAM)
def test_golden_nircam_on_the_native_grid(shared, rng, x64, band):
    psf, shape = nircam_psf(shared, band), (130, 125)
    grid = pixel_map((65, 62), 2, (61.0, 64.0))
    operator = build_operator(shape, SIGMA, [psf], grid)
    assert operator.stride == (2, 2)
    truth = lambda position: psf_at(psf, grid - position, 2 * np.eye(2))  # noqa: E731
    assert worst(operator, shape, truth, near(rng, (62, 65))) < 1e-3


@pytest.mark.parametrize("band", ["F277W", "F444W"])
def test_golden_long_wave_bands_on_an_aligned_coarse_grid(shared, rng, x64, band):
    psf, shape = nircam_psf(shared, band, native=0.06), (128, 120)
    grid = pixel_map((32, 30), 4, (59.7, 63.25))
    operator = build_operator(shape, SIGMA, [psf], grid)
    assert operator.stride == (4, 4)
    truth = lambda position: psf_at(psf, grid - position, 4 * np.eye(2))  # noqa: E731
    assert worst(operator, shape, truth, near(rng, (60, 65))) < 1e-3


@pytest.mark.parametrize("frame", [(64, 64), (65, 65), (64, 71), (71, 50)])
@pytest.mark.parametrize("psf_shape", [(41, 41), (40, 40), (40, 45)])
@pytest.mark.parametrize("step", [1, 2])
def test_odd_even_and_oblong_frames_and_psfs(rng, x64, frame, psf_shape, step):
    width = 2.0 / step
    y, x = np.indices(psf_shape)
    middle = np.array(psf_shape) / 2 - 0.4
    psf = PSF(np.exp(-0.5 * ((x - middle[1]) ** 2 + (y - middle[0]) ** 2) / width**2 / 4), oversampling=2)
    shape = (frame[0] // step, frame[1] // step)
    grid = pixel_map(shape, step, (frame[1] / 2, frame[0] / 2 - 0.3))
    operator = build_operator(frame, SIGMA, [psf], grid)
    truth = lambda p: step**2 * point_at(grid, p, step * width)  # noqa: E731
    assert worst(operator, frame, truth, near(rng, (frame[1] / 3, frame[0] / 2), 2)) < 2e-4


def point_at(grid, position, sigma):
    r2 = np.sum((grid - position) ** 2, axis=-1)
    return np.exp(-0.5 * r2 / sigma**2) / (2 * np.pi * sigma**2)


@pytest.mark.parametrize(
    ("step", "angle", "parity"), [(2, 0.0, -1), (2, 0.4, 1), (2, 1.9, -1), (2, np.pi / 2, 1), (4, 0.4, -1)]
)
def test_golden_against_galsim_on_rotated_and_flipped_grids(x64, step, angle, parity):
    model_scale, shape, native = 0.015, (150, 144), (32, 35)
    wavelength = 1154.0 * step / 2
    optics = galsim.OpticalPSF(lam=wavelength, diam=6.5, obscuration=0.16, coma1=0.06, astig1=0.05, gsparams=TIGHT)
    grid = pixel_map(native, step, (71.3, 75.8), angle, parity)
    matrix = local_jacobian(grid)
    wcs = galsim.JacobianWCS(*(model_scale * matrix).ravel())
    seen = galsim.Convolve([optics, wcs.toWorld(galsim.Pixel(1.0))], gsparams=TIGHT)
    fine = galsim.JacobianWCS(*(model_scale * matrix / 2).ravel())
    samples = seen.drawImage(galsim.Image(161, 161, dtype=float), wcs=fine, method="no_pixel").array
    operator = build_operator(shape, SIGMA, [PSF(samples, 2, recenter=False)], grid)
    galaxy = galsim.Gaussian(sigma=0.02, gsparams=TIGHT).shear(g1=0.3, g2=-0.2)
    blur = galsim.Gaussian(sigma=SIGMA * model_scale, gsparams=TIGHT)
    position = np.array([70.37, 77.12])
    for source in (None, galaxy):
        profile = blur if source is None else galsim.Convolve([source, blur], gsparams=TIGHT)
        where = galsim.PositionD(*(position - (np.array(shape[::-1]) - 1) / 2))
        canvas = profile.drawImage(
            galsim.Image(shape[1], shape[0], dtype=float), scale=model_scale, offset=where, method="no_pixel"
        ).array
        profile = seen if source is None else galsim.Convolve([source, seen], gsparams=TIGHT)
        where = galsim.PositionD(*(np.linalg.inv(matrix) @ (position - grid.mean(axis=(0, 1)))))
        truth = profile.drawImage(
            galsim.Image(native[1], native[0], dtype=float), wcs=wcs, offset=where, method="no_pixel"
        ).array
        error = np.abs(np.asarray(operator(jnp.asarray(canvas)[None]))[0] - truth * samples_norm(samples))
        assert np.max(error) < 2e-3 * np.max(truth)


def samples_norm(samples):
    """The PSF class gives the array unit sum; GalSim's holds the wings' flux outside of it."""
    return 1 / samples.sum()


def test_golden_hst_and_hsc_together(shared, rng, x64):
    folder = shared / "data/hsc_hst"
    maps = []
    with fits.open(folder / "Cut_HST1.fits") as hst, fits.open(folder / "Cut_HSC1.fits") as hsc:
        wcs_hst, wcs_hsc = WCS(hst[0].header).celestial, WCS(hsc[0].header).celestial
        for wcs, shape in ((wcs_hst, (250, 250)), (wcs_hsc, (50, 50))):
            y, x = np.indices(shape)
            maps.append(np.stack(wcs_hst.world_to_pixel(wcs.pixel_to_world(x, y)), axis=-1))
    for grid, path, limit in ((maps[0], "PSF_HST.fits", 2e-3), (maps[1], "PSF_HSC.fits", 2e-3)):
        stack = np.atleast_3d(fits.getdata(folder / path).T).T
        psfs = [PSF(plane) for plane in stack]
        # 31.5 s / w for HST's 2.4 m at 0.8 micron and 0.03": the noise beyond its diffraction limit is not sky
        psfs = [psf.low_passed(31.5 * 2.4 / 6.5 * 0.03 / 0.8) if path == "PSF_HST.fits" else psf for psf in psfs]
        operator = build_operator((250, 250), SIGMA, psfs, grid)
        matrix = local_jacobian(grid)
        for position in near(rng, (125, 120), 2):
            canvas = jnp.asarray(point((250, 250), position, SIGMA))
            image = np.asarray(operator(jnp.stack([canvas] * len(psfs))))
            for band, psf in enumerate(psfs):
                truth = psf_at(psf, grid - position, matrix)
                assert np.max(np.abs(image[band] - truth)) < limit * np.max(truth)


@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_the_native_pixel_is_applied_once(x64, angle):
    sigma, grid = 1.0, pixel_map((40, 40), 2, (50.0, 50.0), angle)
    fwhm = sigma * np.sqrt(8 * np.log(2))
    bare = build_operator((101, 101), SIGMA, [PSF.gaussian(fwhm, includes_pixel=False)], grid)
    image = np.asarray(bare(jnp.asarray(point((101, 101), (50.3, 49.6), SIGMA))[None]))[0]
    native = (grid - np.array([50.3, 49.6])) @ np.linalg.inv(local_jacobian(grid)).T
    side = [
        0.5 * (erf((t + 0.5) / np.sqrt(2) / sigma) - erf((t - 0.5) / np.sqrt(2) / sigma))
        for t in (native[..., 0], native[..., 1])
    ]
    truth = side[0] * side[1]
    assert np.max(np.abs(image - truth)) < 1e-3 * np.max(truth)


@pytest.mark.parametrize(("step", "angle"), [(2, 0.0), (2, 0.3), (1, 0.0), (3.3, 0.1)])
def test_flux_is_conserved(x64, step, angle):
    n = int(110 / step)
    grid = pixel_map((n, n), step, (64.0, 64.0), angle)
    operator = build_operator((128, 128), SIGMA, [PSF.moffat(max(6.0 / step, 2.0), 4.0)], grid)
    image = operator(jnp.asarray(point((128, 128), (64.2, 63.7), SIGMA))[None])
    assert float(image.sum()) == pytest.approx(1.0, abs=1e-3)
    assert float(operator.lost_flux[0]) <= 1e-3


def test_wings_are_cut_no_more_than_asked(shared, x64):
    psf = nircam_psf(shared, "F115W")
    canvas = jnp.asarray(point((256, 256), (128.0, 128.0), SIGMA))[None]
    sums, widths = [], []
    for tolerance in (1e-3, 5e-3, 2e-2):
        operator = build_operator(
            (256, 256), SIGMA, [psf], pixel_map((128, 128), 2, (127.0, 127.0)), wing_tolerance=tolerance
        )
        sums.append(abs(float(operator(canvas).sum()) - 1))
        widths.append(operator.canvas_shape[0])
        assert sums[-1] < tolerance + 1e-3
        assert float(operator.lost_flux[0]) <= tolerance
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_an_observation_may_be_larger_than_the_frame(x64, angle):
    psf = PSF.gaussian(2.5)
    small, large = (40, 44), (160, 160)
    grid = pixel_map((50, 52), 2, (22.0, 20.0), angle)
    canvas = np.asarray(point(small, (6.0, 33.0), SIGMA))
    embedded = np.zeros(large)
    embedded[60:100, 58:102] = canvas
    one = build_operator(small, SIGMA, [psf], grid)(jnp.asarray(canvas)[None])
    two = build_operator(large, SIGMA, [psf], grid + np.array([58, 60]))(jnp.asarray(embedded)[None])
    np.testing.assert_allclose(one, two, atol=1e-4 * float(two.max()))


def test_an_observation_of_a_part_of_the_frame(x64):
    psf = PSF.gaussian(2.5)
    whole, part = pixel_map((60, 60), 2, (60.0, 60.0)), pixel_map((60, 60), 2, (60.0, 60.0))[20:35, 7:50]
    canvas = jnp.asarray(point((120, 120), (50.0, 58.0), SIGMA) + point((120, 120), (119.0, 0.0), SIGMA))[None]
    one = build_operator((120, 120), SIGMA, [psf], part)(canvas)
    two = build_operator((120, 120), SIGMA, [psf], whole)(canvas)[:, 20:35, 7:50]
    np.testing.assert_allclose(one, two, atol=1e-9)


OPERATORS = {
    "strided": lambda: build_operator(
        (24, 27), SIGMA, [PSF.gaussian(2.0), PSF.gaussian(2.5)], pixel_map((11, 12), 2, (13, 12))
    ),
    "flipped": lambda: build_operator(
        (24, 27), SIGMA, [PSF.gaussian(2.0), PSF.gaussian(2.5)], pixel_map((11, 12), 2, (13, 12), 0.0, -1)
    ),
    "gathered": lambda: build_operator(
        (24, 27), SIGMA, [PSF.gaussian(2.0), PSF.gaussian(2.5)], pixel_map((9, 10), 2, (13, 12), 0.3, -1)
    ),
}


@pytest.mark.parametrize("kind", OPERATORS)
def test_derivatives(rng, x64, kind):
    operator = OPERATORS[kind]()
    canvas = jnp.asarray(rng.normal(size=(2, 24, 27)))
    shift = jnp.asarray(rng.uniform(-1, 1, (2, 2)))
    wave = jax.jit(lambda c, s: jnp.sin(operator(c, s)))
    check_grads(wave, (canvas, shift), order=1, eps=1e-4, atol=1e-6, rtol=1e-6)
    check_grads(wave, (canvas, shift), order=2, modes=["rev"], eps=1e-4, atol=1e-6, rtol=1e-6)

    def loss(c):
        return 0.5 * jnp.sum(operator(c) ** 2)

    several = jnp.stack([canvas, 2 * canvas])
    np.testing.assert_allclose(jax.vmap(jax.grad(loss))(several)[1], 2 * jax.grad(loss)(canvas), atol=1e-10)
    small = canvas[:, :5, :5]
    jacobian = jax.jacfwd(operator)(small)
    np.testing.assert_allclose(jacobian, jax.jacrev(operator)(small), atol=1e-12)
    np.testing.assert_allclose(
        jax.hessian(loss)(small), np.tensordot(jacobian, jacobian, axes=((0, 1, 2), (0, 1, 2))), atol=1e-10
    )


@pytest.mark.parametrize("kind", OPERATORS)
def test_shift_moves_the_image(x64, kind):
    operator = OPERATORS[kind]()
    shift = np.array([[0.7, -0.4], [-1.3, 0.2]])
    canvas = jnp.asarray(point((24, 27), (13.2, 11.8), SIGMA))
    moved = jnp.stack([jnp.asarray(point((24, 27), np.array([13.2, 11.8]) + s, SIGMA)) for s in shift])
    image = operator(jnp.stack([canvas, canvas]), jnp.asarray(shift))
    np.testing.assert_allclose(image, operator(moved), atol=1e-3 * float(image.max()))
    still = operator(jnp.stack([canvas, canvas]), jnp.zeros((2, 2)))
    np.testing.assert_allclose(still, operator(jnp.stack([canvas, canvas])), atol=1e-14)


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_float32_is_enough(angle):
    canvas, grid = point((128, 128), (62.2, 65.4), SIGMA), pixel_map((50, 50), 2, (64, 63), angle)
    single = np.asarray(build_operator((128, 128), SIGMA, [PSF.gaussian(2.0)], grid)(jnp.asarray(canvas)[None]))
    assert single.dtype == np.float32
    with jax.enable_x64(True):
        double = np.asarray(build_operator((128, 128), SIGMA, [PSF.gaussian(2.0)], grid)(jnp.asarray(canvas)[None]))
    assert np.max(np.abs(single - double)) < 2e-6 * double.max()


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_another_field_of_equal_shapes_does_not_recompile(angle):
    traces = []

    @jax.jit
    def render(operator, canvas):
        traces.append(None)
        return operator(canvas)

    for fwhm, centre in ((2.0, (64, 63)), (2.1, (64.4, 63.2))):
        operator = build_operator((128, 128), SIGMA, [PSF.gaussian(fwhm)], pixel_map((50, 50), 2, centre, angle))
        render(operator, jnp.ones((1, *operator.canvas_shape)))
    assert len(traces) == 1


def test_a_wanted_canvas_gives_the_same_image(x64):
    grid, canvas = pixel_map((50, 50), 2, (64, 63)), jnp.asarray(point((128, 128), (62.2, 65.4), SIGMA))[None]
    one = build_operator((128, 128), SIGMA, [PSF.gaussian(2.0)], grid)
    two = build_operator((128, 128), SIGMA, [PSF.gaussian(2.0)], grid, canvas_shape=(200, 216))
    assert two.canvas_shape == (200, 216)
    np.testing.assert_allclose(one(canvas), two(canvas), atol=1e-12)
    with pytest.raises(ShapeError, match="canvas"):
        build_operator((128, 128), SIGMA, [PSF.gaussian(2.0)], grid, canvas_shape=(100, 200))


@pytest.mark.slow
@pytest.mark.parametrize("n", [64, 128, 256])
def test_resampling_costs_little_more_than_convolution(n):
    @jax.jit
    def step(operator, canvas):
        return jax.value_and_grad(lambda c: jnp.sum(operator(c) ** 2))(canvas)

    def cost(operator):
        canvas = jax.block_until_ready(jnp.ones((9, *operator.canvas_shape)))
        start = time.process_time()  # of this process: the machine may be busy
        for _ in range(20):  # milliseconds in all: one step is below what some kernels' clocks resolve
            jax.block_until_ready(step(operator, canvas))
        return time.process_time() - start

    middle = ((n - 1) / 2, (n - 1) / 2)
    same = build_operator((n, n), SIGMA, [PSF.gaussian(4.0)] * 9, pixel_map((n, n), 1, middle))
    rotated = build_operator((n, n), SIGMA, [PSF.gaussian(2.0)] * 9, pixel_map((n // 2, n // 2), 2, middle, 0.3, -1))
    for operator in (same, rotated):
        cost(operator)
    costs = np.array([(cost(rotated), cost(same)) for _ in range(9)])  # in turns: both meet the same load
    assert np.median(np.divide(*costs.T)) < 4


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (PSFError, r"PSF of f115w.*sharper.*oversampling", {"psfs": [PSF.gaussian(1.5)], "bands": ["f115w"]}),
        (PSFError, "no PSF", {"psfs": []}),
        (ShapeError, "pixel map", {"pixel_map": np.zeros((5, 5))}),
        (ShapeError, "pixel map", {"pixel_map": np.zeros((1, 5, 2))}),
        (ShapeError, "not finite", {"pixel_map": np.full((5, 5, 2), np.nan)}),
        (ShapeError, "no area", {"pixel_map": np.zeros((5, 5, 2))}),
        (ShapeError, "bands", {"bands": ["a", "b"]}),
        (ShapeError, "taps", {"taps": 5}),
        (ShapeError, "outside", {"pixel_map": pixel_map((9, 9), 1, (1000.0, 10.0))}),
    ],
)
def test_bad_input(error, match, arguments):
    good = {"psfs": [PSF.gaussian(3.0)], "pixel_map": pixel_map((9, 9), 1, (16, 16))}
    with pytest.raises(error, match=match):
        build_operator((32, 32), SIGMA, **(good | arguments))
