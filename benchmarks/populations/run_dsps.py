"""DSPS's rest-frame spectra of tabulated histories; runs inside .venv-peers-sed.

usage: python run_dsps.py GRID.h5 CASES.npz OUT.npz

CASES holds `time` (t,) and `sfr` (case, t), the age of the universe in Gyr and Msun/yr, `observed` in Gyr and
`log_metallicity`, log10 Z. The distribution of metallicity is narrow, on one node of the grid.
"""

from __future__ import annotations

import os
import sys

os.environ["JAX_ENABLE_X64"] = "1"

import h5py
import numpy as np
from dsps import calc_rest_sed_sfh_table_lognormal_mdf

SCATTER = 1e-3
GRID_NAMES = ("ssp_lgmet", "ssp_lg_age_gyr", "ssp_flux")


def main() -> None:
    """Compute and write."""
    grid, cases, out = sys.argv[1:]
    with h5py.File(grid, "r") as file:
        metallicity, age, flux = (file[name][()] for name in GRID_NAMES)
    found, weights = [], []
    with np.load(cases) as given:
        for sfr in given["sfr"]:
            where = (float(given["log_metallicity"]), SCATTER, metallicity, age, flux, float(given["observed"]))
            result = calc_rest_sed_sfh_table_lognormal_mdf(given["time"], sfr, *where)
            found.append(np.asarray(result.rest_sed))
            weights.append(np.asarray(result.lgmet_weights))
    np.savez(out, spectra=np.stack(found), metallicity_weights=np.stack(weights))


if __name__ == "__main__":
    main()
