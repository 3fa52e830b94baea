"""Values that a fit has driven onto the edge of their support, brought back inside."""

import numpy as np

from scarlet_sed.errors import ImproperPriorError
from scarlet_sed.parameters import as_float, prior_median
from scarlet_sed.scene.scene import Scene
from scarlet_sed.transforms import bijection

_STEP = 0.02
"""Share of the way to the prior's median."""


def off_the_edge(scene: Scene) -> Scene:
    """The same scene with every free value where it has a finite unconstrained image, so that a fit can start there.

    A Sersic index that ended at its lower limit, say, moves a fiftieth of the way to the prior's median.
    """
    moved = {}
    for path, leaf in scene.parameters.items():
        inverse = np.asarray(bijection(leaf.prior, leaf.value.shape).inv(leaf.value))
        if np.all(np.isfinite(inverse)):
            continue
        try:
            moved[path] = as_float(leaf.value) + _STEP * (prior_median(leaf.prior) - as_float(leaf.value))
        except ImproperPriorError:
            continue
    return scene.set(moved)
