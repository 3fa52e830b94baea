"""The algebra of light: spectrum * morphology is a component, light + light is a blend.

This file knows neither spectra nor morphologies; it only pairs them, so that both can offer `*` and `+`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx

from scarlet_sed.errors import ParameterError
from scarlet_sed.paths import transparent

if TYPE_CHECKING:
    from scarlet_sed.morphology.base import Morphology
    from scarlet_sed.scene.screen import DustScreen
    from scarlet_sed.spectrum.base import Spectrum


def path_of(name: str, part: str) -> str:
    """The path of a part of what is called `name`; the only part of a thing is named '', and has its path.

    Args:
        name: of a source, or of a light in a blend.
        part: as `components` has it.
    """
    return f"{name}.{part}" if part else name


class Light(eqx.Module):
    """Anything that shines: a component, or a blend of lights."""

    def __add__(self, other: "Light") -> "Blend":
        if not isinstance(other, Light):
            return NotImplemented
        return Blend([*_terms(self), *_terms(other)])

    def behind(self, screen: "DustScreen", name: str = "screen") -> "Screened":
        """This light behind a screen of dust; what is behind several passes them in the order in which they are put.

        Args:
            screen: a `DustScreen`.
            name: what paths call it.
        """
        return Screened(self, {name: screen})

    def components(self) -> Iterator[tuple[str, "Component"]]:
        """The components with their names; the only component of a light has the name ''."""
        raise NotImplementedError

    def mapped(self, function: "Callable[[str, Component], Light]") -> "Light":
        """The same light with every component replaced, blends and screens as they are.

        Args:
            function: of the name and the component.
        """
        raise NotImplementedError

    def screens(self) -> Iterator[tuple[tuple[str, "DustScreen"], ...]]:
        """For each component, in the same order, the screens in front of it with their paths, from the inside out."""
        raise NotImplementedError


class Component(Light):
    """A spectrum that shines with a morphology."""

    spectrum: "Spectrum"
    morphology: "Morphology"

    def components(self) -> Iterator[tuple[str, "Component"]]:
        yield "", self

    def mapped(self, function: "Callable[[str, Component], Light]") -> Light:
        return function("", self)

    def screens(self) -> Iterator[tuple[tuple[str, "DustScreen"], ...]]:
        yield ()


class Screened(Light):
    """Light behind screens of dust.

    Args:
        light: whatever shines.
        front: screens by name, from the inside out.
    """

    light: Light = transparent()
    front: dict[str, "DustScreen"] = transparent()

    def __init__(self, light: Light, front: Mapping[str, "DustScreen"]) -> None:
        for name, screen in front.items():
            if not hasattr(screen, "depth"):
                raise ParameterError(
                    f"light cannot be behind a {type(screen).__name__}", fix="give ss.DustScreen(curve, morphology, av)"
                )
            if not name or "." in name:
                raise ParameterError(f"{name!r} cannot name a screen", fix="use a name without dots")
        self.light, self.front = light, dict(front)

    def components(self) -> Iterator[tuple[str, Component]]:
        yield from self.light.components()

    def mapped(self, function: Callable[[str, Component], Light]) -> Light:
        return Screened(self.light.mapped(function), self.front)

    def screens(self) -> Iterator[tuple[tuple[str, "DustScreen"], ...]]:
        for inner in self.light.screens():
            yield (*inner, *self.front.items())


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
                yield path_of(name, below), component

    def mapped(self, function: Callable[[str, Component], Light]) -> Light:
        def within(name: str) -> Callable[[str, Component], Light]:
            return lambda below, component: function(path_of(name, below), component)

        return Blend({name: part.mapped(within(name)) for name, part in self.parts.items()})

    def screens(self) -> Iterator[tuple[tuple[str, "DustScreen"], ...]]:
        for name, part in self.parts.items():
            for inner in part.screens():
                yield tuple((f"{name}.{path}", screen) for path, screen in inner)


def _terms(light: Light) -> list[Light]:
    return list(light.parts.values()) if isinstance(light, Blend) else [light]


def product(spectrum: Any, morphology: Any) -> Component:
    """The component of a spectrum and a morphology."""
    return Component(spectrum, morphology)
