"""What pre-training trains: the embedded base and its throw-away heads, on labelled images.

Several processes share each step's images; the gradient is the mean of theirs.
"""

from __future__ import annotations

import math
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from homework.common import distributed, machine
from homework.common.errors import InputError
from homework.common.files import PARTIAL, install
from homework.common.outputs import Outputs
from homework.labels.questions import KARTS, TRACKS
from homework.model import attention, packing
from homework.model.compat import save_model
from homework.model.loading import CONFIG, EMBEDDED_BASE, load_inputs
from homework.model.packing import pairs_right
from homework.training.step import HeldOutResult, Means

from . import architecture, dense_labels, heads
from .augment import Images, View
from .batches import Batch, Steps, hold_out, sentence_row
from .descriptions import KINDS, language, statements
from .muon import build_optimizers

MAX_MEASURED = 640  # views
# Of the losses; 1 for the others. Counts are learned from what the patches have learned.
DENSE_WEIGHTS = {"kart": 4.0, "kart at centers": 2.0, "ego at centers": 2.0}
DENSE_WEIGHTS |= dict.fromkeys(("count", "left", "right", "front", "behind"), 0.3)
CENTER_WEIGHTS = {"heat": 1.0, "name": 1.0, "box": 0.1}
DESCRIPTIONS_WEIGHT = 4.0
WARM_UP_STEPS = 50
STEPS_PER_RECORD, STEPS_PER_CHECKPOINT = 25, 150
FINE_STAGE = 1  # of the stem, where the fine labels are learned


class Pretraining:
    """Model, heads, optimizers and data of one pre-training run; see `training.step.Task`."""

    def __init__(
        self,
        views: Sequence[list[View]],
        recipe: dict[str, Any],
        num_workers: int = 0,
    ) -> None:
        """`views` are those of each folder; see `hold_out`."""
        self.steps, self.dense_steps = recipe["steps"], recipe["dense_steps"]
        self.settings: dict[str, Any] = {}
        self.seed, self.peak_rate = recipe["seed"], recipe["learning_rate"]
        self.batch_size, self.num_workers = recipe["batch_size"], num_workers
        self.device, self.dtype, reason = machine.choose()
        distributed.init()
        if self.batch_size < distributed.world_size():
            raise InputError(
                f"--batch_size: {self.batch_size} images are too few for "
                f"{distributed.world_size()} processes; give each one at least"
            )
        distributed.print0(reason)
        self.inputs = load_inputs(EMBEDDED_BASE)
        self.model = architecture.build_model(self.seed)
        architecture.normalise(self.model.stem)
        self.model.to(self.device)
        attention.use(self.model)
        if self.device == "cuda":
            architecture.compile_tower(self.model)
        self._make_heads()
        self.silent = self._silent_words().to(self.device)
        self.throw_away = torch.nn.ModuleList([self.heads, self.center_head])
        trained = torch.nn.ModuleDict({"model": self.model, "heads": self.throw_away})
        self.weights = {n: w for n, w in trained.named_parameters() if w.requires_grad}
        kept = trained.state_dict().keys()
        self.buffers = {name: buffer for name, buffer in trained.named_buffers() if name in kept}
        self.optimizers = build_optimizers(self.model, self.throw_away, self.dtype)
        learned, kept = hold_out(views)
        self.held_out = kept[:MAX_MEASURED]
        config, vision = self.model.config, self.model.config.vision_config
        side, cell = vision.image_size, math.prod(config.stem_strides[: FINE_STAGE + 1])
        self.images = Images(learned, side, self.device)
        sides = side // vision.patch_size, side // (config.stem_side * cell)
        share = distributed.rank(), distributed.world_size()
        self.data = Steps(learned, self.inputs, recipe, *sides, share)
        distributed.print0(
            f"{len(learned)} views to learn from, {len(self.held_out)} to measure on"
        )

    def _make_heads(self) -> None:
        """The heads that pre-training alone needs: on the patches, and on a stage of the stem."""
        config = self.model.config
        width = config.text_config.hidden_size
        word_ids = {
            name: [self.inputs.answer_ids(word)[0] for word in words]
            for name, words in dense_labels.WORD_HEADS.items()
        }
        self.heads = heads.Heads(width, word_ids).to(self.device)
        self.center_head = heads.CenterHead(config.stem_channels[FINE_STAGE], width).to(self.device)
        self.model.stem.stages[FINE_STAGE].register_forward_hook(self._keep_stage)

    def _keep_stage(self, stage, given, values) -> None:
        self._stage = values

    def _silent_words(self) -> torch.Tensor:
        """The words that no description contains: bool (vocabulary,).

        They are left out of the vocabulary's scores. Otherwise all of them would be pushed the
        same way at each step, and the words that questions alone have would come to be alike.
        """
        words = [*KARTS, *TRACKS, *map(str, range(dense_labels.MAX_COUNT + 1))]
        said = {self.inputs.end_id}
        for text in (*words, *language()):
            said.update(self.inputs.answer_ids(text))
        silent = torch.ones(self.model.config.text_config.vocab_size, dtype=torch.bool)
        silent[sorted(said)] = False
        return silent

    # --- one step ---

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Means]:
        """Weighted sum of all losses, and each of them by name."""
        moved: Any = send_to_device(batch, self.device, non_blocking=True)
        row, squares = moved.row, self.images.squares(moved.orders)
        with self._autocast():
            pixels = self.inputs.normalise(squares)
            tokens = packing.image_tokens(self.model, pixels)  # (B, P, D)
            embeddings = self.model.get_input_embeddings().weight
            parts = heads.losses(self.heads(tokens, embeddings), moved.targets, moved.centers)
            total: Any = sum(DENSE_WEIGHTS.get(name, 1.0) * part for name, part in parts.items())
            side = self.data.patches
            patches = tokens.transpose(1, 2).unflatten(2, (side, side))
            found = heads.center_losses(self.center_head(self._stage, patches), moved.fine)
            total = total + sum(CENTER_WEIGHTS[name] * part for name, part in found.items())
            parts |= found
            if row.layout.count:
                scores = packing.answer_logits(self.model, row, tokens[: row.layout.count])
                scores = scores.float().masked_fill(self.silent, float("-inf"))
                parts["descriptions"] = cross_entropy(scores, row.answers)
                total = total + DESCRIPTIONS_WEIGHT * parts["descriptions"]
        return total, {name: (part.detach(), 1) for name, part in parts.items()}

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, the peak, then a straight line to 0 from two fifths of the steps on."""
        left = (1 - self.progress(step)) / 0.6
        return self.peak_rate * min((step + 1) / WARM_UP_STEPS, left, 1.0)

    def progress(self, step: float) -> float:
        """Share of the run that is over before a step."""
        return step / self.steps

    def batches(self, first: int) -> Iterator[list[Batch]]:
        """This process's share of the images of each step from `first` on."""
        self.model.train()
        loader = DataLoader(
            self.data,
            batch_size=None,  # the dataset makes whole batches
            sampler=range(first, self.steps),
            num_workers=self.num_workers,
            prefetch_factor=4 if self.num_workers else None,
            pin_memory=self.device == "cuda",
        )
        for batch in loader:
            yield [batch]

    def smaller(self, micro_batches: Sequence[Batch]) -> list[Batch]:
        """Batches are as large as the user has said.

        Raises:
            InputError: always.
        """
        raise InputError("--batch_size: not enough memory for so many images; give a smaller one")

    # --- measuring ---

    def measure(self, step: int) -> HeldOutResult | None:
        """Sentences about held-out views, right if every token is; None in the dense phase."""
        if step <= self.dense_steps or not self.held_out:
            return None
        # In the main process alone: each process has its own batch statistics.
        return distributed.from_main(self._measure() if distributed.is_main() else None)

    def _measure(self) -> HeldOutResult:
        loss, counts = 0.0, Counter()
        rng = random.Random(0)
        self.model.eval()
        for start in range(0, len(self.held_out), self.batch_size):
            views = self.held_out[start : start + self.batch_size]
            told = [statements(view.scene, rng) for view in views]
            row: Any = send_to_device(sentence_row(self.inputs, told), self.device)
            squares = [self.inputs.resize(Image.fromarray(view.image)) for view in views]
            pixels = self.inputs.normalise(torch.from_numpy(np.stack(squares)).to(self.device))
            with torch.no_grad(), self._autocast():
                seen = packing.image_tokens(self.model, pixels)
                scores = packing.answer_logits(self.model, row, seen)
            loss += packing.weighted_loss(scores, row).item()
            right = pairs_right(scores.argmax(-1), row.answers, self.inputs.end_id).tolist()
            kinds = (part.kind for some in told for part in some)
            counts.update(zip(kinds, right, strict=True))
        self.model.train()
        told = {kind: counts[kind, True] + counts[kind, False] for kind in KINDS}
        kinds = {kind: (counts[kind, True], number) for kind, number in told.items() if number}
        return HeldOutResult(loss / sum(told.values()), kinds)

    def line(self, record: dict[str, float], steps_per_second: float | None) -> str:
        """Each number; of a record of losses the rate and the time left, too."""
        numbers = " ".join(  # whole numbers, such as a step of 3400, are written in full
            f"{name} {value if isinstance(value, int) else f'{value:.3g}'}"
            for name, value in record.items()
        )
        if steps_per_second is None:
            return numbers
        rate, left = (
            steps_per_second * self.batch_size,
            self.minutes_left(record["step"], steps_per_second),
        )
        return f"{rate:.1f} images/s {left:.0f} min left | {numbers}"

    def minutes_left(self, step: float, steps_per_second: float) -> float:
        """Minutes that the remaining steps take."""
        return (self.steps - step) / steps_per_second / 60

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32)

    # --- the result ---

    def save(self, output: Path, outputs: Outputs) -> None:
        """Write the checkpoint folder: float16 weights, configuration, processor.

        Raises:
            InputError: a file in the folder may not be replaced.
        """
        fresh = output / f"fresh{PARTIAL}"
        shutil.rmtree(fresh, ignore_errors=True)
        architecture.fold(self.model.stem)
        self.model.to(torch.float16, memory_format=torch.contiguous_format)
        save_model(self.model, fresh)
        architecture.save_processor(fresh)
        for file in fresh.iterdir():
            outputs.claim(output / file.name, file)
        install(fresh, output, CONFIG)
        print(f"wrote {output}")
