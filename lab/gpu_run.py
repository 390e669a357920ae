"""python -m lab.gpu_run --archives train.tar,recorded.tar --valid valid.tar --output out

The whole of a run on a lent GPU, within a time that it keeps by itself: unpack the archives,
pre-train a base, fine-tune it, measure it on races that it has not learned and on the validation
split. Without --valid it makes the base alone, of all races. Each stage has a share of the time.
How many steps fit is derived from a few that are timed; what does not fit is cut, and what is
finished lies in --output at once: base/, adapter/ and results.json.
"""

from __future__ import annotations

import math
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from homework.common import options
from homework.common.errors import InputError
from homework.common.files import RUNS_DIR, write_json, writing
from homework.common.options import Count, Natural, Positive

from .gpu_data import HELD_OUT_RACES, check_archive, hold_races_out, unpack
from .options import names

# Shares of the time. What a stage leaves unused, the next one has beside its own.
SHARES = {"unpack": 0.08, "pretrain": 0.6, "finetune": 0.2, "evaluate": 0.12}
MARGIN = 0.9  # of the time that the timed steps promise
PROBE_SHARE = 0.03  # of the time, for timed steps of fine-tuning
MOST_PROBED = 48  # steps of it
ASKED = 200  # questions that are timed
RESULTS = "results.json"


@options.checked
def run(
    archives: Sequence[str],
    output: Path,
    valid: Path | None = None,
    work_dir: Path | None = None,
    minutes: Positive = 13,
    batch_size: Count = 256,
    described: Positive = 0.5,
    stems: Sequence[str] = ("blocks",),
    trial_minutes: Positive = 1,
    most_steps: Count = 20_000,
    num_workers: Natural | None = None,
    seed: Natural = 0,
) -> None:
    """Make a base and an adapter from archives of frames, and measure both, within a time.

    Args:
        archives: tar files of one split each, with commas between; the first is the dataset's
            train split, on which the base is also fine-tuned. lab/README.md has the command that
            packs one.
        output: an empty or new folder for base, adapter and results.json.
        valid: a tar file of the validation split, which is measured on and never learned.
        work_dir: an empty or new folder, where archives are unpacked and checkpoints lie; runs/gpu
            beside the package if omitted.
        minutes: the time for everything.
        batch_size: images of a step of pre-training.
        described: share of them that sentences describe, once the dense steps are over.
        stems: forms of the stem, with commas between: blocks, no_blocks. Of several each is first
            trained for --trial_minutes; then the best on held-out frames is trained anew.
        trial_minutes: see --stems.
        most_steps: of pre-training, however many would fit.
        num_workers: processes that prepare images; one per core but one if omitted, none without
            a GPU.
        seed: of the weights, the order and the augmentations.

    Raises:
        InputError: an archive cannot be read, or a folder is not empty.
    """
    from .gpu_pretrain import STEMS

    forms, work = names("--stems", stems, tuple(STEMS)), work_dir or RUNS_DIR / "gpu"
    for name, folder in (("--output", output), ("--work_dir", work)):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{name} {folder}: is a file; give a new folder")
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{name} {folder}: is not empty; give a new folder")
    if output.resolve() == work.resolve():
        raise InputError(f"--work_dir {work}: is the folder of --output; give another one")
    recipe: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "learning_rate": 3e-3}
    recipe |= {"described": min(described, 1.0), "most_steps": most_steps}
    found = [options.path("--archives", archive) for archive in archives]
    for archive in found:
        check_archive("--archives", archive)
    if valid:
        check_archive("--valid", valid)
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        stages = _Stages(Budget(minutes * 60), output, work, num_workers)
        stages.unpack(found, valid)
        stages.pretrain(recipe, forms, trial_minutes * 60)
        if valid:
            stages.finetune()
            stages.evaluate()
        stages.results["complete"] = True
        write_json(output / RESULTS, stages.results)
    print(f"wrote {output}")


class Budget:
    """The seconds of a run, and what is left of them for a stage."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock, self._start = seconds, clock, clock()

    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self._start

    def left(self, stage: str) -> float:
        """Seconds until the stage must have ended; what others have left unused is in it."""
        names = list(SHARES)
        until = sum(SHARES[name] for name in names[: names.index(stage) + 1])
        return until * self.seconds - self.spent()


def steps_within(seconds: float, per_step: float, overhead: float = 0.0) -> int:
    """How many steps fit into a time, with a margin; one at least.

    Args:
        per_step, overhead: seconds, as measured.
    """
    return max(int((seconds * MARGIN - overhead) / per_step), 1)


class _Stages:
    """The stages of a run, each of which leaves what it has made in `output`."""

    def __init__(self, budget: Budget, output: Path, work: Path, workers: int | None) -> None:
        from homework.common import machine

        chosen = machine.choose()
        self.budget, self.output, self.work, self.data = budget, output, work, work / "data"
        self.workers = machine.num_workers(chosen.device) if workers is None else workers
        self.results: dict[str, Any] = {"complete": False, "minutes": budget.seconds / 60}
        self.results |= {"device": f"{chosen.device}, {chosen.dtype}", "stages": {}}

    def _done(self, stage: str, found: dict[str, Any]) -> None:
        spent = self.budget.spent()
        self.results["stages"][stage] = {**found, "until_second": round(spent, 1)}
        write_json(self.output / RESULTS, self.results)
        print(f"{stage}: ended after {spent:.0f} s of {self.budget.seconds:.0f}", flush=True)

    def unpack(self, archives: Sequence[Path], valid: Path | None) -> None:
        """Unpack the archives; with a validation split, keep races from learning and make pairs."""
        from homework.generate_qa import generate

        from .pretrain import training_folders

        self.folders = [unpack(archive, self.data) for archive in archives]
        self.asked = [unpack(valid, self.data).name] if valid else []
        races = hold_races_out(self.folders, self.data) if valid else []
        self.asked = [HELD_OUT_RACES, *self.asked] if races else self.asked
        training_folders([str(folder) for folder in self.folders])  # none is for validation
        for split in [self.folders[0].name, *self.asked] if valid else ():
            generate(self.data / split)
        names = [folder.name for folder in self.folders]
        self._done("unpack", {"folders": names, "held_out_races": races})

    def pretrain(self, recipe: dict[str, Any], forms: Sequence[str], trial: float) -> None:
        """Train the base, with the form of the stem that is best after `trial` seconds."""
        from homework.common.outputs import Outputs

        from .gpu_pretrain import TimedPretraining

        end = self.budget.clock() + self.budget.left("pretrain" if self.asked else "evaluate")
        training = TimedPretraining(
            self.folders, self.work, recipe, self.workers, self.budget.clock
        )
        stem = forms[0]
        if len(forms) > 1:
            stem, trials = training.best_stem(forms, trial)
            self._done("trials", trials)
        task, found = training.train("pretrain", stem, end)
        task.save(self.work / "base", Outputs("pretrain"))
        shutil.copytree(self.work / "base", self.output / "base")
        self._done("pretrain", found)

    def finetune(self) -> None:
        """Fine-tune within the stage's time, as long as `train` does at most."""
        from homework.finetune import train
        from homework.frames.split import list_split
        from homework.training.config import TrainConfig

        folder, budget = self.folders[0], self.budget
        given: dict[str, Any] = {"data_dir": folder.parent, "train_dataset_name": folder.name}
        given |= {"base": str(self.work / "base"), "num_workers": self.workers}
        given |= {"overwrite": True}

        def seconds(name: str, steps: int) -> float:
            start = budget.clock()
            train(output_dir=self.work / name, max_steps=steps, **given)
            return budget.clock() - start

        images = len(list_split(folder).images)
        epoch = math.ceil(images / TrainConfig.per_device_train_batch_size)
        whole = TrainConfig().steps(epoch, "idefics3_stem")
        seconds("probe_first", 1)  # imports the packages
        few = seconds("probe_few", 2)
        more = min(max(int(budget.seconds * PROBE_SHARE / few * 2), 2), MOST_PROBED)
        per_step = max((seconds("probe_more", 2 + more) - few) / more, few / 1000)
        overhead = max(few - 2 * per_step, 0.0)
        steps = min(steps_within(budget.left("finetune"), per_step, overhead), whole)
        print(f"{per_step:.3f} s a step: {steps} of {whole} steps fit")
        taken = seconds("adapter", steps)
        shutil.copytree(self.work / "adapter", self.output / "adapter")
        self._done("finetune", {"steps": steps, "of": whole, "seconds": round(taken, 1)})

    def evaluate(self) -> None:
        """Measure the adapter on each split that is asked, in the time that is left."""
        for place, split in enumerate(self.asked):
            seconds = self.budget.left("evaluate") / (len(self.asked) - place)
            train_split = self.folders[0].name
            found = _evaluate(self.work / "adapter", self.data, train_split, split, seconds)
            self._done(f"evaluate {split}", found)


def _evaluate(
    adapter: Path, data: Path, train_split: str, split: str, seconds: float
) -> dict[str, Any]:
    """Ask as many questions of a split as fit into a time; the shares of right answers."""
    from homework.base_vlm import load
    from homework.data import VQADataset
    from homework.evaluation.measure import measure
    from homework.evaluation.statistics import breakdowns

    start = time.monotonic()
    vlm, dataset = load(adapter, verbose=False), VQADataset(split, data)
    few = measure(vlm, dataset, ASKED, train_split, train_split)
    left = seconds - (time.monotonic() - start)
    fit = steps_within(left, few.seconds / len(few.outcomes))
    if fit >= len(dataset):
        few = measure(vlm, dataset, None, train_split, train_split)
    elif fit > ASKED:
        few = measure(vlm, dataset, fit, train_split, train_split)
    print(few.table(), flush=True)
    by = {
        name: {kind: [each.row() for each in found] for kind, found in kinds.items()}
        for name, kinds in breakdowns(few.outcomes).items()
    }
    kinds = [each.row() for each in few.result.accuracies[:-1]]
    mean = statistics.fmean(row["accuracy"] for row in kinds)
    asked = {"asked": len(few.outcomes), "of": len(dataset)}
    return {**asked, "kinds_alike": mean, "kinds": kinds, "by": by}


if __name__ == "__main__":
    from homework.common.cli import run as run_commands

    run_commands(run)
