"""Answers to questions about images, generated, and log-probabilities of candidate answers.

Images and questions are prefilled once for all answers (see `prefix_cache`). A row leaves the
batch when its answer ends, and the answers return in the order of the questions.

One forward pass reads all candidates of a question side by side. Each attends to the question and
to itself (x); here candidate 1 has two tokens and candidate 2 has one:

                  prefix  question  padding  candidate 1  candidate 2
    candidate 1     x        x         .        x .            .
                    x        x         .        x x            .
    candidate 2     x        x         .        . .            x
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import torch

from ..labels.questions import Probabilities, possible_answers
from .prefix_cache import (
    Loaded,
    Prefilled,
    PrefixCache,
    answer_each,
    attention_mask,
    embed,
    even_chunks,
    forward,
)

MAX_NEW_TOKENS = 16  # a name is one token for the embedded base, several for SmolVLM
TOKENS = 2_048  # candidate tokens per pass: with a large vocabulary their logits fill 400 MB


def generate(
    vlm: Loaded,
    image_paths: Sequence[str],
    questions: Sequence[str],
    copies: int = 1,
    temperature: float = 0,
) -> list[list[str]]:
    """`copies` answers per question; see BaseVLM.batched_generate."""
    decode_batch = partial(decode_answers, vlm, copies=copies, temperature=temperature)
    return answer_each(vlm, image_paths, questions, decode_batch)


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
        logits, lengths: (N, vocabulary) of the first tokens; int64 (N,), tokens of the questions.
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


# --- the probability of given answers ---


class ScoringModel:
    """A model that answers and keeps the probability of every answer in the closed vocabulary.

    Attributes:
        probabilities: of the last call, one entry per question: a softmax over the question's
            closed vocabulary, so that they sum to 1; () if the question has none.
    """

    def __init__(self, vlm: Loaded) -> None:
        self.vlm = vlm
        self.probabilities: list[Probabilities] = []

    def answer(self, image_paths: Sequence[str], questions: Sequence[str]) -> list[str]:
        """The same answers as BaseVLM.answer, with one prefill for answers and probabilities."""
        closed = [possible_answers(question) for question in questions]

        def compute(batch: Prefilled) -> list[tuple[list[str], list[float]]]:
            scored = _score_batch(self.vlm, batch, closed)
            return list(zip(decode_answers(self.vlm, batch), scored, strict=True))

        results = answer_each(self.vlm, image_paths, questions, compute)
        self.probabilities = [
            softmax(names, row) if names else ()
            for names, (_, row) in zip(closed, results, strict=True)
        ]
        return [answer for (answer,), _ in results]


def softmax(answers: Sequence[str], log_probabilities: Sequence[float]) -> Probabilities:
    """Normalise over the answers and sort them, most probable first."""
    most = max(log_probabilities)
    weights = [math.exp(value - most) for value in log_probabilities]
    total = sum(weights)
    ranked = zip(answers, (weight / total for weight in weights), strict=True)
    return tuple(sorted(ranked, key=lambda pair: -pair[1]))


def token_log_probabilities(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of `tokens`, (..., N), given logits, (..., vocabulary)."""
    if logits.dtype != torch.float64:
        logits = logits.float()
    return logits.gather(-1, tokens) - logits.logsumexp(-1, keepdim=True)


def _score_batch(
    vlm: Loaded, batch: Prefilled, candidates: Sequence[Sequence[str]]
) -> list[list[float]]:
    """Log-probabilities of a batch's candidates; `candidates` are those of all questions."""
    found: list[list[float]] = [[] for _ in batch.indices]
    rows_of: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, index in enumerate(batch.indices):
        if candidates[index]:
            rows_of[tuple(candidates[index])].append(row)
    # Questions with the same candidates share a pass, as the mask is the same.
    for answers, rows in rows_of.items():
        ids = [vlm.inputs.answer_ids(answer) for answer in answers]
        for part in even_chunks(rows, max(1, TOKENS // sum(map(len, ids)))):
            sums = _score_answers(vlm, batch, torch.tensor(part, device=vlm.device), ids)
            for row, values in zip(part, sums.tolist(), strict=True):
                found[row] = values
    return found


def _score_answers(
    vlm: Loaded, batch: Prefilled, rows: torch.Tensor, ids: list[list[int]]
) -> torch.Tensor:
    """Log-probabilities of answers, end tokens included: (R, answers).

    Args:
        rows: int64 (R,), rows of the batch that have these candidates.
        ids: token ids of each answer. T below is their number without each answer's last token,
            which is never an input.
    """
    size, device, lengths = batch.cache.prefix, vlm.device, batch.lengths[rows]
    inputs = torch.tensor([token for answer in ids for token in answer[:-1]], device=device)
    targets = torch.tensor([token for answer in ids for token in answer[1:]], device=device)
    owner = torch.tensor([i for i, a in enumerate(ids) for _ in a[1:]], device=device)  # (T,)
    step = torch.tensor([step for a in ids for step in range(len(a) - 1)], device=device)
    cache = batch.cache.rows(rows, len(inputs))
    own = (owner.unsqueeze(0) == owner.unsqueeze(1)).tril()  # (T, T)
    before = attention_mask(cache, lengths, cache.length - size, size, len(inputs))
    mask = torch.cat([before[..., : cache.length], own.expand(len(rows), 1, -1, -1)], 3)
    embeddings = embed(vlm, inputs).expand(len(rows), -1, -1)  # (R, T, D)
    hidden = forward(vlm, cache, embeddings, size + lengths.unsqueeze(1) + step, mask)
    logits = vlm.network.lm_head(hidden)  # (R, T, vocabulary)
    later = token_log_probabilities(logits, targets.expand(len(rows), -1).unsqueeze(2))
    starts = torch.tensor([answer[0] for answer in ids], device=device)
    sums = token_log_probabilities(batch.logits[rows], starts.expand(len(rows), -1))
    return sums.index_add(1, owner, later.squeeze(2))
