"""Pack images and their pairs into one row without padding: each token is computed once.

A row holds the prefixes of F images, then the branches of all their pairs:

    prefix 1 | ... | prefix F | branch 1 of image 1 | branch 2 of image 1 | ...

A branch attends to the prefix of its image and to itself. With two images, the first with two
pairs (x: attends, causal within a block):

                prefix 1  prefix 2  branch 1.1  branch 1.2  branch 2.1
    prefix 1       x          .         .           .           .
    prefix 2       .          x         .           .           .
    branch 1.1     x          .         x           .           .
    branch 1.2     x          .         .           x           .
    branch 2.1     .          x         .           .           x

The positions of a branch continue those of its prefix, so a pair has the same loss and gradients
as in a sample of its own. Logits are computed only where an answer token comes next.

**The weighting rule.** The loss of a question is the negative log-likelihood of its answer, summed
over the answer's tokens and its end token. The loss of an optimizer step is the weighted mean over
all its questions, on all devices:

    sum over questions of weight * loss / sum over questions of weight

Each weight is 1, but where a device has nothing left to do in a step (see `training.batches`).
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
    """A packed row of T tokens: N pairs of F images, with S answer tokens in total."""

    input_ids: torch.Tensor  # int64 (1, T)
    position_ids: torch.Tensor  # int64 (1, T)
    layout: Layout  # which token attends to which
    answer_positions: torch.Tensor  # int64 (S,), tokens whose next token belongs to an answer
    answers: torch.Tensor  # int64 (S,), those next tokens
    pairs: torch.Tensor  # int64 (S,), the pair of each answer token
    weights: torch.Tensor  # float32 (N,), one per pair


def pack(sequences: Sequence[ViewSequence], size: int) -> Row:
    """Pack the sequences of F images, which start with the same `size` tokens, into one row."""
    head = len(sequences) * size  # tokens of all prefixes

    def joined(lists: Sequence[list[int]]) -> np.ndarray:
        prefixes = [number for numbers in lists for number in numbers[:size]]
        rest = [number for numbers in lists for number in numbers[size:]]
        return np.array(prefixes + rest, dtype=np.int64)

    input_ids = joined([sequence.input_ids for sequence in sequences])
    labels = joined([sequence.labels for sequence in sequences])
    lengths = np.array([n for sequence in sequences for n in sequence.lengths], dtype=np.int64)
    counts = np.array([len(sequence.lengths) for sequence in sequences], dtype=np.int64)
    weights = np.ones(len(lengths), np.float32)
    # (F, M, B): which branch tokens exist, and their positions in the row, 0 for padding.
    frames = np.repeat(np.arange(len(sequences)), counts)
    number = np.arange(len(lengths)) - np.repeat(np.cumsum(counts) - counts, counts)
    real = np.zeros((len(sequences), counts.max(initial=0), lengths.max(initial=0)), dtype=bool)
    real[frames, number] = np.arange(real.shape[2]) < lengths[:, None]
    places = np.zeros(real.shape, dtype=np.int64)
    places[real] = np.arange(head, head + lengths.sum())
    position_ids = np.append(np.tile(np.arange(size), len(sequences)), size + real.nonzero()[2])
    answers = (labels != IGNORED).nonzero()[0]  # (S,)
    pairs = np.repeat(np.arange(len(lengths)), lengths)[answers - head]
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
        torch.from_numpy(answers - 1),
        torch.from_numpy(labels[answers]),
        torch.from_numpy(pairs),
        torch.from_numpy(weights),
    )


def image_tokens(network: Idefics3ForConditionalGeneration, pixels: torch.Tensor) -> torch.Tensor:
    """Image tokens of F images: (F, tokens, D).

    Args:
        pixels: (F, 1, 3, side, side). `get_image_features`, which does the same, returns something
            else in almost every version of transformers, and takes a grey image for padding.
    """
    pixels = pixels.squeeze(1).to(network.dtype)
    seen = network.model.vision_model(pixel_values=pixels, return_dict=True)
    return network.model.connector(seen.last_hidden_state)


def answer_logits(
    network: Idefics3ForConditionalGeneration, row: Row, seen: torch.Tensor
) -> torch.Tensor:
    """Logits of every answer token, (S, vocabulary), given F images' image tokens (F, tokens, D).

    The network is the model itself, which may hold the modules of an adapter.
    """
    embeddings = network.get_input_embeddings()(row.input_ids)  # (1, T, D)
    image = (row.input_ids == network.config.image_token_id).unsqueeze(-1)
    embeddings = embeddings.masked_scatter(image, seen.to(embeddings.dtype))
    outputs = network.model.text_model(
        inputs_embeds=embeddings,
        position_ids=row.position_ids,
        # transformers passes on a mask of four dimensions unchanged; ours reads the layout.
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=row.input_ids.device),
        layout=row.layout,
        use_cache=False,
    )
    return network.lm_head(outputs.last_hidden_state[0, row.answer_positions])


def weighted_loss(logits: torch.Tensor, row: Row) -> torch.Tensor:
    """Sum of weight * loss of the logits (S, vocabulary); to be divided by the sum of weights."""
    if logits.dtype != torch.float64:
        logits = logits.float()
    each = torch.nn.functional.cross_entropy(logits, row.answers, reduction="none")
    return (each * row.weights.to(each.dtype)[row.pairs]).sum()


def split(costs: Sequence[int], budget: int) -> list[list[int]]:
    """Cut items, in order, into passes that cost at most `budget`; returns each pass's indices.

    An item that costs more gets its own pass.
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


def pairs_right(chosen: torch.Tensor, expected: torch.Tensor, end_id: int) -> torch.Tensor:
    """Whether every token of a pair is right: bool (pairs,).

    Args:
        chosen, expected: int64 (S,), token ids of all answers, one after another.
        end_id: the last token of each answer in `expected`.
    """
    wrong = chosen != expected
    # The pair of a token is the number of answers that ended before it.
    ends = (expected == end_id).long()
    pair = ends.cumsum(0) - ends
    errors = torch.zeros(int(ends.sum()), dtype=torch.long, device=expected.device)
    return errors.index_add_(0, pair, wrong.long()) == 0
