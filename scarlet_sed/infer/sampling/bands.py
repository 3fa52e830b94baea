"""Which bands the numbers of free fluxes belong to."""

from scarlet_sed.light import path_of
from scarlet_sed.scene.scene import Scene
from scarlet_sed.spectrum.free import FreeSpectrum


def flux_bands(scene: Scene) -> dict[str, tuple[str, ...]]:
    """The band of each number of a `FreeSpectrum`, by the path of its fluxes, whether these are free or not."""
    return {
        f"{path_of(name, part)}.spectrum.flux": component.spectrum.bands
        for name, part, component in scene.components()
        if isinstance(component.spectrum, FreeSpectrum)
    }
