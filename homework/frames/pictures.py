"""Decode pictures, save drawings, and tell pictures apart: none of validation in training.

`open_picture` is the only place of the package that decodes a picture of a user's.
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
from ..labels.scene import PICTURE_SIZE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

MAX_PICTURE_BYTES = 100_000_000  # a picture of the dataset has some 3,000
WEBP_QUALITY = 72  # 2.2 kB per frame, where the dataset's JPEG has 8 kB
MAX_PICTURE_PIXELS = 50_000_000  # the dataset: 15,000; decoding needs 3 bytes per pixel
# Only these: for some other formats Pillow starts programs (Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF")
# Part of the key of what is cached of pictures: raise it when `open_picture` gives other pixels.
DECODING = 2
_KNOWN = "JPEG, PNG, WebP, GIF, BMP or TIFF"
SCALE = 6  # drawn pixels per pixel of a frame: names are legible
MAX_DRAWN = 1200  # pixels of the longer side


def open_picture(path: str | Path) -> Image.Image:
    """Decode a whole picture as RGB with 8 bits per channel, the way a person sees it.

    It is turned upright by its EXIF orientation, as transformers' `load_image` does; transparency
    is composited on white, as Idefics3's image processor does; grey of 16 bits is scaled to 8; of
    an animation the first frame is taken. Raises InputError if it is missing, cut short, not a
    picture or absurdly large.
    """
    from PIL import Image

    try:
        # Opening a named pipe would wait for a writer, for ever.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_PICTURE_BYTES:
            raise InputError(f"{path}: not a file of a picture's size; give a {_KNOWN} file")
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height <= MAX_PICTURE_PIXELS:
                picture.load()
                return _as_rgb(_upright(picture), path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such picture; give the path of an existing one") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{path}: not a picture; give a {_KNOWN} file") from None
    except InputError:
        raise
    except Image.DecompressionBombError:
        pass
    # Decoders raise almost any exception for a broken file: OSError, SyntaxError, struct.error ...
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cut short or damaged ({reason}); copy it again") from None
    raise InputError(f"{path}: over {MAX_PICTURE_PIXELS:,} pixels; give a smaller picture")


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF says; as it is stored where the EXIF is damaged."""
    from PIL import ImageOps

    with suppress(Exception):  # whatever it meets, the pixels stay whole
        ImageOps.exif_transpose(picture, in_place=True)
    return picture


def _as_rgb(picture: Image.Image, path: str | Path) -> Image.Image:
    """A decoded picture as RGB."""
    from PIL import Image

    if picture.mode[0] in "IF":  # 16-bit grey is I;16 or, depending on format and version, I
        picture = _grey(picture, path)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _grey(picture: Image.Image, path: str | Path) -> Image.Image:
    """Grey of more than 8 bits as 8 bits; Pillow's own conversion cuts off what is over 255.

    Modes I and F do not say their range: values up to 255 are 8 bits, up to 65,535 16 bits; of F,
    values up to 1 are shares of white.
    """
    import numpy as np
    from PIL import Image

    stored = np.asarray(picture)
    values = stored.astype(np.float32)
    least, most = float(values.min()), float(values.max())
    if not (least >= 0 and most <= 65_535):  # also where one is not a number
        line = f"{path}: has grey values from {least:g} to {most:g}; save it with 8 or 16 bits"
        raise InputError(line)
    if picture.mode.startswith("I;16") or most > 255:
        values /= 257
    elif picture.mode == "F" and most <= 1:
        values *= 255
    grey = Image.fromarray(np.rint(values).astype(np.uint8))
    if isinstance(clear := picture.info.get("transparency"), int):  # one value of a 16-bit PNG
        grey.putalpha(Image.fromarray(np.where(stored == clear, 0, 255).astype(np.uint8)))
    return grey


def enlarge(picture: Image.Image) -> Image.Image:
    """A picture to draw over, SCALE times as large; at most MAX_DRAWN pixels wide and high."""
    from PIL import Image

    factor = min(SCALE, MAX_DRAWN / max(picture.size))
    size = [max(1, round(side * factor)) for side in picture.size]
    return picture.resize(size, Image.Resampling.BICUBIC)


def save_picture(
    picture: Image.Image | Figure, file: Path, open_file: Opener = atomic_write, **options: Any
) -> None:
    """Write a picture, whole or not at all: PNG or JPEG by the suffix of the file's name.

    Args:
        open_file: opens `file`; see `common.outputs`.
        options: passed on to Pillow's `save` or matplotlib's `savefig`.

    Raises InputError if the file cannot be written.
    """
    save = getattr(picture, "savefig", None) or getattr(picture, "save")  # noqa: B009
    kind = "png" if file.suffix.lower() == ".png" else "jpeg"
    with writing(file), open_file(file) as opened:
        save(opened, format=kind, **options)


def webp_texts(pictures: Mapping[str, str | Path]) -> dict[str, str]:
    """name -> path becomes name -> base64 of a small WebP file, for a page that contains pictures.

    Raises InputError if a picture cannot be read.
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


def refuse_split(split: str) -> None:
    """Raise an InputError if the name is that of a validation split."""
    if is_validation(split):
        raise InputError(f"{split}: validation frames are never trained on; use the train split")


def refuse_pictures(paths: Iterable[str | Path], data_dir: Path) -> None:
    """Raise an InputError for the first picture of a validation split, or copy of one."""
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
            raise InputError(f"{path}: the same picture as {twin}, which is for validation")


def is_validation(split: str) -> bool:
    """Whether the name is that of a validation split: valid, valid_grader, sample_valid."""
    return "valid" in split.casefold()


def _digest(path: Path) -> str:
    with reading(path, "copy it again"):
        return digest(path)


def pairs_digest(items: Iterable[Mapping[str, str]]) -> str:
    """SHA-256 of the items of a `VQADataset` in their order, and of the bytes of their pictures.

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
