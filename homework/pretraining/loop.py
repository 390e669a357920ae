"""Pre-training's loop: the embedded base, its throw-away heads, and what a resume needs.

Several processes share each step's pictures; their gradients are averaged, so that all take the
same step.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from ..common import distributed
from ..common.errors import InputError, not_finite
from ..common.files import PARTIAL, install
from ..common.runs import steps_between
from ..frames.augment import View
from ..labels import questions
from ..model import attention, embedded, packing
from ..model.loaded import choose_device
from ..model.loading import CONFIG, load_model, load_processor
from ..model.packing import pairs_right
from . import dense_labels, heads, state
from .batches import AugmentedBatches, draw_pairs, hold_out, load_views

MAX_MEASURED = 640  # views
PICTURES_PER_STEP = 64  # of all processes
ASKED = 0.5  # share of the pictures that questions are asked about, once they are
# Of the losses; 1 for the others. Counts are learned from what the patches have learned.
DENSE_WEIGHTS = {"kart": 4.0} | dict.fromkeys(("count", "left", "right", "front", "behind"), 0.3)
QUESTIONS_WEIGHT = 4.0
WARM_UP_STEPS = 50
STEPS_PER_LINE, STEPS_PER_STATE = 50, 500


class Pretraining:
    """Model, heads, optimizer and data of one pre-training run."""

    def __init__(
        self,
        folders: Sequence[Path],
        work_dir: Path,
        recipe: dict[str, Any],
        held_out: float,
        start: Path | None = None,
    ) -> None:
        self.recipe, self.work_dir = recipe, work_dir
        self.steps, self.dense_steps = recipe["steps"], recipe["dense_steps"]
        self.seed, self.peak_rate = recipe["seed"], recipe["learning_rate"]
        self.device, self.dtype, reason = choose_device()
        distributed.connect()
        distributed.say(reason)
        work_dir.mkdir(parents=True, exist_ok=True)
        if distributed.is_main():
            embedded.save_processor(work_dir / "processor")
        distributed.wait()
        self.processor, self.inputs = load_processor(work_dir / "processor")
        self.model = self._first_model(start).to(self.device)
        attention.use(self.model)
        vision = self.model.config.vision_config
        self.patches = vision.image_size // vision.patch_size
        self.heads = heads.Heads(
            self.model.config.text_config.hidden_size,
            {
                name: [self.inputs.answer_ids(word)[0] for word in words]
                for name, words in dense_labels.WORD_HEADS.items()
            },
        ).to(self.device)
        self.weights = [*self.model.parameters(), *self.heads.parameters()]
        self.optimizers = build_optimizers(self.model, self.heads)
        self.step = 0
        views = [load_views(folder) for folder in folders]
        learned, kept = hold_out(views, recipe["held_out"], held_out)
        self.held_out = kept[:MAX_MEASURED]
        self.batches = AugmentedBatches(
            learned, PICTURES_PER_STEP, self.seed, recipe["augmentations"]
        )
        distributed.say(
            f"{len(learned)} views to learn from, {len(self.held_out)} to measure on, "
            f"held out by {recipe['held_out']}"
        )

    def _first_model(self, start: Path | None):
        """A fresh model, with the weights of a checkpoint to go on from."""
        model = embedded.build_model(self.seed)
        if start is not None:
            processor, _ = load_processor(start)
            weights = load_model(start).state_dict()
            shapes = [{k: v.shape for k, v in w.items()} for w in (weights, model.state_dict())]
            words = [each.tokenizer.get_vocab() for each in (processor, self.processor)]
            if shapes[0] != shapes[1] or words[0] != words[1]:
                raise InputError(f"{start}: not of the embedded base's form; give one that is")
            model.load_state_dict(weights)
        return model

    def tensors(self, views: list[View], asked: list[list[questions.Pair]]):
        """Model inputs and dense targets of `views`, pairs of the first of them packed."""
        pixels = self.inputs.pixel_values(
            [self.inputs.resize(Image.fromarray(view.picture)) for view in views]
        )
        targets = [dense_labels.labels(view.scene, self.patches) for view in views]
        targets = {
            head: torch.from_numpy(np.stack([target[head] for target in targets]))
            for head in targets[0]
        }
        sequences = [self.inputs.view_sequence(pairs) for pairs in asked]
        row = packing.pack(sequences, len(self.inputs.prefix_ids))
        return (
            pixels.to(self.device),
            row.to(self.device),
            {key: value.to(self.device) for key, value in targets.items()},
        )

    # --- one step ---

    def loss(self, pixels, row, targets):
        """Weighted sum of all losses, and each of them by name."""
        with torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype != torch.float32):
            seen = self.model.model.get_image_features(pixels, return_dict=True)
            tokens = torch.stack(seen.pooler_output)
            embeddings = self.model.get_input_embeddings().weight
            parts = heads.losses(self.heads(tokens, embeddings), targets)
            total = sum(DENSE_WEIGHTS.get(name, 1.0) * part for name, part in parts.items())
            if row.layout.count:
                seen.pooler_output = seen.pooler_output[: row.layout.count]
                scores = packing.answer_logits(self.model, row, mm_encoder_outputs={"image": seen})
                parts["questions"] = cross_entropy(scores.float(), row.answers)
                total = total + QUESTIONS_WEIGHT * parts["questions"]
        return total, parts

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a straight line to 0."""
        left = (self.steps - step) / max(self.steps - WARM_UP_STEPS, 1)
        return self.peak_rate * min((step + 1) / WARM_UP_STEPS, left, 1.0)

    def train_step(self) -> dict[str, float]:
        """One optimizer step; the losses by name."""
        rng = random.Random(f"{self.seed}/{self.step}/pairs")
        views = self.batches[self.step][distributed.rank() :: distributed.world_size()]
        share = ASKED if self.step >= self.dense_steps else 0
        asked = [draw_pairs(view.scene, rng) for view in views[: int(len(views) * share)]]
        tensors = self.tensors(views, asked)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate(self.step)
        total, parts = self.loss(*tensors)
        sources = [view.source for view in views]
        if not torch.isfinite(total):
            raise not_finite("loss", self.step, sources)
        total.backward()
        distributed.average([weight.grad for weight in self.weights if weight.grad is not None])
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_(self.weights, 1.0)):
            raise not_finite("gradient", self.step, sources)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return {name: part.item() for name, part in parts.items()}

    # --- the loop ---

    def train(self) -> None:
        """All steps that are left, with a line, a measurement and a state now and then."""
        self.step = state.load(self.state_file, *self._kept())
        if self.step:
            print(f"resumed at step {self.step}")
        sums, start, first = defaultdict(float), time.perf_counter(), self.step
        self.model.train()
        while self.step < self.steps:
            for name, loss in self.train_step().items():
                sums[name] += loss
            if self.step % STEPS_PER_LINE == 0:
                rate = (self.step - first) * PICTURES_PER_STEP / (time.perf_counter() - start)
                left = (self.steps - self.step) * PICTURES_PER_STEP / rate / 60
                line = " ".join(f"{name} {sums[name] / STEPS_PER_LINE:.3f}" for name in sums)
                distributed.say(
                    f"{self.step}/{self.steps} {rate:.1f} pictures/s {left:.0f} min left | {line}"
                )
                sums.clear()
            if not distributed.is_main():
                continue
            last = self.step == self.steps
            if (last or self.step % STEPS_PER_STATE == 0) and self.step > self.dense_steps:
                print(f"held-out accuracy at step {self.step}: {self.measure()}", flush=True)
            if last or self.step % steps_between(self.steps, STEPS_PER_STATE) == 0:
                state.save(self.state_file, *self._kept(), self.step)

    def measure(self) -> dict[str, float]:
        """Share of the held-out questions answered right (every token foretold), per kind."""
        right, asked = defaultdict(int), defaultdict(int)
        self.model.eval()
        for start in range(0, len(self.held_out), PICTURES_PER_STEP):
            views = self.held_out[start : start + PICTURES_PER_STEP]
            pairs = [list(questions.pairs(view.scene)) for view in views]
            pixels, row, _ = self.tensors(views, pairs)
            kinds = [questions.kind_of(question) for some in pairs for question, _ in some]
            with (
                torch.no_grad(),
                torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32),
            ):
                scores = packing.answer_logits(self.model, row, pixel_values=pixels)
            outcomes = pairs_right(scores.argmax(-1), row.answers, self.inputs.end_id).tolist()
            for kind, outcome in zip(kinds, outcomes, strict=True):
                asked[kind] += 1
                right[kind] += outcome
        self.model.train()
        return {kind: round(right[kind] / asked[kind], 3) for kind in asked}

    @property
    def state_file(self) -> Path:
        """All that a resume needs."""
        return self.work_dir / "state.safetensors"

    def _kept(self) -> tuple:
        return self.model, self.heads, self.optimizers, self.recipe

    def save(self, output: Path) -> None:
        """Write the checkpoint folder: float16 weights, configuration, processor."""
        fresh = output / f"fresh{PARTIAL}"
        shutil.rmtree(fresh, ignore_errors=True)
        self.model.to(torch.float16).save_pretrained(fresh)
        embedded.save_processor(fresh)
        install(fresh, output, CONFIG)
        print(f"wrote {output}")


def build_optimizers(model, heads) -> list[torch.optim.Optimizer]:
    """Muon for the weights between hidden layers, AdamW for all others.

    Muon (Jordan et al., 2024) needs some 0.6 of AdamW's steps here (docs/base.md).
    """
    matrices = [
        weight
        for name, weight in model.named_parameters()
        if weight.dim() == 2 and "embed" not in name and "lm_head" not in name
    ]
    taken = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in taken]
    return [
        torch.optim.Muon(matrices, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([*others, *heads.parameters()], betas=(0.9, 0.98), weight_decay=0.05),
    ]
