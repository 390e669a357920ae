"""Decode images, save drawings, and tell images apart: none of validation in training.

`open_image` is the only place of the package that decodes an image of a user's.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import InputError
from ..common.files import DATA_DIR, Opener, atomic_write, digest, reading, writing
from ..labels.scene import IMAGE_SIZE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

MAX_IMAGE_BYTES = 100_000_000  # an image of the dataset has some 3,000
WEBP_QUALITY = 72  # 2.2 kB per frame, where the dataset's JPEG has 8 kB
MAX_IMAGE_PIXELS = 50_000_000  # the dataset: 15,000; decoding needs 3 bytes per pixel
# Only these: for some other formats Pillow starts programs (Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF")
_KNOWN = "JPEG, PNG, WebP, GIF, BMP or TIFF"
SCALE = 6  # drawn pixels per pixel of a frame: names are legible
MAX_DRAWN = 1200  # pixels of the longer side


def open_image(path: str | Path) -> Image.Image:
    """Decode a whole image as RGB with 8 bits per channel, the way a person sees it.

    It is turned upright by its EXIF orientation, as transformers' `load_image` does; transparency
    is composited on white, as Idefics3's image processor does; grey of 16 bits is scaled to 8; of
    an animation the first frame is taken. Raises InputError if it is missing, cut short, not an
    image or absurdly large.
    """
    from PIL import Image

    try:
        # Opening a named pipe would wait for a writer, for ever.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: not a plain file; give a {_KNOWN} file")
        if status.st_size > MAX_IMAGE_BYTES:
            raise InputError(f"{path}: over {MAX_IMAGE_BYTES:,} bytes; give a smaller image")
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height <= MAX_IMAGE_PIXELS:
                image.load()
                return _as_rgb(_upright(image), path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such image; give the path of an existing one") from None
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{path}: not an image; give a {_KNOWN} file") from None
    except InputError:
        raise
    except Image.DecompressionBombError:
        pass
    # Decoders raise almost any exception for a broken file: OSError, SyntaxError, struct.error ...
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cut short or damaged ({reason}); copy it again") from None
    raise InputError(f"{path}: over {MAX_IMAGE_PIXELS:,} pixels; give a smaller image")


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF says; as it is stored where the EXIF is damaged."""
    from PIL import ImageOps

    with suppress(Exception):  # whatever it meets, the pixels stay whole
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _as_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    """A decoded image as RGB."""
    from PIL import Image

    if image.mode[0] in "IF":  # 16-bit grey is I;16 or, depending on format and version, I
        image = _grey(image, path)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _grey(image: Image.Image, path: str | Path) -> Image.Image:
    """Grey of more than 8 bits as 8 bits; Pillow's own conversion cuts off what is over 255.

    Modes I and F do not say their range: values up to 255 are 8 bits, up to 65,535 16 bits; of F,
    values up to 1 are shares of white.
    """
    import numpy as np
    from PIL import Image

    stored = np.asarray(image)
    values = stored.astype(np.float32)
    least, most = float(values.min()), float(values.max())
    if not (least >= 0 and most <= 65_535):  # also where one is not a number
        line = f"{path}: has grey values from {least:g} to {most:g}; save it with 8 or 16 bits"
        raise InputError(line)
    if image.mode.startswith("I;16") or most > 255:
        values /= 257
    elif image.mode == "F" and most <= 1:
        values *= 255
    grey = Image.fromarray(np.rint(values).astype(np.uint8))
    if isinstance(clear := image.info.get("transparency"), int):  # one value of a 16-bit PNG
        grey.putalpha(Image.fromarray(np.where(stored == clear, 0, 255).astype(np.uint8)))
    return grey


def enlarge(image: Image.Image) -> Image.Image:
    """An image to draw over, SCALE times as large; at most MAX_DRAWN pixels wide and high."""
    from PIL import Image

    factor = min(SCALE, MAX_DRAWN / max(image.size))
    size = [max(1, round(side * factor)) for side in image.size]
    return image.resize(size, Image.Resampling.BICUBIC)


def save_image(
    image: Image.Image | Figure, file: Path, open_file: Opener = atomic_write, **options: Any
) -> None:
    """Write an image, whole or not at all: PNG or JPEG by the suffix of the file's name.

    Args:
        open_file: opens `file`; see `common.outputs`.
        options: passed on to Pillow's `save` or matplotlib's `savefig`.

    Raises InputError if the file cannot be written.
    """
    save = getattr(image, "savefig", None) or getattr(image, "save")  # noqa: B009
    kind = "png" if file.suffix.lower() == ".png" else "jpeg"
    with writing(file), open_file(file) as opened:
        save(opened, format=kind, **options)


def webp_texts(images: Mapping[str, str | Path]) -> dict[str, str]:
    """name -> path becomes name -> base64 of a small WebP file, for a page that contains images.

    Raises InputError if an image cannot be read.
    """
    from tqdm import tqdm

    few = len(images) < 500
    bar = tqdm(images.items(), unit="image", desc="report", disable=few)
    return {name: _webp_text(path) for name, path in bar}


def _webp_text(path: str | Path) -> str:
    buffer = io.BytesIO()
    image = open_image(path)
    if image.width > IMAGE_SIZE[0] or image.height > IMAGE_SIZE[1]:
        image = image.resize(IMAGE_SIZE)
    image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=2)
    return base64.b64encode(buffer.getvalue()).decode()


def refuse_split(split: str) -> None:
    """Raise an InputError if the name is that of a validation split."""
    if is_validation(split):
        raise InputError(f"{split}: validation frames are never trained on; use the train split")


def refuse_images(paths: Iterable[str | Path], data_dir: Path) -> None:
    """Raise an InputError for the first image of a validation split, or copy of one."""
    # Copies of validation frames in the data folder beside the package are refused, too.
    folders = [
        folder
        for parent in {data_dir.resolve(), DATA_DIR}
        if parent.is_dir()
        for folder in parent.iterdir()
        if is_validation(folder.name)
    ]
    known = {_digest(file): file for folder in folders for file in folder.glob("*_im.jpg")}
    for path in map(Path, paths):
        below = path.relative_to(data_dir) if path.is_relative_to(data_dir) else path
        if any(map(is_validation, (*below.parts[:-1], path.resolve().parent.name))):
            raise InputError(f"{path}: lies in a validation split; train on the train split")
        twin = known.get(_digest(path)) if known else None
        if twin:
            raise InputError(f"{path}: the same image as {twin}, which is for validation")


def is_validation(split: str) -> bool:
    """Whether the name is that of a validation split: valid, valid_grader, sample_valid."""
    return "valid" in split.casefold()


def _digest(path: Path) -> str:
    with reading(path, "copy it again"):
        return digest(path)


def pairs_digest(items: Iterable[Mapping[str, str]]) -> str:
    """SHA-256 of the items of a `VQADataset` in their order, and of the bytes of their images.

    It stays the same where the data folder is moved or unpacked again.
    """
    found = hashlib.sha256()
    paths = dict.fromkeys(item["image_path"] for item in items)
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    for item in items:
        name = Path(item["image_path"]).relative_to(root).as_posix()
        found.update(json.dumps([name, item["question"], item["answer"]]).encode())
    found.update(files_digest(map(Path, paths)).encode())
    return found.hexdigest()


def files_digest(paths: Iterable[Path]) -> str:
    """SHA-256 of the names and bytes of files in their order; InputError if one cannot be read."""
    found = hashlib.sha256()
    for path in paths:
        found.update(json.dumps([path.name, _digest(path)]).encode())
    return found.hexdigest()
