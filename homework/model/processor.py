"""The files of a SmolVLM's processor: tokenizer, settings of the image, chat template.

They are read and written here, not by the classes of transformers: 4.x and 5.x write other names
and files, and 5.x makes another tokenizer of SmolVLM's `GPT2Tokenizer` than its tokenizer.json
holds. `write` writes what every version reads.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..common.errors import InputError
from ..common.files import read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
PROCESSOR, PREPROCESSOR = "processor_config.json", "preprocessor_config.json"
TEMPLATE = "chat_template.jinja"
FILES = (TOKENIZER, TOKENIZER_CONFIG, PROCESSOR, PREPROCESSOR, TEMPLATE)
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
MAX_TILES = 8  # per side of an image; SmolVLM makes 4 at most
IMAGE_TOKENS = 169  # of an image, where the file does not say: transformers' own default
MAX_SIDE = 2048  # pixels per side of the resized image


class Settings(NamedTuple):
    """How an image becomes the model's input."""

    side: int  # pixels of each side of the square that it is resized to
    resample: int  # Pillow's number of the filter
    mean: list[float]  # of each channel, of values from 0 to 1
    std: list[float]
    image_tokens: int  # how many stand for the image in the prompt

    @property
    def sides(self) -> range:
        """Sides that the same model can see: each image token still joins as many whole patches."""
        step = self.side // math.gcd(self.side, math.isqrt(self.image_tokens))
        return range(step, self.side + 1, step)

    def at(self, side: int) -> Settings:
        """The settings for another side, one of `sides`."""
        tokens = self.image_tokens * side**2 // self.side**2
        return self._replace(side=side, image_tokens=tokens)


def read_settings(folder: Path) -> Settings:
    """The settings of the image, from the files of any version.

    Raises:
        InputError: a file is missing or not JSON.
        KeyError, TypeError, ValueError: a field is missing or wrong.
    """
    processor, image = _object(folder / PROCESSOR), _image_processor(folder)
    settings = Settings(
        image["max_image_size"]["longest_edge"],
        image.get("resample", 1),
        image.get("image_mean", [0.5] * 3),
        image.get("image_std", [0.5] * 3),
        processor.get("image_seq_len", IMAGE_TOKENS),
    )
    if type(settings.side) is not int or not 0 < settings.side <= MAX_SIDE:
        raise ValueError(f"longest_edge {settings.side} is not from 1 to {MAX_SIDE}")
    if type(settings.image_tokens) is not int or not 0 < settings.image_tokens <= MAX_SIDE**2:
        raise ValueError(f"image_seq_len {settings.image_tokens} is not a number of tokens")
    for values, lowest in ((settings.mean, 0), (settings.std, 1e-3)):
        # Pixels would not be finite.
        if len(values) != 3 or not all(lowest <= value <= 1e3 for value in map(float, values)):
            raise ValueError("image_mean or image_std makes pixels that are not finite")
    return settings


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of tokenizer.json with the chat template of the folder.

    Raises:
        InputError: a file is missing or not JSON.
        Exception: of the library, where tokenizer.json is malformed.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    config = _object(folder / TOKENIZER_CONFIG)
    special = {name: config[name] for name in SPECIAL if config.get(name)}
    # A token is written as text, or as an object with its content.
    special = {n: v["content"] if isinstance(v, dict) else str(v) for n, v in special.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(folder / TOKENIZER)),
        **special,
        chat_template=_template(folder, config),
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _template(folder: Path, config: dict[str, Any]) -> str:
    """The chat template; its place has changed twice."""
    file, older = folder / TEMPLATE, folder / "chat_template.json"
    if file.is_file():
        return file.read_text("utf-8")
    template = _object(older).get("chat_template") or config.get("chat_template")
    if not isinstance(template, str):
        raise InputError(f"{folder}: has no {TEMPLATE}; copy the checkpoint again")
    return template


def _image_processor(folder: Path) -> dict[str, Any]:
    # 5.x has the image processor inside of the processor's file.
    image = _object(folder / PROCESSOR).get("image_processor") or _object(folder / PREPROCESSOR)
    if not image:
        raise InputError(f"{folder}: has no {PREPROCESSOR}; copy the checkpoint again")
    return image


def own_form(folder: Path) -> dict[str, Any]:
    """How the folder's own image processor resizes and tiles; InputError if into too many tiles."""
    image, most = _image_processor(folder), MAX_TILES * read_settings(folder).side
    # What is absent is transformers' default.
    size = image.get("size", {"longest_edge": 4 * 364})
    longest = size.get("longest_edge") if isinstance(size, dict) else None
    if type(longest) is not int or not 0 < longest <= most:
        raise InputError(
            f"{folder}: its image processor enlarges images to {longest!r:.40} pixels, not to 1 "
            f"to {most}; copy the checkpoint again"
        )
    flags = {n: image.get(n, True) is True for n in ("do_image_splitting", "do_resize")}
    return flags | {"size": {"longest_edge": longest}}


def library_processor(
    folder: Path, form: dict[str, Any] | None = None, settings: Settings | None = None
) -> Any:
    """transformers' Idefics3Processor for the folder.

    Args:
        form: see `own_form`. If omitted, it makes the same inputs as InputBuilder, one pair at a
            time: one square for each image. It resizes twice to get there, so that a pixel may be
            one grey level off.
        settings: of the image; those of the folder if omitted.
    """
    from transformers import Idefics3Processor

    from .compat import image_processor_class

    settings = settings or read_settings(folder)
    size = {"longest_edge": settings.side}
    image_processor = image_processor_class()(
        # Both are needed: without splitting, the first resize, to 2048, would still run.
        **(form or {"do_image_splitting": False, "size": size}),
        max_image_size=size,
        resample=settings.resample,
        image_mean=settings.mean,
        image_std=settings.std,
    )
    tokenizer: Any = read_tokenizer(folder)
    return Idefics3Processor(
        image_processor,
        tokenizer,
        image_seq_len=settings.image_tokens,
        chat_template=tokenizer.chat_template,
    )


def write(
    folder: Path, tokenizer: Any, settings: Settings, form: dict[str, Any] | None = None
) -> None:
    """Write the files of a processor so that 4.x and 5.x read the same from them.

    Args:
        tokenizer: PreTrainedTokenizerFast.
        form: settings of transformers' image processor in place of a resize and one square; see
            `own_form`.
    """
    size = {"longest_edge": settings.side}
    image = {
        "do_convert_rgb": True,
        "do_image_splitting": False,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": settings.mean,
        "image_processor_type": "Idefics3ImageProcessor",
        "image_std": settings.std,
        "max_image_size": size,
        "processor_class": "Idefics3Processor",
        "resample": settings.resample,
        "rescale_factor": 1 / 255,
        "size": size,
    }
    special = {name: str(value) for name in SPECIAL if (value := getattr(tokenizer, name))}
    words = {
        "additional_special_tokens": ["<fake_token_around_image>", "<image>", "<end_of_utterance>"],
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],  # 4.x would add token_type_ids
        "padding_side": "left",
        "processor_class": "Idefics3Processor",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = tokenizer.backend_tokenizer.to_str(pretty=True)
    (folder / TOKENIZER).write_text(text, "utf-8")
    write_json(folder / TOKENIZER_CONFIG, special | words)
    write_json(folder / PREPROCESSOR, image | (form or {}))
    processor = {"image_seq_len": settings.image_tokens, "processor_class": "Idefics3Processor"}
    write_json(folder / PROCESSOR, processor)
    (folder / TEMPLATE).write_text(tokenizer.chat_template, "utf-8")


def _object(file: Path) -> dict[str, Any]:
    """A JSON object; {} if there is no such file."""
    found = read_json(file) if file.is_file() else {}
    if not isinstance(found, dict):
        raise InputError(f"{file}: not a JSON object; copy the checkpoint again")
    return found
