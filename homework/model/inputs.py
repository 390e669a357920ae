"""From pictures and question/answer pairs to model inputs; the same in training and answering.

A view's pairs share one sequence. The prefix (image tokens and the prompt's opening) comes
once, then each pair is a branch that sees the prefix and itself only (see `packing`), with
positions that restart after the prefix:

    prefix: <|im_start|>User:<fake_token_around_image><global-img><image>*N<fake_token_around_image>
    branch 1: QUESTION<end_of_utterance>\\nAssistant: ANSWER<end_of_utterance>
    branch 2: ...

To a branch this is the same as a sequence of its own, so a view with one pair is the usual
one-question sample. Token ids and labels come out of the same pass: the answer and its end
token are supervised, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..common.errors import InputError
from ..labels.questions import MAX_TEXT_LENGTH

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

IGNORED = -100  # the label that the loss skips
_PREFIX = 0  # its branch number; pairs count from 1
MAX_ENCODED = 10_000  # texts whose token ids are kept
_QUESTION = "{QUESTION}"  # stands for the question while the chat template is taken apart


def check_length(text: str) -> None:
    """Raise InputError if a question or an answer is too long to be one.

    The memory for attention grows with the square of its length.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise InputError(
            f"the text {text[:40]!r}... has {len(text):,} characters; give at most "
            f"{MAX_TEXT_LENGTH:,}"
        )


class ViewSequence(NamedTuple):
    """One view's tokens; four lists of the same length."""

    input_ids: list[int]
    labels: list[int]  # IGNORED except on answers and their end tokens
    position_ids: list[int]
    branches: list[int]  # 0 is the prefix, k the k-th pair


class InputBuilder:
    """Turns pictures and pairs into the inputs of the model that `processor` belongs to."""

    def __init__(self, processor) -> None:
        self.tokenizer = processor.tokenizer
        self.side = processor.image_processor.max_image_size["longest_edge"]
        self.resample = processor.image_processor.resample
        self.mean = processor.image_processor.image_mean
        self.std = processor.image_processor.image_std
        self.end_id = self.tokenizer.eos_token_id
        self.pad_id = self.tokenizer.pad_token_id
        self._encoded: dict[str, list[int]] = {}

        content = [{"type": "image"}, {"type": "text", "text": _QUESTION}]
        message = {"role": "user", "content": content}
        prompt = processor.apply_chat_template([message], add_generation_prompt=True)
        # Without splitting every picture is one tile: rows and columns are 0.
        tile = processor.replace_image_token({"rows": [[0]], "cols": [[0]]}, 0)
        prefix, tail = prompt.replace("<image>", tile).split(_QUESTION)
        self.prefix_ids = self.tokenizer(prefix, add_special_tokens=False)["input_ids"]
        self._tail_ids = self.tokenizer(tail, add_special_tokens=False)["input_ids"]

    def resize(self, picture: Image) -> np.ndarray:
        """The picture (RGB) squared to the model's input size, straight: uint8 (side, side, 3)."""
        import numpy as np

        return np.asarray(picture.resize((self.side, self.side), self.resample))

    def pixel_values(self, squares: Sequence[np.ndarray]) -> torch.Tensor:
        """Normalise N squared pictures: float32 (N, 1 picture a sample, 3, side, side)."""
        import numpy as np
        import torch

        return self.normalise(torch.from_numpy(np.stack(squares)))

    def normalise(self, squares: torch.Tensor) -> torch.Tensor:
        """As `pixel_values`, of uint8 (N, side, side, 3), on the device where they are."""
        import torch

        mean = torch.tensor(self.mean, device=squares.device).view(3, 1, 1) * 255
        std = torch.tensor(self.std, device=squares.device).view(3, 1, 1) * 255
        batch = squares.permute(0, 3, 1, 2).to(torch.float32)
        return ((batch - mean) / std).unsqueeze(1)

    def question_ids(self, question: str) -> list[int]:
        """What follows the prefix: the question up to and with `Assistant:`."""
        return self._encode(question) + self._tail_ids

    def answer_ids(self, answer: str) -> list[int]:
        """The supervised tokens: the answer and its end token."""
        return [*self._encode(f" {answer}"), self.end_id]

    def view_sequence(self, pairs: Iterable[tuple[str, str]]) -> ViewSequence:
        """Tokens of one view's (question, answer) pairs behind their common prefix."""
        return self._sequence(
            (self.question_ids(question), self.answer_ids(answer)) for question, answer in pairs
        )

    def statement_sequence(self, statements: Iterable[tuple[str, str]]) -> ViewSequence:
        """Tokens of sentences about one view, which the assistant says unasked.

        Args:
            statements: what is given of each, "" if nothing, and what is to be learned.
        """
        return self._sequence(
            (
                self.question_ids("") + (self._encode(f" {given}") if given else []),
                self.answer_ids(told),
            )
            for given, told in statements
        )

    def _sequence(self, branches: Iterable[tuple[list[int], list[int]]]) -> ViewSequence:
        """The prefix, and branches of what is given and what is learned."""
        size = len(self.prefix_ids)
        sequence = ViewSequence(
            [*self.prefix_ids], [IGNORED] * size, [*range(size)], [_PREFIX] * size
        )
        for branch, (asked, answered) in enumerate(branches, start=1):
            length = len(asked) + len(answered)
            sequence.input_ids.extend(asked + answered)
            sequence.labels.extend([IGNORED] * len(asked) + answered)
            sequence.position_ids.extend(range(size, size + length))
            sequence.branches.extend([branch] * length)
        return sequence

    def _encode(self, text: str) -> list[int]:
        """Token ids of what people write; `<image>` in it is text, not a picture's place.

        They are kept: the same few hundred questions and answers come again and again.

        Raises:
            InputError: the text is too long.
        """
        if text not in self._encoded:
            check_length(text)
            if len(self._encoded) > MAX_ENCODED:
                self._encoded.clear()
            self._encoded[text] = self.tokenizer(
                text, add_special_tokens=False, split_special_tokens=True
            )["input_ids"]
        return self._encoded[text]
