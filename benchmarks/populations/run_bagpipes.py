"""bagpipes' answers for draws; runs inside .venv-peers-sed.

usage: python run_bagpipes.py DRAWS.npz OUT.npz --filters FOLDER [--resolution 1000] [--time]

FOLDER holds one text file a band (wavelength in Angstrom, transmission). `--resolution` raises bagpipes' sampling of
wavelength; without it bagpipes samples as it does by default. Dust emission is set to zero, except under `--time`,
which times `model_galaxy.update` as a user calls it.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from draws import BANDS, LOG_MASS, Draws


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("draws", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--filters", type=Path, required=True)
    parser.add_argument("--resolution", type=float)
    parser.add_argument("--time", action="store_true")
    return parser.parse_args()


def components(draw: Draws, universe: float) -> dict[str, Any]:
    """A delayed exponential with Calzetti dust and nebulae, in bagpipes' words; `universe` is its age in Gyr."""
    return {
        "redshift": float(draw.redshift),
        "delayed": {
            "age": float(draw.age_fraction) * universe,
            "tau": float(draw.tau),
            "massformed": LOG_MASS,
            "metallicity": 10 ** float(draw.log_metallicity),
        },
        "dust": {"type": "Calzetti", "Av": float(draw.av), "eta": float(draw.birth_cloud)},
        "nebular": {"logU": float(draw.log_ionization)},
        "t_bc": 0.01,
    }


def main() -> None:
    """Compute and write."""
    options = parse()
    draws, filters, out = Draws.load(options.draws), options.filters.resolve(), options.out.resolve()
    os.chdir(filters)  # bagpipes works where it is started
    import bagpipes

    if options.resolution:
        bagpipes.config.R_phot = bagpipes.config.R_spec = options.resolution
        bagpipes.config.R_other = options.resolution / 10
        # no galaxy here is farther, and wavelengths cost memory
        bagpipes.config.max_redshift = 8.01
    universe = bagpipes.utils.cosmo.age(draws.redshift).value
    paths = [str(filters / f"{name}.txt") for name in BANDS]
    begin = time.perf_counter()
    first = components(draws.take(0), universe[0])
    model = bagpipes.model_galaxy(first, filt_list=paths, phot_units="mujy")
    setup = time.perf_counter() - begin
    if not options.time:
        model.dust_emission.spectrum = lambda *_: 0.0
    rows: dict[str, list[Any]] = {}
    for index in range(draws.redshift.size):
        given = components(draws.take(index), universe[index])
        begin = time.perf_counter()
        model.update(given)
        row = {
            "seconds": time.perf_counter() - begin,
            "fluxes": 1e3 * model.photometry,
            "sphere": model.lum_flux,
            "lines": list(model.line_fluxes.values()),
            "surviving": model.sfh.stellar_mass,
            "sfr100": model.sfh.sfr,
            "weights": model.sfh.component_weights["delayed"] / 10**LOG_MASS,
            "mean_age": model.sfh.mass_weighted_age,
        }
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    np.savez(
        out,
        **{name: np.array(values) for name, values in rows.items()},
        setup_seconds=setup,
        wavelengths=model.wavelengths.size,
        pivots=model.filter_set.eff_wavs,
        line_wave=bagpipes.config.line_wavs,
        load_1min=os.getloadavg()[0],
    )


if __name__ == "__main__":
    main()
