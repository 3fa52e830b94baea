"""Figures as text that fits into a page."""

import base64
import io

from matplotlib.figure import Figure


def embed(figure: Figure, dpi: int = 100) -> str:
    """A figure as base64 of a PNG with a transparent background."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
