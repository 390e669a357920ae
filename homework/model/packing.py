"""Pictures packed into rows: each token goes through the model once, and none is padding.

A row holds the prefixes of F pictures, then the branches of all their pairs:

    prefix 1 | ... | prefix F | branch 1 of picture 1 | branch 2 of picture 1 | ...

A branch sees the prefix of its own picture and itself, and its positions go on from that prefix
(`attention.Layout`), so that the row gives each pair the very loss and gradients of a sample of
its own. The vocabulary is scored only where an answer's token is due.

**The weighting rule.** A question's loss is the negative log-likelihood of its answer: the sum
over the answer's tokens and its end token. The loss of an optimizer step is the weighted mean
over all questions of the step, in whatever passes and on whatever devices they are:

    sum over questions of weight * loss / sum over questions of weight

With `question`, the default, each weight is 1, as in one-question samples. With `frame` it is
1 / (pairs of the picture): a picture with many karts weighs as much as one with few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from .attention import Layout
from .inputs import IGNORED, ViewSequence

if TYPE_CHECKING:
    from transformers import Idefics3ForConditionalGeneration


class Row(NamedTuple):
    """A packed row of T tokens: N pairs of F pictures, whose answers have S tokens.

    Attributes:
        input_ids, position_ids: int64 (1, T).
        layout: which token sees which.
        due: int64 (S,), places in the row after which an answer's token comes.
        answers: int64 (S,), those tokens.
        pairs: int64 (S,), the pair that each belongs to.
        weights: float32 (N,), of the pairs.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    layout: Layout
    due: torch.Tensor
    answers: torch.Tensor
    pairs: torch.Tensor
    weights: torch.Tensor

    def to(self, device) -> Row:
        """The row with its tensors on another device."""
        fields = self._asdict()
        layout = self.layout._asdict()
        layout |= {name: layout[name].to(device) for name in ("frames", "branches", "tokens")}
        fields = {
            name: Layout(**layout) if name == "layout" else value.to(device)
            for name, value in fields.items()
        }
        return Row(**fields)


def pack(sequences: Sequence[ViewSequence], size: int, weighting: str = "question") -> Row:
    """Pack pictures' tokens into one row.

    Args:
        sequences: of F pictures, each with the same prefix of `size` tokens.
        weighting: how much a pair weighs, see above.
    """
    branches = [_branches(sequence, size) for sequence in sequences]
    lengths = np.array([end - start for cuts in branches for start, end in cuts], dtype=np.int64)
    head = len(sequences) * size

    def joined(field: int) -> np.ndarray:
        prefixes = [number for sequence in sequences for number in sequence[field][:size]]
        rest = [number for sequence in sequences for number in sequence[field][size:]]
        return np.array(prefixes + rest, dtype=np.int64)

    input_ids, labels, position_ids = (joined(field) for field in range(3))
    starts = head + np.cumsum(lengths) - lengths
    due = (labels != IGNORED).nonzero()[0]
    pairs = np.searchsorted(starts, due, side="right") - 1
    counts = np.array([len(cuts) for cuts in branches], dtype=np.int64)
    weights = np.ones(len(lengths), np.float32)
    if weighting == "frame":
        weights = np.repeat(1 / np.maximum(counts, 1), counts).astype(np.float32)
    # Each branch's places, as many branches and tokens for each picture; 0 where there is none.
    frames = np.repeat(np.arange(len(sequences)), counts)
    steps = np.arange(lengths.max(initial=0))
    places = np.zeros((len(sequences), counts.max(initial=0), len(steps)), dtype=np.int64)
    among = np.arange(len(lengths)) - np.repeat(np.cumsum(counts) - counts, counts)
    real = np.zeros(places.shape, dtype=bool)
    real[frames, among] = steps < lengths[:, None]
    places[real] = np.arange(head, head + lengths.sum())
    layout = Layout(
        len(sequences),
        size,
        torch.from_numpy(frames),
        torch.from_numpy(places),
        torch.from_numpy(real.ravel().nonzero()[0]),
    )
    return Row(
        torch.from_numpy(input_ids).unsqueeze(0),
        torch.from_numpy(position_ids).unsqueeze(0),
        layout,
        torch.from_numpy(due - 1),  # a question's last token comes before its answer's first
        torch.from_numpy(labels[due]),
        torch.from_numpy(pairs),
        torch.from_numpy(weights),
    )


def scores(model: Idefics3ForConditionalGeneration, row: Row, **picture) -> torch.Tensor:
    """Scores over the vocabulary where an answer's token is due: (S, vocabulary).

    Args:
        model: it, or PEFT's or an accelerator's wrapper around it.
        picture: `pixel_values` (F, 1, 3, side, side), or what else the model takes for them.
    """
    outputs = model(
        input_ids=row.input_ids,
        position_ids=row.position_ids,
        # A mask of four dimensions is handed on as it is; the layout says all.
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=row.input_ids.device),
        layout=row.layout,
        logits_to_keep=row.due,
        use_cache=False,
        **picture,
    )
    return outputs.logits[0]


def weighted_loss(scores: torch.Tensor, row: Row) -> torch.Tensor:
    """Sum over the row's questions of weight * loss: to be divided by the step's weights."""
    if scores.dtype != torch.float64:
        scores = scores.float()
    each = torch.nn.functional.cross_entropy(scores, row.answers, reduction="none")
    return (each * row.weights.to(each.dtype)[row.pairs]).sum()


def split(costs: Sequence[int], budget: int) -> list[list[int]]:
    """Cut items, in their order, into passes of `budget` at most: indices of each pass.

    An item above the budget gets a pass of its own.
    """
    passes: list[list[int]] = []
    used = budget + 1
    for index, cost in enumerate(costs):
        if used + cost > budget:
            passes.append([])
            used = 0
        passes[-1].append(index)
        used += cost
    return passes


def _branches(sequence: ViewSequence, size: int) -> list[tuple[int, int]]:
    """Start and end of each branch in a sequence."""
    numbers = sequence.branches
    starts = [index for index in range(size, len(numbers)) if numbers[index] != numbers[index - 1]]
    return list(zip(starts, [*starts, len(numbers)][1:], strict=True))


def pairs_right(chosen: torch.Tensor, expected: torch.Tensor, end_id: int) -> torch.Tensor:
    """Which pairs have every token right: bool, one per pair.

    Args:
        chosen, expected: token ids of all answers, one after the other: (tokens,).
        end_id: closes each answer in `expected`.
    """
    wrong = chosen != expected
    # Pair of each token: how many answers have ended before it.
    ends = (expected == end_id).long()
    pair = ends.cumsum(0) - ends
    errors = torch.zeros(int(ends.sum()), dtype=torch.long, device=expected.device)
    return errors.index_add_(0, pair, wrong.long()) == 0
