"""What keeps free images of neighbours from taking each other's light."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp

from scarlet_sed.infer.paste import paste
from scarlet_sed.typing import Array


class Guard(eqx.Module):
    """A log-density that falls with the similarity of each pair of images: the cosine between them on the canvas.

    With every image scaled to a length of one, the sum over pairs is that of the squared sum of all images, less their
    own squares, halved: pairs need not be looked for.

    Args:
        strength: () what a pair of equal images costs.
        groups: the groups of components that are guarded.
        canvas: (height, width) of the frame.
    """

    strength: Array
    groups: tuple[int, ...] = eqx.field(static=True)
    canvas: tuple[int, int] = eqx.field(static=True)

    def __call__(self, stamps: Sequence[Array], offsets: Sequence[Array], valid: Sequence[Array]) -> Array:
        """Scalar.

        Args:
            stamps: per group, (n, h, w) images.
            offsets: per group, (n, 2) (row, column) of each on the canvas.
            valid: per group, (n,) one for images, zero for padding.
        """
        whole, own = jnp.zeros(()), jnp.zeros(())
        for images, offset, some in zip(stamps, offsets, valid, strict=True):
            length = jnp.sqrt(jnp.sum(jnp.square(images), axis=(-2, -1), keepdims=True))
            whole = whole + paste(some[:, None], images / length, offset, self.canvas)
            own = own + jnp.sum(some)
        return -0.5 * self.strength * (jnp.sum(jnp.square(whole)) - own)
