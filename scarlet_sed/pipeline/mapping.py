"""Maps of resolved galaxies from the command line."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.table import QTable

from scarlet_sed.amortized.derived import QUANTITIES
from scarlet_sed.amortized.file import load_amortized
from scarlet_sed.amortized.posterior import AmortizedPosterior
from scarlet_sed.amortized.resolved import EXTENSIVE, LEVELS, ResolvedProperties, map_properties, widest_band
from scarlet_sed.errors import ConfigError
from scarlet_sed.files import atomic
from scarlet_sed.infer.drawing import isolate
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.io.config import read_config
from scarlet_sed.io.fit_folder import load_fit
from scarlet_sed.io.inputs import read_observations
from scarlet_sed.io.outputs import output_folder, write_figure, write_json
from scarlet_sed.plot.resolved import resolved

_OWN = 0.5
"""Share of the modelled light in a pixel that must be the source's."""


class MapOptions(NamedTuple):
    """How to map.

    Args:
        source: of a fit, with all others taken off; None for the images as they are.
        observation: the name of one to use alone, where there are several.
        redshift: None to take it from the integrated light.
        least: signal-to-noise of a pixel or bin.
        binned: whether to take faint pixels together.
        draws: of each bin.
        seed: of everything random.
    """

    source: str | None = None
    observation: str | None = None
    redshift: float | None = None
    least: float = 5.0
    binned: bool = True
    draws: int = 200
    seed: int = 0


def run_map(
    given: str | Path, posterior: str | Path, out: str | Path, options: MapOptions, progress: Callable[[str], None]
) -> str:
    """Map the galaxy of a fit, or of the images of a configuration; returns a summary.

    Args:
        given: the folder of a fit, or a TOML file.
        posterior: a file of `posterior train`.
        out: folder for maps.fits, maps.png and maps.json.
        options: how.
        progress: called with a line at times.

    Raises:
        ScarletSEDError: for bad input, naming the cure.
    """
    network = load_amortized(posterior)
    observations, region = _observed(Path(given), network, options)
    folder = output_folder(out)

    def shown(done: int, of: int) -> None:
        progress(f"bins: {done} of {of}")

    found = map_properties(
        network,
        observations,
        options.redshift,
        region=region,
        least=options.least,
        binned=options.binned,
        draws=options.draws,
        seed=options.seed,
        progress=shown,
    )
    write_maps(folder / "maps.fits", found)
    write_figure(folder / "maps.png", resolved(found))
    write_json(folder / "maps.json", _numbers(found))
    mass, whole = (each["log_surviving_mass"] for each in (found.summed, found.integrated))
    pixels = int((found.labels >= 0).sum())
    return (
        f"  {folder}/maps.fits, maps.png, maps.json  {len(found.pixels)} bins of {pixels} pixels, redshift "
        f"{found.redshift[1]:.3f}\n  log10 of the surviving mass: {mass[1]:.2f} summed over bins, {whole[1]:.2f} of "
        f"their integrated light\n  flagged: {100 * np.mean(found.flags > 0):.0f} % of bins"
    )


def _observed(
    given: Path, posterior: AmortizedPosterior, options: MapOptions
) -> tuple[tuple[Observation, ...], np.ndarray | None]:
    if not given.is_dir():
        if options.source is not None:
            raise ConfigError(
                "a source was named without a fit", fix="give the folder that `scarlet-sed fit --out` wrote"
            )
        return _chosen(read_observations(read_config(given)), options.observation), None
    fitted = load_fit(given)
    observations = _chosen(fitted.observations, options.observation)
    names = list(fitted.scene.sources)
    if options.source is None and len(names) > 1:
        raise ConfigError(f"the fit has {len(names)} sources", fix=f"name one: --source {names[0]}")
    own = [isolate(fitted.scene, o, options.source or names[0]) for o in observations]
    band = widest_band(posterior, observations)
    shown = next(each for each in own if band in each.observation.bands)
    return tuple(each.observation for each in own), np.mean(shown.share, axis=0) > _OWN


def _chosen(observations: Sequence[Observation], name: str | None) -> tuple[Observation, ...]:
    found = tuple(o for o in observations if name in (None, o.name))
    if not found:
        listed = ", ".join(o.name for o in observations)
        raise ConfigError(f"no observation is called {name!r}", fix=f"name one with --observation: {listed}")
    return found


def write_maps(path: Path, found: ResolvedProperties) -> None:
    """Write maps as images of (3, H, W): 16, 50 and 84 %; bins, their flags and signal, and a table of totals."""
    header = fits.Header() if found.wcs is None else found.wcs.to_header()
    images = []
    for name in found.quantiles:
        stack = np.stack([found.image(name, level) for level in LEVELS]).astype(np.float32)
        own = header.copy()
        known = QUANTITIES.get(name)
        own["QUANTITY"] = (name, "16, 50 and 84 percent along the third axis")
        if found.units[name]:
            own["BUNIT"] = found.units[name]
        if known is not None:
            own["MEANING"] = known.description + (", per kpc2" if name in EXTENSIVE else "")
        images.append(fits.ImageHDU(stack, own, name=name.upper().replace(".", "_")))
    flags = np.where(found.labels >= 0, found.painted(found.flags.astype(float)), 0).astype(np.int16)
    own_bands = QTable(
        {"band": list(found.matched.bands), "lacking": found.lacking, "psf_mismatch": found.matched.mismatch}
    )
    images += [
        fits.ImageHDU(found.labels.astype(np.int32), header, name="BINS"),
        fits.ImageHDU(flags, header, name="FLAGS"),
        fits.ImageHDU(found.painted(found.signal).astype(np.float32), header, name="SIGNAL"),
    ]
    totals = QTable(
        {
            "quantity": list(found.summed),
            "summed": np.stack([found.summed[name] for name in found.summed]),
            "integrated": np.stack([found.integrated[name] for name in found.summed]),
        }
    )
    primary = fits.PrimaryHDU()
    primary.header["REDSHIFT"] = (float(found.redshift[1]), "median")
    primary.header["PIXAREA"] = (found.pixel_area, "kpc2 of a pixel")
    primary.header["PSFBAND"] = (found.matched.band, "band to whose PSF all were matched")
    primary.header["FLAGBITS"] = "1 unlike the training, 2 fits nothing, 4 few effective draws"
    tables = [fits.table_to_hdu(totals), fits.table_to_hdu(own_bands)]
    tables[0].name, tables[1].name = "TOTALS", "BANDS"
    tables[0].header.add_comment("16, 50 and 84 percent of log10 of solar masses, and of solar masses a year")
    tables[1].header.add_comment(
        "lacking: share of the light on unknown pixels; above 0.2, not in the integrated light"
    )
    with atomic(path) as temporary:
        fits.HDUList([primary, *images, *tables]).writeto(temporary, overwrite=True)


def _numbers(found: ResolvedProperties) -> dict[str, object]:
    return {
        "levels": LEVELS,
        "bins": len(found.pixels),
        "pixels": int((found.labels >= 0).sum()),
        "redshift": found.redshift,
        "summed": found.summed,
        "integrated": found.integrated,
        "outshone_dex": found.outshone,
        "flagged": float(np.mean(found.flags > 0)),
        "lacking": dict(zip(found.matched.bands, found.lacking.tolist(), strict=True)),
        "psf": found.matched.band,
        "psf_mismatch": dict(zip(found.matched.bands, found.matched.mismatch.tolist(), strict=True)),
    }
