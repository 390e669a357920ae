"""python -m lab.gpu_run --archives train.tar,recorded.tar --valid valid.tar --output out

The whole of a run on a lent GPU, within a time that it keeps by itself: unpack the archives,
pre-train a base, fine-tune it, measure it on the validation split. Without --valid it makes the
base alone. Each stage ends by a share of the time, and what is finished lies in --output at once:
base/, adapter/ and results.json.
"""

from __future__ import annotations

import shutil
import statistics
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homework.common import options
from homework.common.errors import InputError
from homework.common.files import write_json, writing
from homework.common.options import Count, Natural, Positive

# The share of the time by which a stage has ended. What one leaves unused, the next one has.
ENDS = {"unpack": 0.08, "pretrain": 0.68, "finetune": 0.88, "evaluate": 1.0, "base alone": 0.98}
MARGIN = 0.9  # of the time that the timed steps promise
PROBED = 16  # steps of fine-tuning that are timed
ASKED = 200  # questions that are timed
RECIPE = {"learning_rate": 3e-3, "described": 0.25}  # of the base that ships
RESULTS = "results.json"


@options.checked
def run(
    archives: Sequence[str],
    output: Path,
    valid: Path | None = None,
    minutes: Positive = 13,
    batch_size: Count = 512,
    num_workers: Natural | None = None,
    seed: Natural = 0,
) -> None:
    """Make a base and an adapter from archives of frames, and measure both, within a time.

    Args:
        archives: tar files of one split each, with commas between; the first is the dataset's
            train split, on which the base is also fine-tuned. lab/README.md has the command that
            packs one.
        output: an empty or new folder for base, adapter and results.json.
        valid: a tar file of the validation split, for evaluation only, never for training.
        minutes: the time for everything.
        batch_size: images of a step of pre-training.
        num_workers: processes that prepare images; one per core but one if omitted, none without
            a GPU.
        seed: of the weights, the order and the augmentations.

    Raises:
        InputError: an archive cannot be read, or the folder is not empty.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"--output {output}: is no empty folder; give a new one")
    found = [options.path("--archives", archive) for archive in archives]
    with writing(output), tempfile.TemporaryDirectory(dir=output.parent) as work:
        stages = _Stages(minutes * 60, output, Path(work), num_workers)
        stages.unpack(found, valid)
        stages.pretrain({**RECIPE, "batch_size": batch_size, "seed": seed})
        if valid:
            stages.finetune()
            stages.evaluate()
        stages.results["complete"] = True
        write_json(output / RESULTS, stages.results)
    print(f"wrote {output}")


def steps_within(seconds: float, per_step: float, overhead: float = 0.0) -> int:
    """How many steps fit into a time, with a margin; one at least.

    Args:
        per_step, overhead: seconds, as measured.
    """
    return max(int((seconds * MARGIN - overhead) / per_step), 1)


class _Stages:
    """The stages of a run, each of which leaves what it has made in `output`."""

    def __init__(self, seconds: float, output: Path, work: Path, workers: int | None) -> None:
        from homework.common import machine

        chosen = machine.choose()
        self.seconds, self._start = seconds, time.monotonic()
        self.output, self.work, self.data = output, work, work / "data"
        self.workers = machine.num_workers(chosen.device) if workers is None else workers
        self.results: dict[str, Any] = {"complete": False, "minutes": seconds / 60}
        self.results |= {"device": f"{chosen.device}, {chosen.dtype}", "stages": {}}

    def _left(self, stage: str) -> float:
        """Seconds until a stage must have ended."""
        return self._start + ENDS[stage] * self.seconds - time.monotonic()

    def _done(self, stage: str, found: dict[str, Any]) -> None:
        spent = time.monotonic() - self._start
        self.results["stages"][stage] = {**found, "until_second": round(spent, 1)}
        self.output.mkdir(parents=True, exist_ok=True)
        write_json(self.output / RESULTS, self.results)
        print(f"{stage}: ended after {spent:.0f} s of {self.seconds:.0f}", flush=True)

    def unpack(self, archives: Sequence[Path], valid: Path | None) -> None:
        """Unpack the archives; with a validation split, make the pairs of it and of the first."""
        from homework.generate_qa import generate

        from .pretrain import training_folders

        folders = [unpack("--archives", archive, self.data) for archive in archives]
        self.valid = unpack("--valid", valid, self.data) if valid else None
        self.folders = training_folders(list(map(str, folders)))  # none is for validation
        for folder in (self.folders[0], self.valid) if self.valid else ():
            generate(folder)
        self._done("unpack", {"folders": [folder.name for folder in self.folders]})

    def pretrain(self, recipe: dict[str, Any]) -> None:
        """Train the base; without a validation split, for all of the time."""
        from homework.common.outputs import Outputs

        from .pretraining.batches import load_views
        from .pretraining.timed import TimedPretraining

        views = [load_views(folder) for folder in self.folders]
        task = TimedPretraining(views, recipe, self.workers)
        seconds = self._left("pretrain" if self.valid else "base alone")
        found = task.train(self.work / "pretrain", seconds)
        task.save(self.output / "base", Outputs("pretrain"))
        self._done("pretrain", found)

    def finetune(self) -> None:
        """Fine-tune within the stage's time, for as many steps as `train` takes at most."""
        from homework.finetune import train
        from homework.training.config import LONGEST

        folder = self.folders[0]
        given: dict[str, Any] = {"data_dir": folder.parent, "train_dataset_name": folder.name}
        given |= {"base": str(self.output / "base"), "num_workers": self.workers, "overwrite": True}

        def seconds(name: str, steps: int) -> float:
            start = time.monotonic()
            train(output_dir=self.work / name, max_steps=steps, **given)
            return time.monotonic() - start

        whole = LONGEST["idefics3_stem"]
        seconds("probe", 1)  # imports the packages
        one = seconds("probe", 1)
        per_step = max((seconds("probe", 1 + PROBED) - one) / PROBED, one / 1000)
        steps = min(steps_within(self._left("finetune"), per_step, one), whole)
        print(f"{per_step:.3f} s a step: {steps} of {whole} steps fit")
        taken = seconds("adapter", steps)
        shutil.copytree(self.work / "adapter", self.output / "adapter")
        self._done("finetune", {"steps": steps, "of": whole, "seconds": round(taken, 1)})

    def evaluate(self) -> None:
        """Ask as many questions of the validation split as fit; the shares of right answers."""
        from homework.base_vlm import load
        from homework.data import VQADataset
        from homework.evaluation.measure import measure
        from homework.evaluation.statistics import breakdowns

        assert self.valid
        vlm = load(self.work / "adapter", verbose=False)
        dataset, train_split = VQADataset(self.valid.name, self.data), self.folders[0].name
        found = measure(vlm, dataset, ASKED, train_split, train_split)
        fit = steps_within(self._left("evaluate"), found.seconds / len(found.outcomes))
        if len(dataset) > ASKED < fit:
            found = measure(vlm, dataset, fit, train_split, train_split)
        print(found.table(), flush=True)
        by = {
            name: {kind: [each.row() for each in some] for kind, some in kinds.items()}
            for name, kinds in breakdowns(found.outcomes).items()
        }
        kinds = [each.row() for each in found.result.accuracies[:-1]]
        mean = statistics.fmean(row["accuracy"] for row in kinds)
        asked = {"asked": len(found.outcomes), "of": len(dataset)}
        self._done("evaluate", {**asked, "kinds_alike": mean, "kinds": kinds, "by": by})


def unpack(option: str, archive: Path, data: Path) -> Path:
    """Unpack a tar file of one split into the data folder; the split's folder.

    Raises:
        InputError, which begins with the option: it is no tar file, it does not hold one folder, or
            that is there already.
    """
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data) as fresh:
        try:
            with tarfile.open(archive) as source:
                source.extractall(fresh, filter="data")
        except (tarfile.TarError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"{option}: {archive} cannot be unpacked ({reason})") from None
        tops = sorted(Path(fresh).iterdir())
        if len(tops) != 1 or not tops[0].is_dir():
            names = ", ".join(top.name for top in tops[:3]) or "nothing"
            raise InputError(
                f"{option}: {archive} holds {names}, not the folder of one split; pack it with "
                "tar -C data -cf train.tar train"
            )
        if (data / tops[0].name).exists():
            raise InputError(f"{option}: {archive} is a second one with a folder {tops[0].name}")
        return tops[0].rename(data / tops[0].name)


if __name__ == "__main__":
    from homework.common.cli import run as run_commands

    run_commands(run)
