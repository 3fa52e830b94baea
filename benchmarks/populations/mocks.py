"""Mock fields with known truth: are the fluxes and masses of blended populations right, and their errors?

    .venv/bin/python benchmarks/populations/mocks.py [--fields 10] [--keep FOLDER]

Galaxies with spectra, Sersic indices and axis ratios of the priors, at given redshifts, are drawn by GalSim with
empirical NIRCam PSFs (the CEERS PSFs of `../shared/data/ceers_psf`; bands without one get their neighbour's, stretched
by the ratio of the wavelengths), in pairs 0.3 to 0.9 arcsec apart; then the very path of `scarlet-sed fit` runs on the
files, with a catalogue of positions (20 mas off) and redshifts. Prints tables, and writes benchmarks/results/mocks.json
and a figure.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import galsim
import jax
import matplotlib.pyplot as plt
import numpy as np
import sections
from astropy.io import fits
from astropy.table import QTable, Table

import scarlet_sed as ss
from scarlet_sed.infer.starting_points import FluxModel
from scarlet_sed.io.cache import use_compilation_cache
from scarlet_sed.parameters import as_float
from scarlet_sed.pipeline import run_fit
from scarlet_sed.spectrum.priors import deep_field_population
from scarlet_sed.sps.engine import Engine
from scarlet_sed.start.models import ellipticity_prior, index_prior

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from table import markdown

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SCARLET_SED_SHARED", ROOT.parent / "shared"))
PSFS = SHARED / "data" / "ceers_psf"
FIGURES = Path(__file__).parent / "figures"
SCALE = 0.03
FIELD = 8.4
PER_FIELD = 20
JITTER = 0.02
"""Arcsec by which the catalogue's positions are off."""


class Band(NamedTuple):
    """A band: the file of its PSF, how much that is stretched, and the noise in nJy per pixel of 0.03 arcsec."""

    name: str
    psf: str
    stretch: float
    noise: float


BANDS = (
    Band("F090W", "F115W", 0.902 / 1.154, 0.13),
    Band("F115W", "F115W", 1.0, 0.11),
    Band("F150W", "F150W", 1.0, 0.11),
    Band("F200W", "F200W", 1.0, 0.10),
    Band("F277W", "F277W", 1.0, 0.07),
    Band("F335M", "F356W", 3.365 / 3.563, 0.10),
    Band("F356W", "F356W", 1.0, 0.08),
    Band("F410M", "F444W", 4.083 / 4.421, 0.12),
    Band("F444W", "F444W", 1.0, 0.11),
)


def psf_of(band: Band) -> np.ndarray:
    """(n, n) at 15 mas, centred as every PSF is here, with a sum of one, the detector's pixel included."""
    image = fits.getdata(PSFS / f"Pointings12_{band.psf}_Module_A.fits").astype(float)
    whole = galsim.InterpolatedImage(galsim.ImageD(image / image.sum(), scale=SCALE / 2), flux=1.0)
    stretched = whole.dilate(band.stretch)
    made = stretched.drawImage(nx=201, ny=201, scale=SCALE / 2, method="no_pixel", dtype=float).array
    return np.asarray(ss.PSF(made, oversampling=2).image)


def shape(key: jax.Array) -> dict[str, float]:
    """Sersic index, axis ratio and angle in degrees, from the priors that the fit has (GalSim's index ends at 6.2)."""
    index_key, shape_key = jax.random.split(key)
    index = min(float(index_prior(1.0).prior.sample(index_key)), 6.0)
    e1, e2 = np.asarray(ellipticity_prior(np.zeros(2)).prior.sample(shape_key), float)
    size = min(np.hypot(e1, e2), 0.8)
    return {
        "index": max(index, 0.35),
        "q": (1 - size) / (1 + size),
        "angle": np.degrees(0.5 * np.arctan2(e2, e1)) % 180,
    }


def galaxies(seed: int, engine: Engine | None) -> QTable:
    """The truth of a field: places, shapes, redshifts, and fluxes of populations drawn from the priors.

    F277W fluxes are log-uniform from 15 to 600 nJy, for which the prior of the mass, uniform in its logarithm, stands.
    """
    rng = np.random.default_rng(seed)
    population = deep_field_population(engine=engine)
    filters = ss.Filters.load([band.name for band in BANDS])
    model = FluxModel.of(population, None)
    rows: list[dict[str, Any]] = []
    places: list[np.ndarray] = []
    while len(places) < PER_FIELD:
        partner = places[-1] if len(places) % 2 else None
        if partner is None:
            trial = rng.uniform(-0.5, 0.5, 2) * (FIELD - 1.6)
        else:
            angle = rng.uniform(0, 2 * np.pi)
            trial = partner + rng.uniform(0.3, 0.9) * np.array([np.cos(angle), np.sin(angle)])
        others = places[:-1] if partner is not None else places
        if np.all(np.abs(trial) < 0.5 * FIELD - 0.6) and all(np.hypot(*(trial - p)) > 0.9 for p in others):
            places.append(trial)
    wanted = 10 ** rng.uniform(np.log10(15), np.log10(600), PER_FIELD)
    redshift = rng.uniform(0.3, 7.0, PER_FIELD)
    keys = jax.random.split(jax.random.key(seed), PER_FIELD)
    for index, place in enumerate(places):
        parts = jax.random.split(keys[index], len(model.priors))
        values = {path: prior.sample(k) for k, (path, prior) in zip(parts, model.priors.items(), strict=True)}
        values["log_mass"] = as_float(9.0)
        flux = np.asarray(model.fluxes(values, as_float(redshift[index]), filters), float)
        factor = wanted[index] / flux[4]
        rows.append(
            {"east": place[0], "north": place[1], "redshift": redshift[index], "log_mass": 9.0 + np.log10(factor)}
            | {"av": float(values["attenuation.av"]), "radius": 10 ** rng.uniform(-1.1, -0.5)}
            | shape(jax.random.fold_in(keys[index], 1))
            | {f"flux_{band.name}": factor * f for band, f in zip(BANDS, flux, strict=True)}
        )
    return QTable(Table(rows=rows))


def write_field(folder: Path, truth: QTable, seed: int) -> Path:
    """Images, noise, PSFs, the catalogue and a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed + 1000)
    size = round(FIELD / SCALE)
    for band in BANDS:
        psf = psf_of(band)
        kernel = galsim.InterpolatedImage(galsim.ImageD(psf, scale=SCALE / 2), flux=1.0)
        image = galsim.ImageD(size, size, scale=SCALE)
        for row in truth:
            profile = galsim.Sersic(float(row["index"]), half_light_radius=float(row["radius"]))
            sheared = profile.shear(q=float(row["q"]), beta=float(row["angle"]) * galsim.degrees)
            seen = galsim.Convolve(sheared, kernel, gsparams=galsim.GSParams(maximum_fft_size=8192))
            seen = seen.withFlux(float(row[f"flux_{band.name}"])).shift(-float(row["east"]), float(row["north"]))
            seen.drawImage(image, add_to_image=True, method="no_pixel")
        sigma = np.full(image.array.shape, band.noise)
        noisy = image.array + sigma * rng.standard_normal(sigma.shape)
        for kind, pixels in (("image", noisy), ("noise", sigma)):
            header = fits.Header({"BUNIT": "nJy"})
            fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(
                folder / f"{band.name}_{kind}.fits", overwrite=True
            )
        fits.PrimaryHDU(psf.astype(np.float32)).writeto(folder / f"{band.name}_psf.fits", overwrite=True)
    middle = (size - 1) / 2
    off = rng.normal(0, JITTER, (2, len(truth)))
    listed = Table(
        {
            "x": middle - (truth["east"] + off[0]) / SCALE,
            "y": middle + (truth["north"] + off[1]) / SCALE,
            "redshift": truth["redshift"],
        }
    )
    listed.write(folder / "list.ecsv", overwrite=True)
    bands = "".join(
        f'\n[[bands]]\nname = "{b.name}"\nimage = "{b.name}_image.fits"\nnoise = "{b.name}_noise.fits"\n'
        f'psf = "{b.name}_psf.fits"\npsf_oversampling = 2\n'
        for b in BANDS
    )
    path = folder / "config.toml"
    path.write_text(
        f'seed = {seed}\n[data]\nunit = "nJy"\npixel_scale = {SCALE}\n'
        '[catalog]\npath = "list.ecsv"\nposition_error = 0.03\n'
        '[model]\ndefault = "population"\n[fit]\nsteps = 300\npolish = 2\n'
        "[output]\nreport = false\nscene = false\n" + bands,
        encoding="utf-8",
    )
    return path


def pulls(truth: QTable, catalog: QTable) -> dict[str, np.ndarray]:
    """Differences over errors: (galaxy, band) of fluxes, (galaxy,) of mass and A_V; the list's order is kept."""
    flux = np.stack(
        [
            (catalog[f"flux_{b.name}"].value - truth[f"flux_{b.name}"]) / catalog[f"flux_error_{b.name}"].value
            for b in BANDS
        ],
        axis=1,
    )
    ratio = np.stack([catalog[f"flux_{b.name}"].value / truth[f"flux_{b.name}"] for b in BANDS], axis=1)
    mass = np.asarray(catalog["log_mass"] - truth["log_mass"], float)
    av = catalog["av"].value - np.asarray(truth["av"], float)
    return {
        "flux": np.asarray(flux, float),
        "flux ratio": np.asarray(ratio, float),
        "log_mass": mass / np.asarray(catalog["log_mass_error"], float),
        "log_mass offset": mass,
        "av": av / np.asarray(catalog["av_error"].value, float),
    }


def summary(values: np.ndarray) -> dict[str, float]:
    """Mean, median, standard deviation, scatter from the median absolute deviation, share beyond three."""
    v = values[np.isfinite(values)]
    return {
        "count": int(v.size),
        "mean": float(v.mean()),
        "median": float(np.median(v)),
        "std": float(v.std()),
        "scatter": float(1.4826 * np.median(np.abs(v - np.median(v)))),
        "beyond 3": float(np.mean(np.abs(v) > 3)),
    }


def figure(found: dict[str, np.ndarray]) -> None:
    FIGURES.mkdir(exist_ok=True)
    drawing, axes = plt.subplots(1, 3, figsize=(11, 3.5), layout="constrained")
    x = np.linspace(-4, 4, 200)
    for ax, (name, label) in zip(axes, (("flux", "fluxes"), ("log_mass", "log mass"), ("av", "A_V")), strict=True):
        ax.hist(found[name].ravel(), bins=np.linspace(-4, 4, 33), density=True, color="C0", alpha=0.7)
        ax.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), color="0.2")
        ax.set(xlabel=f"(result - truth) / error, {label}")
    axes[0].set_ylabel("density")
    drawing.savefig(FIGURES / "mocks.png", dpi=100)


def described(result: dict[str, Any], pooled: dict[str, np.ndarray]) -> list[str]:
    """The section of the report."""
    names = ("flux", "log_mass", "av")
    heads = ("(result - truth) / error", "numbers", "mean", "median", "standard deviation", "scatter", "beyond 3")
    rows = [[name, *(f"{v:.3f}" if i else f"{v:.0f}" for i, v in enumerate(result[name].values()))] for name in names]
    rows += [
        [f"flux, {name}", *(f"{v:.3f}" if i else f"{v:.0f}" for i, v in enumerate(values.values()))]
        for name, values in result["flux by band"].items()
    ]
    offset, ratio = result["log_mass offset"], pooled["flux ratio"]
    return [
        f"`mocks.py`: {result['galaxies']} galaxies in {len(BANDS)} NIRCam bands, all of them in pairs 0.3-0.9 arcsec "
        "apart, with empirical PSFs, drawn by GalSim; redshift given, spectra and shapes drawn from the priors. "
        "Scatter is 1.48 times the median absolute deviation.",
        markdown(heads, rows),
        f"Median ratio of flux to truth {np.nanmedian(ratio):.4f}; log mass off by {offset['median']:+.3f} in the "
        f"median, scatter {offset['scatter']:.3f} dex.",
        "![differences over errors](figures/mocks.png)",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=10)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--keep", type=Path, help="keep images and catalogues in this folder; run again to go on")
    given = parser.parse_args()
    if not PSFS.is_dir():
        print(f"skipped: {PSFS} is missing (set SCARLET_SED_SHARED)")
        return
    use_compilation_cache()
    start = time.monotonic()
    each = []
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) if given.keep is None else given.keep
        for number in range(given.fields):
            folder = base / f"field{number}"
            truth = galaxies(given.seed + number, None)
            if not (folder / "out" / "catalog.ecsv").exists():
                run_fit(write_field(folder, truth, given.seed + number), folder / "out", progress=False)
                jax.clear_caches()  # the programs of a field are of its own shapes
            each.append(pulls(truth, QTable.read(folder / "out" / "catalog.ecsv")))
            pooled = {name: np.concatenate([e[name] for e in each]) for name in each[0]}
            print(f"field {number}, {time.monotonic() - start:.0f} s", flush=True)
            for name, values in pooled.items():
                print(f"  {name:<16}" + "  ".join(f"{k} {v:.3f}" for k, v in summary(values).items()), flush=True)
    result = {name: summary(values) for name, values in pooled.items()}
    result["flux by band"] = {b.name: summary(pooled["flux"][:, i]) for i, b in enumerate(BANDS)}
    result |= {"galaxies": len(pooled["log_mass"]), "seconds": time.monotonic() - start, "load": os.getloadavg()}
    figure(pooled)
    sections.put("mocks", described(result, pooled))
    (ROOT / "benchmarks/results").mkdir(exist_ok=True)
    (ROOT / "benchmarks/results/mocks.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
