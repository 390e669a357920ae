"""python -m homework.base_vlm ask --image FILE --question "What track is this?" [--explain out.png]
python -m homework.base_vlm test
python -m homework.base_vlm benchmark [--split valid_grader]
python -m homework.base_vlm download

A SmolVLM that answers questions about pictures: SmolVLM-256M-Instruct if it is on disk, otherwise
the embedded base, a small model of the same architecture that ships in this package.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from .common import options
from .common.errors import InputError, one_line, printable
from .common.outputs import Outputs
from .data import VQADataset, benchmark
from .model.loaded import LoadedVLM
from .model.loading import SMOLVLM

CAVEAT = "Not one of the five kinds of question that training teaches: do not rely on the answer."


class BaseVLM(LoadedVLM):
    """A vision-language model that answers questions; LoadedVLM documents its arguments."""

    def format_prompt(self, question: str) -> str:
        """The prompt from the chat template; `<image>` stands for the picture."""
        return self.inputs.prompt(question)

    def generate(self, image_path: str | Path, question: str) -> str:
        """Answer one question about one picture."""
        return self.batched_generate([image_path], [question])[0]

    def answer(self, image_paths: Sequence[str | Path], questions: Sequence[str]) -> list[str]:
        """Answer each question about the picture at the same index."""
        return self.batched_generate(image_paths, questions)

    def batched_generate(
        self,
        image_paths: Sequence[str | Path],
        questions: Sequence[str],
        num_return_sequences: int | None = None,
        temperature: float = 0,
    ) -> list[str] | list[list[str]]:
        """Generate answers; each distinct picture is read and encoded once.

        Args:
            num_return_sequences: answers to sample per question. None returns one string per
                question instead of a list.
            temperature: 0 decodes greedily; above 0, tokens are sampled.

        Raises:
            InputError: the numbers of pictures and questions differ, a question is too long,
                more than one answer is requested at temperature 0, or a picture cannot be read.
        """
        from .model.generation import generate

        if len(image_paths) != len(questions):
            raise InputError(f"{len(image_paths)} pictures but {len(questions)} questions")
        copies = num_return_sequences or 1
        if copies > 1 and temperature <= 0:
            raise InputError("num_return_sequences: more than 1 needs a temperature above 0")
        paths = [str(path) for path in image_paths]
        answers = generate(self, paths, questions, copies, temperature)
        return answers if num_return_sequences else [texts[0] for texts in answers]

    def score(
        self,
        image_paths: Sequence[str | Path],
        questions: Sequence[str],
        candidates: Sequence[Sequence[str]],
    ) -> list[list[float]]:
        """Log-probabilities of candidate answers.

        Each distinct picture and each question is encoded once for all its candidates.

        Args:
            candidates: one list of possible answers per question.

        Returns:
            one list of log-probabilities per question: natural logarithm, summed over the tokens
            of the answer and its end token.

        Raises:
            InputError: the numbers of pictures, questions and lists of candidates differ, a
                question or a candidate is too long, or a picture cannot be read.
        """
        from .model.likelihood import score

        counts = {len(image_paths), len(questions), len(candidates)}
        if len(counts) > 1:
            raise InputError(
                f"{len(image_paths)} pictures, {len(questions)} questions and "
                f"{len(candidates)} lists of candidates"
            )
        return score(self, [str(path) for path in image_paths], questions, candidates)


def load(
    checkpoint: str | Path | None = None,
    verbose: bool = True,
    base: str | Path | None = None,
    merged: bool = True,
) -> BaseVLM:
    """Load an adapter onto the base that it was trained on, or a base alone.

    Args:
        checkpoint: folder of the adapter, or the name of one inside the package; None for a base.
        verbose: print the base and the device.
        base: name or folder of the base; if omitted, the one that the adapter records.
        merged: add the adapter to the base's weights in memory, for faster answers. If False,
            `base_alone` can switch it off, and model.adapter.merge add it later.

    Raises:
        InputError: the adapter is missing, incomplete or damaged, or does not fit the base.
    """
    from .model import adapter

    if checkpoint is None:
        return BaseVLM(base, verbose)
    found = adapter.read(checkpoint, base)
    try:
        vlm = BaseVLM(found.record.base, verbose)
    except InputError as error:
        if base is not None or found.record.training is not None:
            raise
        folder = found.record.folder
        hint = f"{folder} names this base; if yours is elsewhere: --base NAME or FOLDER"
        raise InputError(f"{error} ({hint})") from None
    adapter.attach(vlm, found, verbose)
    if merged:
        adapter.merge(vlm)
    return vlm


# --- command line ---


def ask(
    image: str,
    question: str,
    checkpoint: str | None = None,
    base: str | None = None,
    explain: str | None = None,
    overwrite: bool = False,
) -> None:
    """Ask one question about one picture.

    Args:
        image: picture file.
        question: any text of up to 2,000 characters.
        checkpoint: folder of an adapter, such as homework/vlm_model.
        base: the model to ask, or with a checkpoint its base: a folder, the name of a SmolVLM in
            the hub cache, or embedded_base. If omitted, the base that the checkpoint names;
            without one, SmolVLM-256M-Instruct where the hub cache has it, otherwise embedded_base.
        explain: PNG file to write; it shows where the model looks for its answer, and the boxes of
            the karts where the picture lies beside its info file.
        overwrite: replace a file that this command did not write.
    """
    from .model.inputs import check_length

    check_length(str(question))  # before the model is loaded
    target = options.path("--explain", explain)
    if target and target.suffix.lower() != ".png":
        raise InputError(f"--explain: {target} is not a .png file; give a name that ends in .png")
    outputs = Outputs("ask", overwrite)
    if target:
        outputs.check(target)
    vlm = load(checkpoint, base=base)
    answer = vlm.generate(image, str(question))
    print(answer)
    if target:
        _explain(vlm, str(image), str(question), answer, target, outputs)


def _explain(
    vlm: BaseVLM, image: str, question: str, answer: str, target: Path, outputs: Outputs
) -> None:
    """Write a picture of an answer: heat map, boxes and true answer if known, and a legend."""
    from .frames.pictures import open_picture, save_picture
    from .frames.split import scenes
    from .inspection.draw import EGO_COLOR, OTHER_COLORS, draw_labels, with_caption
    from .labels.questions import kind_of, pairs
    from .model.heat_map import METHOD, ORANGE, heat_maps, overlay

    drawn = overlay(open_picture(image), heat_maps(vlm, [image], [question], [answer])[0])
    legend, told = {ORANGE: "where the model looks"}, ""
    if scene := scenes([image])[image]:
        draw_labels(drawn, scene)
        legend |= {EGO_COLOR: "ego kart", OTHER_COLORS[0]: "other karts, each in a colour"}
        truth = dict(pairs(scene)).get(question)
        told = f" (the labels say: {truth})" if truth is not None else ""
    lines = [f"Question: {question}", f"Answer: {answer}{told}"]
    lines += [CAVEAT] * (kind_of(question) == "other")
    save_picture(with_caption(drawn, lines, legend), target, outputs.open)
    print(f"wrote {target}: {METHOD}")


def test(base: str | None = None, split: str = "valid_grader", data_dir: str | None = None) -> None:
    """Ask the base, before fine-tuning, all questions about the first picture of a split.

    Args:
        base: a folder, the name of a SmolVLM in the hub cache, or embedded_base; if omitted,
            SmolVLM-256M-Instruct where the hub cache has it, otherwise embedded_base.
        split: the split whose first picture is shown.
        data_dir: the data folder; the one beside the package if omitted.
    """
    dataset = VQADataset(split, data_dir)
    path = dataset[0]["image_path"]
    items = [item for item in dataset if item["image_path"] == path]
    vlm = BaseVLM(base)
    start = time.perf_counter()
    answers = vlm.answer([path] * len(items), [item["question"] for item in items])
    print(path)
    for item, answer in zip(items, answers, strict=True):
        print(printable(f"  {item['question']}  {answer!r}, expected {item['answer']!r}"))
    print(f"{len(items)} questions in {time.perf_counter() - start:.2f} s")


def benchmark_base(
    base: str | None = None,
    split: str = "valid_grader",
    data_dir: str | None = None,
    max_samples: int | None = 128,
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
    from .evaluation.majority import same_questions_baseline
    from .evaluation.table import accuracy_table

    result = benchmark(BaseVLM(base), VQADataset(split, data_dir), max_samples, batch_size=None)
    print(accuracy_table(result, *same_questions_baseline(result, baseline_split, data_dir)))


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
