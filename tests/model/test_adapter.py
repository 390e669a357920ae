"""The adapter: PEFT's own form, trained in every module, refused where it is damaged."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import write_tiny_base

from homework import base_vlm
from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.data import VQADataset
from homework.model import adapter, adapter_files, packing
from homework.model.compat import dtype_option
from homework.training.batches import ViewDataset, split_views
from homework.training.passes import Passes


def test_plain_peft_loads_the_same_adapter(trained, base):
    from peft import PeftModel
    from transformers import Idefics3ForConditionalGeneration

    ours = base_vlm.load(trained, verbose=False)
    plain = PeftModel.from_pretrained(
        Idefics3ForConditionalGeneration.from_pretrained(base, **dtype_option(torch.float32)),
        trained,
    )
    ids = ours.inputs.view_sequence([("What track is this?", "abyss")]).input_ids
    sequence = {"input_ids": torch.tensor([ids])}
    pixels = torch.rand(1, 1, 3, 144, 144)
    before = BaseVLM(base, verbose=False).model(pixel_values=pixels, **sequence).logits
    after = ours.model(pixel_values=pixels, **sequence).logits
    # Ours is merged into the base's weights, whose sums are rounded otherwise.
    unmerged = plain.eval()(pixel_values=pixels, **sequence).logits
    torch.testing.assert_close(unmerged, after, rtol=1e-4, atol=1e-4)
    assert (before - after).abs().max() > 1e-3


def test_every_lora_module_gets_a_gradient(base, sample_data):
    """Vision tower, connector and text model alike: both matrices, after one step."""
    vlm = BaseVLM(base, verbose=False)
    model = adapter.add_lora(vlm, r=4, lora_alpha=8).train()
    views, _ = split_views(VQADataset("train", sample_data), 0)
    dataset = ViewDataset(views[:4], vlm.inputs)
    [batch] = Passes(vlm, 10_000).pack([dataset[index] for index in range(4)])
    pixels = vlm.inputs.normalise(batch.squares)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    # B starts at zero, so that A has a gradient only from the second step on.
    for _ in range(2):
        optimizer.zero_grad()
        seen = packing.image_tokens(vlm.network, pixels)
        scores = packing.answer_logits(vlm.network, batch.row, seen)
        packing.weighted_loss(scores, batch.row).backward()
        optimizer.step()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    for part in ("vision_model", "connector", "text_model"):
        assert any(part in name for name in trained)
    assert not [name for name, gradient in trained.items() if not gradient.abs().sum() > 0]


def test_a_damaged_or_foreign_checkpoint_is_refused(trained, base, tmp_path):
    from safetensors.torch import save_file

    def broken(change) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(trained, folder)
        change(folder)
        return folder

    def rewrite(folder, change):
        weights = load_file(folder / adapter_files.WEIGHTS)
        change(weights)
        save_file(weights, folder / adapter_files.WEIGHTS)
        record(folder, weights_sha256=None)  # as in a record of an earlier version

    def record(folder, **fields):
        path = folder / adapter_files.BASE
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    other = write_tiny_base(tmp_path / "other", seed=1)
    wrong = {
        "missing": lambda f: rewrite(f, lambda w: w.pop(next(iter(w)))),
        "unexpected": lambda f: rewrite(f, lambda w: w.update(extra=torch.zeros(2))),
        "misshapen": lambda f: rewrite(f, lambda w: w.update({next(iter(w)): torch.zeros(2)})),
        "damaged": lambda f: (f / adapter_files.WEIGHTS).write_bytes(b"nothing"),
        "another": lambda f: record(f, base=str(other)),
        "not a whole": lambda f: (f / adapter_files.CONFIG).unlink(),
    }
    for words, change in wrong.items():
        with pytest.raises(InputError, match=words) as caught:
            base_vlm.load(broken(change), verbose=False)
        assert "\n" not in str(caught.value)
