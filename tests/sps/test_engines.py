"""Exact synthesis against sums written out, the basis against it, and what derived quantities mean."""

import json
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.dust.attenuation_curves import Calzetti
from scarlet_sed.dust.base import Attenuation
from scarlet_sed.errors import DomainError, FileFormatError, FilterError, ParameterError
from scarlet_sed.photometry.filters import Filter
from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.photometry.rebin import LIGHT_SPEED
from scarlet_sed.sps.basis import BasisSynthesis, relative_low_rank
from scarlet_sed.sps.grid import Grid, write_grid
from scarlet_sed.sps.nodes import node_weights
from scarlet_sed.sps.sources import read_dsps
from tests.sps import small_grid

BANDS = ("acs_wfc_f606w", "F115W", "F182M", "F444W")
LSUN = 3.828e33
MPC = 3.0856775814913673e24


def tilted(**changes: object) -> ss.StellarPopulation:
    arguments = {
        "log_mass": 9.5,
        "log_metallicity": np.log10(0.7),
        "log_ionization": -2.0,
        "history": ss.DelayedTau(0.8, 0.3),
        "attenuation": Attenuation(Calzetti(), 0.4, 1.7),
        "engine": small_grid.exact(),
    }
    return ss.StellarPopulation(**(arguments | changes))


def test_fluxes_against_a_sum_written_out() -> None:
    """Plain numpy in float64: dense steps of age, the filters' own points, lines as delta functions."""
    redshift = 1.4
    content = small_grid.content()
    wavelength = np.exp((small_grid.FIRST + np.arange(content["stars"].shape[-1])) * LOG_STEP)
    age = np.linspace(0.0, 0.8, 400_001)
    middle = 0.5 * (age[1:] + age[:-1])
    mass = (0.8 - middle) * np.exp(-(0.8 - middle) / 0.3)
    mass /= mass.sum()
    share = (0.7 - 0.4) / (1.0 - 0.4)
    stars = (1 - share) * content["stars"][1] + share * content["stars"][2]
    node = np.clip(np.searchsorted(content["age"], middle) - 1, 0, None)
    part = (middle - content["age"][node]) / (content["age"][node + 1] - content["age"][node])
    weights = {}
    for name, chosen in (("old", middle >= 0.01), ("young", middle < 0.01)):
        w = np.bincount(node[chosen], (mass * (1 - part))[chosen], minlength=age.size)
        w += np.bincount(node[chosen] + 1, (mass * part)[chosen], minlength=age.size)
        weights[name] = w[: content["age"].size]
    bins = np.histogram(middle, content["nebular/age_edges"], weights=mass)[0]
    at_u = (-2.0 + 2.5) / 1.5

    def nebular(name: str) -> np.ndarray:
        table = content[f"nebular/{name}"]
        table = (1 - share) * table[1] + share * table[2]
        return bins @ ((1 - at_u) * table[1] + at_u * table[2])

    def calzetti(angstrom: np.ndarray) -> np.ndarray:
        x = angstrom / 1e4
        blue = 2.659 * (-2.156 + 1.509 / x - 0.198 / x**2 + 0.011 / x**3) + 4.05
        return np.where(x < 0.63, blue, 2.659 * (-1.857 + 1.04 / x) + 4.05) / 4.05

    def dim(angstrom: np.ndarray, av: float) -> np.ndarray:
        return 10 ** (-0.4 * av * calzetti(angstrom))

    light = weights["old"] @ stars * dim(wavelength, 0.4)
    light += (weights["young"] @ stars + nebular("continuum")) * dim(wavelength, 0.68)
    lines_at = content["nebular/line_wavelength"]
    lines = nebular("lines") * dim(lines_at, 0.68)
    z = np.linspace(0.0, redshift, 20_001)
    distance = 299792.458 / 70 * (1 + redshift) * np.trapezoid(1 / np.sqrt(0.3 * (1 + z) ** 3 + 0.7), z) * MPC
    unit = 10**9.5 * LSUN / (4 * np.pi * distance**2) * 1e32
    found = np.asarray(tilted(intergalactic=False)(ss.Filters.load(BANDS), redshift))
    for name, value in zip(BANDS, found, strict=True):
        curve = Filter.load(name)
        measure = curve.measure
        rest = np.exp(measure.log_wavelength) / (1 + redshift)
        # cells are means: read them as steps
        cell = np.rint(np.log(rest) / LOG_STEP).astype(int) - small_grid.FIRST
        continuum = np.sum(measure.mass * light[cell])
        norm = np.trapezoid(curve.transmission / curve.wavelength, curve.wavelength)
        through = np.interp(lines_at * (1 + redshift), curve.wavelength, curve.transmission, left=0, right=0) / norm
        truth = unit * (1 + redshift) * (continuum + np.sum(lines * lines_at / LIGHT_SPEED * through))
        assert value == pytest.approx(truth, rel=4e-4), name


def test_derived_quantities_are_those_of_the_history_and_the_grid() -> None:
    pop = tilted()
    assert float(pop.sfr(timescale=0.1)) == pytest.approx(10**9.5 * float(pop.history.mean_sfr(0.1, jnp.zeros(()))))
    assert float(pop.surviving_mass()) < 9.5
    lines = pop.line_luminosities()
    ratio = float(lines["H 1 6562.80"] / lines["H 1 4861.32"])
    assert ratio == pytest.approx(2.9, rel=1e-4)
    dusty = pop.line_luminosities(attenuated=True)
    assert float(dusty["H 1 4861.32"]) < float(lines["H 1 4861.32"])
    widths = pop.equivalent_widths()
    assert all(float(width) > 0 for width in widths.values())
    with pytest.raises(ParameterError, match="redshift="):
        tilted(history=ss.DelayedTau(age_fraction=0.5, tau=1.0)).sfr()


def test_mass_and_distance_scale_the_fluxes() -> None:
    filters = ss.Filters.load(BANDS)
    low, high = tilted()(filters, 1.0), tilted(log_mass=10.5)(filters, 1.0)
    np.testing.assert_allclose(high / low, 10.0, rtol=1e-5)
    wavelength, flux = tilted().spectrum(1.0)
    assert wavelength.shape == flux.shape and np.all(np.asarray(flux) >= 0)


def test_the_basis_is_nearly_exact_and_linear() -> None:
    filters = ss.Filters.load(BANDS)
    for history in (ss.DelayedTau(3.0, 0.2), ss.Continuity(np.linspace(-1, 1, 5)), ss.Burst(0.3)):
        exact = tilted(history=history)(filters, 2.0)
        low_rank = tilted(history=history, engine=small_grid.basis())(filters, 2.0)
        np.testing.assert_allclose(low_rank, exact, rtol=2e-5)


def test_relative_low_rank_fits_faint_parts_as_well_as_bright_ones(rng: np.random.Generator) -> None:
    # bright where the first components shine, and six orders fainter where only the others do
    shapes = np.exp(rng.normal(size=(8, 60)) * 0.5) * np.where(np.arange(60) < 20, 1e-6, 1.0)
    truth = rng.uniform(0.1, 1.0, (40, 8)) @ shapes
    truth[:, :20] *= rng.uniform(0.1, 1.0, (40, 1))
    coefficients, basis, error = relative_low_rank(truth.astype(np.float32), 6)
    off = np.abs(coefficients.astype(float) @ basis / truth - 1)
    u, s, v = np.linalg.svd(truth, full_matrices=False)
    plain = np.abs((u[:, :6] * s[:6]) @ v[:6] / truth - 1)
    assert np.max(off[:, :20]) < 0.15 and error < 0.05
    assert np.max(plain[:, :20]) > 10 * np.max(off[:, :20])


def test_basis_is_kept_in_a_file_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "basis.npz"
    first = BasisSynthesis.open(path, small_grid.exact())
    again = BasisSynthesis.open(path, small_grid.exact())
    np.testing.assert_array_equal(first.old.basis, again.old.basis)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FileFormatError, match="basis"):
        BasisSynthesis.open(path, small_grid.exact())


def test_node_weights_are_linear_interpolation_and_never_negative() -> None:
    nodes = jnp.asarray([0.005, 0.02, 0.2, 0.4, 1.0, 2.5, 5.0])
    x = jnp.asarray(np.concatenate([np.linspace(0.0, 6.0, 4001), np.asarray(nodes)]), jnp.float32)
    found = np.asarray(jax.vmap(node_weights, (0, None))(x, nodes))
    plain = np.stack([np.interp(x, nodes, row) for row in np.eye(7)], axis=1)
    np.testing.assert_allclose(found, plain, atol=1e-6)
    assert np.all(found >= 0) and np.all(np.sum(found > 0, axis=1) <= 2)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)
    # a node stands for itself alone
    np.testing.assert_array_equal(found[-7:], np.eye(7, dtype=np.float32))


def test_grid_files_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "grid.h5"
    write_grid(path, small_grid.content(), small_grid.FIRST, {"name": "made up"})
    grid, made = Grid.open(path), small_grid.small_grid()
    np.testing.assert_allclose(grid.stars, made.stars, rtol=1e-6)
    assert grid.line_names == made.line_names and grid.log_start == made.log_start
    assert json.loads(grid.provenance)["name"] == "made up"
    with h5py.File(path) as file:
        assert file["stars"].attrs["unit"] == "Lsun/Hz per Msun formed"


@pytest.mark.parametrize("harm", ["truncated", "not a grid", "missing", "schema"])
def test_bad_grid_files_are_refused(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "grid.h5"
    if harm != "missing":
        write_grid(path, small_grid.content(), small_grid.FIRST, {})
    if harm == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if harm == "not a grid":
        path.write_text("hello")
    if harm == "schema":
        with h5py.File(path, "a") as file:
            file.attrs["schema"] = 99
    with pytest.raises(FileFormatError, match="grid"):
        Grid.open(path)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("stars", lambda a: a * np.nan, "not finite"),
        ("stars", lambda a: -a, "negative"),
        ("stars", lambda a: a[:, :-1], "other lengths"),
        ("age", lambda a: a[::-1], "rise from 0"),
        ("age", lambda a: a * 1.01, "no spectrum at"),
        ("nebular/lines", lambda a: a[..., :2], "lines of another shape"),
    ],
)
def test_numbers_that_make_no_grid_are_refused(name, change, says) -> None:
    content = small_grid.content()
    content[name] = change(content[name])
    with pytest.raises(FileFormatError, match=says):
        Grid.from_arrays(content, small_grid.FIRST, "{}")


def test_a_dsps_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ssp.h5"
    wavelength = np.geomspace(100.0, 2e5, 3000)
    log_age = np.linspace(-4.0, 1.2, 30)
    log_z = np.log10(0.019 * np.array([0.1, 1.0, 2.0]))
    flux = (
        1e-15 * (wavelength / 5500.0) * 10 ** (-0.7 * log_age)[None, :, None] * np.array([1.2, 1.0, 0.9])[:, None, None]
    )
    with h5py.File(path, "w") as file:
        file["ssp_lgmet"], file["ssp_lg_age_gyr"] = log_z, log_age
        file["ssp_wave"], file["ssp_flux"] = wavelength, flux
    content, first, provenance = read_dsps(path)
    grid = Grid.from_arrays(content, first, json.dumps(provenance))
    np.testing.assert_allclose(grid.log_metallicity, np.log10([0.1, 1.0, 2.0]), atol=1e-6)
    cell = int(np.argmin(np.abs(grid.wavelength - 5500.0)))
    np.testing.assert_allclose(grid.stars[1, 1, cell], 1e-15 * 10**2.8 * 1e15, rtol=1e-3)
    pop = tilted(engine=ss.ExactSynthesis(grid), log_metallicity=-0.2)
    assert np.all(np.asarray(pop(ss.Filters.load(BANDS), 1.0)) > 0)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"log_metallicity": 1.0}, DomainError, "log_metallicity"),
        ({"log_ionization": -5.0}, DomainError, "log_ionization"),
        ({"history": 3.0}, ParameterError, "history"),
        ({"attenuation": Calzetti()}, ParameterError, "Attenuation"),
        ({"engine": "neural"}, ParameterError, "engine"),
    ],
)
def test_bad_populations_are_refused(changes, error, says) -> None:
    with pytest.raises(error, match=says):
        tilted(**changes)


def test_filters_beyond_the_grid_and_redshifts_without_distance_are_refused() -> None:
    with pytest.raises(FilterError, match="jwst_f770w"):
        tilted()(ss.Filters.load(["jwst_f770w"]), 0.1)
    assert np.all(np.isfinite(tilted()(ss.Filters.load(["jwst_f770w"]), 1.0)))
    with pytest.raises(DomainError, match="distance"):
        tilted()(ss.Filters.load(BANDS), 0.0)
    with pytest.raises(ParameterError, match="no 'mass'"):
        tilted().replace(mass=3)
