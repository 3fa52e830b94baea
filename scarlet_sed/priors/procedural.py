"""Galaxies made up by rules: disks with arms, bars, rings and clumps, bulges, edge-on disks with dust lanes, mergers.

What learned priors are trained on when there is nothing better: their light is drawn by GalSim (Rowe et al. 2015,
Astronomy and Computing 10, 121) at the sampling of NIRCam mosaics. Every number is drawn from `Recipe`.
"""

from collections.abc import Callable
from typing import NamedTuple

import galsim
import numpy as np

from scarlet_sed.typing import HostArray

Range = tuple[float, float]
"""Ends of what is drawn evenly."""


class Recipe(NamedTuple):
    """How galaxies are drawn. Lengths are in pixels where nothing else is said.

    Args:
        kinds: share of ellipticals, disks, clumpy disks, edge-on disks, irregulars; of mergers and tails see below.
        smallest: half-light radius.
        largest: half-light radius in sides of the image.
        blur: dispersion of the Gaussian that all is seen through: the model's own resolution.
        away: deviation of the centre from the image's along each axis.
        sersic: index of ellipticals and of bulges.
        bulge: share of a disk's light.
        inclination: cosine; disks are `thickness` thick.
        arms: chance, contrast, tangent of the pitch angle (Kennicutt 1981, AJ 86, 1847: 5 to 35 degrees).
        bar, ring: chance, share of the disk's light.
        clumps: of clumpy disks: how many, share of the light, dispersion in half-light radii.
        lane: chance, optical depth of the dust in an edge-on disk's plane.
        merger: chance of a second galaxy, distance in half-light radii, ratio of the fluxes.
        tail: chance, share of the light.
    """

    kinds: tuple[float, ...] = (0.2, 0.35, 0.2, 0.13, 0.12)
    smallest: float = 1.2
    largest: float = 0.16
    blur: float = 0.6
    away: float = 0.3
    sersic: Range = (1.0, 5.0)
    bulge: Range = (0.0, 0.6)
    inclination: Range = (0.25, 1.0)
    thickness: float = 0.2
    arms: tuple[float, Range, Range] = (0.6, (0.2, 0.9), (0.1, 0.7))
    bar: tuple[float, Range] = (0.3, (0.05, 0.3))
    ring: tuple[float, Range] = (0.15, (0.05, 0.4))
    clumps: tuple[tuple[int, int], Range, Range] = ((2, 12), (0.1, 0.6), (0.08, 0.3))
    lane: tuple[float, Range] = (0.6, (0.5, 3.0))
    merger: tuple[float, Range, Range] = (0.12, (1.0, 3.0), (0.1, 1.0))
    tail: tuple[float, Range] = (0.1, (0.05, 0.3))


GALAXIES = Recipe()
"""As they are drawn where nothing else is asked for."""


def stamps(count: int, side: int, seed: int, recipe: Recipe = GALAXIES, first: int = 0) -> HostArray:
    """(count, side, side) images that sum to one, without noise.

    Args:
        count: how many.
        side: pixels.
        seed: image i depends on it and i alone.
        recipe: how they are drawn.
        first: number of the first of them.
    """
    numbers = range(first, first + count)
    return np.stack([stamp(np.random.default_rng([seed, number]), side, recipe) for number in numbers])


def stamp(rng: np.random.Generator, side: int, recipe: Recipe = GALAXIES) -> HostArray:
    """(side, side) image of one galaxy, which sums to one."""
    radius = _even_log(rng, (recipe.smallest, recipe.largest * side))
    light = _galaxy(rng, radius, side, recipe)
    if rng.random() < recipe.merger[0]:
        other = _galaxy(rng, radius * _even_log(rng, (0.4, 1.2)), side, recipe)
        apart = radius * rng.uniform(*recipe.merger[1])
        light = light + other.withFlux(_even_log(rng, recipe.merger[2])).shift(*_direction(rng, apart))
    if rng.random() < recipe.tail[0]:
        light = light + _pattern(_tail(rng, radius, side), side).withFlux(rng.uniform(*recipe.tail[1]) * light.flux)
    seen = galsim.Convolve(light.shift(*rng.normal(0, recipe.away, 2)), galsim.Gaussian(sigma=recipe.blur))
    image = seen.drawImage(nx=side, ny=side, scale=1.0, method="auto").array.astype(np.float64)
    # Fourier transforms leave ripples below zero
    image = np.maximum(image, 0.0)
    return (image / image.sum()).astype(np.float32)


def _galaxy(rng: np.random.Generator, radius: float, side: int, recipe: Recipe) -> galsim.GSObject:
    """One galaxy of unit flux."""
    kind = rng.choice(len(_KINDS), p=np.asarray(recipe.kinds) / sum(recipe.kinds))
    return _KINDS[kind](rng, radius, side, recipe).withFlux(1.0)


def _elliptical(rng: np.random.Generator, radius: float, side: int, recipe: Recipe) -> galsim.GSObject:
    light = galsim.Sersic(n=rng.uniform(*recipe.sersic), half_light_radius=radius, trunc=6 * radius)
    return light.shear(q=rng.uniform(0.4, 1.0), beta=_angle(rng))


def _disk(rng: np.random.Generator, radius: float, side: int, recipe: Recipe) -> galsim.GSObject:
    plane = _Plane.drawn(rng, radius, side, rng.uniform(*recipe.inclination), recipe.thickness)
    return _with_bulge(rng, _pattern(_decorated(rng, plane, recipe), side), radius, recipe)


def _clumpy(rng: np.random.Generator, radius: float, side: int, recipe: Recipe) -> galsim.GSObject:
    plane = _Plane.drawn(rng, radius, side, rng.uniform(*recipe.inclination), recipe.thickness)
    smooth = _decorated(rng, plane, recipe)
    (fewest, most), share, sizes = recipe.clumps
    clumps = sum(_knot(rng, plane, smooth, sizes) for _ in range(rng.integers(fewest, most + 1)))
    return _pattern(_mixed(smooth, np.asarray(clumps), rng.uniform(*share)), side)


def _edge_on(rng: np.random.Generator, radius: float, side: int, recipe: Recipe) -> galsim.GSObject:
    plane = _Plane.drawn(rng, radius, side, 0.0, rng.uniform(0.08, 0.25))
    light = plane.smooth()
    if rng.random() < recipe.lane[0]:
        # in front of half of the light
        depth = rng.uniform(*recipe.lane[1]) * np.exp(-0.5 * (plane.high / (0.3 * plane.thin * radius + 0.3)) ** 2)
        light = light * 0.5 * (1 + np.exp(-depth * np.exp(-0.5 * np.abs(plane.along) / radius)))
    return _with_bulge(rng, _pattern(light, side), radius, recipe)


def _irregular(rng: np.random.Generator, radius: float, side: int, recipe: Recipe) -> galsim.GSObject:
    plane = _Plane.drawn(rng, radius, side, rng.uniform(*recipe.inclination), recipe.thickness)
    bodies = np.zeros_like(plane.along)
    for _ in range(rng.integers(2, 6)):
        bodies = bodies + rng.exponential() * _knot(rng, plane, plane.smooth(), (0.3, 1.0))
    return _pattern(_mixed(plane.smooth(), bodies, rng.uniform(0.4, 0.9)), side)


_KINDS: tuple[Callable[..., galsim.GSObject], ...] = (_elliptical, _disk, _clumpy, _edge_on, _irregular)
_FINE = 3
"""Pixels of patterns to a pixel of the image."""


class _Plane(NamedTuple):
    """A disk on the fine grid.

    Args:
        radius: half-light radius.
        along, high: (y, x) pixels along its long axis on the sky, and off it.
        distance, angle: (y, x) from the centre in its plane.
        thin: height over radius.
    """

    radius: float
    along: HostArray
    high: HostArray
    distance: HostArray
    angle: HostArray
    thin: float

    @staticmethod
    def drawn(rng: np.random.Generator, radius: float, side: int, cosine: float, thin: float) -> "_Plane":
        """In a random direction on the sky."""
        x, y = _grid(side)
        turn = rng.uniform(0, 2 * np.pi)
        along, high = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
        # an oblate disk: Hubble 1926, ApJ 64, 321
        squeezed = np.sqrt(cosine**2 * (1 - thin**2) + thin**2)
        deep = high / squeezed
        return _Plane(radius, along, high, np.hypot(along, deep), np.arctan2(deep, along), thin)

    def smooth(self) -> HostArray:
        """(y, x) an exponential disk."""
        return np.exp(-1.678 * self.distance / self.radius)


def _decorated(rng: np.random.Generator, plane: _Plane, recipe: Recipe) -> HostArray:
    """An exponential disk with arms, a bar and a ring, each by chance."""
    light = plane.smooth()
    away = plane.distance / plane.radius
    if rng.random() < recipe.arms[0]:
        pitch = rng.uniform(*recipe.arms[2]) * rng.choice([-1, 1])
        wave = rng.integers(1, 5) * (plane.angle - np.log(away + 0.05) / pitch) + rng.uniform(0, 2 * np.pi)
        # no arms in the middle
        light = light * (1 + rng.uniform(*recipe.arms[1]) * np.cos(wave) * (1 - np.exp(-((away / 0.5) ** 2))))
    if rng.random() < recipe.bar[0]:
        turn, long = rng.uniform(0, np.pi), rng.uniform(0.4, 1.0)
        x = away * np.cos(plane.angle - turn) / long
        y = away * np.sin(plane.angle - turn) / (long * rng.uniform(0.2, 0.5))
        light = _mixed(light, np.exp(-((x**4 + y**4) ** 0.5)), rng.uniform(*recipe.bar[1]))
    if rng.random() < recipe.ring[0]:
        ring = np.exp(-0.5 * ((away - rng.uniform(0.7, 1.8)) / rng.uniform(0.08, 0.25)) ** 2)
        light = _mixed(light, ring, rng.uniform(*recipe.ring[1]))
    return light


def _knot(rng: np.random.Generator, plane: _Plane, where: HostArray, sizes: Range) -> HostArray:
    """A clump of unit sum, as likely anywhere as there is light."""
    place = np.unravel_index(rng.choice(where.size, p=where.ravel() / where.sum()), where.shape)
    off = np.hypot(plane.along - plane.along[place], plane.high - plane.high[place])
    wide = max(plane.radius * rng.uniform(*sizes), 0.7 / _FINE)
    knot = np.exp(-0.5 * (off / wide) ** 2)
    return knot / knot.sum() * rng.exponential()


def _tail(rng: np.random.Generator, radius: float, side: int) -> HostArray:
    """A tidal tail: a bent ribbon that leaves a galaxy, and fades."""
    x, y = _grid(side)
    turn, bent = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.6) * rng.choice([-1, 1])
    steps = np.linspace(0.5, rng.uniform(2.5, 5.0), 24)
    wide = radius * rng.uniform(0.15, 0.4)
    light = np.zeros_like(x)
    for step in steps:
        angle = turn + bent * step
        off = (x - radius * step * np.cos(angle)) ** 2 + (y - radius * step * np.sin(angle)) ** 2
        light += np.exp(-0.5 * off / wide**2) * np.exp(-step / 2.0)
    return light


def _with_bulge(rng: np.random.Generator, disk: galsim.GSObject, radius: float, recipe: Recipe) -> galsim.GSObject:
    share = rng.uniform(*recipe.bulge)
    small = radius * rng.uniform(0.15, 0.5)
    bulge = galsim.Sersic(n=rng.uniform(*recipe.sersic), half_light_radius=small, trunc=8 * small)
    return (1 - share) * disk.withFlux(1.0) + share * bulge.shear(q=rng.uniform(0.6, 1.0), beta=_angle(rng))


def _mixed(one: HostArray, other: HostArray, share: float) -> HostArray:
    """Two patterns, of which the second has a share of the light."""
    return (1 - share) * one / one.sum() + share * other / other.sum()


def _pattern(light: HostArray, side: int) -> galsim.GSObject:
    """Of unit flux."""
    image = galsim.Image(np.ascontiguousarray(light / light.sum()), scale=1.0 / _FINE)
    return galsim.InterpolatedImage(image, x_interpolant="linear", normalization="flux", flux=1.0)


def _grid(side: int) -> tuple[HostArray, HostArray]:
    steps = (np.arange(side * _FINE) - (side * _FINE - 1) / 2) / _FINE
    x, y = np.meshgrid(steps, steps)
    return x, y


def _angle(rng: np.random.Generator) -> galsim.Angle:
    return rng.uniform(0, np.pi) * galsim.radians


def _direction(rng: np.random.Generator, length: float) -> tuple[float, float]:
    angle = rng.uniform(0, 2 * np.pi)
    return length * np.cos(angle), length * np.sin(angle)


def _even_log(rng: np.random.Generator, ends: Range) -> float:
    return float(np.exp(rng.uniform(*np.log(ends))))
