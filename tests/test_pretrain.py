"""Pre-training: a few steps, a resume that changes nothing, and a checkpoint that loads."""

import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import write_tiny_base

from homework import embedded, heads, pretrain, pretraining, questions
from homework.augment import View
from homework.base_vlm import BaseVLM
from homework.files import InputError
from homework.frames import frame_of
from homework.names import KARTS, TRACKS
from homework.scene import Kart, make_scene
from homework.views import AugmentedBatches, hold_out

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample"


@pytest.fixture
def tiny_data(tmp_path, monkeypatch):
    """Ten frames of the sample as `train`, one of them held out, and a small model."""
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    for info in sorted(SAMPLE.glob("*_info.json"))[:10]:
        for file in SAMPLE.glob(f"{frame_of(info.name)}_*"):
            shutil.copy(file, folder)
    config = embedded.base_config()
    config.vision_config.num_hidden_layers = config.text_config.num_hidden_layers = 1
    config.stem_channels, config.stem_blocks = [8, 16, 32], [0, 1, 0]
    monkeypatch.setattr(embedded, "base_config", lambda: deepcopy(config))
    monkeypatch.setattr(pretraining, "PICTURES_PER_STEP", 4)
    monkeypatch.setitem(pretrain.HELD_OUT, "frame", 0.2)
    monkeypatch.setattr(pretraining, "STEPS_PER_STATE", 2)
    return folder


def test_resumed_run_ends_with_the_same_weights(tiny_data, tmp_path, monkeypatch, capsys):
    options = {"data_dir": str(tiny_data), "steps": 4, "dense_steps": 1}
    pretrain.run(output=str(tmp_path / "whole"), work_dir=str(tmp_path / "a"), **options)
    printed = capsys.readouterr().out
    assert "90 views to learn from, 10 to measure on, held out by frame" in printed
    assert re.search(r"held-out accuracy at step 4: \{'track': [\d.]+, 'ego': ", printed)

    train_step = pretraining.Pretraining.train_step

    def interrupted(self):
        if self.step == 3:
            raise KeyboardInterrupt
        return train_step(self)

    monkeypatch.setattr(pretraining.Pretraining, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain.run(output=str(tmp_path / "cut"), work_dir=str(tmp_path / "b"), **options)
    monkeypatch.setattr(pretraining.Pretraining, "train_step", train_step)
    pretrain.run(output=str(tmp_path / "cut"), work_dir=str(tmp_path / "b"), **options)

    whole, cut = (BaseVLM(tmp_path / name, verbose=False) for name in ("whole", "cut"))
    for (name, expected), found in zip(
        whole.model.state_dict().items(), cut.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=name)


def test_a_run_goes_on_from_a_checkpoint(tiny_data, tmp_path):
    options = {"data_dir": str(tiny_data), "steps": 1, "dense_steps": 0}
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    pretrain.run(output=first, work_dir=str(tmp_path / "a"), seed=1, **options)
    pretrain.run(output=second, start=first, work_dir=str(tmp_path / "b"), seed=2, **options)
    begun, ended = (
        BaseVLM(folder, verbose=False).model.get_input_embeddings().weight
        for folder in (first, second)
    )
    for file in ("config.json", "generation_config.json"):
        assert Path(first, file).read_text() == Path(second, file).read_text()
    fresh = embedded.build_model(seed=2).get_input_embeddings().weight
    assert 0 < (ended - begun).norm() < 0.1 * (fresh - begun).norm()


def test_only_our_own_base_is_gone_on_from(tiny_data, tmp_path, monkeypatch):
    options = {"data_dir": str(tiny_data), "work_dir": str(tmp_path / "work"), "steps": 1}
    options["output"] = str(tmp_path / "output")
    with pytest.raises(InputError, match="nothing: no such checkpoint folder"):
        pretrain.run(start=str(tmp_path / "nothing"), **options)
    smaller = write_tiny_base(tmp_path / "smaller")
    with monkeypatch.context() as patched:
        patched.setattr(embedded, "_language", lambda: ["User:", "Assistant:"])
        embedded.build_model(0).save_pretrained(tmp_path / "wordless")
        embedded.save_processor(tmp_path / "wordless")
    for folder in (smaller, tmp_path / "wordless"):
        with pytest.raises(InputError, match="not of the embedded base's form"):
            pretrain.run(start=str(folder), **options)


def test_a_state_of_another_recipe_is_not_gone_on_from(tiny_data, tmp_path):
    options = {"data_dir": str(tiny_data), "work_dir": str(tmp_path / "a"), "dense_steps": 1}
    pretrain.run(output=str(tmp_path / "one"), steps=2, **options)
    with pytest.raises(InputError, match="delete it"):
        pretrain.run(output=str(tmp_path / "two"), steps=3, **options)


def test_validation_frames_are_refused(tmp_path):
    with pytest.raises(InputError, match="never trained on"):
        pretrain.run(data_dir=str(tmp_path / "valid"))


def test_an_unknown_augmentation_or_hold_out_is_named(tmp_path):
    with pytest.raises(InputError, match="nearest is paste"):
        pretrain.run(data_dir=str(tmp_path), augmentations="pasta")
    with pytest.raises(InputError, match="--held_out: give one of frame, pair, track"):
        pretrain.run(data_dir=str(tmp_path), held_out="kart")


def view(track, karts, source="00000_00_im.jpg"):
    karts = tuple(Kart(name, (10 * i, 10, 10 * i + 9, 30)) for i, name in enumerate(karts))
    return View(np.zeros((100, 150, 3), np.uint8), make_scene(track, karts), source)


@st.composite
def folders(draw):
    """Two folders of views of a few karts on a few tracks."""
    found = []
    for _ in range(2):
        line_ups = draw(
            st.lists(
                st.tuples(
                    st.sampled_from(TRACKS[:12]),
                    st.sets(st.sampled_from(KARTS[:4]), max_size=3),
                ),
                min_size=10,
                max_size=40,
            )
        )
        found.append(
            [
                view(track, sorted(karts), f"{i:05x}_00_im.jpg")
                for i, (track, karts) in enumerate(line_ups)
            ]
        )
    return found


@settings(max_examples=60, deadline=None)
@given(folders(), st.sampled_from(list(pretrain.HELD_OUT)))
def test_what_is_held_out_is_never_learned(found, by):
    learned, kept = hold_out(found, by, 0.1)
    mine = [v for v in found[0] if any(v is k for k in kept)]
    assert len(mine) == len(kept)  # of the first folder
    scenes = [v.scene for v in kept]
    assert len(set(scenes)) == len(scenes)
    assert not {v.scene for v in learned} & set(scenes)
    if by == "track":
        assert {v.scene.track for v in learned}.isdisjoint({v.scene.track for v in kept})
    if by == "frame":
        assert len(learned) < sum(map(len, found))
    if by == "pair":
        seen = {(v.scene.track, kart.name) for v in learned for kart in v.scene.karts}
        for v in kept:
            assert not seen.issuperset({(v.scene.track, kart.name) for kart in v.scene.karts})


def test_a_moment_that_never_moves_does_not_fill_the_batches():
    """99 views of one scene and one of another: 10 to 1 is what the square root leaves of them."""
    views = [view("abyss", ["tux"])] * 99 + [view("abyss", ["gnu"])]
    batches = AugmentedBatches(views, 500, seed=0, augmentations=())
    other = sum(v.scene.karts[0].name == "gnu" for v in batches[0])
    assert 25 < other < 75  # 1 in 11, not 1 in 100
    assert [v.scene for v in batches[0]] == [v.scene for v in batches[0]]


def test_names_and_words_are_one_token_each():
    """So that a name can be looked for by its embedding, and words mean the same everywhere."""
    tokenizer = embedded.build_tokenizer()
    for name in (*KARTS, *TRACKS, *questions.SIDES, *questions.DEPTHS):
        assert len(tokenizer(f" {name}")["input_ids"]) == 1, name
    scene = view("abyss", ["tux", "gnu", "kiki"]).scene
    for question, _ in questions.pairs(scene):
        assert len(tokenizer(question)["input_ids"]) == len(question.split()) + 1, question
    text = "Ein Käfer? <image> über den Wolken."
    ids = tokenizer(text, split_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids) == text  # anything else is spelled in bytes


def test_heads_score_patches_by_likeness_to_the_words():
    """A token that equals a kart's embedding is that kart to the head."""
    torch.manual_seed(0)
    embeddings = torch.randn(40, 16)
    ids = {"kart": list(range(18)), "side": [20, 21], "depth": [22, 23]}
    model = heads.Heads(16, ids)
    scores = model(embeddings[None, [5, 21]], embeddings)
    assert scores["kart"].shape == (1, 2, len(KARTS) + 1)
    assert scores["kart"][0, 0].argmax() == 5 + 1
    assert scores["side"][0, 1].argmax() == 2
    assert scores["track"].shape == (1, len(TRACKS))


def test_two_processes_share_the_steps(tiny_data, tmp_path):
    """Each takes half of a step's pictures; one of them prints and writes."""
    command = ["accelerate.commands.launch", "--config_file", "configs/2_cpu_processes.yaml"]
    options = [f"--data_dir={tiny_data}", f"--output={tmp_path / 'base'}"]
    options += [f"--work_dir={tmp_path / 'work'}", "--steps=2", "--dense_steps=1"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "-m", "homework.pretrain", "run", *options],
        cwd=SAMPLE.parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("views to learn from") == 1
    assert done.stdout.count("wrote ") == 1
    assert BaseVLM(tmp_path / "base", verbose=False).base == str(tmp_path / "base")
