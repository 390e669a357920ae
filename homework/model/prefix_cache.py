"""Prefill images and questions once, and keep their keys and values for every answer.

Each image goes through the vision tower once, and its prefix (image tokens and the start of the
prompt) through the text model once. All questions about the image share the resulting keys and
values. Questions of similar length share a batch.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import torch

from ..common import machine
from ..common.distributed import Progress
from ..common.errors import InputError
from ..frames.images import open_image
from . import packing

if TYPE_CHECKING:
    from transformers import Idefics3ForConditionalGeneration

    from .inputs import InputBuilder

PATCHES = 2_304  # per pass of the vision tower: more do not fit into the cache of a CPU
IMAGES = 64  # whose prefixes are in memory together
ROWS = 128  # questions per batch
Result = TypeVar("Result")
Items = TypeVar("Items", Sequence[int], Sequence[str], torch.Tensor)


class Loaded(Protocol):
    """What answering needs of a model: BaseVLM, which itself answers by means of this module."""

    device: str
    dtype: torch.dtype
    inputs: InputBuilder
    network: Idefics3ForConditionalGeneration
    smaller: int

    @property
    def patches(self) -> int: ...  # of an image in the vision tower

    def inference(self) -> AbstractContextManager[None]: ...  # in the precision of `dtype`


class PrefixCache:
    """Keys and values of R rows in every layer, with preallocated room for new tokens.

    It replaces the cache of transformers, which copies everything for each new token and has
    another interface in almost every version: `attention.attention` gets it as an argument.
    """

    def __init__(self, prefix: int = 0) -> None:
        self.prefix = prefix  # tokens before the question
        self.length = 0  # tokens in each row
        # Per layer: keys and values, each (R, heads, length + room, width).
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, key, value, layer: int):
        """Append keys and values, (R, heads, new, width), to a layer, and return all of it.

        `forward` increases `length` after the last layer.
        """
        if layer == len(self._layers):  # the first pass
            self._layers.append((key, value))
            return key, value
        end = self.length + key.shape[2]
        keys, values = self._layers[layer]
        keys[:, :, self.length : end] = key
        values[:, :, self.length : end] = value
        return keys[:, :, :end], values[:, :, :end]

    def rows(self, index: torch.Tensor, room: int) -> PrefixCache:
        """Copy the rows in `index` (rows may repeat) to a cache with room for `room` tokens."""
        cache = PrefixCache(self.prefix)
        cache.length = self.length
        for layer in self._layers:
            parts = []
            for part in layer:
                _, heads, _, width = part.shape
                longer = part.new_empty(len(index), heads, self.length + room, width)
                longer[:, :, : self.length] = part[index, :, : self.length]
                parts.append(longer)
            cache._layers.append(tuple(parts))
        return cache


class Prefilled(NamedTuple):
    """A batch of N questions whose prefixes and questions are in the cache."""

    indices: Sequence[int]  # of the questions in the call
    cache: PrefixCache  # N rows; shorter questions are padded at their end
    logits: torch.Tensor  # (N, vocabulary), of the token that comes next
    lengths: torch.Tensor  # int64 (N,), tokens of each question without padding


def encode_images(
    vlm: Loaded, paths: Sequence[str], progress: Progress | None = None
) -> torch.Tensor:
    """Image tokens of images: (images, image tokens, D)."""
    features = []
    for part in even_chunks(paths, images_at_once(vlm)):
        squares = [vlm.inputs.resize(open_image(path)) for path in part]
        pixels = vlm.inputs.pixel_values(squares).to(vlm.device)  # (images, 1, 3, side, side)
        features += packing.image_tokens(vlm.network, pixels)
        if progress:
            progress.add(len(part))
    return torch.stack(features)


def images_at_once(vlm: Loaded) -> int:
    """Images per pass of the vision tower."""
    return max(1, PATCHES // vlm.patches // vlm.smaller)


def images_together(vlm: Loaded) -> int:
    """Images whose prefixes go through the text model together.

    On a CPU few of SmolVLM's, so that no line of progress is long in coming.
    """
    most = max(1, IMAGES // vlm.smaller)
    return min(most, 4 * images_at_once(vlm)) if vlm.device == "cpu" else most


def answer_each(
    vlm: Loaded,
    image_paths: Sequence[str],
    questions: Sequence[str],
    compute: Callable[[Prefilled], Sequence[Result]],
) -> list[Result]:
    """Prefill the questions and compute one result per question, in their order.

    Where memory runs out, what is left goes on in batches half as large. Raises InputError if the
    numbers of images and questions differ, an image cannot be read, a question is too long, or
    memory does not suffice for one question.
    """
    if len(image_paths) != len(questions):
        raise InputError(f"{len(image_paths)} images but {len(questions)} questions")
    found: dict[int, Result] = {}
    images = len(dict.fromkeys(map(str, image_paths)))
    progress = Progress(f"answers {len(questions)} questions", images, "images")
    while len(found) < len(questions):
        left = [index for index in range(len(questions)) if index not in found]
        paths, asked = ([texts[index] for index in left] for texts in (image_paths, questions))
        try:
            with vlm.inference():
                for batch in prefill_questions(vlm, paths, asked, progress):
                    batch = batch._replace(indices=[left[index] for index in batch.indices])
                    found.update(zip(batch.indices, compute(batch), strict=True))
            break
        except (RuntimeError, MemoryError) as error:
            if not machine.is_out_of_memory(error):
                raise
        vlm.smaller *= 2
        if vlm.smaller > ROWS:
            raise InputError(
                f"not enough memory on {vlm.device} for one question; end other programs"
            )
        machine.release_memory(vlm.device)
    return [found[index] for index in range(len(questions))]


def prefill_questions(
    vlm: Loaded, image_paths: Sequence[str], questions: Sequence[str], progress: Progress
) -> Iterator[Prefilled]:
    """Prefill the questions in batches: by group of images, then by similar length."""
    asked_about: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(image_paths):
        asked_about[str(path)].append(index)
    prompts = [vlm.inputs.question_ids(question) for question in questions]
    for group, prefixes, tiles in prefill_groups(vlm, list(asked_about), progress):
        size = prefixes.prefix
        row_of = {index: row for row, path in enumerate(group) for index in asked_about[path]}
        in_order = sorted(row_of, key=lambda index: len(prompts[index]))
        for batch in even_chunks(in_order, max(1, ROWS // tiles // vlm.smaller)):
            lengths = torch.tensor([len(prompts[index]) for index in batch], device=vlm.device)
            longest = int(lengths.max())
            padded = [
                prompts[index] + [vlm.inputs.pad_id] * (longest - len(prompts[index]))
                for index in batch
            ]
            rows = torch.tensor([row_of[index] for index in batch], device=vlm.device)
            cache = prefixes.rows(rows, longest)
            # Padding is at the end, so the causal mask hides it from the question.
            hidden = forward(vlm, cache, embed(vlm, padded), torch.arange(size, size + longest))
            last = hidden[torch.arange(len(batch), device=vlm.device), lengths - 1]  # (N, D)
            yield Prefilled(batch, cache, vlm.network.lm_head(last), lengths)


def prefill_groups(
    vlm: Loaded, paths: list[str], progress: Progress
) -> Iterator[tuple[Sequence[str], PrefixCache, int]]:
    """Groups of images, the cache of their prefixes, and the tiles of each image."""
    if not vlm.inputs.starter:
        for group in even_chunks(paths, images_together(vlm)):
            prefix = [vlm.inputs.prefix_ids] * len(group)
            yield group, prefill_images(vlm, prefix, encode_images(vlm, group, progress)), 1
        return
    for path in paths:  # one by one: their numbers of tiles differ
        prefix, pixels = vlm.inputs.starter_prefix(open_image(path))
        tokens = [
            each
            for part in even_chunks(pixels, images_at_once(vlm))
            for each in packing.image_tokens(vlm.network, part.unsqueeze(1).to(vlm.device))
        ]
        progress.add(1)
        yield [path], prefill_images(vlm, [prefix], torch.cat(tokens)), len(pixels)


def prefill_images(vlm: Loaded, prefixes: list[list[int]], tokens: torch.Tensor) -> PrefixCache:
    """The cache of the prefixes, one row per image.

    Args:
        prefixes: token ids, as many for each image.
        tokens: (..., D), the image tokens of all of them.
    """
    embeddings = embed(vlm, prefixes)  # (images, P, D)
    image = torch.tensor(prefixes, device=vlm.device) == vlm.network.config.image_token_id
    embeddings[image] = tokens.flatten(0, -2).to(embeddings.dtype)
    cache = PrefixCache(embeddings.shape[1])
    forward(vlm, cache, embeddings, torch.arange(embeddings.shape[1]))
    return cache


def embed(vlm: Loaded, ids) -> torch.Tensor:
    """Embeddings of token ids: (..., tokens) -> (..., tokens, D)."""
    return vlm.network.get_input_embeddings()(torch.as_tensor(ids, device=vlm.device))


def forward(vlm: Loaded, cache: PrefixCache, embeddings, positions, mask=None) -> torch.Tensor:
    """Run new tokens, (R, new, D), through the text model and append them to the cache.

    Args:
        positions: int64 (R, new) or (new,).
        mask: bool, broadcast to (R, 1, new, all tokens), true where a token attends; causal if
            None.

    Returns:
        hidden states (R, new, D).
    """
    new = embeddings.shape[1]
    if mask is None:
        mask = torch.ones(1, 1, new, cache.length + new, dtype=torch.bool, device=vlm.device)
        mask = mask.tril(cache.length)
    hidden = vlm.network.model.text_model(
        inputs_embeds=embeddings,
        attention_mask=mask,
        position_ids=positions.to(vlm.device).expand(len(embeddings), new),
        use_cache=False,
        store=cache,
    ).last_hidden_state
    cache.length += new
    return hidden


def attention_mask(cache: PrefixCache, lengths: torch.Tensor, longest: int, size: int, new: int):
    """The causal mask of new tokens, bool (R, 1, new, all), which hides padding behind questions.

    A row with a prefix of 2, a question of 2 padded to 3, then new tokens (x: attends):

             prefix  question  padding  new
        new   x x      x x        .     x .
              x x      x x        .     x x

    Args:
        lengths: int64 (R,), tokens of each question without padding.
        longest, size, new: tokens of each question with padding, of the prefix, and to be added.
    """
    places = torch.arange(cache.length + new, device=lengths.device)
    padding = (places >= size + lengths.unsqueeze(1)) & (places < size + longest)  # (R, all)
    causal = torch.ones(new, len(places), dtype=torch.bool, device=lengths.device)
    return causal.tril(cache.length) & ~padding.view(len(lengths), 1, 1, -1)


def even_chunks(items: Items, most: int) -> Iterator[Items]:
    """Cut a list or a batch into parts of about the same size, with at most `most` items each."""
    parts = math.ceil(len(items) / most)
    for part in range(parts):
        yield items[part * len(items) // parts : (part + 1) * len(items) // parts]
