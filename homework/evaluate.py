"""python -m homework.evaluate predictions.json [--split valid_grader] [--report out]

Judges the answers of any program, such as a hosted model, as `homework.finetune test` judges an
adapter: the same table, the same page, compared with other runs question by question.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .common import options
from .common.options import Count
from .common.outputs import Outputs
from .data import VQADataset


@options.checked
def evaluate(
    predictions: Path,
    split: str = "valid_grader",
    data_dir: Path | None = None,
    max_samples: Count | None = None,
    train_split: str = "train",
    report: Path | None = None,
    against: Sequence[str] | None = None,
    name: str | None = None,
    extract: bool = False,
    overwrite: bool = False,
) -> None:
    """Measure the accuracy of the answers in a file per kind of question.

    Args:
        predictions: JSON file, a list of {"image_file": ..., "question": ..., "answer": ...},
            one for each question of the split; `finetune test --save_predictions` writes one.
        split: the split whose questions were asked.
        data_dir: the data folder, which image_file is relative to; the one beside the package if
            omitted.
        max_samples: only so many questions were asked, drawn as `finetune test` draws them.
        train_split: the split from which the majority baseline takes its answers, and whose karts
            count as seen in training.
        report: folder to write a report to: index.html, a page to browse, and report.json.
        against: earlier reports or files of predictions, separated by commas, to compare with
            question by question.
        name: what the report calls these answers; the name of the file if omitted.
        extract: take the answer out of a sentence such as "It is on the left.", where exactly one
            of the possible answers to the question stands in it; also in the files of --against.
        overwrite: replace a report that this command did not write.

    Raises:
        InputError: the answers do not fit the questions, or a file is missing or malformed.
    """
    from .evaluation.report import report_files, write_report
    from .evaluation.runs import Answered, other_runs, read_run, with_extracted

    others = other_runs(against, report)
    outputs = Outputs("evaluate", overwrite)
    outputs.check(*report_files(report))
    dataset = VQADataset(split, data_dir)
    run = read_run(predictions)
    if extract:
        said, run, others = run, with_extracted(run), list(map(with_extracted, others))
        changed = sum(run.answers[asked] != answer for asked, answer in said.answers.items())
        print(f"--extract: {changed:,} of {len(run.answers):,} answers taken out of a longer text")
    model = Answered(run, predictions, dataset)
    from .evaluation.measure import check_split, measure

    check_split("--train_split", train_split, data_dir)
    measured = measure(model, dataset, max_samples, train_split, train_split)
    print(measured.table())
    if report:
        about = {"checkpoint": name or run.name, "date": run.date}
        print(write_report(report, measured, about, others, open_file=outputs.open))


if __name__ == "__main__":
    from .common import cli

    cli.run(evaluate)
