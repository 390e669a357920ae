"""A picture shown in a window, where there is a display, or written to a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..common.files import atomic_write, disk_line

if TYPE_CHECKING:
    from PIL.Image import Image


def check_picture(file: Path) -> None:
    """Refuse, before any work, a name that says neither PNG nor JPEG.

    Raises:
        InputError: it does not.
    """
    if file.suffix.lower() not in (".png", ".jpg"):
        raise InputError(f"--save: {file} is neither .png nor .jpg; give such a name")


def has_display() -> bool:
    """Whether matplotlib can open a window here: there is a screen, and a toolkit for it."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return False
    import matplotlib

    return matplotlib.get_backend().lower() != "agg"


def show(image: Image, title: str) -> None:
    """Open a window with the picture and wait until it is closed."""
    import matplotlib.pyplot as plt

    plt.figure(title, figsize=(9, 6))
    plt.imshow(image)
    plt.axis("off")
    plt.tight_layout()
    plt.show()


def save_picture(image: Image, file: Path) -> None:
    """Write the picture, PNG or JPEG as the name says, and say so.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with atomic_write(file) as opened:
            image.save(opened, "PNG" if file.suffix.lower() == ".png" else "JPEG")
    except OSError as error:
        raise InputError(f"{disk_line(error, file)}, or try --save") from None
    print(f"wrote {file}")
