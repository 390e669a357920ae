"""How likely a model finds given answers, alone or beside the answers that it gives itself.

Pictures and questions are read as for answering (see `prefix_cache`); then all candidates of a
question are read at once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ..labels.vocabulary import Scores, vocabulary
from .generation import decode_answers
from .prefix_cache import (
    PrefixCache,
    attention_mask,
    even_chunks,
    forward,
    prefill_questions,
)

if TYPE_CHECKING:
    from .loaded import LoadedVLM

TOKENS = 2_048  # of candidates at a time: over a large vocabulary their logits fill 400 MB


def score(
    vlm: LoadedVLM,
    image_paths: Sequence[str],
    questions: Sequence[str],
    candidates: Sequence[Sequence[str]],
) -> list[list[float]]:
    """Log-probability of each candidate answer; see BaseVLM.score."""
    found: list[list[float]] = [[]] * len(questions)
    with vlm.inference():
        for batch, *given in prefill_questions(vlm, image_paths, questions):
            values = _log_probabilities(vlm, *given, [candidates[index] for index in batch])
            for index, row in zip(batch, values, strict=True):
                found[index] = row
    return found


def answer_and_score(
    vlm: LoadedVLM,
    image_paths: Sequence[str],
    questions: Sequence[str],
    candidates: Sequence[Sequence[str]],
) -> tuple[list[str], list[list[float]]]:
    """What `generate` and `score` say, pictures and questions read once for both."""
    texts = [""] * len(questions)
    found: list[list[float]] = [[]] * len(questions)
    with vlm.inference():
        for batch, *given in prefill_questions(vlm, image_paths, questions):
            values = _log_probabilities(vlm, *given, [candidates[index] for index in batch])
            found_texts = decode_answers(vlm, *given, 1, 0)
            for index, (text,), row in zip(batch, found_texts, values, strict=True):
                texts[index], found[index] = text, row
    return texts, found


def _log_probabilities(
    vlm: LoadedVLM, cache: PrefixCache, first, lengths, candidates
) -> list[list[float]]:
    """Log-probability of each candidate of each question of a batch; see `prefill_questions`."""
    found: list[list[float]] = [[] for _ in candidates]
    same: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, given in enumerate(candidates):
        if given:
            same[tuple(given)].append(row)
    # Questions with the same candidates in one pass: they share its layout.
    for given, rows in same.items():
        ids = [vlm.inputs.answer_ids(answer) for answer in given]
        for part in even_chunks(rows, max(1, TOKENS // sum(map(len, ids)))):
            index = torch.tensor(part, device=vlm.device)
            sums = _of_answers(vlm, cache, index, first[index], lengths[index], ids)
            for row, values in zip(part, sums.tolist(), strict=True):
                found[row] = values
    return found


def _of_answers(vlm: LoadedVLM, cache: PrefixCache, rows, first, lengths, ids) -> torch.Tensor:
    """Natural log of the probability of answers `ids`, end tokens included: (rows, answers).

    All answers of a question are read at once, side by side: each sees the question and itself.

    Args:
        rows: (rows,), of the questions in `cache`.
        first: logits of each answer's first token: (rows, vocabulary).
        lengths: (rows,), tokens of each question.
    """
    size, device = len(vlm.inputs.prefix_ids), vlm.device
    questions = cache.length - size
    taken = torch.tensor([token for answer in ids for token in answer[:-1]], device=device)
    targets = torch.tensor([token for answer in ids for token in answer[1:]], device=device)
    owner = torch.tensor([i for i, a in enumerate(ids) for _ in a[1:]], device=device)
    place = torch.tensor([step for a in ids for step in range(len(a) - 1)], device=device)
    cache = cache.rows(rows, len(taken))
    own = (owner.unsqueeze(0) == owner.unsqueeze(1)).tril()
    before = attention_mask(cache, lengths, questions, size, len(taken))[..., : cache.length]
    mask = torch.cat([before, own.expand(len(rows), 1, -1, -1)], 3)
    embeddings = vlm.network.get_input_embeddings()(taken).expand(len(rows), -1, -1)
    positions = size + lengths.unsqueeze(1) + place
    hidden = forward(vlm, cache, embeddings, positions, mask)
    starts = torch.tensor([answer[0] for answer in ids], device=device)
    sums = _chosen(first, starts.expand(len(rows), -1))
    later = _chosen(vlm.network.lm_head(hidden), targets.expand(len(rows), -1).unsqueeze(2))
    return sums.index_add(1, owner, later.squeeze(2))


def _chosen(logits, tokens) -> torch.Tensor:
    """Log-probability of `tokens`, in the shape of `tokens`."""
    if logits.dtype != torch.float64:
        logits = logits.float()
    return logits.gather(-1, tokens) - logits.logsumexp(-1, keepdim=True)


class ScoringModel:
    """A model that answers, and keeps beside how likely it finds each answer there could be.

    `scores` are those of the last call: for each question the answers of its closed vocabulary
    by a softmax over that vocabulary alone, so that they add up to one; () where it has none.
    """

    def __init__(self, vlm: LoadedVLM) -> None:
        self.vlm = vlm
        self.scores: list[Scores] = []

    def answer(self, image_paths: Sequence[str], questions: Sequence[str]) -> list[str]:
        """The answers that the model itself gives; see BaseVLM.answer."""
        closed = [vocabulary(question) for question in questions]
        answers, found = answer_and_score(self.vlm, image_paths, questions, closed)
        self.scores = [softmax(*row) if row[0] else () for row in zip(closed, found, strict=True)]
        return answers


def softmax(answers: Sequence[str], log_probabilities: Sequence[float]) -> Scores:
    """Answers with their shares of the probability, likeliest first."""
    most = max(log_probabilities)
    weights = [math.exp(value - most) for value in log_probabilities]
    total = sum(weights)
    ranked = zip(answers, (weight / total for weight in weights), strict=True)
    return tuple(sorted(ranked, key=lambda pair: -pair[1]))
