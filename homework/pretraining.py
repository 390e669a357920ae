"""Pre-training's loop: the embedded base, its throw-away heads, and what a resume needs."""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from . import attention, dense, embedded, packing, questions
from .augment import View
from .devices import choose_device
from .files import PARTIAL, InputError, atomic_write, install
from .frames import frame_of, held_out
from .loading import CONFIG, load_processor, one_line
from .resume import not_finite
from .training import pairs_right
from .views import AugmentedBatches, load_views

HELD_OUT = 0.02  # share of the frames kept for measuring
MAX_PAIRS = 10  # of one frame in one step
PICTURES_PER_STEP = 32
MODEL, HEADS, OPTIMIZER = "model.", "heads.", "optimizer."  # begin the names in a state
STEPS_PER_LINE, STEPS_PER_STATE = 50, 500


class Pretraining:
    """Model, heads, optimizer and data of one pre-training run."""

    def __init__(
        self,
        data_dir: Path,
        work_dir: Path,
        steps: int,
        dense_steps: int,
        learning_rate: float,
        seed: int,
    ) -> None:
        self.recipe = {
            "data": data_dir.name,
            "steps": steps,
            "dense_steps": dense_steps,
            "learning_rate": learning_rate,
            "seed": seed,
        }
        self.work_dir, self.steps, self.dense_steps = work_dir, steps, dense_steps
        self.seed, self.peak_rate = seed, learning_rate
        self.device, self.dtype, reason = choose_device()
        print(reason)
        work_dir.mkdir(parents=True, exist_ok=True)
        embedded.save_processor(work_dir / "processor")
        _, self.inputs = load_processor(work_dir / "processor")
        self.model = embedded.build_model(seed).to(self.device)
        attention.use(self.model)
        vision = self.model.config.vision_config
        self.heads = dense.build_heads(vision.hidden_size).to(self.device)
        self.patches = vision.image_size // vision.patch_size
        self.weights = [*self.model.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(self.weights, betas=(0.9, 0.98), weight_decay=0.05)
        self.step = 0
        views = load_views(data_dir)
        measured = held_out((frame_of(view.source) for view in views), HELD_OUT)
        self.held_out = [view for view in views if frame_of(view.source) in measured]
        learned = [view for view in views if frame_of(view.source) not in measured]
        self.batches = AugmentedBatches(learned, PICTURES_PER_STEP, seed)
        print(f"{len(learned)} views to learn from, {len(self.held_out)} held out")

    def tensors(self, views: list[View], rng: random.Random | None):
        """Model inputs, dense targets of `views`; all pairs of a frame, or a draw if rng."""
        pixels = self.inputs.pixel_values(
            [self.inputs.resize(Image.fromarray(view.picture)) for view in views]
        )
        targets = [dense.labels(view.scene, self.patches) for view in views]
        targets = {
            head: torch.from_numpy(np.stack([target[head] for target in targets]))
            for head in targets[0]
        }
        sequences = []
        for view in views:
            pairs = list(questions.pairs(view.scene))
            if rng and len(pairs) > MAX_PAIRS:
                pairs = rng.sample(pairs, MAX_PAIRS)
            sequences.append(self.inputs.view_sequence(pairs))
        row = packing.pack(sequences, len(self.inputs.prefix_ids))
        return (
            pixels.to(self.device),
            row.to(self.device),
            {key: value.to(self.device) for key, value in targets.items()},
        )

    # --- one step ---

    def loss(self, pixels, row, targets, with_questions: bool):
        """Weighted sum of all losses, and each of them by name."""
        with torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype != torch.float32):
            seen = self.model.model.get_image_features(pixels, return_dict=True)
            parts = dense.losses(self.heads, seen.last_hidden_state, targets)
            total = sum(parts.values()) + 2 * parts["kart"]
            if with_questions:
                scores = packing.scores(self.model, row, mm_encoder_outputs={"image": seen})
                parts["questions"] = cross_entropy(scores.float(), row.answers)
                total = total + 4 * parts["questions"]
        return total, parts

    def learning_rate(self, step: int) -> float:
        """Linear warm-up over 100 steps, then cosine to a twentieth of the peak."""
        if step < 100:
            return self.peak_rate * (step + 1) / 100
        done = (step - 100) / max(self.steps - 100, 1)
        return self.peak_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)

    def train_step(self) -> dict[str, float]:
        """One optimizer step; the losses by name."""
        rng = random.Random(f"{self.seed}/{self.step}/pairs")
        views = self.batches[self.step]
        tensors = self.tensors(views, rng)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        total, parts = self.loss(*tensors, with_questions=self.step >= self.dense_steps)
        sources = [view.source for view in views]
        if not torch.isfinite(total):
            raise not_finite("loss", self.step, sources)
        total.backward()
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_(self.weights, 1.0)):
            raise not_finite("gradient", self.step, sources)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return {name: part.item() for name, part in parts.items()}

    # --- the loop ---

    def train(self) -> None:
        """All steps that are left, with a line, a measurement and a state now and then."""
        self.resume()
        sums, start, first = defaultdict(float), time.perf_counter(), self.step
        self.model.train()
        while self.step < self.steps:
            for name, loss in self.train_step().items():
                sums[name] += loss
            if self.step % STEPS_PER_LINE == 0:
                rate = (self.step - first) * PICTURES_PER_STEP / (time.perf_counter() - start)
                left = (self.steps - self.step) * PICTURES_PER_STEP / rate / 60
                line = " ".join(f"{name} {sums[name] / STEPS_PER_LINE:.3f}" for name in sums)
                print(
                    f"{self.step}/{self.steps} {rate:.1f} pictures/s {left:.0f} min left | {line}",
                    flush=True,
                )
                sums.clear()
            if self.step % STEPS_PER_STATE == 0 or self.step == self.steps:
                if self.step > self.dense_steps:
                    print(f"held-out accuracy at step {self.step}: {self.measure()}", flush=True)
                self.save_state()

    def measure(self) -> dict[str, float]:
        """Share of the held-out questions answered right (every token foretold), per kind."""
        right, asked = defaultdict(int), defaultdict(int)
        self.model.eval()
        for start in range(0, len(self.held_out), PICTURES_PER_STEP):
            views = self.held_out[start : start + PICTURES_PER_STEP]
            pixels, row, _ = self.tensors(views, None)
            kinds = [questions.kind_of(q) for view in views for q, _ in questions.pairs(view.scene)]
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
        return {kind: round(right[kind] / asked[kind], 3) for kind in asked}

    # --- what is kept ---

    @property
    def _state_file(self) -> Path:
        return self.work_dir / "state.safetensors"

    def save_state(self) -> None:
        """All that a resume needs, in one file: numbers, and what they belong to as JSON."""
        from safetensors.torch import save

        tensors = {f"{MODEL}{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"{HEADS}{name}": value for name, value in self.heads.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{index}.{name}": value for name, value in moments.items()}
        # Copies, as the embeddings and the vocabulary projection are one tensor.
        tensors = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        described = {"recipe": json.dumps(self.recipe), "step": str(self.step)}
        with atomic_write(self._state_file) as file:
            file.write(save(tensors, described))

    def resume(self) -> None:
        """Go on from the state in the work folder, if there is one of the same recipe.

        Raises:
            InputError: the state is of another recipe or damaged.
        """
        from safetensors import safe_open

        if not self._state_file.exists():
            return
        try:
            with safe_open(self._state_file, "pt", str(self.device)) as file:
                described = file.metadata()
                recipe, step = json.loads(described["recipe"]), int(described["step"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception as error:  # the library's own, and whatever malformed metadata raises
            raise self._unusable(f"damaged ({one_line(error)})") from None
        if recipe != self.recipe:
            raise self._unusable(f"made with {recipe}")
        optimizer = self.optimizer.state_dict()
        for name, value in _below(tensors, OPTIMIZER).items():
            index, key = name.split(".")
            optimizer["state"].setdefault(int(index), {})[key] = value
        try:
            self.model.load_state_dict(_below(tensors, MODEL))
            self.heads.load_state_dict(_below(tensors, HEADS))
            self.optimizer.load_state_dict(optimizer)
        except (RuntimeError, ValueError, KeyError) as error:
            raise self._unusable(f"does not fit ({one_line(error)})") from None
        self.step = step
        print(f"resumed at step {self.step}")

    def _unusable(self, reason: str) -> InputError:
        return InputError(
            f"{self._state_file}: {reason}; give the same options, another --work_dir, or delete it"
        )

    def save(self, output: Path) -> None:
        """Write the checkpoint folder: float16 weights, configuration, processor."""
        fresh = output / f"fresh{PARTIAL}"
        shutil.rmtree(fresh, ignore_errors=True)
        self.model.to(torch.float16).save_pretrained(fresh)
        embedded.save_processor(fresh)
        install(fresh, output, CONFIG)
        print(f"wrote {output}")


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Those whose name begins with the prefix, named without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
