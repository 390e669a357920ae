"""python -m homework.base_vlm ask --image FILE --question "What track is this?" [--explain out.png]
python -m homework.base_vlm test
python -m homework.base_vlm benchmark [--split valid_grader]
python -m homework.base_vlm download

A SmolVLM that answers questions about pictures: SmolVLM-256M-Instruct where it is on disk,
otherwise the embedded base, a small model of the very same class and form.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from .common import options
from .common.errors import InputError, one_line
from .data import VQADataset, benchmark
from .model.loaded import LoadedVLM
from .model.loading import SMOLVLM


class BaseVLM(LoadedVLM):
    """A vision-language model that answers questions; see LoadedVLM for what it is given."""

    def format_prompt(self, question: str) -> str:
        """The prompt as the chat template writes it, `<image>` standing for the picture."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )

    def generate(self, image_path: str | Path, question: str) -> str:
        """The answer to one question about one picture."""
        return self.batched_generate([image_path], [question])[0]

    def answer(self, image_paths: Sequence[str | Path], questions: Sequence[str]) -> list[str]:
        """The answer to each question about the picture beside it, in the order asked."""
        return self.batched_generate(image_paths, questions)

    def batched_generate(
        self,
        image_paths: Sequence[str | Path],
        questions: Sequence[str],
        num_return_sequences: int | None = None,
        temperature: float = 0,
    ) -> list[str] | list[list[str]]:
        """Generate answers; each distinct picture is decoded and encoded once.

        Args:
            num_return_sequences: so many answers to each question, as a list per question;
                one, as plain text, if None.
            temperature: 0 takes the likeliest token each time, more draws at random.

        Raises:
            InputError: the numbers of pictures and questions differ, a question is too long,
                several different answers are asked for at temperature 0, or a picture cannot
                be read.
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
        """How likely the model holds each of some answers to a question.

        Each distinct picture is encoded once, each question read once for all its candidates.

        Args:
            candidates: possible answers, a list per question.

        Returns:
            log-probabilities beside the candidates: natural logarithm, summed over the answer's
            tokens and its end token.

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


def load(checkpoint: str | Path, verbose: bool = True) -> BaseVLM:
    """Load a LoRA checkpoint onto the base that it was trained on.

    Args:
        checkpoint: a folder, or the name of one inside the package.

    Raises:
        InputError: no whole checkpoint there, another base, missing or unexpected weights.
    """
    from .model import adapter

    found = adapter.read(checkpoint)
    vlm = BaseVLM(found.base, verbose)
    adapter.attach(vlm, found)
    return vlm


# --- command line ---


def ask(
    image: str,
    question: str,
    checkpoint: str | None = None,
    base: str | None = None,
    explain: str | None = None,
) -> None:
    """Ask one question about one picture.

    Args:
        image: picture file.
        question: any text of up to 2,000 characters.
        checkpoint: a LoRA checkpoint, such as homework/vlm_model; it knows its base.
        base: what is asked without one; see BaseVLM.
        explain: write a picture of where the model looks for its answer to this PNG file.
    """
    from .model.heat_map import save_heat_map
    from .model.inputs import check_length

    check_length(str(question))  # before the model is loaded
    target = options.path("--explain", explain)
    if target and target.suffix.lower() != ".png":
        raise InputError(f"--explain: {target} is no .png; give such a name")
    vlm = load(checkpoint) if checkpoint else BaseVLM(base)
    answer = vlm.generate(image, str(question))
    print(answer)
    if target:
        save_heat_map(vlm, image, str(question), answer, target)


def test(base: str | None = None, split: str = "valid_grader", data_dir: str | None = None) -> None:
    """Ask the base, before any fine-tuning, everything that is asked about one picture."""
    dataset = VQADataset(split, data_dir)
    path = dataset[0]["image_path"]
    items = [item for item in dataset if item["image_path"] == path]
    vlm = BaseVLM(base)
    start = time.perf_counter()
    answers = vlm.answer([path] * len(items), [item["question"] for item in items])
    print(path)
    for item, answer in zip(items, answers, strict=True):
        print(f"  {item['question']}  {answer!r}, expected {item['answer']!r}")
    print(f"{len(items)} questions in {time.perf_counter() - start:.2f} s")


def benchmark_base(
    base: str | None = None,
    split: str = "valid_grader",
    data_dir: str | None = None,
    max_samples: int | None = 128,
    baseline_split: str = "train",
) -> None:
    """Accuracy of the base, before any fine-tuning, per kind of question.

    Args:
        base: see BaseVLM.
        split: whose pairs are asked.
        data_dir: the data folder; the one beside the package if not given.
        max_samples: ask a seeded draw of so many pairs; None asks all.
        baseline_split: where the majority baseline takes its answers from.
    """
    from .evaluation.majority import same_questions_baseline
    from .evaluation.table import accuracy_table

    result = benchmark(BaseVLM(base), VQADataset(split, data_dir), max_samples, batch_size=None)
    print(accuracy_table(result, *same_questions_baseline(result, baseline_split, data_dir)))


def download(name: str = SMOLVLM) -> None:
    """Fetch a checkpoint into the hub cache, resuming what was begun.

    Raises:
        InputError: the hub cannot be reached or has no such checkpoint.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name, allow_patterns=["*.json", "*.jinja", "*.txt", "model.safetensors"]
        )
    except Exception as error:
        raise InputError(f"{name}: cannot be fetched from the hub ({one_line(error)})") from None
    print(f"{name} is in {folder}")


if __name__ == "__main__":
    from .common.cli import run

    run({"ask": ask, "test": test, "benchmark": benchmark_base, "download": download})
