"""Generate answers to questions about pictures, greedily or by sampling.

Pictures and questions are prefilled once for all answers (see `prefix_cache`). A row leaves the
batch when its answer ends, and the answers return in the order of the questions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .prefix_cache import (
    Loaded,
    Prefilled,
    PrefixCache,
    answer_each,
    attention_mask,
    embed,
    forward,
)

MAX_NEW_TOKENS = 16  # a name is one token for the embedded base, several for SmolVLM


def generate(
    vlm: Loaded,
    image_paths: Sequence[str],
    questions: Sequence[str],
    copies: int = 1,
    temperature: float = 0,
) -> list[list[str]]:
    """`copies` answers per question; see BaseVLM.batched_generate."""
    return answer_each(
        vlm, image_paths, questions, lambda batch: decode_answers(vlm, batch, copies, temperature)
    )


def decode_answers(
    vlm: Loaded, batch: Prefilled, copies: int = 1, temperature: float = 0
) -> list[list[str]]:
    """`copies` answers to each question of a batch."""
    rows = torch.arange(len(batch.lengths), device=vlm.device).repeat_interleave(copies)
    cache = batch.cache.rows(rows, MAX_NEW_TOKENS)
    tokens = decode(vlm, cache, batch.logits[rows], batch.lengths[rows], temperature)
    texts = vlm.inputs.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    texts = [text.strip() for text in texts]
    return [texts[start : start + copies] for start in range(0, len(texts), copies)]


def decode(
    vlm: Loaded,
    cache: PrefixCache,
    logits: torch.Tensor,
    lengths: torch.Tensor,
    temperature: float,
) -> list[list[int]]:
    """Token ids of one answer per row, without the end token.

    Args:
        cache: of N rows, with room for MAX_NEW_TOKENS more tokens.
        logits: (N, vocabulary), of the answers' first tokens.
        lengths: int64 (N,), tokens of the questions.
    """
    size = cache.prefix
    longest = cache.length - size
    found: list[list[int]] = [[] for _ in range(len(lengths))]
    rows = torch.arange(len(lengths), device=vlm.device)  # those whose answer has not ended
    for step in range(MAX_NEW_TOKENS):
        if temperature > 0:
            tokens = torch.multinomial((logits.float() / temperature).softmax(-1), 1)[:, 0]
        else:
            tokens = logits.argmax(-1)
        active = tokens != vlm.inputs.end_id
        for row, token in zip(rows[active].tolist(), tokens[active].tolist(), strict=True):
            found[row].append(token)
        if step == MAX_NEW_TOKENS - 1 or not active.any():
            break
        if not active.all():
            index = active.nonzero()[:, 0]
            rows, tokens, lengths = rows[index], tokens[index], lengths[index]
            cache = cache.rows(index, MAX_NEW_TOKENS - step)
        hidden = forward(
            vlm,
            cache,
            embed(vlm, tokens.unsqueeze(1)),
            (size + lengths + step).unsqueeze(1),
            attention_mask(cache, lengths, longest, size, 1),
        )  # (active rows, 1, D)
        logits = vlm.network.lm_head(hidden[:, 0])
    return found
