"""The model card: the hub's own format, the recipe, results per kind, and never PEFT's."""

import json
import sys
from pathlib import Path

import pytest
from helpers import make_split
from huggingface_hub import ModelCard
from tiny import write_tiny_base

from homework import finetune
from homework.evaluation.statistics import Accuracy
from homework.training import model_card

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import bundle


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of a split that is large enough to hold a frame out."""
    from homework.generate_qa import generate

    folder = tmp_path_factory.mktemp("card")
    make_split(folder / "data" / "train", frames=10, seed=0)
    generate(str(folder / "data" / "train"), num_workers=1)
    base = write_tiny_base(folder / "base")
    output = folder / "homework" / "vlm_model"
    finetune.train(
        str(folder / "data"),
        output_dir=str(output),
        base=str(base),
        max_steps=1,
        lora_r=4,
        per_device_train_batch_size=4,
    )
    return output


def test_a_checkpoint_carries_a_card_in_the_hubs_format(trained):
    card = ModelCard.load(trained / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] == "peft" and data["pipeline_tag"] == "image-text-to-text"
    assert data["base_model"] == "base" and data["license"] == "other"
    assert data["datasets"] and "lora" in data["tags"]
    names = [result.metric_name for result in card.data.eval_results]
    assert names[0] == "accuracy, ego" and names[-1] == "accuracy, all"
    assert "| lora_r | 4 |" in card.text and "PEFT" not in card.text


def test_the_card_names_no_folder_of_the_user(trained):
    assert str(trained.parent.parent) not in (trained / "README.md").read_text()


def test_results_are_those_of_the_kept_adapter_measured_once(trained):
    state = json.loads((trained / "trainer_state.json").read_text())
    record = json.loads((trained / "base.json").read_text())["training"]
    measured = [r for r in state["log_history"] if "eval_accuracy" in r]
    [best] = [r for r in measured if r["step"] == record["best_step"] == state["best_step"]]
    card = ModelCard.load(trained / "README.md")
    values = {r.metric_name: r.metric_value for r in card.data.eval_results}
    for name, value in values.items():
        kind = name.removeprefix("accuracy, ")
        assert value == round(best["eval_accuracy" if kind == "all" else f"held-out {kind}"], 4)


def test_results_are_of_held_out_frames(trained):
    text = (trained / "README.md").read_text()
    assert "On train frames held out" in text and "95% interval" in text
    assert "| track | " in text


def test_the_card_goes_with_the_bundle_and_loads_no_worse(trained):
    from homework.base_vlm import load

    (trained.parent / "__init__.py").touch()
    members = bundle.members(trained.parent)
    assert "homework/vlm_model/README.md" in members
    load(trained, verbose=False)


@pytest.mark.parametrize(
    ("base", "model", "licence"),
    [
        ("embedded_base", "embedded_base", "mit"),
        ("HuggingFaceTB/SmolVLM-256M-Instruct",) * 2 + ("apache-2.0",),
        ("/home/somebody/mine", "mine", "other"),
    ],
)
def test_base_and_licence_by_what_was_fine_tuned(base, model, licence):
    data = ModelCard(model_card.card(base, "0" * 64, {})).data
    assert (data.base_model, data.license) == (model, licence)
    assert not data.eval_results


def test_results_have_intervals():
    text = model_card.card(
        "embedded_base", "0", {}, [Accuracy("ego", 8, 10), Accuracy("all", 8, 10)]
    )
    assert "| ego | 10 | 80.0% | 49.0% to 94.3% |" in text and "| **all** |" in text
