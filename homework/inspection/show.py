"""A picture shown in a window, where there is a display."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


def check_picture(file: Path) -> None:
    """Check, before any work, that the name of a picture ends in .png or .jpg.

    Raises:
        InputError: it does not.
    """
    if file.suffix.lower() not in (".png", ".jpg"):
        raise InputError(f"--save: {file} is neither .png nor .jpg; give such a name")


def has_display() -> bool:
    """Whether matplotlib can open a window: there is a screen and a toolkit for it."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return False
    import matplotlib

    return matplotlib.get_backend().lower() != "agg"


def show(image: Image, title: str) -> None:
    """Show the picture in a window until the user closes it."""
    import matplotlib.pyplot as plt

    plt.figure(title, figsize=(9, 6))
    plt.imshow(image)
    plt.axis("off")
    plt.tight_layout()
    plt.show()
