"""The model card of a checkpoint, README.md in its folder, as the hub wants it: see model_card.md.

It is written with the adapter, with the results on held-out train frames that the training
measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data import Accuracy
from ..model.adapter_files import CARD
from ..model.loading import EMBEDDED

SMOLVLM_FAMILY = "HuggingFaceTB/SmolVLM"
DATASET = "supertuxkart-frames"
TAGS = ["smolvlm", "supertuxkart", "visual-question-answering"]
TEMPLATE = Path(__file__).with_name("model_card.md")


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
    from huggingface_hub import EvalResult, ModelCardData
    from jinja2 import Template

    licence, words = _licence(base)
    known = base if base.count("/") == 1 and not base.startswith("/") else Path(base).name
    measured = [
        EvalResult(
            task_type="visual-question-answering",
            dataset_type=DATASET,
            dataset_name="train frames held out",
            metric_type="accuracy",
            metric_name=f"accuracy, {accuracy.label}",
            metric_value=round(accuracy.value, 4),
        )
        for accuracy in results
    ]
    data = ModelCardData(
        base_model=known,
        datasets=None if training is None else [DATASET],
        language="en",
        library_name="transformers" if merged else "peft",
        license=licence,
        model_name=name,
        pipeline_tag="image-text-to-text",
        tags=TAGS if merged else ["lora", "peft", *TAGS],
        eval_results=measured or None,
    )
    template = Template(TEMPLATE.read_text("utf-8"), trim_blocks=True, keep_trailing_newline=True)
    return template.render(
        front_matter=data.to_yaml(),
        name=name,
        base=known,
        fingerprint=fingerprint,
        training=training,
        results=results,
        merged=merged,
        licence=words,
    )


def results_line(results: Sequence[Accuracy]) -> str:
    """For people: what the card says was measured."""
    parts = ", ".join(f"{accuracy.label} {accuracy.value:.1%}" for accuracy in results)
    return f"held-out train frames, {results[-1].total} questions: {parts} (also in {CARD})"


def _licence(base: str) -> tuple[str, str]:
    """The hub's name of the licence, and a sentence."""
    if base == EMBEDDED:
        return "mit", "MIT, like the base and the code. It holds none of the frames."
    if base.startswith(SMOLVLM_FAMILY):
        return "apache-2.0", "Apache 2.0, like the base. It holds none of the frames."
    return "other", "That of the base; see there. It holds none of the frames."
