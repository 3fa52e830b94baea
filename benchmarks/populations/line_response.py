"""How much of a line the package lets through a filter, against the filter's own curve.

The package reads lines off a cubic B-spline through the curve at steps of 75 km/s, so the error is largest at corners
of tabulated curves: up to 0.19 times the change of slope there, per step.
"""

from __future__ import annotations

import sys

import numpy as np
from draws import BANDS
from measures import ROOT
from reference_parts import Curve

LINE = 3000.0
"""Angstrom, blueward of every band at redshift zero."""
SAMPLES = 100000
"""About nine a step, between the line at rest and the reddest band."""


def errors() -> dict[str, dict[str, float]]:
    """For each band, the worst and the root-mean-square error in the band, in per cent of the peak transmission."""
    sys.path.insert(0, str(ROOT))
    import jax
    import jax.numpy as jnp

    from scarlet_sed.photometry.filters import Filters
    from scarlet_sed.photometry.shift import line_averages

    filters, curves = Filters.load(BANDS), [Curve(name) for name in BANDS]
    reddest = max(curve.wavelength[-1] for curve in curves)
    observed = np.geomspace(LINE, reddest, SAMPLES)
    one, at = jnp.ones(1), np.log([LINE])
    seen = jax.jit(jax.vmap(lambda z: line_averages(one, at, filters, z)))
    through = np.asarray(seen(jnp.asarray(observed / LINE - 1, float)))
    found = {}
    for band, curve in enumerate(curves):
        exact = np.interp(observed, curve.wavelength, curve.through, left=0, right=0)
        inside = exact > 0.01 * curve.through.max()
        error = 100 * (through[:, band] * curve.norm - exact) / curve.through.max()
        found[BANDS[band]] = {
            "worst": float(np.abs(error).max()),
            "rms": float(np.sqrt(np.mean(error[inside] ** 2))),
        }
    return found
