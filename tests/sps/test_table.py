"""Training on a table of spectra: as good as on the grid that made it, in its units, and nothing malformed gets in."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy import constants
from astropy import units as u

from scarlet_sed import cli
from scarlet_sed.errors import DataError, FileFormatError, ScarletSEDError
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.photometry.rebin import LIGHT_SPEED
from scarlet_sed.sps.emulator.neural import NeuralEmulator
from scarlet_sed.sps.emulator.weights import read_header
from scarlet_sed.sps.engine import NJY_HZ_PER_SUN, Dimming, Population
from scarlet_sed.sps.histories.base import YOUNG
from scarlet_sed.sps.histories.constant import Constant
from scarlet_sed.sps.histories.delayed_tau import DelayedTau
from scarlet_sed.sps.training.draws import AGE
from scarlet_sed.sps.training.emulator import train_emulator
from scarlet_sed.sps.training.source import FAINT_LINE, PARTS
from scarlet_sed.sps.training.table import SpectraTable
from scarlet_sed.sps.training.table_write import Spectra, random_parameters, write_table
from scarlet_sed.sps.training.targets import Exact
from tests.sps import small_grid

METALS = (-1.30103, 0.39794)
LINES = np.array(list(small_grid.LINES.values()))


def synthesised(part: str, parameters: dict[str, np.ndarray]) -> Spectra:
    """Exact synthesis of the small grid as another code would give it: per Angstrom and mass formed in the part."""
    engine = small_grid.exact()
    exact = Exact(engine)
    none = Dimming(jnp.zeros(engine.cells), jnp.zeros(engine.cells), jnp.zeros(len(engine.line_names)))

    def lines(kind: jax.Array, first: jax.Array, second: jax.Array, z: jax.Array, gas: jax.Array) -> jax.Array:
        def of(history: DelayedTau | Constant) -> jax.Array:
            share = history.fraction_younger(YOUNG, jnp.zeros_like(z))
            return engine.light(Population(history, z, gas, jnp.zeros_like(z)), none).lines / share

        return jnp.where(kind == 0, of(DelayedTau(first, second)), of(Constant(first, second)))

    rows = len(parameters["first"])
    names = ("kind", "first", "second", "log_metallicity", "log_ionization")
    columns = [as_float(parameters.get(name, np.zeros(rows))) for name in names]
    directions = as_float(np.zeros((rows, 4)))
    made = jax.jit(jax.vmap(lambda k, d, *n: exact.row(part, k, d, *n)))(columns[0], directions, *columns[1:])
    assert np.all(made.weight == 1)
    flux = np.exp(np.asarray(made.light, np.float64)) / NJY_HZ_PER_SUN * LIGHT_SPEED
    own = {**parameters, "flux": flux / engine.wavelength[: exact.cells] ** 2, "living": np.asarray(made.living)}
    if part == "young":
        per_hertz = np.asarray(jax.jit(jax.vmap(lines))(*columns), np.float64) / NJY_HZ_PER_SUN
        own["lines"] = per_hertz * LIGHT_SPEED / LINES
    return Spectra(**own)


def small_table(path: Path, rows: int) -> Path:
    exact = Exact(small_grid.exact())
    parts = {
        part: synthesised(part, random_parameters(part, rows, 5, log_metallicity=METALS))
        for part in ("delayed", "constant", "young")
    }
    ages = np.concatenate([exact.features.young_ages, exact.features.old_ages[1:]])
    write_table(
        path,
        wavelength=small_grid.exact().wavelength[: exact.cells],
        lines=small_grid.LINES,
        metallicity=np.asarray(exact.features.metallicity),
        log_ionization=np.asarray(exact.features.log_ionization),
        age=ages,
        provenance={"name": "made up"},
        **parts,
    )
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("table")


@pytest.fixture(scope="module")
def table(folder: Path) -> Path:
    return small_table(folder / "table.h5", 800)


@pytest.fixture(scope="module")
def good(folder: Path) -> Path:
    """A table just large enough, to be harmed."""
    return small_table(folder / "good.h5", 100)


def test_training_on_a_table_is_as_good_as_on_its_grid(table: Path, folder: Path) -> None:
    """In rows that neither has seen, at the median and in the tail; the grid's networks learn slopes too."""
    settings: dict[str, Any] = {"rows": 800, "steps": 400, "hidden": (32, 32)}
    exact = Exact(small_grid.exact())
    levels = []
    for name, source in (("grid", exact), ("table", SpectraTable.open(table))):
        made = train_emulator(source, folder / "training", folder / f"{name}.npz", **settings)
        assert made is not None
        levels.append([level for part in PARTS[:-1] for level in error_levels(made, exact, part)])
    # a grid's lines are a table; those of a table of spectra a network
    assert error_levels(made, exact, "lines")[0] < 100
    assert np.all(np.array(levels[0]) < 700)
    assert np.all(np.array(levels[1]) < 1.5 * np.array(levels[0])), levels
    header = read_header(folder / "table.npz")
    assert header["training"]["table"]["name"] == "made up" and len(header["training"]["table"]["sha256"]) == 64
    assert all(part["recipe"]["slope"] == 0 for part in header["training"]["parts"].values())
    assert "slope %" not in header["training"]["parts"]["young"]["record"][-1]
    np.testing.assert_allclose(header["domain"]["log_metallicity"], METALS, atol=1e-6)
    assert tuple(header["domain"]["age"]) == AGE


def error_levels(emulator: NeuralEmulator, exact: Exact, part: str) -> list[float]:
    """50 and 90 % of the rms error of a fresh row in mmag."""
    rows = next(exact.chunks(part, np.random.default_rng(77), 500))
    if part == "lines":
        off = np.log(jax.vmap(emulator.lines.fluxes)(rows.features)) - rows.light
    else:
        first = emulator.log_start - exact.log_start
        log_flux, _ = getattr(emulator, part).log_flux(rows.features)
        off = log_flux - rows.light[:, first : first + emulator.cells]
    return [float(p) for p in np.percentile(1086 * np.sqrt(np.mean(np.square(off), axis=1)), (50, 90))]


@pytest.mark.parametrize("part", PARTS)
def test_rows_are_those_of_the_grid(good: Path, part: str) -> None:
    """Features to rounding; light and living mass to single precision, but for the cells at breaks and ends."""
    source, exact = SpectraTable.open(good), Exact(small_grid.exact())
    (rows,) = source.chunks(part, np.random.default_rng(2), 60)
    assert len(rows.living) == 60 and not np.any(rows.feature_slope) and not np.any(rows.light_slope)
    group = source.groups["young" if part == "lines" else part]
    order = np.random.default_rng(2).permutation(100)[:60]
    columns = [as_float(column[order]) for column in group[:-1]]
    direct = jax.jit(jax.vmap(lambda k, d, *n: exact.row(part, k, d, *n)))(columns[0], jnp.zeros((60, 4)), *columns[1:])
    np.testing.assert_allclose(rows.features, direct.features, rtol=1e-6, atol=2e-7)
    if part == "lines":
        np.testing.assert_allclose(rows.light, direct.light, atol=1e-5)
    else:
        np.testing.assert_allclose(rows.living, direct.living, rtol=1e-6)
        off = np.abs(rows.light - direct.light[:, 1 : 1 + source.cells])
        assert np.median(off) < 1e-5 and np.percentile(off, 98) < 1e-4
    everything = [len(chunk.living) for chunk in source.chunks(part, np.random.default_rng(2), 10**6, 64)]
    assert everything == [64, 36]


def power_law_table(good: Path, path: Path, wavelength: np.ndarray) -> Path:
    """The good table with f = 1e-3 (wavelength / 5000 A)^-1.5 Lsun / A for every row, on other points."""
    shutil.copy(good, path)
    with h5py.File(path, "r+") as file:
        replace(file, "wavelength", wavelength)
        for group in ("delayed", "constant", "young"):
            replace(file, f"{group}/flux", np.tile(1e-3 * (wavelength / 5000.0) ** -1.5, (100, 1)))
        file["young/lines"][...] = 7.0
    return path


@pytest.mark.parametrize("sampling", ["fine", "irregular"])
def test_units_survive(good: Path, tmp_path: Path, sampling: str) -> None:
    """One solar luminosity per Angstrom is, at 10 Mpc, what astropy says it is."""
    wavelength = np.geomspace(600.0, 2e5, 12000)
    if sampling == "irregular":
        wavelength = np.sort(np.random.default_rng(1).uniform(np.log(850.0), np.log(7e4), 40000))
        wavelength = np.exp(wavelength)
    source = SpectraTable.open(power_law_table(good, tmp_path / "law.h5", wavelength))
    (rows,) = source.chunks("delayed", np.random.default_rng(0), 2)
    at = np.exp((source.log_start + np.arange(source.cells)) * LOG_STEP) * u.AA
    luminosity = 1e-3 * (at.value / 5000.0) ** -1.5 * constants.L_sun / u.AA
    flux = luminosity / (4 * np.pi * (10 * u.Mpc) ** 2)
    expected = flux.to(u.nJy, u.spectral_density(at)).value
    np.testing.assert_allclose(np.exp(rows.light.astype(float)), np.tile(expected, (2, 1)), rtol=1e-5)
    (rows,) = source.chunks("lines", np.random.default_rng(0), 2)
    frequency = (LINES * u.AA).to(u.Hz, u.spectral())
    lines = (7 * constants.L_sun / (4 * np.pi * (10 * u.Mpc) ** 2) / frequency).to(u.nJy).value
    faint = lines + FAINT_LINE * lines.mean()
    np.testing.assert_allclose(np.exp(rows.light.astype(float)), np.tile(faint, (2, 1)), rtol=2e-6)


def test_a_table_may_end_bluer_and_leaves_lines_beyond_out(good: Path, tmp_path: Path) -> None:
    source = SpectraTable.open(power_law_table(good, tmp_path / "law.h5", np.geomspace(900.0, 5500.0, 3000)))
    assert source.line_names == tuple(small_grid.LINES)[:3]
    (rows,) = source.chunks("lines", np.random.default_rng(0), 2)
    assert rows.light.shape == (2, 3)


def replace(file: h5py.File, name: str, values: Any) -> None:
    del file[name]
    file[name] = values


def put(name: str, values: Any, at: Any = ...) -> Callable[[h5py.File], None]:
    def harm(file: h5py.File) -> None:
        file[name][at] = values

    return harm


def scaled(name: str, factor: float) -> Callable[[h5py.File], None]:
    return lambda file: replace(file, name, file[name][()] * factor)


def shorter(name: str) -> Callable[[h5py.File], None]:
    return lambda file: replace(file, name, file[name][:-1])


def without(name: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__delitem__(name)


def fewer(file: h5py.File) -> None:
    for name in file["delayed"]:
        replace(file, f"delayed/{name}", file[f"delayed/{name}"][:50])


def another_kind(file: h5py.File) -> None:
    file.attrs["format"] = "scarlet_sed grid"


HARMS: dict[str, tuple[Callable[[h5py.File], Any], type[ScarletSEDError], str]] = {
    "another format": (another_kind, FileFormatError, "not a scarlet_sed table"),
    "bad provenance": (lambda f: f.attrs.__setitem__("provenance", "{"), FileFormatError, "provenance"),
    "no flux": (without("constant/flux"), FileFormatError, "lacks the dataset constant/flux"),
    "no group": (without("young"), FileFormatError, "lacks the dataset young/first"),
    "no nodes": (without("nodes/age"), FileFormatError, "lacks the dataset nodes/age"),
    "fewer spectra": (shorter("delayed/flux"), FileFormatError, "delayed/flux.*shape"),
    "fewer masses": (shorter("young/living"), FileFormatError, "young/living.*shape"),
    "fewer wavelengths": (shorter("wavelength"), FileFormatError, "flux.*shape"),
    "fewer names": (shorter("line_names"), FileFormatError, "line_names.*shape"),
    "text": (lambda f: replace(f, "delayed/first", ["old"] * 100), FileFormatError, "delayed/first.*holds"),
    "NaN": (put("delayed/flux", np.nan, (3, 77)), DataError, "delayed/flux = nan in row 3"),
    "no light": (put("young/flux", 0.0, (90, 1)), DataError, "young/flux = 0 in row 90"),
    "negative line": (put("young/lines", -1.0, (8, 2)), DataError, "young/lines in row 8"),
    "no lines in a row": (put("young/lines", 0.0, 8), DataError, "young/lines in row 8"),
    "flux in erg/s": (scaled("constant/flux", 3.828e33), DataError, "constant/flux that adds up"),
    "unordered": (put("wavelength", 2000.0, 3), DataError, "wavelength that do not increase"),
    "nanometre": (scaled("wavelength", 2.0), DataError, "wavelengths from 18"),
    "micron": (scaled("wavelength", 1e-4), DataError, "wavelengths to"),
    "infinite wavelength": (put("wavelength", np.inf, -1), DataError, "finite numbers in wavelength"),
    "lines in micron": (scaled("line_wavelength", 1e-4), DataError, "no line"),
    "nodes without 10 Myr": (put("nodes/age", 0.011, 3), DataError, "nodes/age"),
    "unordered nodes": (put("nodes/metallicity", 9.0, 0), DataError, "nodes/metallicity that do not increase"),
    "log metallicity nodes": (put("nodes/metallicity", -1.0, 0), DataError, "nodes/metallicity that are not positive"),
    "few": (fewer, DataError, "50 rows of delayed"),
    "unknown kind": (put("young/kind", 2, 5), DataError, "young/kind in row 5"),
    "NaN parameter": (put("constant/log_metallicity", np.nan, 6), DataError, "constant parameters.*row 6"),
    "young onset": (put("delayed/first", 0.009, 7), DataError, "delayed times out of order in row 7"),
    "backwards": (put("constant/second", 15.0, 9), DataError, "constant times out of order in row 9"),
    "years": (scaled("young/first", 1e9), DataError, "young"),
    "no young stars": (put("young/second", 1e-3, slice(None)), DataError, "young"),
    "living": (put("young/living", 1.2, 4), DataError, "young/living outside 0 to 1 in row 4"),
    "short ages": (lambda f: cut(f, "delayed/first", 9.0), DataError, "for delayed/first"),
    "short tau": (lambda f: cut(f, "delayed/second", 10.0), DataError, "for delayed/second"),
    "short bursts": (lambda f: cut(f, "constant/second", 3.0), DataError, "for constant/second"),
}


def cut(file: h5py.File, name: str, most: float) -> None:
    file[name][...] = np.minimum(file[name][()], most)


@pytest.mark.parametrize("name", HARMS)
def test_malformed_tables_are_refused(good: Path, tmp_path: Path, name: str) -> None:
    harm, error, says = HARMS[name]
    path = tmp_path / "harmed.h5"
    shutil.copy(good, path)
    with h5py.File(path, "r+") as file:
        harm(file)
    with pytest.raises(error, match=says) as caught:
        SpectraTable.open(path)
    assert caught.value.fix


@pytest.mark.parametrize("harm", ["truncated", "missing", "text"])
def test_files_that_cannot_be_read_are_refused(good: Path, tmp_path: Path, harm: str) -> None:
    path = tmp_path / "harmed.h5"
    if harm == "truncated":
        path.write_bytes(good.read_bytes()[:-5000])
    if harm == "text":
        path.write_text("wavelength flux\n")
    with pytest.raises(FileFormatError, match="table"):
        SpectraTable.open(path)


def test_a_table_that_is_refused_is_not_written(tmp_path: Path) -> None:
    wavelength = np.geomspace(900.0, 5500.0, 300)
    parts = {}
    for part in ("delayed", "constant", "young"):
        drawn = random_parameters(part, 120, 0, log_metallicity=METALS)
        lines = np.ones((120, 1)) if part == "young" else None
        parts[part] = Spectra(**drawn, flux=np.ones((120, 300)), living=np.ones(120), lines=lines)
    settings = {"wavelength": wavelength, "lines": {"H": 4861.3}, "metallicity": [0.1, 1], "log_ionization": [-4, 0]}
    write_table(tmp_path / "good.h5", **settings, **parts)
    assert SpectraTable.open(tmp_path / "good.h5").features.old_ages[0] == np.float32(YOUNG)
    without_kind = {**parts, "young": parts["young"]._replace(kind=None)}
    with pytest.raises(DataError, match="young have no kind"):
        write_table(tmp_path / "bad.h5", **settings, **without_kind)
    with pytest.raises(FileFormatError, match="shape"):
        write_table(tmp_path / "bad.h5", **{**settings, "wavelength": wavelength[:-1]}, **parts)
    assert not (tmp_path / "bad.h5").exists()


@pytest.mark.parametrize("part", ["delayed", "constant", "young"])
def test_random_parameters_cover_the_domain(part: str) -> None:
    drawn = random_parameters(part, 200, 3, log_metallicity=(-2.0, 0.0), log_ionization=(-3.0, -1.0))
    assert all(len(column) == 200 for column in drawn.values())
    assert drawn["log_metallicity"].min() >= -2 and drawn["log_metallicity"].max() <= 0
    assert ("kind" in drawn) == ("log_ionization" in drawn) == (part == "young")


def test_the_command_line_trains_on_a_table(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("scarlet_sed.cli.use_compilation_cache", lambda: None)
    # layers of the usual size take long to compile
    small = partial(train_emulator, hidden=(8, 8))
    monkeypatch.setattr("scarlet_sed.pipeline.populations.train_emulator", small)
    begin = ["emulator", "train", "--table", str(good)]
    options = ["--folder", str(tmp_path), "--out", str(tmp_path / "made.npz"), "--rows", "1000", "--steps", "2"]
    assert cli.main([*begin, *options]) == 0
    assert "weights" in capsys.readouterr().out
    assert read_header(tmp_path / "made.npz")["training"]["table"]["rows"]["young"] == 100
    assert cli.main([*begin[:-1], str(tmp_path / "none.h5"), *options]) == cli.BAD_INPUT
    with pytest.raises(SystemExit):
        cli.main([*begin, "--grid", "grid.h5"])
    assert "not allowed with" in capsys.readouterr().err
    # the networks that ship have other nodes and lines
    shipped = Path(cli.__file__).parent / "sps" / "emulator" / "weights" / "bc03_miles.npz"
    assert cli.main([*begin, *options, "--start-from", str(shipped)]) == cli.BAD_INPUT
    assert "nodes" in capsys.readouterr().err
