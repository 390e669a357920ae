"""Fine-tuning's trainer: packed passes, one loss over a step, and what is measured beside it.

A sample is a picture with all its pairs (see `packing`): the picture is seen once a step,
however many questions are asked about it. On several devices a step's sums are those of one
device that takes the same pictures.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path

import torch
from transformers import Trainer, TrainerCallback
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..common import distributed
from ..common.errors import not_finite
from ..common.files import writing
from ..model import packing
from ..model.packing import pairs_right
from . import resume
from .batches import Collator, Pass, StepLoader, Steps


class ViewTrainer(Trainer):
    """The Trainer on packed passes, with accuracy beside the loss and sealed checkpoints.

    A pair counts as answered right when every token of the answer and its end token are the
    model's first choice, given those before.

    Attributes:
        trained_pairs, tokens, pictures: what this process has learned from.
    """

    def __init__(self, *args, data_collator: Collator, **kwargs) -> None:
        super().__init__(*args, data_collator=data_collator, **kwargs)
        self._right, self._asked = defaultdict(int), defaultdict(int)
        self._seen: list[str] = []  # the pictures since the last optimizer step
        self.trained_pairs = self.tokens = self.pictures = 0
        self._inputs = self.train_dataset.inputs

    # --- a step ---

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Forward and backward for each pass of a batch; the loss's share of the step."""
        model.train()
        passes: list[Pass] = inputs["passes"]
        total = torch.zeros((), device=self.args.device)
        for number, part in enumerate(passes, start=1):
            # Gradients are summed over the devices once, after the last pass.
            last = number == len(passes)
            with nullcontext() if last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    loss = self.compute_loss(model, part, num_items_in_batch=num_items_in_batch)
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def compute_loss(self, model, inputs: Pass, return_outputs=False, num_items_in_batch=None):
        """A pass's sum of weighted losses over the weights of the whole step."""
        loss, right = self._forward(model, inputs)
        if not torch.isfinite(loss):
            raise not_finite("loss", self.state.global_step, inputs.paths)
        counted = inputs.row.weights > 0
        self._right[""] += int(right.cpu()[counted].sum())
        self._asked[""] += int(counted.sum())
        self._seen += inputs.paths
        self.trained_pairs += int(counted.sum())
        self.tokens += inputs.row.input_ids.numel()
        self.pictures += len(inputs.paths)
        # The devices' gradients are averaged; theirs must be summed.
        return loss * distributed.world_size() / num_items_in_batch

    def _forward(self, model, part: Pass) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of weighted losses of a pass, and which of its pairs are right."""
        device = self.args.device
        row = part.row.to(device)
        seen = part.seen.to(device)
        if seen.dtype == torch.uint8:
            picture = {"pixel_values": self._inputs.normalise(seen)}
        else:
            tokens = BaseModelOutputWithPooling(pooler_output=seen)
            picture = {"mm_encoder_outputs": {"image": tokens}}
        scores = packing.scores(model, row, **picture)
        right = pairs_right(scores.detach().argmax(-1), row.answers, self._inputs.end_id)
        return packing.weighted_loss(scores, row), right

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> float:
        """The weights of a step's questions, on all devices and in all of its batches."""
        weights = [part.row.weights.sum() for batch in batch_samples for part in batch["passes"]]
        return distributed.total([float(sum(weights))])[0]

    def _get_grad_norm(self, model, grad_norm=None):
        """Called before each optimizer step, which must not take a gradient that is not finite."""
        grad_norm = super()._get_grad_norm(model, grad_norm)
        if not math.isfinite(grad_norm):
            raise not_finite("gradient", self.state.global_step, self._seen)
        self._seen = []
        return grad_norm

    # --- measuring ---

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """Loss and accuracy on the held-out pictures, each by one of the processes."""
        dataset, size = self.eval_dataset, self.args.per_device_eval_batch_size
        mine = range(distributed.rank(), len(dataset), distributed.world_size())
        sums = [0.0, 0.0]  # of the losses, of the weights
        self.model.eval()
        with torch.no_grad():
            for start in range(0, len(mine), size):
                samples = [dataset[index] for index in mine[start : start + size]]
                for part in self.data_collator(samples)["passes"]:
                    with self.compute_loss_context_manager(), self.accelerator.autocast():
                        loss, right = self._forward(self.model, part)
                    sums = [sums[0] + loss.item(), sums[1] + part.row.weights.sum().item()]
                    self._right["eval_"] += int(right.sum())
                    self._asked["eval_"] += len(right)
        loss, weights = distributed.total(sums)
        metrics = {"eval_loss": loss / max(weights, 1)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        phase = "eval_" if "eval_loss" in logs else ""
        if "loss" in logs or phase:
            right, asked = distributed.total([self._right[phase], self._asked[phase]])
            if asked:
                logs[f"{phase}accuracy"] = right / asked
            self._right[phase] = self._asked[phase] = 0
        super().log(logs, *args, **kwargs)

    def floating_point_ops(self, inputs) -> int:
        """Not counted: the library's rule is of models without a vision tower."""
        return 0

    # --- the order, and what is kept ---

    def get_train_dataloader(self) -> StepLoader:
        dataset = self.train_dataset
        steps = Steps(
            [len(pairs) for _, pairs in dataset.views],
            self.args.per_device_train_batch_size,
            self.args.gradient_accumulation_steps,
            self.args.seed,
            distributed.rank(),
            distributed.world_size(),
        )
        workers = self.args.dataloader_num_workers
        return StepLoader(
            dataset,
            batch_sampler=steps,
            collate_fn=self.data_collator,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            pin_memory=self.args.device.type == "cuda",
        )

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        """The adapter alone: without a base to look up, and without pickled arguments."""
        self.model.save_pretrained(output_dir, save_embedding_layers=False)

    def _save_checkpoint(self, *args, **kwargs) -> None:
        """The trainer's own rotation is off: older ones go only when this one is whole."""
        run_dir = Path(self.args.output_dir)
        folder = run_dir / f"checkpoint-{self.state.global_step}"
        with writing(folder):
            if distributed.is_main():
                resume.discard(folder)
            distributed.wait()
            super()._save_checkpoint(*args, **kwargs)
            distributed.wait()
            if distributed.is_main():
                resume.seal(folder)
                resume.rotate(run_dir)


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
