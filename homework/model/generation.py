"""Answer questions about pictures: one look at a picture for all of its questions.

Pictures are taken some at a time. Each goes through the vision tower once, and its prefix (image
tokens and the prompt's opening) through the text model once; the keys and values that this leaves
serve every question about it. Questions of like length share a batch, a row leaves the batch when
its answer ends, and the results return in the order asked.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from ..frames.pictures import open_picture

if TYPE_CHECKING:
    from ..base_vlm import BaseVLM

MAX_NEW_TOKENS = 16  # a kart's or track's name takes up to 6 with the embedded base's tokenizer
PATCHES = 2_304  # that go through the vision tower at a time: more leave a CPU's cache
PICTURES = 64  # whose prefixes are held at a time
ROWS = 128  # questions at a time


class RowCache:
    """Keys and values of some rows, layer by layer, with room for what the rows add.

    It stands in for transformers' own, which copies all it holds for each new token.
    """

    def __init__(self) -> None:
        self.length = 0  # tokens that each row holds
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, key, value, layer: int, *args, **kwargs):
        """Add a layer's (rows, heads, new, width); returns all its keys and values so far.

        `length` stays, as the layers come one after the other: see `_read`.
        """
        if layer == len(self._layers):  # a first pass, after which nothing is added
            self._layers.append((key, value))
            return key, value
        end = self.length + key.shape[2]
        held = self._layers[layer]
        for part, new in zip(held, (key, value), strict=True):
            part[:, :, self.length : end] = new
        return held[0][:, :, :end], held[1][:, :, :end]

    def rows(self, index: torch.Tensor, room: int) -> RowCache:
        """A cache of these rows (they may repeat) to which `room` tokens can be added."""
        cache = RowCache()
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


def generate(
    vlm: BaseVLM,
    image_paths: Sequence[str],
    questions: Sequence[str],
    copies: int = 1,
    temperature: float = 0,
) -> list[list[str]]:
    """`copies` answers to each question; see BaseVLM.batched_generate."""
    found: list[list[str]] = [[]] * len(questions)
    with inference(vlm):
        for batch, *given in asked(vlm, image_paths, questions):
            for index, texts in zip(batch, answers(vlm, *given, copies, temperature), strict=True):
                found[index] = texts
    return found


def encode_pictures(vlm: BaseVLM, paths: Sequence[str]) -> torch.Tensor:
    """Image tokens of each picture: (pictures, image tokens, text hidden size)."""
    features = []
    for some in even(paths, max(1, PATCHES // vlm.patches)):
        pictures = [vlm.inputs.resize(open_picture(path)) for path in some]
        pixels = vlm.inputs.pixel_values(pictures).to(vlm.device)
        features += vlm.network.get_image_features(pixels, return_dict=True).pooler_output
    return torch.stack(features)


# --- the steps ---


def answers(vlm: BaseVLM, cache: RowCache, scores, lengths, copies, temperature):
    """`copies` answers to each question of a batch; see `asked`."""
    rows = torch.arange(len(lengths), device=vlm.device).repeat_interleave(copies)
    cache = cache.rows(rows, MAX_NEW_TOKENS)
    found = _continue(vlm, cache, scores[rows], lengths[rows], temperature)
    texts = vlm.processor.tokenizer.batch_decode(found, skip_special_tokens=True)
    texts = [text.strip() for text in texts]
    return [texts[start : start + copies] for start in range(0, len(texts), copies)]


def asked(vlm: BaseVLM, image_paths: Sequence[str], questions: Sequence[str]) -> Iterator[tuple]:
    """Read the questions in batches: picture groups, and in these questions of like length.

    Yields:
        indices of N questions; the cache of their rows; the scores over the vocabulary of what
        comes next (N, vocabulary); the questions' lengths (N,).
    """
    of_picture: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(image_paths):
        of_picture[str(path)].append(index)
    prompts = [vlm.inputs.question_ids(question) for question in questions]
    size = len(vlm.inputs.prefix_ids)
    # A bar only where there is something to wait for.
    bar = tqdm(total=len(questions), unit="question", disable=len(questions) <= ROWS)
    for group in even(list(of_picture), PICTURES):
        prefixes = _read_prefixes(vlm, group)
        places = {index: place for place, path in enumerate(group) for index in of_picture[path]}
        for batch in even(sorted(places, key=lambda index: len(prompts[index])), ROWS):
            lengths = torch.tensor([len(prompts[index]) for index in batch], device=vlm.device)
            longest = int(lengths.max())
            filled = [
                prompts[index] + [vlm.inputs.pad_id] * (longest - len(prompts[index]))
                for index in batch
            ]
            rows = torch.tensor([places[index] for index in batch], device=vlm.device)
            cache = prefixes.rows(rows, longest)
            # Padding comes last, so that no token sees it that is not padding itself.
            hidden = read(vlm, cache, _embed(vlm, filled), torch.arange(size, size + longest))
            last = hidden[torch.arange(len(batch), device=vlm.device), lengths - 1]
            yield batch, cache, vlm.network.lm_head(last), lengths
            bar.update(len(batch))
    bar.close()


def _read_prefixes(vlm: BaseVLM, paths: Sequence[str]) -> RowCache:
    """Look at pictures: the cache of their prefixes, a row each."""
    ids = [vlm.inputs.prefix_ids] * len(paths)
    embeddings = _embed(vlm, ids)
    image = torch.tensor(ids, device=vlm.device) == vlm.network.config.image_token_id
    embeddings[image] = encode_pictures(vlm, paths).flatten(0, 1).to(embeddings.dtype)
    cache = RowCache()
    read(vlm, cache, embeddings, torch.arange(embeddings.shape[1]))
    return cache


def _embed(vlm: BaseVLM, ids) -> torch.Tensor:
    return vlm.network.get_input_embeddings()(torch.as_tensor(ids, device=vlm.device))


def read(vlm: BaseVLM, cache: RowCache, embeddings, positions, mask=None) -> torch.Tensor:
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


def seen(cache: RowCache, lengths: torch.Tensor, longest: int, size: int, new: int):
    """What rows see whose questions, of `lengths` (rows,), were filled up to `longest`.

    Returns:
        bool (rows, 1, new, all); the prefix before the questions has `size` tokens.
    """
    places = torch.arange(cache.length + new, device=lengths.device)
    filling = (places >= size + lengths.unsqueeze(1)) & (places < size + longest)
    behind = torch.ones(new, len(places), dtype=torch.bool, device=lengths.device)
    return behind.tril(cache.length) & ~filling.view(len(lengths), 1, 1, -1)


def _continue(vlm: BaseVLM, cache: RowCache, scores, lengths, temperature) -> list[list[int]]:
    """Tokens of an answer for each row, up to its end token.

    Args:
        scores: over the vocabulary, of the first token: (rows, vocabulary).
        lengths: (rows,), tokens of the questions.
    """
    size = len(vlm.inputs.prefix_ids)
    longest = cache.length - size
    found: list[list[int]] = [[] for _ in range(len(lengths))]
    rows = torch.arange(len(lengths), device=vlm.device)  # those not yet at their end
    for step in range(MAX_NEW_TOKENS):
        if temperature > 0:
            tokens = torch.multinomial((scores.float() / temperature).softmax(-1), 1)[:, 0]
        else:
            tokens = scores.argmax(-1)
        going = tokens != vlm.inputs.end_id
        for row, token in zip(rows[going].tolist(), tokens[going].tolist(), strict=True):
            found[row].append(token)
        if step == MAX_NEW_TOKENS - 1 or not going.any():
            break
        if not going.all():
            index = going.nonzero()[:, 0]
            rows, tokens, lengths = rows[index], tokens[index], lengths[index]
            cache = cache.rows(index, MAX_NEW_TOKENS - step)
        hidden = read(
            vlm,
            cache,
            _embed(vlm, tokens.unsqueeze(1)),
            (size + lengths + step).unsqueeze(1),
            seen(cache, lengths, longest, size, 1),
        )
        scores = vlm.network.lm_head(hidden[:, 0])
    return found


def even(items: Sequence, most: int) -> Iterator[Sequence]:
    """Cut a list into parts of about the same size, `most` at most."""
    parts = math.ceil(len(items) / most)
    for part in range(parts):
        yield items[part * len(items) // parts : (part + 1) * len(items) // parts]


@contextmanager
def inference(vlm: BaseVLM) -> Iterator[None]:
    """No gradients, and products in the precision that the device is good at."""
    with (
        torch.inference_mode(),
        torch.autocast(vlm.device, vlm.dtype, vlm.dtype != torch.float32),
    ):
        yield
