"""Every spectrum of the registry obeys every law."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_sed.parameters import current_values, resolve, set_values
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.base import Spectrum
from tests import laws
from tests.registry import SPECTRA, Case, evaluate, filters

every_spectrum = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in SPECTRA.items()])


def of_values(spectrum: Spectrum, bands: Filters) -> laws.Function:
    """The band fluxes as a function of all values and of the redshift."""

    def fluxes(values: dict[str, jax.Array]) -> jax.Array:
        own = {path: value for path, value in values.items() if path != "redshift"}
        return resolve(set_values(spectrum, own)).fluxes(bands, values["redshift"])

    return fluxes


def all_values(spectrum: Spectrum, redshift: float = 1.3) -> dict[str, jax.Array]:
    return {**current_values(spectrum), "redshift": jnp.asarray(redshift, dtype=jnp.result_type(float))}


@every_spectrum
@pytest.mark.parametrize("which", [0, 1, 2])
def test_gradient_matches_finite_differences(case: Case, which: int, x64: None, rng: np.random.Generator) -> None:
    spectrum = case.make()
    values = all_values(spectrum, case.redshifts[which])
    laws.check_gradient(of_values(spectrum, filters()), values, rng, case.step)


@every_spectrum
def test_finite_at_edges(case: Case) -> None:
    spectrum = case.make()
    edges = ({}, *case.edges, *laws.support_extremes(spectrum))
    for redshift in (case.redshifts[0], 12.0):
        at_redshift = [{**edge, "redshift": redshift} for edge in edges]
        laws.check_finite(of_values(spectrum, filters()), all_values(spectrum), at_redshift)


@every_spectrum
def test_jit_equals_eager_and_vmap_equals_loop(case: Case) -> None:
    spectrum = case.make()
    laws.check_jit_and_vmap(of_values(spectrum, filters()), all_values(spectrum))


@every_spectrum
def test_pieces_of_light_sum_to_the_fluxes(case: Case) -> None:
    spectrum = resolve(case.make())
    light = spectrum.light(filters(), jnp.asarray(1.3))
    assert light.flux.ndim == light.wavelength.ndim == 3 and light.flux.shape == light.wavelength.shape
    np.testing.assert_allclose(jnp.sum(light.flux, axis=(0, 2)), evaluate(spectrum), rtol=1e-5)


@every_spectrum
def test_bands_keep_their_fluxes_in_another_order(case: Case) -> None:
    spectrum = case.make()
    chosen = ["jwst_f444w", "F115W"]
    expected = evaluate(spectrum)[np.array([filters().index(name) for name in chosen])]
    np.testing.assert_allclose(spectrum(filters().select(chosen), 1.3), expected, rtol=1e-5)


@every_spectrum
def test_floating_type_is_the_callers(case: Case) -> None:
    assert evaluate(case.make()).dtype == jnp.float32
    with jax.enable_x64(True):
        assert evaluate(case.make()).dtype == jnp.float64


@every_spectrum
def test_tree_operations(case: Case) -> None:
    laws.check_tree_operations(case.make(), evaluate)


@every_spectrum
def test_save_and_load(case: Case, tmp_path: Path) -> None:
    laws.check_saved(case.make(), evaluate, tmp_path / "spectrum.zip")


def test_pickling_to_a_fresh_process(tmp_path: Path) -> None:
    laws.check_pickled({name: case.make() for name, case in SPECTRA.items()}, evaluate, tmp_path / "spectra")
