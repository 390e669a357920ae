"""Open pictures: every one that a model sees or a person is shown is decoded here."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

MAX_PICTURE_BYTES = 100_000_000  # a frame's file has some 3,000
MAX_PICTURE_PIXELS = 50_000_000  # a frame has 15,000; decoding needs 3 bytes a pixel


def open_picture(path: str | Path) -> Image.Image:
    """Decode a whole picture as RGB.

    Raises:
        InputError: it is missing, cut short, not a picture or absurdly large.
    """
    from PIL import Image

    try:
        # Opening a named pipe would wait for ever for someone to write into it.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_PICTURE_BYTES:
            raise InputError(f"{path}: not a file of a picture's size; give a JPEG or PNG file")
        # These two only: Pillow would hand other formats to programs outside (Ghostscript).
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            width, height = picture.size
            if width * height <= MAX_PICTURE_PIXELS:
                return picture.convert("RGB")
    except FileNotFoundError:
        raise InputError(f"{path}: no such picture; give the path of an existing one") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{path}: not a picture; give a JPEG or PNG file") from None
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(_too_large(path)) from None
    # Decoders report broken files by almost any exception: OSError, SyntaxError, struct.error ...
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cut short or damaged ({reason}); copy it again") from None
    raise InputError(_too_large(path))


def _too_large(path: str | Path) -> str:
    return f"{path}: over {MAX_PICTURE_PIXELS:,} pixels; give a smaller picture"
