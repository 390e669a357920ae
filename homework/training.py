"""Fine-tuning's parts: views as samples, their order, the trainer and what it prints.

A sample is a picture with all its pairs (see `inputs`): the picture is seen once a step,
however many questions are asked about it.
"""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainerCallback

from . import resume
from .data import VQADataset
from .files import writing
from .frames import frame_of, held_out
from .inputs import IGNORED, InputBuilder, ViewSequence
from .pictures import open_picture

PATHS = "image_paths"  # of a batch; no argument of the model


class ViewDataset(Dataset):
    """Pictures with their question/answer pairs, as model inputs.

    Args:
        views: (image_path, [(question, answer), ...]) of each picture.
    """

    def __init__(self, views: list[tuple[str, list[tuple[str, str]]]], inputs: InputBuilder):
        self.views, self.inputs = views, inputs

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ViewSequence, str]:
        path, pairs = self.views[index]
        square = self.inputs.resize(open_picture(path))
        return self.inputs.pixel_values([square])[0], self.inputs.view_sequence(pairs), path

    @property
    def pairs(self) -> int:
        """Number of question/answer pairs of all views."""
        return sum(len(pairs) for _, pairs in self.views)


def collate(
    samples: list[tuple[torch.Tensor, ViewSequence, str]], inputs: InputBuilder
) -> dict[str, torch.Tensor]:
    """A batch of samples as the model's keyword arguments."""
    pixels, sequences, _ = zip(*samples, strict=True)
    return {"pixel_values": torch.stack(pixels), **inputs.collate(sequences)}


def collate_named(samples: list, inputs: InputBuilder) -> dict:
    """As `collate`, with the pictures' paths beside: the trainer names them when it must stop."""
    return {**collate(samples, inputs), PATHS: [path for _, _, path in samples]}


def split_views(dataset: VQADataset, share: float) -> tuple[list, list]:
    """The dataset's pictures with their pairs: those to train on and those to measure on.

    Args:
        share: of the frames, how many to measure on; see `frames.held_out`.
    """
    by_picture: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for item in dataset:
        by_picture[item["image_path"]].append((item["question"], item["answer"]))
    frames = {path: frame_of(Path(path).name) for path in by_picture}
    measured = held_out(frames.values(), share) if share else set()
    train, held = [], []
    for path, pairs in by_picture.items():
        (held if frames[path] in measured else train).append((path, pairs))
    return train, held


class GroupedByLength(Sampler[int]):
    """Views in random order, except that batches hold views with about as many pairs.

    Most of a batch's padding comes from one view with many karts among views with few.
    """

    def __init__(self, dataset: ViewDataset, batch_size: int, seed: int) -> None:
        self.lengths = [len(pairs) for _, pairs in dataset.views]
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        # Depends on seed and epoch alone, so that a resumed run finds the same order.
        rng = random.Random(f"{self.seed}/{self.epoch}")
        order = rng.sample(range(len(self)), len(self))
        pool = 32 * self.batch_size
        batches = []
        for start in range(0, len(order), pool):
            near = sorted(order[start : start + pool], key=self.lengths.__getitem__)
            batches += [near[i : i + self.batch_size] for i in range(0, len(near), self.batch_size)]
        # A short batch stays last: amid the others it would shift all that follow.
        short = [batches.pop()] if len(batches[-1]) < self.batch_size else []
        rng.shuffle(batches)
        batches += short
        return iter([index for batch in batches for index in batch])

    def set_epoch(self, epoch: int) -> None:
        """The trainer says which epoch comes."""
        self.epoch = epoch


class ViewTrainer(Trainer):
    """The Trainer, with accuracy beside the loss and checkpoints that say when they are whole.

    A pair counts as answered right when every token of the answer and its end token are the
    model's first choice, given those before.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._right, self._asked = defaultdict(int), defaultdict(int)
        self._seen: list[str] = []  # the pictures since the last optimizer step
        self.trained_pairs = self.tokens = self.padding = 0
        self._end_id = self.train_dataset.inputs.end_id
        self._pad_id = self.train_dataset.inputs.pad_id

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        inputs = dict(inputs)
        paths = inputs.pop(PATHS)
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if not torch.isfinite(loss):
            raise resume.not_finite("loss", self.state.global_step, paths)
        right = answered_right(outputs.logits.detach(), inputs["labels"], self._end_id)
        phase = "" if model.training else "eval_"
        self._right[phase] += int(right.sum())
        self._asked[phase] += len(right)
        if model.training:
            self._seen += paths
            self.trained_pairs += len(right)
            self.tokens += inputs["input_ids"].numel()
            self.padding += int((inputs["input_ids"] == self._pad_id).sum())
        return (loss, outputs) if return_outputs else loss

    def _get_grad_norm(self, model, grad_norm=None):
        """Called before each optimizer step, which must not take a gradient that is not finite."""
        grad_norm = super()._get_grad_norm(model, grad_norm)
        if not math.isfinite(grad_norm):
            raise resume.not_finite("gradient", self.state.global_step, self._seen)
        self._seen = []
        return grad_norm

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Loss only: the accuracy is counted in compute_loss, no scores need to be gathered."""
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, self._prepare_inputs(inputs)), None, None

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        phase = "eval_" if "eval_loss" in logs else ""
        if ("loss" in logs or phase) and self._asked[phase]:
            logs[f"{phase}accuracy"] = self._right[phase] / self._asked[phase]
            self._right[phase] = self._asked[phase] = 0
        super().log(logs, *args, **kwargs)

    def _get_train_sampler(self, train_dataset=None) -> GroupedByLength:
        return GroupedByLength(self.train_dataset, self.args.train_batch_size, self.args.seed)

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        """The adapter alone: without a base to look up, and without pickled arguments."""
        self.model.save_pretrained(output_dir, save_embedding_layers=False)

    def _save_checkpoint(self, *args, **kwargs) -> None:
        """The trainer's own rotation is off: older ones go only when this one is whole."""
        run_dir = Path(self.args.output_dir)
        folder = run_dir / f"checkpoint-{self.state.global_step}"
        with writing(folder):
            resume.discard(folder)
            super()._save_checkpoint(*args, **kwargs)
            resume.seal(folder)
            resume.rotate(run_dir)


def answered_right(logits: torch.Tensor, labels: torch.Tensor, end_id: int) -> torch.Tensor:
    """Which of a batch's pairs are answered right.

    Args:
        logits: (B, L, vocabulary).
        labels: (B, L), IGNORED except on answers, each of which closes with `end_id`.

    Returns:
        bool, one per pair, row by row.
    """
    labels = labels[:, 1:]
    due = labels != IGNORED
    return pairs_right(logits[:, :-1][due].argmax(-1), labels[due], end_id)


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


class ProgressLine(TrainerCallback):
    """One line a record: step, loss, accuracy, pairs a second and the time left."""

    def __init__(self, pairs_per_step: float) -> None:
        self.pairs_per_step = pairs_per_step

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.start, self.first = time.perf_counter(), state.global_step

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        logs = logs or {}
        prefix = "eval_" if "eval_loss" in logs else ""
        if f"{prefix}loss" not in logs:
            return
        parts = [
            f"step {state.global_step}/{state.max_steps}",
            f"{'held-out ' if prefix else ''}loss {logs[f'{prefix}loss']:.4f}",
            f"accuracy {logs.get(f'{prefix}accuracy', float('nan')):.1%}",
        ]
        done = state.global_step - self.first
        if done and not prefix:
            seconds = time.perf_counter() - self.start
            left = (state.max_steps - state.global_step) * seconds / done
            parts.append(f"{done * self.pairs_per_step / seconds:.1f} pairs/s")
            parts.append(f"{left / 60:.1f} min left")
        print("  ".join(parts), flush=True)


def peak_memory_bytes() -> int:
    """The most memory that this process has held: the GPU's where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource
    import sys

    # Kilobytes on Linux, bytes on macOS (getrusage(2)).
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
