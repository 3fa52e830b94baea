"""What follows from a stellar population: masses, rates, ages and emission lines, by name."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.typing import Array


class Quantity(NamedTuple):
    """What a number is.

    Args:
        unit: as astropy writes it; empty for logarithms, whose unit the description names.
        description: in words.
    """

    unit: str
    description: str


STARS = {
    "log_mass": Quantity("", "log10 of the mass formed in solar masses"),
    "log_surviving_mass": Quantity("", "log10 of the mass that remains in solar masses"),
    "log_sfr10": Quantity("", "log10 of the mean star-formation rate over 10 Myr in solar masses a year"),
    "log_sfr100": Quantity("", "log10 of the mean star-formation rate over 100 Myr in solar masses a year"),
    "mean_age": Quantity("Gyr", "mass-weighted mean age"),
    "t50": Quantity("Gyr", "time since half of the mass had formed"),
}
"""Of `of_population`, in the order in which they are listed."""
LEAST_RATE = 1e-12
"""Solar masses a year: what a population that forms no stars is said to form, as in catalogues."""
LINES = {
    "halpha": ("H alpha", (6562.80,)),
    "hbeta": ("H beta", (4861.32,)),
    "oii": ("[O II] 3727, both lines", (3726.03, 3728.81)),
    "oiii": ("[O III] 5007", (5006.84,)),
    "nii": ("[N II] 6583", (6583.45,)),
}
"""Name, what it is, and wavelengths at rest in Angstrom as the engine lists them."""
LINE_QUANTITIES = {
    **{
        f"log_luminosity_{name}": Quantity("", f"log10 of the luminosity of {what} in erg/s, before any dust")
        for name, (what, _) in LINES.items()
    },
    **{
        f"log_flux_{name}": Quantity("", f"log10 of the observed flux of {what} in erg/s/cm2, behind the dust")
        for name, (what, _) in LINES.items()
    },
}
"""Of `of_lines`, in the order in which they are listed."""
_TIMESCALES = {"log_sfr10": 0.01, "log_sfr100": 0.1}
"""Gyr."""
_NEAR = 1.0
"""Angstrom, within which a line of an engine is the one that is meant."""
_LOG_SUN = float(np.log10(3.828e33))
"""erg/s (IAU 2015 resolution B3)."""
_LOG_SPHERE = float(np.log10(4 * np.pi) + 2 * np.log10(3.0856775814913673e24))
"""log10 of 4 pi (1 Mpc)^2 in cm^2 (IAU 2015 resolution B2)."""
_FAINTEST = 1e-12
"""Solar luminosities, so that logarithms of lines that do not shine are finite."""


def of_population(population: StellarPopulation, redshift: Array) -> dict[str, Array]:
    """The scalars of `STARS`. Traced.

    Args:
        population: without priors.
        redshift: a number.
    """
    rates = {name: population.sfr(redshift, timescale) for name, timescale in _TIMESCALES.items()}
    return {
        "log_mass": population.log_mass,
        "log_surviving_mass": population.surviving_mass(redshift),
        **{name: jnp.log10(jnp.maximum(rate, LEAST_RATE)) for name, rate in rates.items()},
        "mean_age": population.mean_age(redshift),
        "t50": population.t50(redshift),
    }


def of_lines(population: StellarPopulation, redshift: Array) -> dict[str, Array]:
    """The scalars of `LINE_QUANTITIES`, of lines that the population's engine knows. Traced.

    Args:
        population: without priors; fluxes are behind its own dust.
        redshift: a number.
    """
    at = np.asarray(population.engine.line_wavelength)
    names = np.asarray(population.engine.line_names, object)
    distance = _LOG_SPHERE + 2 * jnp.log10(population.cosmology.luminosity_distance(redshift))
    found = {}
    for start, dusty, further in (("log_luminosity", False, 0.0), ("log_flux", True, distance)):
        light = population.line_luminosities(redshift, attenuated=dusty)
        for name, (_, wavelengths) in LINES.items():
            own = [names[int(np.argmin(np.abs(at - w)))] for w in wavelengths if np.min(np.abs(at - w)) < _NEAR]
            if len(own) == len(wavelengths):
                total = sum((light[line] for line in own), jnp.zeros(()))
                found[f"{start}_{name}"] = jnp.log10(jnp.maximum(total, _FAINTEST)) + _LOG_SUN - further
    return found
