"""A SmolVLM that answers questions about images; training and heat maps take it, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..common import machine
from ..common.distributed import print0
from ..common.errors import InputError
from .inputs import InputBuilder
from .loading import check_config, check_match, find_checkpoint, load_inputs, load_model
from .processor import library_processor


class Record(NamedTuple):
    """What is known of an adapter; a loaded model carries that of its own.

    `fingerprint` and `training` are None if something else than `train` made it.
    """

    folder: Path
    base: str  # name of the base that it was trained on; see BaseVLM
    fingerprint: str | None  # SHA-256 of the weights of that base
    training: dict[str, Any] | None  # options, versions and the best result on held-out frames

    @property
    def split(self) -> str | None:
        """Name of the split that it was trained on; None if that is not known."""
        if self.training is None:
            return None
        split = self.training.get("train_dataset_name")
        return split if isinstance(split, str) else "train"


class BaseVLM:
    """A SmolVLM on its device, with its processor, which answers questions about images.

    Attributes:
        model: Idefics3ForConditionalGeneration, or of SmolVLM2 SmolVLMForConditionalGeneration;
            float32 weights, in evaluation mode; with an adapter, the PEFT model around it.
        network: that model itself, adapter or not.
        inputs: InputBuilder, made from the files of the base's processor.
        device: "cuda", "mps" or "cpu".
        dtype: precision of matrix products; see `machine.choose`.
        base: name of the base, as an adapter records it.
        folder: folder of the base.
        adapter: the record of the adapter that is attached; None for a base alone.
        smaller: how many times smaller batches of questions are than usual, as memory ran out.
        can_switch: whether PEFT can switch the adapter off and leave the base as its file has it,
            to the bit: not once it is merged, nor where it changes the base's own weights.
    """

    def __init__(self, checkpoint: str | Path | None = None, verbose: bool = True) -> None:
        """Load a base from disk, without using the network.

        Args:
            checkpoint: a folder, a hub name that is in the hub cache, or "embedded_base". None is
                SmolVLM-256M-Instruct if the hub cache has it, otherwise the embedded base.
            verbose: print the base and the device.

        Raises InputError if the base is not on disk or is not a SmolVLM.
        """
        from . import attention

        self.adapter: Record | None = None
        self.can_switch = False
        self.smaller = 1
        self.base, self.folder = find_checkpoint(checkpoint)
        self.device, self.dtype, reason = machine.choose()
        if verbose:
            print0(f"{self.base} on {reason}")
        check_config(self.folder)
        self.inputs = load_inputs(self.folder)
        self.model = self.network = load_model(self.folder).to(self.device).eval()
        attention.use(self.network)
        check_match(self.model, self.inputs, self.folder)

    def use_image_side(self, side: int, named: str) -> None:
        """Resize images to a square of another side than the base's own.

        Args:
            named: what asks for it, an option or a field of a file; the error begins with it.

        Raises InputError if the base does not take this side.
        """
        settings = self.inputs.settings
        has_stem = self.network.config.model_type == "idefics3_stem"
        sides = [settings.side] if has_stem else settings.sides  # a stem has learned one side
        if type(side) is not int or side not in sides:
            raise InputError(
                f"{named}: {self.base} takes images of {', '.join(map(str, sides))} pixels a "
                f"side, not {side!r:.40}"
            )
        self.inputs = InputBuilder(self.inputs.tokenizer, settings.at(side))

    @cached_property
    def processor(self):
        """transformers' own processor of the base, which this package does not need."""
        return library_processor(self.folder, settings=self.inputs.settings)

    @property
    def patches(self) -> int:
        """Patches of an image in the vision tower."""
        return (self.inputs.side // self.network.config.vision_config.patch_size) ** 2

    def format_prompt(self, question: str) -> str:
        """The prompt from the chat template; `<image>` stands for the image."""
        return self.inputs.prompt(question)

    def generate(self, image_path: str | Path, question: str) -> str:
        """Answer one question about one image."""
        return self.answer([image_path], [question])[0]

    def answer(self, image_paths: Sequence[str | Path], questions: Sequence[str]) -> list[str]:
        """Answer each question about the image at the same index."""
        from .generation import generate

        return [texts[0] for texts in generate(self, [*map(str, image_paths)], questions)]

    def batched_generate(
        self,
        image_paths: Sequence[str | Path],
        questions: Sequence[str],
        num_return_sequences: int | None = None,
        temperature: float = 0,
    ) -> list[str] | list[list[str]]:
        """Generate answers; each distinct image is read and encoded once.

        Args:
            num_return_sequences: answers to sample per question. None returns one string per
                question instead of a list.
            temperature: 0 decodes greedily; above 0, tokens are sampled.

        Raises InputError if the numbers of images and questions differ, a question is too long,
        more than one answer is requested at temperature 0, or an image cannot be read.
        """
        from .generation import generate

        copies = num_return_sequences or 1
        if copies > 1 and temperature <= 0:
            raise InputError("num_return_sequences: more than 1 needs a temperature above 0")
        answers = generate(self, [*map(str, image_paths)], questions, copies, temperature)
        return answers if num_return_sequences else [texts[0] for texts in answers]

    @contextmanager
    def base_alone(self) -> Iterator[BaseVLM]:
        """The base without the adapter: this model, with the adapter switched off for the block.

        It has no second model in memory unless the adapter cannot be switched off: PEFT would take
        a merged one out by subtraction, which leaves rounding errors.
        """
        if self.adapter is None:
            yield self
        elif self.can_switch:
            with self.model.disable_adapter():
                yield self
        else:
            base = type(self)(self.folder, verbose=False)
            base.inputs = self.inputs
            yield base

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Disable gradients and run matrix products in the precision of `dtype`."""
        import torch

        with (
            torch.inference_mode(),
            torch.autocast(self.device, self.dtype, self.dtype != torch.float32),
        ):
            yield
