"""Pre-training's loop: the embedded base, its throw-away heads, and what a resume needs.

Several processes share each step's pictures; their gradients are averaged, so that all take the
same step.
"""

from __future__ import annotations

import math
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
from ..labels import descriptions
from ..labels.vocabulary import KARTS, TRACKS
from ..model import attention, embedded, packing
from ..model.loaded import choose_device
from ..model.loading import CONFIG, load_model, load_processor
from ..model.packing import pairs_right
from . import centers, dense_labels, heads, state
from .batches import AugmentedBatches, hold_out, load_views

MAX_MEASURED = 640  # views
PICTURES_PER_STEP = 32  # of all processes
TOLD = 0.5  # share of the pictures that are described, once they are
# Of the losses; 1 for the others. Counts are learned from what the patches have learned.
DENSE_WEIGHTS = {"kart": 4.0} | dict.fromkeys(("count", "left", "right", "front", "behind"), 0.3)
CENTER_WEIGHTS = {"heat": 1.0, "name": 1.0, "box": 0.1}
DESCRIPTIONS_WEIGHT = 4.0
WARM_UP_STEPS = 50
STEPS_PER_LINE, STEPS_PER_STATE = 25, 150
FINE_STAGE = 1  # of the stem, where the fine labels are learned


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
        stem = self.model.stem
        self.fine_side = (
            vision.image_size
            // stem.side
            // math.prod(self.model.config.stem_strides[: FINE_STAGE + 1])
        )
        self.center_head = heads.CenterHead(
            self.model.config.stem_channels[FINE_STAGE], self.model.config.text_config.hidden_size
        ).to(self.device)
        stem.stages[FINE_STAGE].register_forward_hook(self._keep_stage)
        self.silent = self._silent_words().to(self.device)
        self.throw_away = torch.nn.ModuleList([self.heads, self.center_head])
        self.weights = [*self.model.parameters(), *self.throw_away.parameters()]
        self.optimizers = build_optimizers(self.model, self.throw_away)
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

    def _keep_stage(self, stage, given, values) -> None:
        self._stage = values

    def _silent_words(self) -> torch.Tensor:
        """Which words no description says: bool (vocabulary,).

        They are left out of the vocabulary's scores. Otherwise all of them would be pushed the
        same way at each step, and the words that questions alone have would come to be alike.
        """
        words = [*KARTS, *TRACKS, *map(str, range(dense_labels.MAX_COUNT + 1))]
        said = {self.inputs.end_id}
        for text in (*words, *descriptions.language()):
            said.update(self.inputs.answer_ids(text))
        silent = torch.ones(self.model.config.text_config.vocab_size, dtype=torch.bool)
        silent[sorted(said)] = False
        return silent

    def _first_model(self, start: Path | None):
        """A fresh model, or the one of a checkpoint to go on from.

        A checkpoint has its normalisation folded in, and goes on without.
        """
        model = embedded.build_model(self.seed)
        if start is None:
            model.stem.normalise()
        if start is not None:
            processor, _ = load_processor(start)
            weights = load_model(start).state_dict()
            shapes = [{k: v.shape for k, v in w.items()} for w in (weights, model.state_dict())]
            words = [each.tokenizer.get_vocab() for each in (processor, self.processor)]
            if shapes[0] != shapes[1] or words[0] != words[1]:
                raise InputError(f"{start}: not of the embedded base's form; give one that is")
            model.load_state_dict(weights)
        return model

    def tensors(self, views: list[View], told: list[list[descriptions.Statement]]):
        """Model inputs, dense and fine targets of `views`, sentences about the first packed."""
        pixels = self.inputs.pixel_values(
            [self.inputs.resize(Image.fromarray(view.picture)) for view in views]
        )
        targets = [dense_labels.labels(view.scene, self.patches) for view in views]
        targets = {
            head: torch.from_numpy(np.stack([target[head] for target in targets]))
            for head in targets[0]
        }
        sequences = [
            self.inputs.statement_sequence((part.given, part.told) for part in some)
            for some in told
        ]
        row = packing.pack(sequences, len(self.inputs.prefix_ids))
        fine = centers.centers([view.scene for view in views], self.fine_side)
        return (
            pixels.to(self.device),
            row.to(self.device),
            {key: value.to(self.device) for key, value in targets.items()},
            centers.Centers(*(torch.from_numpy(part).to(self.device) for part in fine)),
        )

    # --- one step ---

    def loss(self, pixels, row, targets, fine):
        """Weighted sum of all losses, and each of them by name."""
        with torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype != torch.float32):
            seen = self.model.model.get_image_features(pixels, return_dict=True)
            tokens = torch.stack(seen.pooler_output)
            embeddings = self.model.get_input_embeddings().weight
            parts = heads.losses(self.heads(tokens, embeddings), targets)
            total = sum(DENSE_WEIGHTS.get(name, 1.0) * part for name, part in parts.items())
            patches = tokens.transpose(1, 2).unflatten(2, (self.patches, self.patches))
            found = heads.center_losses(self.center_head(self._stage, patches), fine)
            total = total + sum(CENTER_WEIGHTS[name] * part for name, part in found.items())
            parts |= found
            if row.layout.count:
                seen.pooler_output = seen.pooler_output[: row.layout.count]
                scores = packing.scores(self.model, row, mm_encoder_outputs={"image": seen})
                scores = scores.float().masked_fill(self.silent, float("-inf"))
                parts["descriptions"] = cross_entropy(scores, row.answers)
                total = total + DESCRIPTIONS_WEIGHT * parts["descriptions"]
        return total, parts

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, the peak, then a straight line to 0 from two fifths of the steps on."""
        left = (self.steps - step) / (0.6 * self.steps)
        return self.peak_rate * min((step + 1) / WARM_UP_STEPS, left, 1.0)

    def train_step(self) -> dict[str, float]:
        """One optimizer step; the losses by name."""
        rng = random.Random(f"{self.seed}/{self.step}/pairs")
        views = self.batches[self.step][distributed.rank() :: distributed.world_size()]
        share = TOLD if self.step >= self.dense_steps else 0
        described = views[: int(len(views) * share)]
        told = [descriptions.statements(view.scene, rng) for view in described]
        tensors = self.tensors(views, told)
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
        """Share of the sentences about held-out views that are right in every token, per kind."""
        right, asked = defaultdict(int), defaultdict(int)
        rng = random.Random(0)
        self.model.eval()
        for start in range(0, len(self.held_out), PICTURES_PER_STEP):
            views = self.held_out[start : start + PICTURES_PER_STEP]
            told = [descriptions.statements(view.scene, rng) for view in views]
            pixels, row, *_ = self.tensors(views, told)
            kinds = [part.kind for some in told for part in some]
            with (
                torch.no_grad(),
                torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32),
            ):
                scores = packing.scores(self.model, row, pixel_values=pixels)
            outcomes = pairs_right(scores.argmax(-1), row.answers, self.inputs.end_id).tolist()
            for kind, outcome in zip(kinds, outcomes, strict=True):
                asked[kind] += 1
                right[kind] += outcome
        self.model.train()
        kinds = [kind for kind in descriptions.KINDS if asked[kind]]
        return {kind: round(right[kind] / asked[kind], 3) for kind in kinds}

    @property
    def state_file(self) -> Path:
        """All that a resume needs."""
        return self.work_dir / "state.safetensors"

    def _kept(self) -> tuple:
        return self.model, self.throw_away, self.optimizers, self.recipe

    def save(self, output: Path) -> None:
        """Write the checkpoint folder: float16 weights, configuration, processor."""
        fresh = output / f"fresh{PARTIAL}"
        shutil.rmtree(fresh, ignore_errors=True)
        self.model.stem.fold()
        self.model.to(torch.float16, memory_format=torch.contiguous_format).save_pretrained(fresh)
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
    others = [
        (weight, "embed" not in name and weight.dim() > 1)
        for name, weight in (*model.named_parameters(), *heads.named_parameters())
        if id(weight) not in taken and weight.requires_grad
    ]
    groups = [
        {
            "params": [weight for weight, decays in others if decays == chosen],
            "weight_decay": 0.05 * chosen,
        }
        for chosen in (True, False)
    ]
    return [
        torch.optim.Muon(matrices, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, betas=(0.9, 0.98)),
    ]
