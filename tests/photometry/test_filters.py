"""Filters: names, curves, and averages against dense integration."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_sed.errors import FilterError
from scarlet_sed.photometry.filters import Filter, Filters, available_filters, canonical_name
from scarlet_sed.photometry.quadrature import gauss_nodes

SECOND_RADIATION = 1.438776877e8
NAMES = ("F115W", "jwst_f150w2", "jwst_f444w", "acs_f606w", "acs_f850lp", "hsc_g", "wfc3_f160w", "jwst_f2550w")


def planck(wavelength: np.ndarray, temperature: float) -> np.ndarray:
    x = SECOND_RADIATION / (wavelength * temperature)
    return -3 * np.log(wavelength) - x - np.log(-np.expm1(-x))


SMOOTH = {
    **{f"{t:g} K": lambda w, t=t: planck(w, t) for t in (1e3, 3e3, 1e4, 1e6)},
    **{f"slope {b}": lambda w, b=b: (b + 2) * np.log(w) for b in (-6, -2, 0, 3)},
}


def dense_average(curve: Filter, log_spectrum: object, reference: float) -> float:
    wavelength = np.linspace(curve.wavelength[0], curve.wavelength[-1], 100001)
    weight = np.interp(wavelength, curve.wavelength, curve.transmission) / wavelength
    f_nu = np.exp(log_spectrum(wavelength) - reference)
    return float(np.trapezoid(f_nu * weight, wavelength) / np.trapezoid(weight, wavelength))


@pytest.mark.parametrize("name", NAMES)
def test_nodes_reproduce_dense_integration(name: str) -> None:
    curve = Filter.load(name)
    wavelength, weight = gauss_nodes(curve.measure, 12)
    assert np.all(weight > 0) and np.all(np.diff(wavelength) > 0)
    assert curve.wavelength[0] < wavelength[0] and wavelength[-1] < curve.wavelength[-1]
    for label, log_spectrum in SMOOTH.items():
        reference = float(np.max(log_spectrum(curve.wavelength)))
        truth = dense_average(curve, log_spectrum, reference)
        few = np.sum(weight * np.exp(log_spectrum(wavelength) - reference))
        assert abs(few / truth - 1) < 4e-6, label


def test_pivots_agree_with_sedpy() -> None:
    from sedpy.observate import Filter as SedpyFilter

    for name in ("jwst_f115w", "jwst_f444w", "acs_wfc_f606w", "hsc_z"):
        assert Filter.load(name).pivot == pytest.approx(SedpyFilter(name).wave_pivot, rel=1e-6)


def test_flat_spectrum_keeps_its_level() -> None:
    bands = Filters.load(NAMES)
    np.testing.assert_allclose(jnp.sum(bands.weight, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(jnp.sum(bands.fine_weight, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(bands.pivot, [Filter.load(name).pivot for name in NAMES], rtol=1e-6)


def test_every_shipped_filter_loads() -> None:
    names = available_filters()
    assert len(names) > 250
    for name in names[::9]:
        assert Filter.load(name).pivot > 0


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("F115W", "jwst_f115w"),
        ("jwst_f115w", "jwst_f115w"),
        ("NIRCam F277W", "jwst_f277w"),
        ("JWST/NIRCam.F200W", "jwst_f200w"),
        ("niriss_f200w", "jwst_niriss_f200w"),
        ("acs_f606w", "acs_wfc_f606w"),
        ("HST/ACS_WFC.F814W", "acs_wfc_f814w"),
        ("wfc3_f160w", "wfc3_ir_f160w"),
        ("HSC-g", "hsc_g"),
        ("my band", "my band"),
        ("F606W", "F606W"),
    ],
)
def test_names(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Filters.load(["F116W"]), "jwst_f115w"),
        (lambda: Filters.load(["F606W"]), "acs_wfc_f606w"),
        (lambda: Filters.load([]), "at least one"),
        (lambda: Filters.load(["F115W", "jwst_f115w"]), "twice"),
        (lambda: Filters.generic([""]), "name"),
        (lambda: Filters.generic(["g", "g"]), "twice"),
        (lambda: Filters.generic(["g", "r"], [4800.0]), "pivot"),
        (lambda: Filters.generic(["g"]).require_curves("A BlackBody"), "FreeSpectrum"),
        (lambda: Filters.load(["F115W"]).index("F444W"), "F115W"),
        (lambda: Filter.from_file("nowhere.txt"), "does not exist"),
        (lambda: Filter("flat", np.array([2.0, 1.0]), np.ones(2)), "increasing"),
        (lambda: Filter("dark", np.array([1.0, 2.0]), np.zeros(2)), "zero everywhere"),
        (lambda: Filter("negative", np.array([1.0, 2.0]), np.array([1.0, -1.0])), "negative"),
        (lambda: Filter("nan", np.array([1.0, 2.0]), np.array([1.0, np.nan])), "finite"),
        (lambda: Filter("shapes", np.array([1.0, 2.0]), np.ones(3)), "shapes"),
    ],
)
def test_bad_filters(make: object, says: str) -> None:
    with pytest.raises(FilterError, match="Fix: ") as caught:
        make()
    assert says in str(caught.value)


def test_curve_from_file(tmp_path: Path) -> None:
    path = tmp_path / "box.txt"
    path.write_text("# Angstrom transmission\n5000 0\n5001 1\n6000 1\n6001 0\n")
    box = Filter.from_file(path)
    assert box.name == "box" and box.pivot == pytest.approx(np.sqrt(5500.5e3 / np.log(6000.5 / 5000.5)), rel=1e-4)
    assert Filters.load([box, "F115W"]).names == ("box", "F115W")
    (tmp_path / "broken.txt").write_text("a b\nc d\n")
    with pytest.raises(FilterError, match="cannot read"):
        Filter.from_file(tmp_path / "broken.txt")


def test_sets_are_pytrees_and_select() -> None:
    bands = Filters.load(["F115W", "F444W", "acs_f606w"])
    assert len(bands) == 3 and bands.index("jwst_f444w") == 1 and Filters.load(bands) is bands
    chosen = bands.select(["F606W"]) if "F606W" in bands.names else bands.select(["acs_wfc_f606w", "F115W"])
    np.testing.assert_array_equal(chosen.pivot, bands.pivot[jnp.array([2, 0])])
    assert jax.jit(lambda b: b.pivot)(bands).shape == (3,)
    generic = Filters.generic(["g", "r"], [4800.0, 6200.0])
    assert not generic.curves and generic.pivot.tolist() == [4800.0, 6200.0]


def test_joined_sets_keep_bands_once_and_their_weights() -> None:
    first, second = Filters.load(["F115W", "F444W"]), Filters.load(["acs_wfc_f606w", "jwst_f115w", "F200W"])
    both = Filters.joined([first, second])
    assert both.names == ("F115W", "F444W", "acs_wfc_f606w", "F200W")
    alone = Filters.load(both.names)
    np.testing.assert_allclose(both.pivot, alone.pivot, rtol=1e-6)
    np.testing.assert_allclose(both.limits, alone.limits, rtol=2e-3)
    assert int(both.fine_start) == int(alone.fine_start)
    np.testing.assert_allclose(both.fine_weight, alone.fine_weight, atol=1e-9)
    with pytest.raises(FilterError, match="curves"):
        Filters.joined([first, Filters.generic(["x"])])


def test_the_same_filter_is_found_under_another_name():
    own = Filters.load(["F115W", "jwst_f200w", "acs_f606w", "wfc3_ir_f160w"])
    other = Filters.load(["acs_wfc_f606w", "f115w", "f150w", "f200w", "f210m"])
    assert own.places_in(other) == (1, 3, 0, -1)
    assert own.places_in(own) == (0, 1, 2, 3)
    assert Filters.generic(["F115W"]).places_in(own) == (-1,)
