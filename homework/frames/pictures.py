"""Decode pictures for models and people, and save drawings."""

from __future__ import annotations

import base64
import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import InputError
from ..common.files import atomic_write, writing
from ..labels.scene import PICTURE_SIZE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

MAX_PICTURE_BYTES = 100_000_000  # a picture of the dataset has some 3,000
WEBP_QUALITY = 72  # 2.2 kB per frame, where the dataset's JPEG has 8 kB
MAX_PICTURE_PIXELS = 50_000_000  # the dataset: 15,000; decoding needs 3 bytes per pixel
SCALE = 6  # drawn pixels per pixel of a frame: names are legible
MAX_DRAWN = 1200  # pixels of the longer side


def open_picture(path: str | Path) -> Image.Image:
    """Decode a whole picture as RGB.

    Raises:
        InputError: it is missing, cut short, not a picture or absurdly large.
    """
    from PIL import Image

    try:
        # Opening a named pipe would wait for a writer, for ever.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_PICTURE_BYTES:
            raise InputError(f"{path}: not a file of a picture's size; give a JPEG or PNG file")
        # Only these: for some other formats Pillow starts programs (Ghostscript).
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
    # Decoders raise almost any exception for a broken file: OSError, SyntaxError, struct.error ...
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cut short or damaged ({reason}); copy it again") from None
    raise InputError(_too_large(path))


def enlarge(picture: Image.Image) -> Image.Image:
    """A picture to draw over, SCALE times as large; at most MAX_DRAWN pixels wide and high."""
    from PIL import Image

    factor = min(SCALE, MAX_DRAWN / max(picture.size))
    size = [max(1, round(side * factor)) for side in picture.size]
    return picture.resize(size, Image.Resampling.BICUBIC)


def save_picture(picture: Image.Image | Figure, file: Path, **options: Any) -> None:
    """Write a picture, whole or not at all: PNG or JPEG by the suffix of the file's name.

    Args:
        options: passed on to Pillow's `save` or matplotlib's `savefig`.

    Raises:
        InputError: the file cannot be written.
    """
    save = getattr(picture, "savefig", None) or picture.save
    kind = "png" if file.suffix.lower() == ".png" else "jpeg"
    with writing(file), atomic_write(file) as opened:
        save(opened, format=kind, **options)


def _too_large(path: str | Path) -> str:
    return f"{path}: over {MAX_PICTURE_PIXELS:,} pixels; give a smaller picture"


def webp_texts(pictures: Mapping[str, str | Path]) -> dict[str, str]:
    """name -> path becomes name -> base64 of a small WebP file, for a page that contains pictures.

    Raises:
        InputError: a picture cannot be read.
    """
    from concurrent.futures import ThreadPoolExecutor

    from tqdm import tqdm

    from ..common.workers import num_cores

    # Threads: Pillow releases Python's lock, and torch may be loaded and must not be forked.
    with ThreadPoolExecutor(num_cores()) as pool:
        texts = pool.map(_webp_text, pictures.values())
        few = len(pictures) < 500
        bar = tqdm(texts, total=len(pictures), unit="picture", desc="report", disable=few)
        return dict(zip(pictures, bar, strict=True))


def _webp_text(path: str | Path) -> str:
    buffer = io.BytesIO()
    picture = open_picture(path)
    if picture.width > PICTURE_SIZE[0] or picture.height > PICTURE_SIZE[1]:
        picture = picture.resize(PICTURE_SIZE)
    picture.save(buffer, "WEBP", quality=WEBP_QUALITY, method=2)
    return base64.b64encode(buffer.getvalue()).decode()
