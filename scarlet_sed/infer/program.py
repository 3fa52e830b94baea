"""The forward model as a program over arrays: what is traced, and nothing else.

A `Program` holds no names, no WCS and no host objects. Two scenes with equal shapes give programs of equal structure,
so the second one runs without compiling.
"""

from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.infer.families import Family, FamilyValues, Gather, materialize
from scarlet_sed.infer.paste import paste
from scarlet_sed.infer.signs import random_signs
from scarlet_sed.instrument.noise import Noise
from scarlet_sed.instrument.operator import Operator
from scarlet_sed.light import Component
from scarlet_sed.morphology.base import PixelGrid
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.shared import batch_axes, is_shared
from scarlet_sed.typing import Array

T = TypeVar("T")


class ComponentGroup(eqx.Module):
    """Components of equal structure and box, stacked along a leading axis n.

    Args:
        component: the component with (n, ...) constants and gathers in its slots.
        position: (n, 2) arcsec offsets, or a gather.
        redshift: (n,) or a gather.
        offsets: (n, 2) integer (row, column) of each box on the canvas.
        valid: (n,) one for components, zero for padding.
        source: (n,) index of the source that each belongs to.
        box: (h, w) in model pixels.
        constants: groups with equal numbers hold the same shared constants in their spectra.
    """

    component: Component
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


class InstrumentParameters(eqx.Module):
    """What an observation adds to the light: each an array or a gather.

    Args:
        sky: (band,) nJy per pixel.
        calibration: (band,) factor on the light.
        shift: (band, 2) astrometric (east, north) shift in arcsec; None where it is fixed at zero.
        noise: the noise model, whose slots may be free too.
    """

    sky: Array | Gather
    calibration: Array | Gather
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
    """

    groups: tuple[ComponentGroup, ...]
    observations: tuple[ObservationProgram, ...]
    families: tuple[Family, ...]
    matrix: Array
    origin: Array
    psf_sigma: Array

    def log_prior(self, values: FamilyValues) -> Array:
        """Scalar log-prior density in the parameters themselves."""
        return sum((f.log_prior(v) for f, v in zip(self.families, values, strict=True)), start=jnp.zeros(()))

    def log_jacobian(self, unconstrained: FamilyValues) -> Array:
        """Scalar log-determinant of the transform from unconstrained numbers to parameters."""
        pairs = zip(self.families, unconstrained, strict=True)
        return sum((f.log_jacobian(u) for f, u in pairs), start=jnp.zeros(()))

    def log_likelihood(self, values: FamilyValues) -> Array:
        """Scalar log-likelihood of all observations."""
        total = jnp.zeros(())
        for observation, image in zip(self.observations, self.images(values), strict=True):
            noise = materialize(observation.instrument, values).noise
            total += noise.log_likelihood(observation.data - image, observation.weights)
        return total

    def negative_log_prob(self, images: tuple[Array, ...], values: FamilyValues) -> Array:
        """Scalar minus log-posterior (in the parameters) for images that have been drawn already."""
        total = -self.log_prior(values)
        for observation, image in zip(self.observations, images, strict=True):
            noise = materialize(observation.instrument, values).noise
            total -= noise.log_likelihood(observation.data - image, observation.weights)
        return total

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
        return tuple(
            materialize(observation.instrument, values).noise.whiten(observation.data - image, observation.weights)
            for observation, image in zip(self.observations, self.images(values), strict=True)
        )

    def images(self, values: FamilyValues) -> tuple[Array, ...]:
        """(band, height, width) model image in nJy of each observation, sky included."""
        drawn = self.stamps(values)
        return tuple(self._observe(observation, drawn, values) for observation in self.observations)

    def source_images(self, values: FamilyValues, source: Array) -> tuple[Array, ...]:
        """The same for the light of one source (by index) alone, without sky."""
        only = eqx.tree_at(
            lambda p: [g.valid for g in p.groups], self, [g.valid * (g.source == source) for g in self.groups]
        )
        drawn = only.stamps(values)
        return tuple(only._observe(observation, drawn, values, with_sky=False) for observation in only.observations)

    def stamps(self, values: FamilyValues) -> tuple[tuple[Array, Component, Array], ...]:
        """Per group: (n, h, w) stamps, the components with plain values, and (n,) redshifts."""
        return tuple(self._draw(group, values) for group in self.groups)

    def _draw(self, group: ComponentGroup, values: FamilyValues) -> tuple[Array, Component, Array]:
        component, position, redshift = materialize((group.component, group.position, group.redshift), values)
        rows, columns = jnp.arange(group.box[0]), jnp.arange(group.box[1])

        def one(component: Component, position: Array, offset: Array) -> Array:
            x, y = self.origin + self.matrix @ position
            grid = PixelGrid(columns + (offset[1] - x), rows + (offset[0] - y), self.matrix, self.psf_sigma)
            return component.morphology.evaluate(grid)

        axes = (batch_axes(component), 0, 0)
        return jax.vmap(one, axes)(component, position, group.offsets), component, redshift

    def fluxes(self, light: Sequence[tuple[Component, Array]], filters: Filters) -> tuple[Array, ...]:
        """Per group, the (n, band) nJy of its components; padding has none.

        Spectra of the same kind are computed together, whatever their boxes: a program holds one copy of each kind.

        Args:
            light: per group, its components with plain values and their (n,) redshifts.
            filters: the bands.
        """
        alike: dict[Hashable, list[int]] = {}
        for index, (group, (component, _)) in enumerate(zip(self.groups, light, strict=True)):
            alike.setdefault((group.constants, *_kind(component.spectrum)), []).append(index)
        found: dict[int, Array] = {}
        for members in alike.values():
            spectrum = _joined([light[i][0].spectrum for i in members])
            redshift = jnp.concatenate([light[i][1] for i in members])
            fluxes = jax.vmap(lambda s, z: s.fluxes(filters, z), (batch_axes(spectrum), 0))(spectrum, redshift)
            ends = np.cumsum([light[i][1].shape[0] for i in members])[:-1].tolist()
            found |= zip(members, jnp.split(fluxes, ends), strict=True)
        return tuple(found[i] * group.valid[:, None] for i, group in enumerate(self.groups))

    def _observe(
        self,
        observation: ObservationProgram,
        drawn: tuple[tuple[Array, Component, Array], ...],
        values: FamilyValues,
        with_sky: bool = True,
    ) -> Array:
        instrument = materialize(observation.instrument, values)
        canvas = jnp.zeros(())
        fluxes = self.fluxes([light for _, *light in drawn], observation.filters)
        for group, (stamps, *_), own in zip(self.groups, drawn, fluxes, strict=True):
            seen = own * instrument.calibration
            canvas = canvas + paste(seen, stamps, group.offsets, observation.operator.canvas_shape)
        shift = None if instrument.shift is None else instrument.shift @ self.matrix.T
        image = observation.operator(canvas, shift)
        return image + instrument.sky[:, None, None] if with_sky else image


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
