"""How likely a model finds given answers, alone or beside the answers that it gives itself.

Pictures and questions are read as for answering (see `answering`); then all candidates of a
question are read at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from .generation import RowCache, answers, asked, even, inference, read, seen

if TYPE_CHECKING:
    from ..base_vlm import BaseVLM

TOKENS = 2_048  # of candidates at a time: over a large vocabulary their scores fill 400 MB


def score(
    vlm: BaseVLM,
    image_paths: Sequence[str],
    questions: Sequence[str],
    candidates: Sequence[Sequence[str]],
) -> list[list[float]]:
    """Log-probability of each candidate answer; see BaseVLM.score."""
    found: list[list[float]] = [[]] * len(questions)
    with inference(vlm):
        for batch, *given in asked(vlm, image_paths, questions):
            values = _scores(vlm, *given, [candidates[index] for index in batch])
            for index, row in zip(batch, values, strict=True):
                found[index] = row
    return found


def answer_and_score(
    vlm: BaseVLM,
    image_paths: Sequence[str],
    questions: Sequence[str],
    candidates: Sequence[Sequence[str]],
) -> tuple[list[str], list[list[float]]]:
    """What `generate` and `score` say, pictures and questions read once for both."""
    texts = [""] * len(questions)
    found: list[list[float]] = [[]] * len(questions)
    with inference(vlm):
        for batch, *given in asked(vlm, image_paths, questions):
            values = _scores(vlm, *given, [candidates[index] for index in batch])
            found_texts = answers(vlm, *given, 1, 0)
            for index, (text,), row in zip(batch, found_texts, values, strict=True):
                texts[index], found[index] = text, row
    return texts, found


def _scores(vlm: BaseVLM, cache: RowCache, first, lengths, candidates) -> list[list[float]]:
    """Log-probability of each candidate of each question of a batch; see `answering.asked`."""
    found: list[list[float]] = [[] for _ in candidates]
    same: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, given in enumerate(candidates):
        if given:
            same[tuple(given)].append(row)
    # Questions with the same candidates in one pass: they share its layout.
    for given, rows in same.items():
        ids = [vlm.inputs.answer_ids(answer) for answer in given]
        for part in even(rows, max(1, TOKENS // sum(map(len, ids)))):
            index = torch.tensor(part, device=vlm.device)
            sums = _likelihoods(vlm, cache, index, first[index], lengths[index], ids)
            for row, values in zip(part, sums.tolist(), strict=True):
                found[row] = values
    return found


def _likelihoods(vlm: BaseVLM, cache: RowCache, rows, first, lengths, ids) -> torch.Tensor:
    """Natural log of the probability of answers `ids`, end tokens included: (rows, answers).

    All answers of a question are read at once, side by side: each sees the question and itself.

    Args:
        rows: (rows,), of the questions in `cache`.
        first: over the vocabulary, scores of each answer's first token: (rows, vocabulary).
        lengths: (rows,), tokens of each question.
    """
    size, device = len(vlm.inputs.prefix_ids), vlm.device
    questions = cache.length - size
    taken = torch.tensor([token for answer in ids for token in answer[:-1]], device=device)
    due = torch.tensor([token for answer in ids for token in answer[1:]], device=device)
    owner = torch.tensor([i for i, a in enumerate(ids) for _ in a[1:]], device=device)
    place = torch.tensor([step for a in ids for step in range(len(a) - 1)], device=device)
    cache = cache.rows(rows, len(taken))
    own = (owner.unsqueeze(0) == owner.unsqueeze(1)).tril()
    before = seen(cache, lengths, questions, size, len(taken))[..., : cache.length]
    mask = torch.cat([before, own.expand(len(rows), 1, -1, -1)], 3)
    embeddings = vlm.network.get_input_embeddings()(taken).expand(len(rows), -1, -1)
    positions = size + lengths.unsqueeze(1) + place
    hidden = read(vlm, cache, embeddings, positions, mask)
    starts = torch.tensor([answer[0] for answer in ids], device=device)
    sums = _chosen(first, starts.expand(len(rows), -1))
    later = _chosen(vlm.network.lm_head(hidden), due.expand(len(rows), -1).unsqueeze(2))
    return sums.index_add(1, owner, later.squeeze(2))


def _chosen(scores, tokens) -> torch.Tensor:
    """Log-probability of `tokens`, in the shape of `tokens`, by scores over the vocabulary."""
    if scores.dtype != torch.float64:
        scores = scores.float()
    return scores.gather(-1, tokens) - scores.logsumexp(-1, keepdim=True)
