"""Magnitudes of the weights that ship: they change when the weights do, and never otherwise."""

import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.photometry.units import ab_magnitude

BANDS = ("acs_wfc_f606w", "jwst_f115w", "jwst_f200w", "jwst_f335m", "jwst_f444w")
DUST = ss.Attenuation(ss.Salim(slope=-0.2, bump=1.0), av=0.6, birth_cloud=2.0)

# history, log Z/Zsun, log U, dust, redshift -> AB magnitudes in BANDS
GALAXIES = {
    "star-forming": (ss.DelayedTau(age=1.0, tau=0.5), -0.3, -2.5, DUST, 2.0),
    "burst at z 7": (ss.DelayedTau(age=0.02, tau=0.1), -1.0, -2.0, None, 7.0),
    "quenched": (ss.DelayedTau(age=5.0, tau=0.3), 0.1, -3.0, None, 0.7),
    "binned": (ss.Continuity(np.full(6, 0.1)), -0.5, -2.5, DUST, 3.3),
    "constant": (ss.Constant(age=0.3), -0.7, -1.5, DUST, 4.8),
}
MAGNITUDES = {
    "star-forming": [25.8404, 24.2639, 23.3882, 23.1392, 23.0907],
    "burst at z 7": [42.9809, 21.4352, 21.7362, 21.8097, 21.5066],
    "quenched": [25.9055, 23.3487, 22.5982, 22.5124, 23.0568],
    "binned": [27.0855, 26.0829, 24.5125, 24.2324, 23.9817],
    "constant": [29.0022, 26.0758, 25.2529, 24.2977, 24.1171],
}


@pytest.mark.parametrize("name", GALAXIES)
def test_magnitudes_of_the_shipped_weights(name: str) -> None:
    history, log_z, log_u, dust, redshift = GALAXIES[name]
    pop = ss.StellarPopulation(10.0, log_z, log_u, history=history, attenuation=dust)
    found = ab_magnitude(pop(ss.Filters.load(BANDS), redshift))
    np.testing.assert_allclose(found, MAGNITUDES[name], atol=1.5e-4)
