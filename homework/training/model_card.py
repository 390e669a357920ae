"""The model card of a checkpoint, README.md in its folder, as the hub wants it.

It is written with the adapter, with the results on held-out train frames that the training
measured: see docs/training.md for how to push the folder to a hub as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data import ALL, Accuracy
from ..model.adapter_files import CARD
from ..model.loading import EMBEDDED

SMOLVLM_FAMILY = "HuggingFaceTB/SmolVLM"
DATASET = "supertuxkart-frames"
TAGS = ["smolvlm", "supertuxkart", "visual-question-answering"]

_KINDS = """answer five kinds of question about SuperTuxKart frames: the ego
kart, how many karts there are, the track, where a kart is relative to the ego kart, and how many
karts a region holds."""
_ADAPTER = """
# {name}

A LoRA adapter that lets {base} {kinds}

## How to use it

```python
from homework.base_vlm import load

vlm = load("this folder")
print(vlm.generate("frame.jpg", "What kart is the ego car?"))
```

`peft.PeftModel.from_pretrained` loads it as well, onto the same base (SHA-256 of its weights:
`{fingerprint}`).
"""
_MERGED = """
# {name}

{base} with a LoRA adapter merged into its weights{purpose}

## How to use it

```python
from transformers import AutoProcessor, pipeline

folder = "this folder"
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
ask = pipeline("image-text-to-text", folder, processor=processor, trust_remote_code=True)
content = [
    {{"type": "image", "path": "frame.jpg"}},
    {{"type": "text", "text": "What kart is the ego car?"}},
]
print(ask(text=[{{"role": "user", "content": content}}], return_full_text=False))
```

`trust_remote_code` is needed where the folder holds `stem.py`, the class of the model. It loads in
transformers 4.49 and later (a SmolVLM2 in 4.50 and later); 5.10 to 5.17 ask for torchvision. Do not
use 4.54 to 4.57: they give many patches of any image a wrong position, and so other answers.
"""
_UNKNOWN = """
## Training

Not known. The adapter was not trained by the `homework` package, which has only merged it: data,
recipe and results are those that its maker states.

## Licence

{licence}
"""
_TEXT = """
## Data

The pairs of the split `{split}`: frames labelled by the exact rule of the `homework` package. 2% of
the frames, whole, are held out; validation frames are never trained on.

## Recipe

{recipe}

## Results

{results}

## Limits

- It knows the 18 karts, 21 tracks and five kinds of question of the course, and nothing else.
- The results are of frames like those trained on. On frames with other line-ups of karts it may be
  worse: in the dataset each track of the train split was raced by one line-up only.
- It says a name whatever is in the image, one without a kart too.

## Licence

{licence}
"""


def card(
    base: str,
    fingerprint: str | None,
    training: Mapping[str, Any] | None,
    results: Sequence[Accuracy] = (),
    name: str = "vlm_model",
    merged: bool = False,
) -> str:
    """The card as text: YAML front matter, then Markdown.

    Args:
        base: what the adapter was trained on: a hub name, "embedded_base" or a folder.
        fingerprint: SHA-256 of the base's weights.
        training: the recipe, as base.json records it; None if it is not known.
        results: accuracy per kind and of all on held-out train frames, if it was measured.
        merged: the card of the base with the adapter in its weights.
    """
    from huggingface_hub import ModelCardData

    licence, words = _licence(base)
    known = base if base.count("/") == 1 and not base.startswith("/") else Path(base).name
    data = ModelCardData(
        base_model=known,
        datasets=None if training is None else [DATASET],
        language="en",
        library_name="transformers" if merged else "peft",
        license=licence,
        model_name=name,
        pipeline_tag="image-text-to-text",
        tags=TAGS if merged else ["lora", "peft", *TAGS],
        eval_results=_results(results) or None,
    )
    closing, purpose = _TEXT, f", so that it can {_KINDS}"
    if training is None:
        training, closing, purpose = {}, _UNKNOWN, "."
    rows = [("option", "value"), *((key, training[key]) for key in sorted(training))]
    text = ((_MERGED if merged else _ADAPTER) + closing).format(
        name=name,
        base=f"`{known}`",
        kinds=_KINDS,
        purpose=purpose,
        fingerprint=fingerprint,
        split=training.get("train_dataset_name", "train"),
        recipe=_table(
            [row for row in rows if row[0] not in ("base", "base_sha256", "data_sha256")]
        ),
        results=_results_text(results, training.get("best_held_out_accuracy")),
        licence=words,
    )
    return f"---\n{data.to_yaml()}\n---\n{text}"


def results_line(results: Sequence[Accuracy]) -> str:
    """For people: what the card says was measured."""
    parts = ", ".join(f"{accuracy.label} {accuracy.value:.1%}" for accuracy in results)
    return f"held-out train frames, {results[-1].total} questions: {parts} (in {CARD})"


def _licence(base: str) -> tuple[str, str]:
    """The hub's name of the licence, and a sentence."""
    if base == EMBEDDED:
        return "mit", "MIT, like the base and the code. It holds none of the frames."
    if base.startswith(SMOLVLM_FAMILY):
        return "apache-2.0", "Apache 2.0, like the base. It holds none of the frames."
    return "other", "That of the base; see there. It holds none of the frames."


def _results(accuracies: Sequence[Accuracy]) -> list:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="visual-question-answering",
            dataset_type=DATASET,
            dataset_name="train frames held out",
            metric_type="accuracy",
            metric_name=f"accuracy, {accuracy.label}",
            metric_value=round(accuracy.value, 4),
        )
        for accuracy in accuracies
    ]


def _results_text(accuracies: Sequence[Accuracy], best: float | None) -> str:
    if not accuracies and best is not None:
        return f"{best:.1%} of the questions about train frames held out of the training."
    if not accuracies:
        return "Not measured: too few frames to hold any out."
    rows = [("kind", "questions", "accuracy", "95% interval (Wilson)")]
    for accuracy in accuracies:
        row = accuracy.row()
        label = f"**{ALL}**" if accuracy.label == ALL else accuracy.label
        interval = f"{row['low']:.1%} to {row['high']:.1%}"
        rows.append((label, str(accuracy.total), f"{row['accuracy']:.1%}", interval))
    return f"On train frames held out of the training:\n\n{_table(rows)}"


def _table(rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
