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
    "star-forming": [25.8406, 24.2640, 23.3880, 23.1392, 23.0905],
    "burst at z 7": [42.9779, 21.4354, 21.7365, 21.8093, 21.5064],
    "quenched": [25.9045, 23.3481, 22.5978, 22.5126, 23.0575],
    "binned": [27.0857, 26.0833, 24.5127, 24.2324, 23.9821],
    "constant": [29.0025, 26.0740, 25.2524, 24.2980, 24.1187],
}


@pytest.mark.parametrize("name", GALAXIES)
def test_magnitudes_of_the_shipped_weights(name: str) -> None:
    history, log_z, log_u, dust, redshift = GALAXIES[name]
    pop = ss.StellarPopulation(10.0, log_z, log_u, history=history, attenuation=dust)
    found = ab_magnitude(pop(ss.Filters.load(BANDS), redshift))
    np.testing.assert_allclose(found, MAGNITUDES[name], atol=1e-3)
