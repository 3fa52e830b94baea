"""From scene and observations to a program: grouping, stacking, placing. Runs on the host, once per fit."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from scarlet_sed.constraints import lowest
from scarlet_sed.errors import DataError, ParameterError, ScarletSEDError
from scarlet_sed.infer.families import (
    Family,
    FamilyValues,
    Gather,
    Place,
    build_families,
    mark_whole,
    padded_count,
    stack,
    template_leaf,
)
from scarlet_sed.infer.guard import Guard
from scarlet_sed.infer.program import ComponentGroup, InstrumentParameters, ObservationProgram, Program
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.instrument.operator import Operator, build_operator
from scarlet_sed.light import path_of
from scarlet_sed.morphology.pixels import Pixels
from scarlet_sed.morphology.starlet import Starlet
from scarlet_sed.parameters import Parameter, Tied, as_float
from scarlet_sed.paths import replace_slots, slots
from scarlet_sed.scene.scene import Scene
from scarlet_sed.shared import is_shared, shared_ids


class Built(NamedTuple):
    """A program, and where everything in it comes from.

    Args:
        program: the model.
        values: at which it starts.
        places: where each free parameter's path lives in them.
        components: per group, the path of each of its components.
    """

    program: Program
    values: FamilyValues
    places: dict[str, Place]
    components: tuple[tuple[str, ...], ...]


def as_observations(observations: Any) -> tuple[Observation, ...]:
    """One observation, a sequence or a mapping as a tuple with distinct names."""
    if isinstance(observations, Observation):
        return (observations,)
    if isinstance(observations, Mapping):
        observations = list(observations.values())
    found = tuple(observations)
    if not found or not all(isinstance(o, Observation) for o in found):
        raise DataError("no observations, or something else among them", fix="pass one or more ss.Observation")
    names = [o.name for o in found]
    if len(set(names)) != len(names):
        raise ParameterError(f"observations share a name: {names}", fix="give each Observation its own name=")
    return found


def build(scene: Scene, observations: Sequence[Observation]) -> Built:
    """The program of a scene seen by observations."""
    tree = {**scene.sources, **{o.name: o for o in observations}}
    if len(tree) != len(scene.sources) + len(observations):
        raise ParameterError("a source and an observation share a name", fix="rename one of them")
    leaves = {slot.path: slot.leaf for slot in slots(tree)}
    _check_spectra(scene, observations)
    families, values, places = build_families(leaves)
    frame = scene.frame
    groups, components = _groups(scene, leaves, places, families)
    program = Program(
        groups,
        tuple(_observation_program(scene, o, leaves, places) for o in observations),
        families,
        as_float(frame.matrix),
        as_float(frame.origin),
        as_float(frame.psf_sigma),
        _guard(scene, groups),
    )
    return Built(program, values, places, components)


def _check_spectra(scene: Scene, observations: Sequence[Observation]) -> None:
    """Let every spectrum refuse filters or redshifts that it cannot serve, before they are traced."""
    for (name, part, component), screens in zip(scene.components(), scene.screens(), strict=True):
        for observation in observations if screens else ():
            observation.filters.require_curves(f"the DustScreen {name}.{screens[0][0]}")
        leaf = scene.sources[name].redshift
        least = lowest(leaf.prior) if isinstance(leaf, Parameter) else leaf
        if isinstance(least, Tied) or not np.all(np.isfinite(least)):
            continue
        for observation in observations:
            try:
                component.spectrum.check(observation.filters, as_float(least))
            except ScarletSEDError as error:
                raise type(error)(f"{path_of(name, part)}: {error.problem}", fix=error.fix) from error


def _template(module: Any, prefix: str, leaves: Mapping[str, Any], places: Mapping[str, Place]) -> Any:
    """A module whose slots hold constants and gathers."""
    return replace_slots(module, {s.path: template_leaf(leaves, places, prefix + s.path) for s in slots(module)})


def _groups(
    scene: Scene, leaves: Mapping[str, Any], places: Mapping[str, Place], families: Sequence[Family]
) -> tuple[tuple[ComponentGroup, ...], tuple[tuple[str, ...], ...]]:
    """The groups, and the paths of the components of each."""
    index = {name: i for i, name in enumerate(scene.sources)}
    members: dict[tuple, list[tuple]] = {}
    paths: dict[tuple, list[str]] = {}
    for (name, part, component), screens, box in zip(scene.components(), scene.screens(), scene.boxes(), strict=True):
        stacked = (
            _template(component, f"{path_of(name, part)}.", leaves, places),
            tuple(_template(screen, f"{name}.{path}.", leaves, places) for path, screen in screens),
            template_leaf(leaves, places, f"{name}.position"),
            template_leaf(leaves, places, f"{name}.redshift"),
            np.asarray(box.offset, np.int32),
            np.asarray(1.0),
            np.int32(index[name]),
        )
        parts = jax.tree.leaves(stacked, is_leaf=is_shared)
        shapes = tuple(id(x) if is_shared(x) else np.shape(x) for x in parts)
        kind = (jax.tree.structure(stacked), shapes, box.shape)
        members.setdefault(kind, []).append(stacked)
        paths.setdefault(kind, []).append(path_of(name, part))
    groups = []
    held: dict[tuple[int, ...], int] = {}
    for (_, _, box_shape), alike in members.items():
        count = padded_count(len(alike))
        marked: Any = mark_whole(stack(alike, count), families, len(alike))
        component, front, position, redshift, offsets, _, source = marked
        valid = as_float(np.arange(count) < len(alike))
        constants = held.setdefault(shared_ids(alike[0][0].spectrum), len(held))
        groups.append(
            ComponentGroup(component, front, position, redshift, offsets, valid, source, box_shape, constants)
        )
    return tuple(groups), tuple(tuple(own) for own in paths.values())


def _guard(scene: Scene, groups: Sequence[ComponentGroup]) -> Guard | None:
    free = tuple(i for i, g in enumerate(groups) if isinstance(g.component.morphology, Pixels | Starlet))
    if not scene.flux_guard or not free:
        return None
    return Guard(as_float(scene.flux_guard), free, scene.frame.shape)


def _observation_program(
    scene: Scene, observation: Observation, leaves: Mapping[str, Any], places: Mapping[str, Place]
) -> ObservationProgram:
    def leaf(slot: str) -> Any:
        found = template_leaf(leaves, places, f"{observation.name}.{slot}")
        return found if isinstance(found, Gather) else as_float(found)

    shift = leaf("shift")
    if not isinstance(shift, Gather) and not np.any(np.asarray(shift)):
        shift = None
    noise = _template(observation.noise, f"{observation.name}.noise.", leaves, places)
    return ObservationProgram(
        as_float(observation.data),
        as_float(observation.weights),
        observation.filters,
        operator_of(scene, observation),
        InstrumentParameters(leaf("sky"), leaf("calibration"), leaf("foreground"), shift, noise),
    )


def operator_of(scene: Scene, observation: Observation) -> Operator:
    """The operator from the scene's canvas to the pixels of an observation."""
    frame = scene.frame
    return build_operator(frame.shape, frame.psf_sigma, observation.psfs, frame.pixel_map(observation.grid))
