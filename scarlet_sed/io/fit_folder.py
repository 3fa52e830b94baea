"""The folder that a fit leaves: the fitted scene, and the observations as the fit saw them.

Both together are what sampling goes on from. They come back bit by bit, so that chains that were begun after a fit can
be gone on with by another process.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scarlet_sed.errors import FileFormatError
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.io.scene_file import load_scene, save_scene
from scarlet_sed.scene.scene import Scene

SCENE = "scene"
OBSERVATIONS = "observations"


class Fitted(NamedTuple):
    """What was fitted: parameters keep their priors and have the values of the fit."""

    scene: Scene
    observations: tuple[Observation, ...]


def save_fit(folder: str | Path, scene: Scene, observations: Sequence[Observation]) -> None:
    """Write a fitted scene and its observations into a folder.

    Args:
        folder: where; `scene` and `observations` in it are replaced.
        scene: at the fit.
        observations: with their noise, masks, sky, shift and calibration as fitted.
    """
    save_scene(scene, Path(folder) / SCENE)
    save_scene(tuple(observations), Path(folder) / OBSERVATIONS)


def load_fit(folder: str | Path) -> Fitted:
    """Read what `save_fit` wrote.

    Args:
        folder: of the fit.

    Raises:
        FileFormatError: if there is no fit, or its files are damaged.
    """
    folder = Path(folder)
    if not (folder / SCENE).exists():
        raise FileFormatError(
            f"there is no fit in {str(folder)!r}",
            fix="give the folder that `scarlet-sed fit config.toml --out FOLDER` wrote, with `output.scene = true`",
        )
    if not (folder / OBSERVATIONS).exists():
        raise FileFormatError(
            f"the fit in {str(folder)!r} has a scene and lacks the observations",
            fix="fit again with this version of scarlet_sed, which keeps them",
        )
    scene, observations = _read(folder / SCENE), _read(folder / OBSERVATIONS)
    if not isinstance(scene, Scene):
        raise _foreign(folder / SCENE, scene)
    if not (isinstance(observations, tuple) and observations and all(isinstance(o, Observation) for o in observations)):
        raise _foreign(folder / OBSERVATIONS, observations)
    return Fitted(scene, observations)


def _read(path: Path) -> Any:
    try:
        return load_scene(path)
    except FileFormatError as error:
        raise FileFormatError(error.problem, fix=f"{error.fix}; or run `scarlet-sed fit` again") from error


def _foreign(path: Path, found: Any) -> FileFormatError:
    return FileFormatError(f"{str(path)!r} holds a {type(found).__name__}", fix="run `scarlet-sed fit` again")
