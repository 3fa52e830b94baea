"""The algebra of light: spectrum * morphology is a component, light + light is a blend.

This file knows neither spectra nor morphologies; it only pairs them, so that both can offer `*` and `+`.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx

from scarlet_sed.errors import ParameterError
from scarlet_sed.parameters import transparent

if TYPE_CHECKING:
    from scarlet_sed.morphology.base import Morphology
    from scarlet_sed.spectrum.base import Spectrum


class Light(eqx.Module):
    """Anything that shines: a component, or a blend of lights."""

    def __add__(self, other: "Light") -> "Blend":
        if not isinstance(other, Light):
            return NotImplemented
        return Blend([*_terms(self), *_terms(other)])

    def components(self) -> Iterator[tuple[str, "Component"]]:
        """The components with their names; the only component of a light has the name ''."""
        raise NotImplementedError


class Component(Light):
    """A spectrum that shines with a morphology."""

    spectrum: "Spectrum"
    morphology: "Morphology"

    def components(self) -> Iterator[tuple[str, "Component"]]:
        yield "", self


class Blend(Light):
    """A sum of lights with names.

    Args:
        parts: lights by name, or a sequence, whose names are 0, 1, ...
    """

    parts: dict[str, Light] = transparent()

    def __init__(self, parts: Mapping[str, Light] | list[Light]) -> None:
        named = parts if isinstance(parts, Mapping) else {str(i): part for i, part in enumerate(parts)}
        for name, part in named.items():
            if not isinstance(part, Light):
                raise ParameterError(
                    f"the light {name!r} is a {type(part).__name__}",
                    fix="make light as spectrum * morphology",
                )
            if "." in name or not name:
                raise ParameterError(f"{name!r} cannot name a light", fix="use a name without dots")
        if not named:
            raise ParameterError("a blend of no lights", fix="give at least one spectrum * morphology")
        # jax sorts the keys of a dict whenever it rebuilds one: sorted from the start, the order never changes
        self.parts = {name: named[name] for name in sorted(named)}

    def components(self) -> Iterator[tuple[str, Component]]:
        for name, part in self.parts.items():
            for below, component in part.components():
                yield (f"{name}.{below}" if below else name), component


def _terms(light: Light) -> list[Light]:
    return list(light.parts.values()) if isinstance(light, Blend) else [light]


def product(spectrum: Any, morphology: Any) -> Component:
    """The component of a spectrum and a morphology."""
    return Component(spectrum, morphology)
