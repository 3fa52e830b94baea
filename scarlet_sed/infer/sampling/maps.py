"""Maps of a source's stars and dust, averaged over draws."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from astropy.wcs import WCS

from scarlet_sed.dust.base import V_BAND
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.paste import paste
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.program import Drawn, Program, behind
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.moments import Moments
from scarlet_sed.infer.sampling.parts import families_of, program_of, require_sources
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.parameters import as_float, resolve, to_device
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.scene.boxes import Box
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.typing import Array, HostArray

_KPC_PER_MPC_ARCSEC = 1e3 * np.pi / (180 * 3600)


class PropertyMaps(NamedTuple):
    """Means and standard deviations over draws, pixel by pixel, of a part of the model's frame.

    Light and mass are as the model draws them: seen with the model PSF, which is narrower than any observation's.

    Args:
        source: its name.
        frame: the model's.
        box: which of its pixels: the boxes of all components together.
        band: of the light: that closest to 5500 Angstrom at rest.
        light: (h, w) mean nJy/arcsec^2 behind screens: where it is faint, nothing was seen of stars or of dust.
        mass, mass_sd: (h, w) solar masses formed a kpc^2 (seen from here, not corrected for inclination), which are
            spread as the light of their component; None without populations.
        av, av_sd: (h, w) A_V in mag that the light of `band` which leaves a pixel has met on average: of all screens,
            and of the old stars' dust in a population; NaN where there is no light.
        pixel_area: mean kpc^2 of a pixel, zero without populations.
    """

    source: str
    frame: Frame
    box: Box
    band: str
    light: HostArray
    mass: HostArray | None
    mass_sd: HostArray | None
    av: HostArray
    av_sd: HostArray
    pixel_area: float

    @property
    def wcs(self) -> WCS | None:
        """Of the maps' pixels; None where the frame has none."""
        (height, width), (row, column) = self.box
        whole = self.frame.wcs
        return None if whole is None else whole[row : row + height, column : column + width]

    def bright(self, share: float = 0.9) -> np.ndarray:
        """(h, w) which of the brightest pixels hold this share of the light.

        Args:
            share: between zero and one.
        """
        return brightest(self.light, share)


def brightest(light: HostArray, share: float) -> np.ndarray:
    """(h, w) which of the brightest pixels hold a share of (h, w) light."""
    falling = np.sort(np.maximum(light, 0.0), axis=None)[::-1]
    held = np.cumsum(falling, dtype=float)
    least = falling[min(int(np.searchsorted(held, share * held[-1])), falling.size - 1)]
    found: np.ndarray = (light >= least) & (light > 0)
    return found


def property_maps(posterior: Posterior, source: str, count: int = 50, seed: int = 0) -> PropertyMaps:
    """Maps of the surface density of a source's stars and of the dust in front of them.

    Args:
        posterior: draws, of any kind.
        source: its name; it has a stellar population, or a screen.
        count: how many draws.
        seed: of which ones.

    Raises:
        ParameterError: if there are no draws, or none are asked for; or if the source has neither a population nor a
            screen.
        SourceError: for a name that no source has.
    """
    model = posterior.posterior
    require_sources(model, [source])
    values = families_of(posterior, count, seed)
    own = model.scene[source]
    populated = any(isinstance(component.spectrum, StellarPopulation) for _, component in own.components())
    if not populated and not any(own.screens()):
        raise ParameterError(
            f"the source {source!r} has neither a stellar population nor a screen of dust",
            fix="choose one that has, or look at its images with posterior_predictive",
        )
    program, _ = program_of(model, [source])
    corners = np.concatenate([np.asarray(group.offsets) for group in program.groups])
    ends = np.concatenate([np.asarray(group.offsets) + np.array(group.box) for group in program.groups])
    first, last = corners.min(axis=0), ends.max(axis=0)
    shape = (int(last[0] - first[0]), int(last[1] - first[1]))
    band, filters = _closest_band(model, float(resolve(model.scene)[source].redshift))
    plain = tuple(as_float(v) for v in values)
    found = _moments(program, plain, to_device(first, np.int32), filters, shape=shape)
    light, mass, av, area = jax.tree.map(lambda x: np.asarray(x, float), found)
    return PropertyMaps(
        source,
        model.scene.frame,
        Box(shape, (int(first[0]), int(first[1]))),
        band,
        light.mean / model.scene.frame.pixel_scale**2,
        mass.mean if populated else None,
        mass.spread if populated else None,
        av.mean,
        av.spread,
        float(area.mean),
    )


def _closest_band(model: LogPosterior, redshift: float) -> tuple[str, Filters]:
    """The band whose pivot is closest to 5500 Angstrom at rest; the first one where none is known."""
    bands = [(o.filters, index) for o in model.observations for index in range(len(o.filters))]
    pivots = np.array([float(filters.pivot[index]) for filters, index in bands])
    off = np.abs(np.log(pivots / (V_BAND * (1 + redshift))))
    filters, index = bands[int(np.argmin(np.where(np.isfinite(off), off, np.inf)))]
    return filters.names[index], filters.select([filters.names[index]])


@partial(jax.jit, static_argnames="shape")
def _moments(
    program: Program, values: FamilyValues, first: Array, filters: Filters, *, shape: tuple[int, int]
) -> tuple[Moments, ...]:
    """Light in nJy a pixel, solar masses a kpc^2, A_V in mag, and kpc^2 a pixel, over (draw, ...) values."""

    def step(moments: tuple[Moments, ...], own: FamilyValues) -> tuple[tuple[Moments, ...], None]:
        one = _one(program, own, first, filters, shape)
        return tuple(m.with_one(v) for m, v in zip(moments, one, strict=True)), None

    found, _ = jax.lax.scan(step, tuple(Moments.none(s) for s in (shape, shape, shape, ())), values)
    return tuple(m.known() for m in found)


def _one(
    program: Program, values: FamilyValues, first: Array, filters: Filters, shape: tuple[int, int]
) -> tuple[Array, ...]:
    """The same of one draw."""
    drawn = program.stamps(values)
    fluxes = program.fluxes([(d.component, d.redshift) for d in drawn], filters)
    light, bright, dimmed, mass = (jnp.zeros(shape) for _ in range(4))
    area = jnp.zeros(())
    for group, own, flux in zip(program.groups, drawn, fluxes, strict=True):
        spectrum = own.component.spectrum

        def put(images: Array, offsets: Array = group.offsets - first, valid: Array = group.valid) -> Array:
            return paste(valid[:, None], images, offsets, shape)[0]

        seen = behind(own, filters)[:, 0] if own.screens else flux[:, 0, None, None] * own.stamps
        # numbers below zero, which free images and fluxes may have, are no weights
        weight = jnp.maximum(seen, 0.0)
        light, bright, dimmed = light + put(seen), bright + put(weight), dimmed + put(weight * _depth(own))
        if isinstance(spectrum, StellarPopulation):
            scale = _KPC_PER_MPC_ARCSEC * spectrum.cosmology.luminosity_distance(own.redshift) / (1 + own.redshift) ** 2
            each = jnp.square(scale) / jnp.abs(jnp.linalg.det(program.matrix))
            mass = mass + put((10.0**spectrum.log_mass / each)[:, None, None] * own.stamps)
            area = each[0]
    shining = bright > 0
    return light, mass, jnp.where(shining, dimmed / jnp.where(shining, bright, 1.0), jnp.nan), area


def _depth(drawn: Drawn) -> Array:
    """(n, h, w) or (n, 1, 1) A_V in mag in front of the old stars of each component of a group."""
    depth = sum(drawn.depths, jnp.zeros((len(drawn.stamps), 1, 1)))
    spectrum = drawn.component.spectrum
    if isinstance(spectrum, StellarPopulation) and spectrum.attenuation is not None:
        depth = depth + spectrum.attenuation.av[:, None, None]
    return depth
