"""Answer questions about pictures: greedily, or drawn at a temperature.

Pictures and questions are read once for all answers (see `prefix_cache`). A row leaves the batch
when its answer ends, and the results return in the order asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from .prefix_cache import PrefixCache, attention_mask, embed, forward, prefill_questions

if TYPE_CHECKING:
    from .loaded import LoadedVLM

MAX_NEW_TOKENS = 16  # a kart's or track's name takes up to 6 with the embedded base's tokenizer


def generate(
    vlm: LoadedVLM,
    image_paths: Sequence[str],
    questions: Sequence[str],
    copies: int = 1,
    temperature: float = 0,
) -> list[list[str]]:
    """`copies` answers to each question; see BaseVLM.batched_generate."""
    found: list[list[str]] = [[]] * len(questions)
    with vlm.inference():
        for batch, *given in prefill_questions(vlm, image_paths, questions):
            for index, texts in zip(
                batch, decode_answers(vlm, *given, copies, temperature), strict=True
            ):
                found[index] = texts
    return found


def decode_answers(vlm: LoadedVLM, cache: PrefixCache, logits, lengths, copies, temperature):
    """`copies` answers to each question of a batch; see `prefill_questions`."""
    rows = torch.arange(len(lengths), device=vlm.device).repeat_interleave(copies)
    cache = cache.rows(rows, MAX_NEW_TOKENS)
    found = decode(vlm, cache, logits[rows], lengths[rows], temperature)
    texts = vlm.processor.tokenizer.batch_decode(found, skip_special_tokens=True)
    texts = [text.strip() for text in texts]
    return [texts[start : start + copies] for start in range(0, len(texts), copies)]


def decode(vlm: LoadedVLM, cache: PrefixCache, logits, lengths, temperature) -> list[list[int]]:
    """Tokens of an answer for each row, up to its end token.

    Args:
        logits: of the first token: (rows, vocabulary).
        lengths: (rows,), tokens of the questions.
    """
    size = len(vlm.inputs.prefix_ids)
    longest = cache.length - size
    found: list[list[int]] = [[] for _ in range(len(lengths))]
    rows = torch.arange(len(lengths), device=vlm.device)  # those not yet at their end
    for step in range(MAX_NEW_TOKENS):
        if temperature > 0:
            tokens = torch.multinomial((logits.float() / temperature).softmax(-1), 1)[:, 0]
        else:
            tokens = logits.argmax(-1)
        going = tokens != vlm.inputs.end_id
        for row, token in zip(rows[going].tolist(), tokens[going].tolist(), strict=True):
            found[row].append(token)
        if step == MAX_NEW_TOKENS - 1 or not going.any():
            break
        if not going.all():
            index = going.nonzero()[:, 0]
            rows, tokens, lengths = rows[index], tokens[index], lengths[index]
            cache = cache.rows(index, MAX_NEW_TOKENS - step)
        hidden = forward(
            vlm,
            cache,
            embed(vlm, tokens.unsqueeze(1)),
            (size + lengths + step).unsqueeze(1),
            attention_mask(cache, lengths, longest, size, 1),
        )
        logits = vlm.network.lm_head(hidden[:, 0])
    return found
