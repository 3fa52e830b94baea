"""The forward model as a program over arrays: what is traced, and nothing else.

A `Program` holds no names, no WCS and no host objects. Two scenes with equal shapes give programs of equal structure,
so the second one runs without compiling.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.dust.base import NATURAL_PER_MAGNITUDE
from scarlet_sed.infer.families import Family, FamilyValues, Gather, materialize
from scarlet_sed.infer.guard import Guard
from scarlet_sed.infer.paste import paste
from scarlet_sed.infer.signs import random_signs
from scarlet_sed.instrument.noise import Noise
from scarlet_sed.instrument.operator import Operator
from scarlet_sed.light import Component
from scarlet_sed.morphology.base import PixelGrid
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.scene.dimming import dimmed
from scarlet_sed.scene.screen import DustScreen
from scarlet_sed.shared import batch_axes, is_shared
from scarlet_sed.typing import Array

T = TypeVar("T")


class ComponentGroup(eqx.Module):
    """Components of equal structure and box, stacked along a leading axis n.

    Args:
        component: the component with (n, ...) constants and gathers in its slots.
        screens: what is in front of it, from the inside out, likewise.
        position: (n, 2) arcsec offsets, or a gather.
        redshift: (n,) or a gather.
        offsets: (n, 2) integer (row, column) of each box on the canvas.
        valid: (n,) one for components, zero for padding.
        source: (n,) index of the source that each belongs to.
        box: (h, w) in model pixels.
        constants: groups with equal numbers hold the same shared constants in their spectra.
    """

    component: Component
    screens: tuple[DustScreen, ...]
    position: Array | Gather
    redshift: Array | Gather
    offsets: Array
    valid: Array
    source: Array
    box: tuple[int, int] = eqx.field(static=True)
    constants: int = eqx.field(static=True)

    @property
    def light(self) -> tuple[Component, Array | Gather]:
        """What the fluxes depend on: the components, and their redshifts."""
        return self.component, self.redshift


class Drawn(NamedTuple):
    """The components of a group as they are in the sky.

    Args:
        stamps: (n, h, w) light for a total flux of one.
        component: with plain values.
        redshift: (n,).
        screens: with plain values, from the inside out.
        depths: (n, h, w) A_V of each screen in mag.
    """

    stamps: Array
    component: Component
    redshift: Array
    screens: tuple[DustScreen, ...]
    depths: tuple[Array, ...]


class InstrumentParameters(eqx.Module):
    """What an observation adds to the light: each an array or a gather.

    Args:
        sky: (band,) nJy per pixel.
        calibration: (band,) factor on the light.
        foreground: (band,) mag that the Milky Way takes from the light.
        shift: (band, 2) astrometric (east, north) shift in arcsec; None where it is fixed at zero.
        noise: the noise model, whose slots may be free too.
    """

    sky: Array | Gather
    calibration: Array | Gather
    foreground: Array | Gather
    shift: Array | Gather | None
    noise: Noise


class ObservationProgram(eqx.Module):
    """One observation: data, and the way from the canvas to its pixels.

    Args:
        data: (band, height, width) nJy.
        weights: (band, height, width) inverse variance, zero where masked.
        filters: the bands.
        operator: convolution and resampling.
        instrument: sky, calibration, shift and noise.
    """

    data: Array
    weights: Array
    filters: Filters
    operator: Operator
    instrument: InstrumentParameters


class Program(eqx.Module):
    """The whole forward model with its priors.

    Args:
        groups: components by structure and box.
        observations: in the user's order.
        families: priors of the free parameters.
        matrix: (2, 2) model pixels (x, y) per arcsec (east, north).
        origin: (2,) model pixel (x, y) of the reference point.
        psf_sigma: dispersion of the model PSF in model pixels.
        guard: what keeps free images apart; None for nothing.
    """

    groups: tuple[ComponentGroup, ...]
    observations: tuple[ObservationProgram, ...]
    families: tuple[Family, ...]
    matrix: Array
    origin: Array
    psf_sigma: Array
    guard: Guard | None = None

    def constrain(self, unconstrained: FamilyValues) -> FamilyValues:
        """Parameters from unconstrained numbers."""
        return tuple(f.constrain(u) for f, u in zip(self.families, unconstrained, strict=True))

    def log_prior(self, values: FamilyValues, unconstrained: FamilyValues | None = None) -> Array:
        """Scalar log-prior density in the parameters themselves; sooner with the numbers that these come from."""
        found = self.log_guard(values)
        numbers = [None] * len(values) if unconstrained is None else unconstrained
        each = (f.log_prior(v, u) for f, v, u in zip(self.families, values, numbers, strict=True))
        return sum(each, start=found)

    def tempered(self, values: FamilyValues, unconstrained: FamilyValues, temperature: Array) -> Array:
        """Scalar log-prior density at a temperature, see `MorphologyPrior.tempered`."""
        parts = zip(self.families, values, unconstrained, strict=True)
        return sum((f.tempered(v, u, temperature) for f, v, u in parts), start=self.log_guard(values) / temperature)

    def log_guard(self, values: FamilyValues) -> Array:
        """Scalar: what the log-prior loses to neighbours that look alike; zero without a guard."""
        if self.guard is None:
            return jnp.zeros(())
        guarded = [self.groups[index] for index in self.guard.groups]
        stamps = [self._draw(group, values).stamps for group in guarded]
        return self.guard(stamps, [group.offsets for group in guarded], [group.valid for group in guarded])

    def log_jacobian(self, unconstrained: FamilyValues) -> Array:
        """Scalar log-determinant of the transform from unconstrained numbers to parameters."""
        pairs = zip(self.families, unconstrained, strict=True)
        return sum((f.log_jacobian(u) for f, u in pairs), start=jnp.zeros(()))

    def log_likelihood(self, values: FamilyValues) -> Array:
        """Scalar log-likelihood of all observations."""
        return sum(self.log_likelihoods(self.images(values), values), start=jnp.zeros(()))

    def log_likelihoods(self, images: tuple[Array, ...], values: FamilyValues) -> tuple[Array, ...]:
        """Per observation, the scalar log-likelihood of images that have been drawn already."""
        return tuple(
            materialize(observation.instrument, values).noise.log_likelihood(
                observation.data - image, observation.weights
            )
            for observation, image in zip(self.observations, images, strict=True)
        )

    def negative_log_prob(
        self, images: tuple[Array, ...], values: FamilyValues, unconstrained: FamilyValues | None = None
    ) -> Array:
        """Scalar minus log-posterior (in the parameters) for images that have been drawn already."""
        return -sum(self.log_likelihoods(images, values), start=self.log_prior(values, unconstrained))

    def chi2(self, images: tuple[Array, ...], values: FamilyValues) -> tuple[Array, ...]:
        """Per observation, (band,) chi-square of images that have been drawn already."""
        return tuple(
            materialize(observation.instrument, values).noise.chi2(observation.data - image, observation.weights)
            for observation, image in zip(self.observations, images, strict=True)
        )

    def probe(self, images: tuple[Array, ...], values: FamilyValues, *seeds: Array) -> tuple[Array, tuple[Array, ...]]:
        """Chi-square, and the cotangent of the images for which reverse mode gives J^T z with random signs z.

        J is the Jacobian of the whitened residuals, so the mean outer product of such samples is the Gauss-Newton
        matrix J^T J (Bekas, Kokiopoulou & Saad 2007).
        """
        chi2, cotangents = jnp.zeros(()), []
        for number, (observation, image) in enumerate(zip(self.observations, images, strict=True)):
            noise = materialize(observation.instrument, values).noise
            whiten = partial(_whitened, noise, observation)
            residual, pullback = jax.vjp(whiten, image)
            signs = random_signs(residual.shape, residual.dtype, *seeds, number)
            cotangents.append(pullback(signs)[0])
            chi2 += jnp.sum(jnp.sum(jnp.square(residual), axis=-1))
        return chi2, tuple(cotangents)

    def whitened_residuals(self, values: FamilyValues) -> tuple[Array, ...]:
        """(band, height, width) whitened residuals of each observation; their squares sum to chi-square."""
        pairs = zip(self.observations, self.images(values), strict=True)
        return self.whitened(tuple(observation.data - image for observation, image in pairs), values)

    def whitened(self, images: tuple[Array, ...], values: FamilyValues) -> tuple[Array, ...]:
        """(band, H', W') images of each observation in units of its noise."""
        return tuple(
            materialize(observation.instrument, values).noise.whiten(image, observation.weights)
            for observation, image in zip(self.observations, images, strict=True)
        )

    def images(self, values: FamilyValues) -> tuple[Array, ...]:
        """(band, height, width) model image in nJy of each observation, sky included."""
        drawn = self.stamps(values)
        return tuple(self._observe(observation, drawn, values) for observation in self.observations)

    def source_images(self, values: FamilyValues, source: Array) -> tuple[Array, ...]:
        """The same for the light of one source (by index) alone, without sky."""
        return self.images_of(values, tuple(g.source == source for g in self.groups))

    def images_of(self, values: FamilyValues, components: tuple[Array, ...]) -> tuple[Array, ...]:
        """The same for the light of some components alone.

        Args:
            values: of the parameters.
            components: per group, (n,) one for those that shine and zero for the others.
        """
        shining = [g.valid * some for g, some in zip(self.groups, components, strict=True)]
        only = eqx.tree_at(lambda p: [g.valid for g in p.groups], self, shining)
        drawn = only.stamps(values)
        return tuple(only._observe(observation, drawn, values, with_sky=False) for observation in only.observations)

    def unit_images(self, values: FamilyValues, group: int, row: Array | int) -> tuple[Array, ...]:
        """(band, height, width) images of one component alone that shines with 1 nJy in every band, without sky.

        Args:
            values: of the parameters.
            group, row: of the component, which has no screens.
        """
        drawn = self._draw(self.groups[group], values)
        shining = (jnp.arange(drawn.stamps.shape[0]) == row).astype(drawn.stamps.dtype)
        found = []
        for observation in self.observations:
            instrument = materialize(observation.instrument, values)
            factor = instrument.calibration * jnp.exp(-NATURAL_PER_MAGNITUDE * instrument.foreground)
            shape = observation.operator.canvas_shape
            canvas = paste(shining[:, None] * factor, drawn.stamps, self.groups[group].offsets, shape)
            shift = None if instrument.shift is None else instrument.shift @ self.matrix.T
            found.append(observation.operator(canvas, shift))
        return tuple(found)

    def one_by_one(
        self, values: FamilyValues, function: Callable[[tuple[Array, ...]], tuple[Array, ...]]
    ) -> tuple[Array, ...]:
        """(component, ...) what a function makes of the images of each component alone, over all groups.

        Args:
            values: of the parameters.
            function: of the images of all observations.
        """
        counts = [group.valid.shape[0] for group in self.groups]
        ones = jnp.split(jnp.eye(sum(counts)), np.cumsum(counts)[:-1].tolist(), axis=1)
        return jax.lax.map(lambda shining: function(self.images_of(values, shining)), tuple(ones))

    def stamps(self, values: FamilyValues) -> tuple[Drawn, ...]:
        """What each group looks like."""
        return tuple(self._draw(group, values) for group in self.groups)

    def _draw(self, group: ComponentGroup, values: FamilyValues) -> Drawn:
        plain = materialize((group.component, group.screens, group.position, group.redshift), values)
        component, screens, position, redshift = plain
        rows, columns = jnp.arange(group.box[0]), jnp.arange(group.box[1])

        def one(
            component: Component, screens: tuple[DustScreen, ...], position: Array, offset: Array
        ) -> tuple[Array, tuple[Array, ...]]:
            x, y = self.origin + self.matrix @ position
            grid = PixelGrid(columns + (offset[1] - x), rows + (offset[0] - y), self.matrix, self.psf_sigma)
            return component.morphology.evaluate(grid), tuple(screen.depth(grid) for screen in screens)

        axes = (batch_axes(component), batch_axes(screens), 0, 0)
        stamps, depths = jax.vmap(one, axes)(component, screens, position, group.offsets)
        return Drawn(stamps, component, redshift, screens, depths)

    def fluxes(self, light: Sequence[tuple[Component, Array]], filters: Filters) -> tuple[Array, ...]:
        """Per group, the (n, band) nJy of its components; padding has none.

        Spectra of the same kind are computed together, whatever their boxes: a program holds one copy of each kind.

        Args:
            light: per group, its components with plain values and their (n,) redshifts.
            filters: the bands.
        """
        found = self._fluxes(range(len(self.groups)), light, filters)
        return tuple(found[i] for i in range(len(self.groups)))

    def fluxes_at(self, values: FamilyValues) -> tuple[tuple[Array, ...], ...]:
        """Per observation and group, the (n, band) nJy of its components."""
        light = [materialize(group.light, values) for group in self.groups]
        return tuple(self.fluxes(light, observation.filters) for observation in self.observations)

    def _fluxes(
        self, which: Iterable[int], light: Sequence[tuple[Component, Array]], filters: Filters
    ) -> dict[int, Array]:
        """The same for some of the groups, by index."""
        alike: dict[Hashable, list[int]] = {}
        for index in which:
            kind = (self.groups[index].constants, *_kind(light[index][0].spectrum))
            alike.setdefault(kind, []).append(index)
        found: dict[int, Array] = {}
        for members in alike.values():
            spectrum = _joined([light[i][0].spectrum for i in members])
            redshift = jnp.concatenate([light[i][1] for i in members])
            fluxes = jax.vmap(lambda s, z: s.fluxes(filters, z), (batch_axes(spectrum), 0))(spectrum, redshift)
            ends = np.cumsum([light[i][1].shape[0] for i in members])[:-1].tolist()
            found |= zip(members, jnp.split(fluxes, ends), strict=True)
        return {i: fluxes * self.groups[i].valid[:, None] for i, fluxes in found.items()}

    def _observe(
        self,
        observation: ObservationProgram,
        drawn: tuple[Drawn, ...],
        values: FamilyValues,
        with_sky: bool = True,
    ) -> Array:
        instrument = materialize(observation.instrument, values)
        factor = instrument.calibration * jnp.exp(-NATURAL_PER_MAGNITUDE * instrument.foreground)
        canvas = jnp.zeros(())
        clear = [i for i, group in enumerate(self.groups) if not group.screens]
        fluxes = self._fluxes(clear, [(d.component, d.redshift) for d in drawn], observation.filters)
        for index, (group, found) in enumerate(zip(self.groups, drawn, strict=True)):
            shape = observation.operator.canvas_shape
            if group.screens:
                dim = behind(found, observation.filters) * group.valid[:, None, None, None]
                ones = group.valid[:, None]
                pasted = jax.vmap(lambda s, g=group, o=ones, hw=shape: paste(o, s, g.offsets, hw)[0], 1)(dim)
                canvas = canvas + factor[:, None, None] * pasted
            else:
                canvas = canvas + paste(fluxes[index] * factor, found.stamps, group.offsets, shape)
        shift = None if instrument.shift is None else instrument.shift @ self.matrix.T
        image = observation.operator(canvas, shift)
        return image + instrument.sky[:, None, None] if with_sky else image


def behind(drawn: Drawn, filters: Filters) -> Array:
    """(n, band, h, w) nJy of the components of a group behind their screens."""
    stamps, component, redshift, screens, depths = drawn
    axes = (batch_axes(component), batch_axes(screens), 0, 0, 0)
    each = jax.vmap(lambda c, s, z, stamp, depth: dimmed(c, s, z, stamp, depth, filters), axes)
    return each(component, screens, redshift, stamps, depths)


def _whitened(noise: Noise, observation: ObservationProgram, image: Array) -> Array:
    return noise.whiten(observation.data - image, observation.weights)


def _kind(tree: Any) -> tuple[Hashable, ...]:
    """Equal for stacked trees that can be joined along their leading axis."""
    leaves, structure = jax.tree.flatten(tree, is_leaf=is_shared)
    return structure, *((leaf.shape[1:], leaf.dtype) for leaf in leaves if not is_shared(leaf))


def _joined(trees: Sequence[T]) -> T:
    """Stacked trees of the same kind, joined along their leading axis; what is shared stays as it is."""
    return jax.tree.map(
        lambda *leaves: leaves[0] if is_shared(leaves[0]) else jnp.concatenate(leaves), *trees, is_leaf=is_shared
    )
