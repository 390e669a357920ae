"""What fine-tuning trains: LoRA weights, on images with all their pairs.

A sample is an image with all its pairs (see `packing`): the image is seen once a step,
however many questions are asked about it. On several devices a step's sums are those of one
device that takes the same images.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader
from transformers import get_cosine_schedule_with_warmup

from ..common import distributed, machine
from ..common.distributed import duration
from ..common.errors import InputError
from ..data import draw, wilson_interval
from ..labels.questions import KINDS, kind_of
from ..model import packing
from ..model.packing import pairs_right
from ..model.vlm import BaseVLM
from .batches import MicroBatch, StepSampler, ViewDataset
from .config import TrainConfig
from .passes import Passes, counting
from .step import HeldOutResult, Means, images_measured

WARM_UP = 0.03  # share of the steps
SOON = 2.0  # seconds


class FineTuning:
    """LoRA weights on packed micro-batches; see `step.Task`.

    A pair counts as answered right if every token of the answer and its end token are the
    model's first choice, given those before: if greedy decoding gives the answer.
    """

    def __init__(
        self,
        vlm: BaseVLM,
        model: torch.nn.Module,
        train_set: ViewDataset,
        held_out: ViewDataset,
        config: TrainConfig,
    ) -> None:
        """
        Args:
            model: `vlm`'s with LoRA modules.
        """
        self.vlm, self.model = vlm, model
        self.device, self.dtype = vlm.device, vlm.dtype
        self.train_set, self.held_out = train_set, held_out
        self.passes = Passes(vlm, config.tokens_per_pass, config.gradient_checkpointing)
        self.settings = self.passes.settings
        given = config.num_workers
        self.num_workers = machine.num_workers(vlm.device) if given is None else given
        self.buffers: dict[str, torch.Tensor] = {}
        self.weights = {n: weight for n, weight in model.named_parameters() if weight.requires_grad}
        # Fused: all weights in one pass over memory.
        assert config.learning_rate, "of_base gives one"
        self.peak_rate = config.learning_rate
        groups = _groups(self.weights, self.peak_rate, config.vision_learning_rate)
        adam = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
        self.optimizers: Sequence[torch.optim.Optimizer] = [adam]
        self.per_device = config.images
        self.sampler = StepSampler(
            [len(pairs) for _, pairs in train_set.views],
            self.per_device,
            config.seed,
            distributed.rank(),
            distributed.world_size(),
        )
        self.steps = config.steps(self.sampler.steps_per_epoch, vlm.network.config.model_type)
        self.measured = draw(
            len(held_out), images_measured(self.steps, self.sampler.images), config.seed
        )
        self._share_of_peak = schedule(self.optimizers[0], self.steps)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up that begins above 0, then half a cosine towards 0."""
        return self.peak_rate * self._share_of_peak(step)

    def batches(self, first: int) -> Iterator[list[MicroBatch]]:
        """The micro-batches of each step from `first` on."""
        self.passes.use()  # those of a checkpoint, where the run continues from one
        self.model.train()
        loader = DataLoader(
            self.train_set,
            batch_sampler=self.sampler.batches(range(first, self.steps)),
            collate_fn=list,  # packed here, as the size of passes may change
            num_workers=self.num_workers,
            prefetch_factor=4 if self.num_workers else None,
        )
        try:
            for samples in loader:
                yield self.passes.pack(samples)
        except InputError as error:
            # From a worker process it comes wrapped in two tracebacks; the last line is its own.
            line = str(error).strip().splitlines()[-1]
            raise InputError(line.removeprefix(f"{InputError.__module__}.InputError: ")) from None

    def loss(self, micro_batch: MicroBatch) -> tuple[torch.Tensor, Means]:
        """Sum of the weighted losses of a micro-batch, and its share of right answers."""
        loss, right = self._forward(micro_batch)
        counted = micro_batch.row.weights > 0
        pairs = int(counted.sum())
        return loss, {"accuracy": ((right & counted.to(right.device)).sum(), pairs)}

    def smaller(self, micro_batches: Sequence[MicroBatch]) -> list[MicroBatch]:
        """The same images in passes half as large; see `Passes.smaller`."""
        return self.passes.smaller(micro_batches)

    def prepare(self) -> float:
        """Cut steps into passes that fit into memory; returns the seconds that an image takes."""
        pairs = [len(pairs) for _, pairs in self.train_set.views]
        middle = sorted(range(len(pairs)), key=pairs.__getitem__)[len(pairs) // 2]
        kept, seconds = self._try([middle])
        self.passes.fit(self.passes.cost(self.train_set[middle]), kept)
        # A first pass takes longer than those after it. Where it is short: of a step's images.
        images = [middle] if seconds > SOON else next(self.sampler.batches([0]))
        return self._try(images)[1] / len(images)

    def _try(self, images: list[int]) -> tuple[int, float]:
        """Train on images and forget it; bytes that are kept for backward passes, and seconds."""

        def compute(passes: list[MicroBatch]) -> tuple[int, float]:
            start, bytes_kept = time.perf_counter(), 0
            for each in passes:
                with counting(self.model.parameters()) as kept:
                    loss, _ = self._forward(each)
                loss.backward()
                loss.item()  # waits for a GPU
                bytes_kept += sum(kept.values())
            return bytes_kept, time.perf_counter() - start

        self.model.train()
        passes = self.passes.pack([self.train_set[index] for index in images])
        found = machine.in_memory(compute, passes, self.smaller)
        self.optimizers[0].zero_grad(set_to_none=True)
        return found

    def measure(self, step: int) -> HeldOutResult | None:
        """Loss and accuracy on the held-out images, each by one of the processes."""
        if not len(self.held_out):
            return None
        mine = self.measured[distributed.rank() :: distributed.world_size()]
        sums, counts = [0.0, 0.0], Counter()  # of losses and weights; of (kind, right)
        self.model.eval()
        for start in range(0, len(mine), self.per_device):
            places = mine[start : start + self.per_device]
            passes = self.passes.pack([self.held_out[i] for i in places])
            losses, right = machine.in_memory(self._outcomes, passes, self.smaller)
            sums = [a + b for a, b in zip(sums, losses, strict=True)]
            pairs = (pair for index in places for pair in self.held_out.views[index][1])
            counts.update(zip((kind_of(question) for question, _ in pairs), right, strict=True))
        self.model.train()
        loss, weight = distributed.total(sums)
        counts = sum(distributed.gather(counts), Counter())
        asked = {kind: counts[kind, True] + counts[kind, False] for kind in (*KINDS, "other")}
        return HeldOutResult(
            loss / weight, {k: (counts[k, True], n) for k, n in asked.items() if n}
        )

    def _outcomes(self, passes: list[MicroBatch]) -> tuple[list[float], list[bool]]:
        """Sums of losses and weights of some passes, and which pairs are answered right."""
        with torch.no_grad():
            found = [self._forward(each) for each in passes]
        losses = [sum(loss.item() for loss, _ in found), sum(e.weight for e in passes)]
        return losses, [each for _, right in found for each in right.tolist()]

    def line(self, record: dict[str, float], steps_per_second: float | None) -> str:
        """Step, loss and accuracy; while training, pairs a second and the time left."""
        held_out = steps_per_second is None
        loss, accuracy = (record[f"{'eval_' * held_out}{name}"] for name in ("loss", "accuracy"))
        parts = [
            f"step {record['step']}/{self.steps}",
            f"{'held-out ' * held_out}loss {loss:.4f}",
            f"accuracy {accuracy:.1%}",
        ]
        if held_out:
            low, high = wilson_interval(accuracy, int(record["eval_questions"]))
            parts.append(f"({low:.1%} to {high:.1%}: {record['eval_questions']} questions)")
        if not held_out:
            images = min(self.sampler.images, len(self.train_set))
            pairs = self.train_set.pairs / len(self.train_set) * images
            left = (self.steps - record["step"]) / steps_per_second
            parts += [f"{pairs * steps_per_second:.1f} pairs/s", f"{duration(left)} left"]
        return "  ".join(parts)

    def _forward(self, micro_batch: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of weighted losses of a micro-batch, and which of its pairs are right."""
        row: Any = send_to_device(micro_batch.row, self.device, non_blocking=True)
        pixels = self.vlm.inputs.normalise(micro_batch.squares.to(self.device))
        network = self.vlm.network
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            tokens = packing.image_tokens(network, pixels)
            logits = packing.answer_logits(network, row, tokens)
        right = pairs_right(logits.detach().argmax(-1), row.answers, self.vlm.inputs.end_id)
        return packing.weighted_loss(logits, row), right


def _groups(
    weights: dict[str, torch.nn.Parameter], rate: float, vision_rate: float | None
) -> list[dict[str, Any]]:
    """The optimizer's groups of weights: one, or two where the vision tower has its own rate."""
    if vision_rate is None:
        return [{"params": [*weights.values()]}]
    text = [weight for name, weight in weights.items() if "text_model" in name]
    vision = [weight for name, weight in weights.items() if "text_model" not in name]
    return [{"params": text}, {"params": vision, "rate_scale": vision_rate / rate}]


def schedule(optimizer: torch.optim.Optimizer, steps: int) -> Callable[[int], float]:
    """Learning rate of each of `steps` steps as a share of the peak: 1 after warm-up, never 0.

    It is the library's schedule as a function of the step alone: a resumed run needs no state of
    it. The library's is 0 in its first step, which would learn nothing, so it begins in the second.
    """
    warm_up = math.ceil(WARM_UP * steps)
    share = get_cosine_schedule_with_warmup(optimizer, warm_up, steps + 1).lr_lambdas[0]
    return lambda step: share(step + 1)
