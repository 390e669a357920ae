"""python -m homework.base_vlm ask --image FILE --question "What track is this?" [--explain out.png]
python -m homework.base_vlm test
python -m homework.base_vlm benchmark [--split valid_grader]
python -m homework.base_vlm download

A SmolVLM that answers questions about images: SmolVLM-256M-Instruct if it is on disk, otherwise
the embedded base, a small model of the same architecture that ships in this package.
"""

from __future__ import annotations

import time
from pathlib import Path

from .common import options
from .common.distributed import waiting
from .common.errors import InputError, one_line, printable
from .common.options import Count
from .common.outputs import Outputs
from .data import VQADataset, benchmark
from .model.adapter import load
from .model.loading import SMOLVLM
from .model.vlm import BaseVLM


@options.checked
def ask(
    image: Path,
    question: str,
    checkpoint: str | None = None,
    base: str | None = None,
    explain: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Ask one question about one image.

    Args:
        image: image file.
        question: any text of up to 2,000 characters.
        checkpoint: folder of an adapter, such as homework/vlm_model.
        base: the model to ask, or with a checkpoint its base: a folder, the name of a SmolVLM in
            the hub cache, or embedded_base. If omitted, the base that the checkpoint names;
            without one, SmolVLM-256M-Instruct where the hub cache has it, otherwise embedded_base.
        explain: PNG file to write; it shows where the model looks for its answer, and the boxes of
            the karts where the image lies beside its info file.
        overwrite: replace a file that this command did not write.
    """
    from .model.inputs import check_length

    check_length(question)  # before the model is loaded
    if explain and explain.suffix.lower() != ".png":
        raise InputError(f"--explain: {explain} is not a .png file; give a name that ends in .png")
    outputs = Outputs("ask", overwrite)
    if explain:
        outputs.check(explain)
    with waiting("loads the base"):
        vlm = load(checkpoint, base=base)
    answer = vlm.generate(image, question)
    print(answer)
    if explain:
        from .evaluation.report import explained
        from .frames.images import save_image
        from .model.heat_map import METHOD

        save_image(explained(vlm, str(image), question, answer), explain, outputs.open)
        print(f"wrote {explain}: {METHOD}")


@options.checked
def test(
    base: str | None = None, split: str = "valid_grader", data_dir: Path | None = None
) -> None:
    """Ask the base, before fine-tuning, all questions about the first image of a split.

    Args:
        base: a folder, the name of a SmolVLM in the hub cache, or embedded_base; if omitted,
            SmolVLM-256M-Instruct where the hub cache has it, otherwise embedded_base.
        split: the split whose first image is shown.
        data_dir: the data folder; the one beside the package if omitted.
    """
    dataset = VQADataset(split, data_dir)
    path = dataset[0]["image_path"]
    items = [item for item in dataset if item["image_path"] == path]
    with waiting("loads the base"):
        vlm = BaseVLM(base)
    start = time.perf_counter()
    answers = vlm.answer([path] * len(items), [item["question"] for item in items])
    print(path)
    for item, answer in zip(items, answers, strict=True):
        print(printable(f"  {item['question']}  {answer!r}, expected {item['answer']!r}"))
    print(f"{len(items)} questions in {time.perf_counter() - start:.2f} s")


@options.checked
def benchmark_base(
    base: str | None = None,
    split: str = "valid_grader",
    data_dir: Path | None = None,
    max_samples: Count | None = 128,
    baseline_split: str = "train",
) -> None:
    """Measure the accuracy of the base, before fine-tuning, per kind of question.

    Args:
        base: a folder, the name of a SmolVLM in the hub cache, or embedded_base; if omitted,
            SmolVLM-256M-Instruct where the hub cache has it, otherwise embedded_base.
        split: the split whose questions are asked.
        data_dir: the data folder; the one beside the package if omitted.
        max_samples: questions to draw at random, with a fixed seed; None asks all.
        baseline_split: the split from which the majority baseline takes its answers.
    """
    from .evaluation.measure import check_split, same_questions_baseline
    from .evaluation.statistics import accuracy_table

    dataset = VQADataset(split, data_dir)
    check_split("--baseline_split", baseline_split, data_dir)
    with waiting("loads the base"):
        vlm = BaseVLM(base)
    result = benchmark(vlm, dataset, max_samples, batch_size=None)
    print(accuracy_table(result, *same_questions_baseline(result, baseline_split, data_dir)))


@options.checked
def download(name: str = SMOLVLM) -> None:
    """Download a model into the hub cache; a partial download resumes.

    Args:
        name: of a SmolVLM in the hub.

    Raises:
        InputError: the hub cannot be reached or has no such model.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name, allow_patterns=["*.json", "*.jinja", "*.txt", "model.safetensors"]
        )
    except Exception as error:
        raise InputError(f"{name}: cannot be downloaded from the hub ({one_line(error)})") from None
    print(f"{name} is in {folder}")


if __name__ == "__main__":
    from .common.cli import run

    run({"ask": ask, "test": test, "benchmark": benchmark_base, "download": download})
