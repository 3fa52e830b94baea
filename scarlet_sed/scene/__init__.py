"""Sources, and scenes made of them."""

from scarlet_sed.scene.boxes import Box
from scarlet_sed.scene.scene import Scene
from scarlet_sed.scene.source import Source

__all__ = ["Box", "Scene", "Source"]
