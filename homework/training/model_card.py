"""The model card of a checkpoint, README.md in its folder, as the hub wants it.

It is made with the checkpoint and gets its results, measured on train frames held out, when the
training is over: see docs/training.md for how to push the folder to a hub as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.files import atomic_write, read_json
from ..data import VQABenchmarkResult
from ..evaluation.statistics import ALL, Share
from ..evaluation.table import shares
from ..model.adapter import BASE, CARD
from ..model.loading import EMBEDDED

SMOLVLM_FAMILY = "HuggingFaceTB/SmolVLM"
DATASET = "supertuxkart-frames"
TAGS = ["lora", "peft", "smolvlm", "supertuxkart", "visual-question-answering"]

_TEXT = """
# {name}

A LoRA adapter that lets {base} answer five kinds of question about SuperTuxKart frames: the ego
kart, how many karts there are, the track, where a kart is relative to the ego kart, and how many
karts a region holds.

## How to use it

```python
from homework.base_vlm import load

vlm = load("this folder")
print(vlm.generate("frame.jpg", "What kart is the ego car?"))
```

`peft.PeftModel.from_pretrained` loads it as well, onto the same base (SHA-256 of its weights:
`{fingerprint}`).

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
- It says a name whatever is in the picture, one without a kart too.

## Licence

{licence}
"""


def card(
    base: str,
    fingerprint: str,
    training: Mapping[str, Any],
    results: Sequence[Share] = (),
    name: str = "vlm_model",
) -> str:
    """The card as text: YAML front matter, then Markdown.

    Args:
        base: what the adapter was trained on: a hub name, "embedded_base" or a folder.
        fingerprint: SHA-256 of the base's weights.
        training: the recipe, as base.json records it.
        results: accuracy per kind and of all on held-out train frames, if it was measured.
        name: of the checkpoint.
    """
    from huggingface_hub import ModelCardData

    licence, words = _licence(base)
    known = base if base.count("/") == 1 and not base.startswith("/") else Path(base).name
    data = ModelCardData(
        base_model=known,
        datasets=[DATASET],
        language="en",
        library_name="peft",
        license=licence,
        model_name=name,
        pipeline_tag="image-text-to-text",
        tags=TAGS,
        eval_results=_results(results) or None,
    )
    rows = [("option", "value"), *((key, training[key]) for key in sorted(training))]
    text = _TEXT.format(
        name=name,
        base=f"`{known}`",
        fingerprint=fingerprint,
        split=training.get("train_dataset_name", "train"),
        recipe=_table([row for row in rows if row[0] not in ("base", "base_sha256")]),
        results=_results_text(results),
        licence=words,
    )
    return f"---\n{data.to_yaml()}\n---\n{text}"


def add_results(folder: Path, result: VQABenchmarkResult) -> str:
    """Write a checkpoint's card anew, with its results on held-out train frames.

    Returns:
        One line that says what was measured.
    """
    record = read_json(folder / BASE)
    found = shares(result)
    text = card(record["base"], record["sha256"], record["training"], found)
    with atomic_write(folder / CARD) as file:
        file.write(text.encode())
    parts = ", ".join(f"{share.label} {share.right / share.total:.1%}" for share in found)
    return f"{CARD}: {len(result.samples)} questions about held-out train frames: {parts}"


def _licence(base: str) -> tuple[str, str]:
    """The hub's name of the licence, and a sentence."""
    if base == EMBEDDED:
        return "mit", "MIT, like the base and the code. It holds none of the frames."
    if base.startswith(SMOLVLM_FAMILY):
        return "apache-2.0", "Apache 2.0, like the base. It holds none of the frames."
    return "other", "That of the base; see there. It holds none of the frames."


def _results(shares: Sequence[Share]) -> list:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="visual-question-answering",
            dataset_type=DATASET,
            dataset_name="train frames held out",
            metric_type="accuracy",
            metric_name=f"accuracy, {share.label}",
            metric_value=round(share.right / share.total, 4),
        )
        for share in shares
    ]


def _results_text(shares: Sequence[Share]) -> str:
    if not shares:
        return "Not measured: too few frames to hold any out, or the training has not ended."
    rows = [("kind", "questions", "accuracy", "95% interval (Wilson)")]
    for share in shares:
        row = share.row()
        label = f"**{ALL}**" if share.label == ALL else share.label
        interval = f"{row['low']:.1%} to {row['high']:.1%}"
        rows.append((label, share.total, f"{row['accuracy']:.1%}", interval))
    return f"On train frames held out of the training:\n\n{_table(rows)}"


def _table(rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
