"""Figures as text that fits into a page."""

import base64
import io

from matplotlib.figure import Figure


def embed(figure: Figure, dpi: int = 100) -> str:
    """A figure as base64 of a PNG with a transparent background."""
    return embed_png(png(figure, dpi))


def embed_png(content: bytes) -> str:
    """A PNG as base64."""
    return base64.b64encode(content).decode("ascii")


def png(figure: Figure, dpi: int = 100) -> bytes:
    """A figure as a PNG with a transparent background."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
