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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homework.common import options
from homework.common.errors import InputError
from homework.common.files import RUNS_DIR, write_json, writing
from homework.common.options import Count, Natural, Positive

from .gpu_data import HELD_OUT_RACES, hold_races_out, unpack
from .gpu_time import PROBE, Budget, steps_within
from .options import names

PROBE_SHARE = 0.03  # of the time, for timed steps of fine-tuning
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
        batch_size: pictures of a step of pre-training.
        described: share of them that sentences describe, once the dense steps are over.
        stems: forms of the stem, with commas between: blocks, no_blocks. Of several each is first
            trained for --trial_minutes; then the best on held-out frames is trained anew.
        trial_minutes: see --stems.
        most_steps: of pre-training, however many would fit.
        num_workers: processes that prepare pictures; one per core but one if omitted, none without
            a GPU.
        seed: of the weights, the order and the augmentations.

    Raises:
        InputError: an archive cannot be read, or a folder is not empty.
    """
    from homework.common import machine

    from .gpu_pretrain import STEMS, TimedPretraining
    from .pretrain import training_folders

    forms = names("--stems", stems, tuple(STEMS))
    budget, work_dir = Budget(minutes * 60), work_dir or RUNS_DIR / "gpu"
    for name, folder in (("--output", output), ("--work_dir", work_dir)):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{name} {folder}: is not empty; give a new folder")
    results: dict[str, Any] = {"complete": False, "minutes": minutes, "stages": {}}
    chosen = machine.choose()
    results["device"] = f"{chosen.device}, {chosen.dtype}"
    workers = machine.num_workers(chosen.device) if num_workers is None else num_workers

    def done(stage: str, found: dict[str, Any]) -> None:
        results["stages"][stage] = {**found, "until_second": round(budget.spent(), 1)}
        write_json(output / RESULTS, results)
        print(f"{stage}: ended after {budget.spent():.0f} s of {budget.seconds:.0f}", flush=True)

    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        data = work_dir / "data"
        folders = [unpack(options.path("--archives", archive), data) for archive in archives]
        asked = [unpack(valid, data).name] if valid else []
        races = hold_races_out(folders, data) if valid else []
        asked = [HELD_OUT_RACES, *asked] if races else asked
        training_folders([str(folder) for folder in folders])  # none is for validation
        if valid:
            _write_pairs(data, [folders[0].name, *asked])
        done("unpack", {"folders": [folder.name for folder in folders], "held_out_races": races})

        recipe = {"batch_size": batch_size, "seed": seed, "learning_rate": 3e-3}
        recipe |= {"described": min(described, 1.0), "most_steps": most_steps}
        end = budget.clock() + budget.left("pretrain" if valid else "evaluate")
        pretraining = TimedPretraining(folders, work_dir, recipe, workers, budget.clock)
        stem = forms[0]
        if len(forms) > 1:
            stem, trials = pretraining.best_stem(forms, trial_minutes * 60)
            done("trials", trials)
        task, found = pretraining.train("pretrain", stem, end)
        base = pretraining.save(task)
        shutil.copytree(base, output / "base")
        done("pretrain", found)

        if valid:
            adapter, found = _finetune(folders[0], base, work_dir, workers, budget)
            shutil.copytree(adapter, output / "adapter")
            done("finetune", found)
        for place, split in enumerate(asked):
            seconds = budget.left("evaluate") / (len(asked) - place)
            done(f"evaluate {split}", _evaluate(adapter, data, folders[0].name, split, seconds))
        results["complete"] = True
        write_json(output / RESULTS, results)
    print(f"wrote {output}")


def _write_pairs(data: Path, splits: Sequence[str]) -> None:
    from homework.generate_qa import generate

    for split in splits:
        generate(data / split)


def _finetune(
    folder: Path, base: Path, work_dir: Path, workers: int, budget: Budget
) -> tuple[Path, dict[str, Any]]:
    """Fine-tune within the stage's time, as long as `train` does at most; the adapter's folder."""
    from homework.finetune import train
    from homework.frames.split import list_split
    from homework.training.config import TrainConfig

    given = {"data_dir": folder.parent, "train_dataset_name": folder.name, "base": str(base)}
    given |= {"report_to": "none", "num_workers": workers, "overwrite": True}

    def seconds(name: str, steps: int) -> float:
        start = budget.clock()
        train(output_dir=work_dir / name, max_steps=steps, **given)
        return budget.clock() - start

    pictures = len(list_split(folder).pictures)
    epoch = math.ceil(pictures / TrainConfig.per_device_train_batch_size)
    whole = TrainConfig().steps(epoch, "embedded")
    seconds("probe_first", 1)  # decodes the pictures, which are kept
    few = seconds("probe_few", 2)
    more = min(max(int(budget.seconds * PROBE_SHARE / few * 2), 2), 4 * PROBE)
    per_step = max((seconds("probe_more", 2 + more) - few) / more, few / 1000)
    overhead = max(few - 2 * per_step, 0.0)
    steps = min(steps_within(budget.left("finetune"), per_step, overhead), whole)
    print(f"{per_step:.3f} s a step: {steps} of {whole} steps fit")
    taken = seconds("adapter", steps)
    return work_dir / "adapter", {"steps": steps, "of": whole, "seconds": round(taken, 1)}


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
