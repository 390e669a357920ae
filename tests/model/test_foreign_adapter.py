"""Adapters that PEFT wrote and this package did not: the same logits and answers as plain PEFT."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import score, write_tiny_base
from transformers import AutoModelForImageTextToText

from homework import base_vlm, demo, finetune
from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.data import VQADataset
from homework.evaluation.report import about_adapter
from homework.model import adapter, adapter_files
from homework.model.compat import dtype_option
from homework.model.generation import MAX_NEW_TOKENS
from homework.model.processor import library_processor

# As course notebooks and the usual starter code have it.
USUAL = {
    "task_type": "CAUSAL_LM",
    "target_modules": "all-linear",
    "r": 8,
    "lora_alpha": 32,
    "bias": "none",
}
OTHERS = {
    "rank-stabilised": {"use_rslora": True},
    "DoRA": {"use_dora": True},
    "a list": {"target_modules": ["q_proj", "v_proj"]},
    "an expression": {"target_modules": r".*text_model.*(q|k)_proj"},
    "an exception": {"exclude_modules": r".*vision_model.*"},
    "layers": {"target_modules": ["q_proj"], "layers_to_transform": [0]},
    "patterns": {
        "rank_pattern": {"q_proj": 4, r".*layers\.0\.mlp.*": 2},
        "alpha_pattern": {"v_proj": 5},
    },
    "biases of LoRA": {"lora_bias": True},
    "biases of the base": {"bias": "all"},
    "the output layer": {"modules_to_save": ["lm_head"]},
    "the embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "tokens": {"trainable_token_indices": [5, 9]},
    "a convolution": {"target_modules": ["q_proj", "patch_embedding"]},
    "PiSSA": {"init_lora_weights": "pissa"},
    "no task": {"task_type": None},
}
# What `tiled` has in its files, and SmolVLM with other numbers.
SPLIT = {"do_image_splitting": True, "do_resize": True, "size": {"longest_edge": 288}}
QUESTION = "What track is this?"


def plain_base(base: Path):
    return AutoModelForImageTextToText.from_pretrained(base, **dtype_option(torch.float32))


def write(folder: Path, base: Path, **changes) -> Path:
    """An adapter in PEFT's two files, whose matrices are random."""
    torch.manual_seed(1)
    model = get_peft_model(plain_base(base), LoraConfig(**(USUAL | changes)))
    for value in model.parameters():
        if value.requires_grad:
            value.data += 0.05 * torch.randn_like(value)
    model.save_pretrained(folder)
    return folder


def same_logits(folder: Path, base: Path) -> BaseVLM:
    """Load it here, and check its logits against those of plain PEFT."""
    plain = PeftModel.from_pretrained(plain_base(base), folder).eval()
    ours = base_vlm.load(folder, verbose=False)
    ids = torch.tensor([ours.inputs.view_sequence([(QUESTION, "abyss")]).input_ids])
    inputs = {"pixel_values": torch.rand(1, 1, 3, 144, 144), "input_ids": ids}
    with torch.no_grad():
        expected, found = plain(**inputs).logits, ours.model(**inputs).logits
        before = plain_base(base)(**inputs).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (found - before).abs().max() > 0.1
    return ours


@pytest.fixture(scope="module")
def tiled(tmp_path_factory) -> Path:
    """A base whose own processor enlarges images and splits them, as SmolVLM's does."""
    folder = write_tiny_base(tmp_path_factory.mktemp("tiled"))
    for file in folder.glob("preprocessor_config.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | SPLIT))
    return folder


@pytest.fixture(scope="module")
def starters(tiled, sample_data, tmp_path_factory) -> Path:
    """An adapter that plain PEFT trained on `tiled` as the starter does, for a few steps."""
    torch.manual_seed(0)
    processor = library_processor(tiled, SPLIT)
    model = get_peft_model(plain_base(tiled), LoraConfig(**USUAL)).train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-2)
    dataset = VQADataset("train", sample_data)
    for item in [dataset[index] for index in range(0, 80, 9)] * 4:
        # The answer follows the prompt without a space and without an end token.
        batch = plain_inputs(processor, item["image_path"], item["question"], item["answer"])
        answer = len(processor.tokenizer(item["answer"])["input_ids"])
        labels = batch["input_ids"].clone()
        labels[:, :-answer] = -100
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("starters")
    model.save_pretrained(folder)
    return folder


def plain_inputs(processor, path: str, question: str, answer: str = ""):
    content = [{"type": "image"}, {"type": "text", "text": question}]
    message = {"role": "user", "content": content}
    prompt = processor.apply_chat_template([message], add_generation_prompt=True)
    image = Image.open(path).convert("RGB")
    batch = processor(text=prompt + answer, images=[[image]], return_tensors="pt")
    batch.pop("token_type_ids", None)  # of 4.x
    return batch


def test_the_starters_adapter_answers_as_it_does_in_plain_peft(
    starters, tiled, sample_data, capsys
):
    vlm = base_vlm.load(starters)
    assert "no space before the answer" in capsys.readouterr().out
    vlm.dtype = torch.float32
    processor = library_processor(tiled, SPLIT)
    plain = PeftModel.from_pretrained(plain_base(tiled), starters).eval()
    dataset = VQADataset("train", sample_data)
    items = [dataset[index] for index in range(0, 80, 9)]
    expected = []
    for item in items:
        batch = plain_inputs(processor, item["image_path"], item["question"])
        assert batch["pixel_values"].shape[1] == 5  # four tiles and the whole image
        tokens = plain.generate(
            **batch,
            do_sample=False,
            max_new_tokens=MAX_NEW_TOKENS,
            eos_token_id=vlm.inputs.end_id,
            pad_token_id=vlm.inputs.pad_id,
        )[:, batch["input_ids"].shape[1] :]
        expected += [processor.tokenizer.decode(tokens[0], skip_special_tokens=True).strip()]
    asked = [item["image_path"] for item in items], [item["question"] for item in items]
    assert vlm.answer(*asked) == expected and any(expected)
    # The probability of an answer that begins without a space.
    batch = plain_inputs(processor, items[0]["image_path"], items[0]["question"], "tux")
    end = torch.tensor([[vlm.inputs.end_id]])
    ids = torch.cat([batch["input_ids"], end], 1)
    answer = len(processor.tokenizer("tux")["input_ids"]) + 1
    with torch.no_grad():
        logits = plain(input_ids=ids, pixel_values=batch["pixel_values"]).logits[0]
    each = logits[-answer - 1 : -1].log_softmax(-1)[torch.arange(answer), ids[0, -answer:]]
    [[found]] = score(vlm, asked[0][:1], asked[1][:1], [["tux"]])
    assert found == pytest.approx(each.sum().item(), abs=1e-3)


@pytest.mark.parametrize("name", OTHERS)
def test_every_kind_of_lora_gives_the_logits_of_plain_peft(name, base, tmp_path):
    vlm = same_logits(write(tmp_path / "adapter", base, **OTHERS[name]), base)
    assert vlm.adapter.training is None and vlm.adapter.split is None


def test_ask_demo_restore_and_load_vlm_take_it(
    starters, trained, sample_data, tmp_path, runs, monkeypatch, capsys
):
    item = VQADataset("train", sample_data)[0]
    path, question = item["image_path"], item["question"]
    place, two_files = tmp_path / "vlm_model", tmp_path / "two_files"
    shutil.copytree(trained, place)
    shutil.copytree(starters, two_files)
    (two_files / "README.md").unlink()
    finetune.restore(str(two_files), str(place))
    # Nothing of the adapter that was replaced is left, and it is kept.
    assert {file.name for file in place.iterdir()} & {"base.json", "README.md"} == set()
    assert (runs / "vlm_model-1" / "base.json").is_file()
    monkeypatch.setattr(finetune, "PACKAGE_DIR", tmp_path)
    vlm = finetune.load_vlm()
    capsys.readouterr()
    base_vlm.ask(path, question, checkpoint=str(place))
    answer = capsys.readouterr().out.splitlines()[-1]
    assert vlm.generate(path, question) == answer
    [reply] = demo.replies(vlm, path, [question])
    assert reply.answer == answer and sum(reply.probabilities.values()) == pytest.approx(1)
    with pytest.raises(InputError, match="no heat map"):
        base_vlm.ask(path, question, str(place), explain=str(tmp_path / "out.png"))


@pytest.mark.parametrize("name", ["DoRA", "the output layer", "the embeddings", "tokens"])
def test_merged_it_is_one_model_with_the_same_logits(name, base, tmp_path):
    folder = write(tmp_path / "adapter", base, **OTHERS[name])
    expected = base_vlm.load(folder, verbose=False)
    finetune.merge(str(folder), str(tmp_path / "merged"))
    found = BaseVLM(tmp_path / "merged", verbose=False)
    ids = torch.tensor([found.inputs.view_sequence([(QUESTION, "abyss")]).input_ids])
    inputs = {"pixel_values": torch.rand(1, 1, 3, 144, 144), "input_ids": ids}
    with torch.no_grad():
        torch.testing.assert_close(found.model(**inputs).logits, expected.model(**inputs).logits)
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "Not known" in card and "five kinds" not in card and "validation frames" not in card


def test_biases_that_the_base_lacks_are_not_merged(base, tmp_path):
    folder = write(tmp_path / "adapter", base, lora_bias=True)
    with pytest.raises(InputError, match="lora_bias"):
        finetune.merge(str(folder), str(tmp_path / "merged"))
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    "name", ["ours", "DoRA", "the output layer", "tokens", "biases of the base"]
)
def test_the_base_alone_is_the_same_model_with_the_adapter_switched_off(
    name, base, trained, sample_data, tmp_path
):
    """To the bit, and the adapter's answers after it too; merged first, it is a second model."""
    folder = trained if name == "ours" else write(tmp_path / "adapter", base, **OTHERS[name])
    dataset = VQADataset("train", sample_data)
    items = [dataset[index] for index in range(0, 40, 4)]
    asked = [item["image_path"] for item in items], [item["question"] for item in items]
    asked = *asked, [["abyss", "tux", "2"]] * len(items)
    whole = base_vlm.load(folder, verbose=False)
    plain = BaseVLM(base, verbose=False)
    plain.inputs = whole.inputs
    expected = score(plain, *asked)
    vlm = base_vlm.load(folder, verbose=False, merged=False)
    changed_for_good = name == "biases of the base"
    for each, same in ((vlm, not changed_for_good), (whole, False)):
        with each.base_alone() as alone:
            assert score(alone, *asked) == expected and (alone is each) == same
    adapter.merge(vlm)
    assert score(vlm, *asked) == score(whole, *asked) != expected


OLDER = {
    "the adapter's name": lambda name: name.replace(".weight", ".default.weight"),
    "no wrapper": lambda name: name.removeprefix("base_model.model."),
    "the model alone": lambda name: name.replace("base_model.model.model.", "base_model.model."),
    "a language model": lambda name: name.replace("text_model", "language_model"),
}


@pytest.mark.parametrize("layout", OLDER)
def test_older_names_of_weights_are_those_of_today(layout, base, tmp_path):
    folder = write(tmp_path / "adapter", base)
    weights = load_file(folder / adapter_files.WEIGHTS)
    expected = base_vlm.load(folder, verbose=False).network.state_dict()
    save_file({OLDER[layout](n): v for n, v in weights.items()}, folder / adapter_files.WEIGHTS)
    found = base_vlm.load(folder, verbose=False).network.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_weights_of_half_precision_are_read(base, tmp_path):
    folder = write(tmp_path / "adapter", base)
    weights = load_file(folder / adapter_files.WEIGHTS)
    save_file({n: v.bfloat16() for n, v in weights.items()}, folder / adapter_files.WEIGHTS)
    same_logits(folder, base)


def test_absent_fields_are_defaults_and_later_fields_are_left_out(base, tmp_path, capsys):
    folder = write(tmp_path / "adapter", base)
    settings = json.loads((folder / adapter_files.CONFIG).read_text())
    kept = ("peft_type", "r", "lora_alpha", "target_modules", "base_model_name_or_path")
    few = {name: settings[name] for name in kept} | {"field_of_2031": {"on": True}}
    (folder / adapter_files.CONFIG).write_text(json.dumps(few))
    same_logits(folder, base)
    assert "'field_of_2031'" in capsys.readouterr().out


def test_ours_with_an_older_configuration_or_without_its_record_answers_the_same(
    trained, sample_data, tmp_path
):
    """The fields that PEFT 0.16 writes; and PEFT's two files alone."""
    item = VQADataset("train", sample_data)[0]
    asked = [item["image_path"]], [item["question"]], [["abyss", "hacienda", "tux"]]
    expected = score(base_vlm.load(trained, verbose=False), *asked)
    folder = tmp_path / "adapter"
    shutil.copytree(trained, folder)
    settings = json.loads((folder / adapter_files.CONFIG).read_text())
    for name in ("ensure_weight_tying", "target_parameters", "peft_version"):
        settings.pop(name, None)
    (folder / adapter_files.CONFIG).write_text(json.dumps(settings | {"corda_config": None}))
    assert score(base_vlm.load(folder, verbose=False), *asked) == expected
    (folder / adapter_files.BASE).unlink()
    vlm = base_vlm.load(folder, verbose=False)
    assert score(vlm, *asked) == expected and vlm.adapter.split is None


def test_the_base_is_the_one_that_is_given_or_the_one_that_is_named(base, tmp_path):
    folder = write(tmp_path / "adapter", base)
    settings = json.loads((folder / adapter_files.CONFIG).read_text())
    for named, words in ((None, "names no base"), ("/gone", "/gone: not in the hub cache")):
        changed = settings | {"base_model_name_or_path": named}
        (folder / adapter_files.CONFIG).write_text(json.dumps(changed))
        with pytest.raises(InputError, match=f"{words}.*--base") as caught:
            base_vlm.load(folder, verbose=False)
        assert "\n" not in str(caught.value)
        assert base_vlm.load(folder, verbose=False, base=str(base)).adapter.base == str(base)


def test_report_and_table_leave_out_what_is_not_known(base, sample_data, tmp_path, capsys):
    folder, out = write(tmp_path / "adapter", base), tmp_path / "out"
    finetune.test(str(folder), "train", str(sample_data), 20, report=str(out))
    report = json.loads((out / "report.json").read_text())
    assert report["train_split"] is None and not report["seen_known"]
    assert report["recipe"] == {"base": base.name}
    assert not any(report["breakdowns"]["seen"].values())
    printed = capsys.readouterr().out
    assert "training split" not in printed and "the train split" in printed
    record = base_vlm.load(folder, verbose=False).adapter
    assert about_adapter(record, sample_data)["checkpoint"] == "adapter"


def test_a_pickle_is_refused_and_the_printed_command_converts_it(base, tmp_path, monkeypatch):
    folder = write(tmp_path / "adapter", base)
    weights = load_file(folder / adapter_files.WEIGHTS)
    torch.save(weights, folder / adapter_files.PICKLE)
    (folder / adapter_files.WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"adapter_model\.bin: a pickle") as caught:
        base_vlm.load(folder, verbose=False)
    code = str(caught.value).partition('python -c "')[2].removesuffix('"')
    monkeypatch.chdir(folder)
    exec(code, {})
    found = load_file(folder / adapter_files.WEIGHTS)
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    same_logits(folder, base)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target_modules", "(" * 5_000),
        ("target_modules", ".*nothing"),
        ("r", 10**9),
        ("rank_pattern", {"q_proj": 10**9}),
        ("layers_to_transform", [10**12]),
        ("layer_replication", [[0, 10**9]]),
        ("megatron_config", {"tensor_model_parallel_size": 1}),
        ("target_parameters", ["weight"]),
        ("init_lora_weights", "loftq"),
        ("init_lora_weights", "corda"),
        ("use_qalora", True),
        ("task_type", "SEQ_CLS"),
        ("peft_type", "VERA"),
        ("ensure_weight_tying", True),
    ],
)
def test_what_cannot_be_applied_safely_is_refused_in_one_line(field, value, base, tmp_path):
    folder = write(tmp_path / "adapter", base)
    settings = json.loads((folder / adapter_files.CONFIG).read_text())
    if field not in settings:
        pytest.skip(f"this version of PEFT has no {field}")
    settings |= {field: value}
    if field == "layers_to_transform":
        settings["target_modules"] = ["q_proj"]
    (folder / adapter_files.CONFIG).write_text(json.dumps(settings))
    with pytest.raises(InputError) as caught:
        base_vlm.load(folder, verbose=False)
    assert adapter_files.CONFIG in str(caught.value) and "\n" not in str(caught.value)
