"""Pictures and questions read once: the keys and values that every answer goes on from.

Pictures are taken some at a time. Each goes through the vision tower once, and its prefix (image
tokens and the prompt's opening) through the text model once; the keys and values that this leaves
serve every question about it. Questions of like length share a batch.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from ..frames.pictures import open_picture

if TYPE_CHECKING:
    from PIL.Image import Image

    from .loaded import LoadedVLM

PATCHES = 2_304  # that go through the vision tower at a time: more leave a CPU's cache
PICTURES = 64  # whose prefixes are held at a time
ROWS = 128  # questions at a time


class PrefixCache:
    """Keys and values of some rows, layer by layer, with room for what the rows add.

    It stands in for transformers' own, which copies all it holds for each new token.
    """

    def __init__(self) -> None:
        self.length = 0  # tokens that each row holds
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, key, value, layer: int, *args, **kwargs):
        """Add a layer's (rows, heads, new, width); returns all its keys and values so far.

        `length` stays, as the layers come one after the other: see `forward`.
        """
        if layer == len(self._layers):  # a first pass, after which nothing is added
            self._layers.append((key, value))
            return key, value
        end = self.length + key.shape[2]
        held = self._layers[layer]
        for part, new in zip(held, (key, value), strict=True):
            part[:, :, self.length : end] = new
        return held[0][:, :, :end], held[1][:, :, :end]

    def rows(self, index: torch.Tensor, room: int) -> PrefixCache:
        """A cache of these rows (they may repeat) to which `room` tokens can be added."""
        cache = PrefixCache()
        cache.length = self.length
        for held in self._layers:
            parts = []
            for part in held:
                _, heads, _, width = part.shape
                longer = part.new_empty(len(index), heads, self.length + room, width)
                longer[:, :, : self.length] = part[index, :, : self.length]
                parts.append(longer)
            cache._layers.append(tuple(parts))
        return cache


def encode_pictures(vlm: LoadedVLM, paths: Sequence[str]) -> torch.Tensor:
    """Image tokens of each picture: (pictures, image tokens, text hidden size)."""
    features = []
    for some in even_chunks(paths, pictures_at_once(vlm)):
        features += encode_squares(vlm, [vlm.inputs.resize(open_picture(path)) for path in some])
    return torch.stack(features)


def encode_squares(vlm: LoadedVLM, squares: Sequence[Image]) -> Sequence[torch.Tensor]:
    """Image tokens of pictures of the model's size, in one pass: each (tokens, hidden size)."""
    pixels = vlm.inputs.pixel_values(squares).to(vlm.device)
    return vlm.network.get_image_features(pixels, return_dict=True).pooler_output


def pictures_at_once(vlm: LoadedVLM) -> int:
    """How many pictures go through the vision tower in one pass."""
    return max(1, PATCHES // vlm.patches)


def prefill_questions(
    vlm: LoadedVLM, image_paths: Sequence[str], questions: Sequence[str]
) -> Iterator[tuple]:
    """Read the questions in batches: picture groups, and in these questions of like length.

    Yields:
        indices of N questions; the cache of their rows; the logits of the token that comes
        next (N, vocabulary); the questions' lengths (N,).
    """
    of_picture: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(image_paths):
        of_picture[str(path)].append(index)
    prompts = [vlm.inputs.question_ids(question) for question in questions]
    size = len(vlm.inputs.prefix_ids)
    # A bar only where there is something to wait for.
    bar = tqdm(total=len(questions), unit="question", disable=len(questions) <= ROWS)
    for group in even_chunks(list(of_picture), PICTURES):
        prefixes = prefill_pictures(vlm, group)
        places = {index: place for place, path in enumerate(group) for index in of_picture[path]}
        for batch in even_chunks(sorted(places, key=lambda index: len(prompts[index])), ROWS):
            lengths = torch.tensor([len(prompts[index]) for index in batch], device=vlm.device)
            longest = int(lengths.max())
            filled = [
                prompts[index] + [vlm.inputs.pad_id] * (longest - len(prompts[index]))
                for index in batch
            ]
            rows = torch.tensor([places[index] for index in batch], device=vlm.device)
            cache = prefixes.rows(rows, longest)
            # Padding comes last, so that no token sees it that is not padding itself.
            hidden = forward(vlm, cache, embed(vlm, filled), torch.arange(size, size + longest))
            last = hidden[torch.arange(len(batch), device=vlm.device), lengths - 1]
            yield batch, cache, vlm.network.lm_head(last), lengths
            bar.update(len(batch))
    bar.close()


def prefill_pictures(vlm: LoadedVLM, paths: Sequence[str]) -> PrefixCache:
    """The cache of the pictures' prefixes, a row for each picture."""
    ids = [vlm.inputs.prefix_ids] * len(paths)
    embeddings = embed(vlm, ids)
    image = torch.tensor(ids, device=vlm.device) == vlm.network.config.image_token_id
    embeddings[image] = encode_pictures(vlm, paths).flatten(0, 1).to(embeddings.dtype)
    cache = PrefixCache()
    forward(vlm, cache, embeddings, torch.arange(embeddings.shape[1]))
    return cache


def embed(vlm: LoadedVLM, ids) -> torch.Tensor:
    """Embeddings of token ids (rows, tokens): (rows, tokens, hidden size)."""
    return vlm.network.get_input_embeddings()(torch.as_tensor(ids, device=vlm.device))


def forward(vlm: LoadedVLM, cache: PrefixCache, embeddings, positions, mask=None) -> torch.Tensor:
    """Add tokens to each row: hidden states (rows, new, hidden size), the cache grows.

    Args:
        positions: int64 (rows or nothing, new).
        mask: bool, broadcast to (rows, 1, new, all tokens); if None, a token sees all before it.
    """
    new = embeddings.shape[1]
    if mask is None:
        mask = torch.ones(1, 1, new, cache.length + new, dtype=torch.bool, device=vlm.device)
        mask = mask.tril(cache.length)
    hidden = vlm.network.model.text_model(
        inputs_embeds=embeddings,
        attention_mask=mask,
        position_ids=positions.to(vlm.device).expand(len(embeddings), new),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    cache.length += new
    return hidden


def attention_mask(cache: PrefixCache, lengths: torch.Tensor, longest: int, size: int, new: int):
    """Which tokens new ones attend to, in rows whose questions were padded to `longest`.

    Args:
        lengths: (rows,), tokens of each question without its padding.
        size: tokens of the prefix before the questions.
        new: tokens that are added to each row.

    Returns:
        bool (rows, 1, new, all tokens).
    """
    places = torch.arange(cache.length + new, device=lengths.device)
    padding = (places >= size + lengths.unsqueeze(1)) & (places < size + longest)
    causal = torch.ones(new, len(places), dtype=torch.bool, device=lengths.device)
    return causal.tril(cache.length) & ~padding.view(len(lengths), 1, 1, -1)


def even_chunks(items: Sequence, most: int) -> Iterator[Sequence]:
    """Cut a list into parts of about the same size, `most` at most."""
    parts = math.ceil(len(items) / most)
    for part in range(parts):
        yield items[part * len(items) // parts : (part + 1) * len(items) // parts]
