"""The persistent cache of compiled programs, which the command line switches on (a library must not)."""

import os
from pathlib import Path

import jax

from scarlet_sed.files import user_cache


def compilation_cache_folder() -> Path:
    """The user's cache folder for compiled programs."""
    return user_cache() / "jax"


def use_compilation_cache(folder: Path | None = None) -> Path | None:
    """Keep compiled programs between runs of this process and later ones.

    Args:
        folder: the user's cache folder by default.

    Returns:
        the folder in use, or None where it cannot be written (then programs are compiled anew).
    """
    try:
        folder = folder or compilation_cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except (OSError, RuntimeError):  # no home, or a read-only one
        return None
    if not writable:
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    return folder
