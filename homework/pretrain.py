"""python -m homework.pretrain run [--data_dir data/train] [--output homework/embedded_base]

Makes the embedded base from labelled frames, from nothing: dense supervision of the vision
tower first, then the questions of each frame beside it, over augmented pictures. Never give
it validation frames. Resumable: a rerun goes on from the last state in `--work_dir`.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections import defaultdict
from pathlib import Path

from .files import DATA_DIR, InputError, atomic_write

HELD_OUT = 0.02  # share of the frames kept for measuring; pairs of a frame stay together
MAX_PAIRS = 10  # of one frame in one step
PICTURES_PER_STEP = 32
MAX_ENLARGEMENT = 1.5  # of a pasted kart; more would give it away by its blur


def run(
    data_dir: str | None = None,
    output: str | None = None,
    work_dir: str = "runs/pretrain",
    steps: int = 3300,
    dense_steps: int = 1200,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> None:
    """Pre-train the embedded base and write it as a checkpoint folder.

    Args:
        data_dir: one split's folder of info files and pictures; data/train if not given.
        output: checkpoint folder to write; homework/embedded_base if not given.
        work_dir: where the state for a resume and the log lie.
        steps: optimizer steps of 32 pictures.
        dense_steps: how many of them, the first ones, train the vision tower alone.
        learning_rate: peak; warm-up, then cosine to a twentieth.
        seed: of the weights, the order and the augmentations.
    """
    from .embedded import EMBEDDED_BASE
    from .leakage import refuse_pictures, refuse_split

    folder = Path(data_dir) if data_dir else DATA_DIR / "train"
    refuse_split(folder.name)
    refuse_pictures(folder.glob("*_im.jpg"), folder.resolve().parent)
    trainer = Pretraining(folder, Path(work_dir), steps, dense_steps, learning_rate, seed)
    trainer.train()
    trainer.save(Path(output) if output else EMBEDDED_BASE)


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
        import torch
        from transformers import AutoProcessor

        from . import dense, embedded
        from .devices import choose_device
        from .inputs import InputBuilder

        self.recipe = {
            "data": data_dir.name,
            "steps": steps,
            "dense_steps": dense_steps,
            "learning_rate": learning_rate,
            "seed": seed,
        }
        self.steps, self.dense_steps, self.seed = steps, dense_steps, seed
        self.work_dir, self.peak = work_dir, learning_rate
        self.device, self.dtype, reason = choose_device()
        print(reason)
        work_dir.mkdir(parents=True, exist_ok=True)
        embedded.save_processor(work_dir / "processor")
        self.inputs = InputBuilder(AutoProcessor.from_pretrained(work_dir / "processor"))
        self.model = embedded.build_model(seed).to(self.device)
        # At these lengths plain matrix products beat the fused attention on a CPU.
        self.model.set_attn_implementation("eager")
        width = self.model.config.vision_config.hidden_size
        self.heads = dense.build_heads(width).to(self.device)
        self.patches = embedded.IMAGE_SIDE // embedded.PATCH_SIDE
        weights = [*self.model.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.98), weight_decay=0.05)
        self.weights = weights
        self.step = 0
        views = load_views(data_dir)
        held_out = int(len(views) * HELD_OUT)
        self.held_out, self.views = views[:held_out], views[held_out:]
        self.several = [view for view in self.views if len(view.scene.karts) > 1]
        print(f"{len(self.views)} views to learn from, {held_out} held out")

    # --- data ---

    def batch(self, step: int) -> list:
        """The augmented views of one step; the same whenever the step is repeated."""
        from . import augment

        rng = random.Random(f"{self.seed}/{step}")
        views = []
        for _ in range(PICTURES_PER_STEP):
            # Six views in ten show one kart and teach nothing about positions.
            view = rng.choice(self.views if rng.random() < 0.5 else self.several)
            if rng.random() < 0.4:
                view = paste_random(view, self.several, rng)
            if rng.random() < 0.7:
                view = augment.crop(view, rng)
            if rng.random() < 0.5:
                view = augment.mirror(view)
            views.append(augment.jitter(view, rng))
        return views

    def tensors(self, views: list, rng: random.Random | None):
        """Model inputs, dense targets of `views`; all pairs of a frame, or a draw if rng."""
        import numpy as np
        import torch
        from PIL import Image

        from . import dense, questions

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
            sequences.append(self.inputs.frame_sequence(pairs))
        batch = self.inputs.collate(sequences)
        # Eager attention adds its mask to the scores.
        lowest = torch.finfo(torch.float32).min
        batch["attention_mask"] = torch.where(batch["attention_mask"], 0.0, lowest)
        to = {"device": self.device}
        return (
            pixels.to(**to),
            {key: value.to(**to) for key, value in batch.items()},
            {key: value.to(**to) for key, value in targets.items()},
        )

    # --- one step ---

    def loss(self, pixels, batch, targets, with_questions: bool):
        """Weighted sum of all losses, and each of them by name."""
        import torch
        from torch.nn.functional import cross_entropy

        from . import dense

        with torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype != torch.float32):
            seen = self.model.model.get_image_features(pixels, return_dict=True)
            parts = dense.losses(self.heads, seen.last_hidden_state, targets)
            total = sum(parts.values()) + 2 * parts["kart"]
            if with_questions:
                scores, answers = self.answer_scores(seen, batch)
                parts["questions"] = cross_entropy(scores.float(), answers)
                total = total + 4 * parts["questions"]
        return total, parts

    def answer_scores(self, seen, batch):
        """Scores over the vocabulary where an answer's token is due, and those tokens."""
        from .inputs import IGNORED

        inputs = {key: value for key, value in batch.items() if key != "labels"}
        hidden = self.model.model(
            mm_encoder_outputs={"image": seen}, use_cache=False, **inputs
        ).last_hidden_state
        labels = batch["labels"][:, 1:]
        due = labels != IGNORED
        return self.model.lm_head(hidden[:, :-1][due]), labels[due]

    def learning_rate(self, step: int) -> float:
        """Linear warm-up over 100 steps, then cosine to a twentieth of the peak."""
        if step < 100:
            return self.peak * (step + 1) / 100
        done = (step - 100) / max(self.steps - 100, 1)
        return self.peak * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)

    # --- the loop ---

    def train(self) -> None:
        """All steps that are left, with a line, a measurement and a state now and then."""
        import torch

        self.resume()
        sums, start, first = defaultdict(float), time.perf_counter(), self.step
        self.model.train()
        while self.step < self.steps:
            rng = random.Random(f"{self.seed}/{self.step}/pairs")
            tensors = self.tensors(self.batch(self.step), rng)
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate(self.step)
            total, parts = self.loss(*tensors, with_questions=self.step >= self.dense_steps)
            if not torch.isfinite(total):
                raise InputError(f"step {self.step}: the loss is not finite; try a lower rate")
            total.backward()
            torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            for name, part in parts.items():
                sums[name] += part.item()
            if self.step % 50 == 0:
                rate = (self.step - first) * PICTURES_PER_STEP / (time.perf_counter() - start)
                line = " ".join(f"{name} {value / 50:.3f}" for name, value in sums.items())
                left = (self.steps - self.step) * PICTURES_PER_STEP / rate / 60
                print(f"{self.step}/{self.steps} {rate:.1f} pictures/s {left:.0f} min | {line}")
                sums.clear()
            if self.step % 500 == 0 or self.step == self.steps:
                if self.step > self.dense_steps:
                    print(json.dumps({"step": self.step, "held_out": self.measure()}))
                self.save_state()

    def measure(self) -> dict[str, float]:
        """Share of the held-out questions answered right (every token foretold), per kind."""
        import torch

        from . import questions

        right, asked = defaultdict(int), defaultdict(int)
        self.model.eval()
        for start in range(0, len(self.held_out), PICTURES_PER_STEP):
            views = self.held_out[start : start + PICTURES_PER_STEP]
            pixels, batch, _ = self.tensors(views, None)
            kinds = [questions.kind_of(q) for view in views for q, _ in questions.pairs(view.scene)]
            with (
                torch.no_grad(),
                torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32),
            ):
                seen = self.model.model.get_image_features(pixels, return_dict=True)
                scores, answers = self.answer_scores(seen, batch)
            hits, outcome = (scores.argmax(-1) == answers).tolist(), True
            pending = iter(kinds)
            for hit, token in zip(hits, answers.tolist(), strict=True):
                outcome &= hit
                if token == self.inputs.end_id:
                    kind = next(pending)
                    asked[kind] += 1
                    right[kind] += outcome
                    outcome = True
        self.model.train()
        return {kind: round(right[kind] / asked[kind], 3) for kind in questions.KINDS}

    # --- what is kept ---

    @property
    def _state_file(self) -> Path:
        return self.work_dir / "state.pt"

    def save_state(self) -> None:
        """All that a resume needs."""
        import torch

        state = {
            "recipe": self.recipe,
            "step": self.step,
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_write(self._state_file) as file:
            torch.save(state, file)

    def resume(self) -> None:
        """Go on from the state in the work folder, if there is one of the same recipe."""
        import torch

        if not self._state_file.exists():
            return
        state = torch.load(self._state_file, weights_only=True, map_location=self.device)
        if state["recipe"] != self.recipe:
            raise InputError(
                f"{self._state_file}: made with {state['recipe']}; give the same, another "
                "--work_dir, or delete it"
            )
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        print(f"resumed at step {self.step}")

    def save(self, output: Path) -> None:
        """Write the checkpoint folder: float16 weights, configuration, processor."""
        import torch

        from . import embedded

        self.model.to(torch.float16).save_pretrained(output)
        embedded.save_processor(output)
        print(f"wrote {output}")


def load_views(data_dir: Path) -> list:
    """Every labelled view of a split, shuffled by frame: same order on every machine.

    Raises:
        InputError: the folder or one of its files is wrong.
    """
    import numpy as np
    from tqdm import tqdm

    from .augment import View
    from .data import open_picture
    from .files import read_json
    from .scene import view_scene

    names = sorted(path.name for path in data_dir.glob("*_info.json"))
    if not names:
        raise InputError(f"{data_dir}: holds no *_info.json; give the folder of a split")
    random.Random(0).shuffle(names)
    views = []
    for name in tqdm(names, unit="frame", desc="decoding"):
        info = read_json(data_dir / name)
        for index in range(len(info["detections"])):
            picture = data_dir / name.replace("_info.json", f"_{index:02d}_im.jpg")
            if picture.exists():
                views.append(View(np.asarray(open_picture(picture)), view_scene(info, index)))
    return views


def paste_random(view, donors: list, rng: random.Random):
    """Give the view a kart of another frame, at a place and scale where some frame has one."""
    from .augment import paste
    from .scene import MIN_BOX_SIDE, PICTURE_SIZE

    donor = rng.choice(donors)
    kart = max(donor.scene.karts, key=lambda kart: rng.random() * (kart.box[2] - kart.box[0]))
    place = rng.choice(rng.choice(donors).scene.karts)
    # The place gives the height and where the kart stands, the donor the proportions.
    width, height = kart.box[2] - kart.box[0], kart.box[3] - kart.box[1]
    scale = (place.box[3] - place.box[1]) / height
    x1, y2 = int(place.center[0] - width * scale / 2), place.box[3]
    x2, y1 = x1 + int(width * scale), place.box[1]
    if scale > MAX_ENLARGEMENT or x1 < 0 or x2 > PICTURE_SIZE[0] or x2 - x1 < MIN_BOX_SIDE:
        return view
    return paste(view, donor, kart, (x1, y1, x2, y2))


if __name__ == "__main__":
    from .cli import run as run_commands

    run_commands({"run": run})
