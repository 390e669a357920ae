"""Build model inputs from images and question/answer pairs, for training and generation.

All pairs of a view share one sequence. It starts with the prefix (image tokens and the start of
the prompt). Each pair is a branch behind it, which attends to the prefix and to itself only (see
`packing`) and whose positions continue those of the prefix:

    prefix: <|im_start|>User:<fake_token_around_image><global-img><image>*N<fake_token_around_image>
    branch 1: QUESTION<end_of_utterance>\\nAssistant: ANSWER<end_of_utterance>
    branch 2: ...

The result is the same as with one sequence per pair. Only the answer and its end token are
supervised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..common.errors import InputError, one_line
from ..labels.questions import MAX_TEXT_LENGTH

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image
    from transformers import Idefics3Processor

    from .processor import Settings

IGNORED = -100  # label of tokens without loss
MAX_ENCODED = 10_000  # texts whose token ids stay in memory
_QUESTION = "{QUESTION}"  # placeholder that marks where the chat template puts the question


def check_length(text: str) -> None:
    """Raise InputError if a text is too long: attention's memory grows with its square."""
    if len(text) > MAX_TEXT_LENGTH:
        raise InputError(
            f"the text {text[:40]!r}... has {len(text):,} characters; give at most "
            f"{MAX_TEXT_LENGTH:,}"
        )


class ViewSequence(NamedTuple):
    """The tokens of one view: the prefix, then one branch per pair."""

    input_ids: list[int]
    labels: list[int]  # as long; IGNORED except on answers and their end tokens
    lengths: list[int]  # tokens of each branch


class InputBuilder:
    """Turns images and pairs into the inputs of a model.

    Args:
        tokenizer: PreTrainedTokenizerFast (its annotations fit few results), with a chat template.
        settings: of the image.

    Attributes:
        answer_start: what stands between `Assistant:` and an answer.
        starter: transformers' processor for inputs as the course's starter code has them, or None.
    """

    def __init__(self, tokenizer: Any, settings: Settings) -> None:
        self.answer_start = " "
        self.starter: Any = None
        self.tokenizer, self.settings = tokenizer, settings
        self.side, self.resample, self.mean, self.std, image_tokens = settings
        self.end_id: int = tokenizer.eos_token_id
        self.pad_id: int = tokenizer.pad_token_id
        self._encoded: dict[str, list[int]] = {}

        edge = "<fake_token_around_image>"
        image = f"{edge}<global-img>{'<image>' * image_tokens}{edge}"  # one tile
        prefix, tail = self.prompt(_QUESTION).replace("<image>", image).split(_QUESTION)
        self.prefix_ids = tokenizer(prefix, add_special_tokens=False)["input_ids"]
        self._tail_ids = tokenizer(tail, add_special_tokens=False)["input_ids"]

    def prompt(self, question: str) -> str:
        """The prompt from the chat template; `<image>` stands for the image."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        return self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )

    def use_starter_form(self, processor: Idefics3Processor) -> None:
        """Make inputs as the course's starter code does, for an adapter that it trained.

        An image goes through the processor, which for SmolVLM enlarges it and splits it into
        tiles. An answer follows `Assistant:` without a space.
        """
        self.answer_start, self.starter = "", processor

    def starter_prefix(self, image: Image) -> tuple[list[int], torch.Tensor]:
        """Token ids before the question, and an image as tiles, float32 (tiles, 3, side, side).

        They have the starter's form. Raises InputError if the processor refuses the image.
        """
        prompt = self.prompt("")
        try:
            made = self.starter(text=prompt, images=[[image]], return_tensors="pt")
        except ValueError as error:
            line = f"an image of {image.size} pixels cannot be read ({one_line(error)})"
            raise InputError(f"{line}; give one of another shape") from None
        ids = made["input_ids"][0].tolist()
        return ids[: len(ids) - len(self._tail_ids)], made["pixel_values"][0]

    def resize(self, image: Image) -> np.ndarray:
        """Resize an image (RGB) to the square input of the model: uint8 (side, side, 3)."""
        import numpy as np

        return np.asarray(image.resize((self.side, self.side), self.resample))

    def pixel_values(self, squares: Sequence[np.ndarray]) -> torch.Tensor:
        """Normalise N resized images: float32 (N, 1, 3, side, side), 1 image per sample."""
        import numpy as np
        import torch

        return self.normalise(torch.from_numpy(np.stack(squares)))

    def normalise(self, squares: torch.Tensor) -> torch.Tensor:
        """As `pixel_values`, from uint8 (N, side, side, 3), on the same device."""
        import torch

        mean = torch.tensor(self.mean, device=squares.device).view(3, 1, 1) * 255
        std = torch.tensor(self.std, device=squares.device).view(3, 1, 1) * 255
        batch = squares.permute(0, 3, 1, 2).to(torch.float32)  # (N, 3, side, side)
        return ((batch - mean) / std).unsqueeze(1)

    def question_ids(self, question: str) -> list[int]:
        """Tokens behind the prefix: the question up to and including `Assistant:`."""
        return self._encode(question) + self._tail_ids

    def answer_ids(self, answer: str) -> list[int]:
        """The supervised tokens: the answer and its end token."""
        return [*self._encode(f"{self.answer_start}{answer}"), self.end_id]

    def view_sequence(self, pairs: Iterable[tuple[str, str]]) -> ViewSequence:
        """Tokens of the (question, answer) pairs of one view behind their common prefix."""
        return self._sequence(
            (self.question_ids(question), self.answer_ids(answer)) for question, answer in pairs
        )

    def statement_sequence(self, statements: Iterable[tuple[str, str]]) -> ViewSequence:
        """Tokens of statements that the assistant makes about a view: (prompt or "", target)."""
        return self._sequence(
            (
                self.question_ids("") + (self._encode(f" {prompt}") if prompt else []),
                self.answer_ids(target),
            )
            for prompt, target in statements
        )

    def _sequence(self, branches: Iterable[tuple[list[int], list[int]]]) -> ViewSequence:
        """The prefix, then one branch per (prompt tokens, supervised tokens)."""
        sequence = ViewSequence([*self.prefix_ids], [IGNORED] * len(self.prefix_ids), [])
        for prompt, supervised in branches:
            sequence.input_ids.extend(prompt + supervised)
            sequence.labels.extend([IGNORED] * len(prompt) + supervised)
            sequence.lengths.append(len(prompt) + len(supervised))
        return sequence

    def _encode(self, text: str) -> list[int]:
        """Token ids of text that users write; `<image>` in it is plain text.

        The ids stay in memory, as the same few hundred questions and answers repeat.
        """
        if text not in self._encoded:
            check_length(text)
            if len(self._encoded) > MAX_ENCODED:
                self._encoded.clear()
            self._encoded[text] = self.tokenizer(
                text, add_special_tokens=False, split_special_tokens=True
            )["input_ids"]
        return self._encoded[text]
