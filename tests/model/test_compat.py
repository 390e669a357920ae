"""Folders as 4.x and as 5.x of transformers write them, read alike by the version that is here."""

import shutil

import pytest
import torch
from tiny import write_tiny_base
from tokenizers import Tokenizer

from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.common.files import read_json, write_json
from homework.labels import questions
from homework.model import packing, processor
from homework.model.compat import two_way_config
from homework.model.loading import EMBEDDED_BASE

PAIR = (questions.EGO, "sara_the_racer")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_tiny_base(tmp_path_factory.mktemp("base"))


def as_5(folder, theta) -> None:
    """Rewrite a folder's settings as transformers 5.23 does."""
    config = read_json(folder / "config.json")
    for part in (config, config["text_config"], config["vision_config"]):
        part.pop("torch_dtype", None)
        part["dtype"] = "float32"
    config["text_config"].pop("rope_theta", None)
    config["text_config"]["rope_parameters"] = {"rope_theta": theta, "rope_type": "default"}
    write_json(folder / "config.json", config)
    image = read_json(folder / "preprocessor_config.json")
    (folder / "preprocessor_config.json").unlink()
    processor = read_json(folder / "processor_config.json")
    write_json(folder / "processor_config.json", processor | {"image_processor": image})
    words = read_json(folder / "tokenizer_config.json")
    words["extra_special_tokens"] = words.pop("additional_special_tokens", [])
    words["tokenizer_class"] = "TokenizersBackend"
    write_json(folder / "tokenizer_config.json", words)


def as_4(folder, theta) -> None:
    """Rewrite a folder's settings as the hub has those of SmolVLM-256M-Instruct."""
    config = read_json(folder / "config.json")
    for part in (config, config["text_config"], config["vision_config"]):
        part.pop("dtype", None)
        part["torch_dtype"] = "bfloat16"
    config["text_config"].pop("rope_parameters", None)
    config["text_config"]["rope_theta"] = theta
    write_json(folder / "config.json", config)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    write_json(folder / "chat_template.json", {"chat_template": template})
    words = read_json(folder / "tokenizer_config.json")
    words["eos_token"] = {"__type": "AddedToken", "content": words["eos_token"], "special": True}
    words["tokenizer_class"] = "GPT2Tokenizer"
    write_json(folder / "tokenizer_config.json", words)


def logits(folder) -> torch.Tensor:
    vlm = BaseVLM(folder, verbose=False)
    side = vlm.inputs.side
    pixels = torch.rand(1, 1, 3, side, side, generator=torch.Generator().manual_seed(0))
    row = packing.pack([vlm.inputs.view_sequence([PAIR])], len(vlm.inputs.prefix_ids))
    with torch.inference_mode():
        return packing.answer_logits(vlm.network, row, packing.image_tokens(vlm.network, pixels))


@pytest.mark.parametrize("theta", [10_000, 100_000])
def test_the_files_of_both_give_the_same_logits(base, tmp_path, theta):
    found = []
    for rewrite in (as_4, as_5):
        folder = shutil.copytree(base, tmp_path / rewrite.__name__)
        rewrite(folder, theta)
        found.append(logits(folder))
    assert torch.equal(*found)
    # The tiny base has 10,000; another theta must make a difference.
    assert torch.equal(found[0], logits(base)) == (theta == 10_000)


def test_what_is_written_has_the_names_of_both(base):
    config = read_json(base / "config.json")
    assert config["dtype"] == config["torch_dtype"]
    assert config["text_config"]["rope_theta"] == 10_000
    assert two_way_config(config) == config
    words = read_json(base / "tokenizer_config.json")
    assert words["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "extra_special_tokens" not in words


def test_each_patch_has_its_own_position(base):
    """4.54 to 4.57 give many the position of the patch before."""
    embeddings = BaseVLM(base, verbose=False).network.model.vision_model.embeddings
    side = embeddings.num_patches_per_side
    pixels = torch.rand(2, 3, embeddings.image_size, embeddings.image_size)
    with torch.inference_mode():
        found = embeddings(
            pixel_values=pixels, patch_attention_mask=torch.ones(2, side, side, dtype=torch.bool)
        )
        patches = embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, patches + embeddings.position_embedding.weight)


def test_a_tokenizer_is_read_as_its_file_has_it(tmp_path):
    """5.x makes another one of a GPT2Tokenizer: it does not take the file's way to cut text."""
    folder = tmp_path / "base"
    shutil.copytree(EMBEDDED_BASE, folder)
    config = read_json(folder / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", config | {"tokenizer_class": "GPT2Tokenizer"})
    tokenizer = read_json(folder / "tokenizer.json")
    cut = {"type": "Split", "pattern": {"String": "r"}, "behavior": "Isolated", "invert": False}
    tokenizer["pre_tokenizer"]["pretokenizers"].insert(0, cut)
    write_json(folder / "tokenizer.json", tokenizer)
    ids = processor.read_tokenizer(folder)("sara_the_racer", add_special_tokens=False)["input_ids"]
    assert ids == Tokenizer.from_file(str(folder / "tokenizer.json")).encode("sara_the_racer").ids
    assert ids.count(tokenizer["model"]["vocab"]["r"]) == 3


@pytest.mark.parametrize("file", ["preprocessor_config.json", "chat_template.jinja"])
def test_a_missing_file_is_named(base, tmp_path, file):
    folder = shutil.copytree(base, tmp_path / "base")
    (folder / file).unlink()
    with pytest.raises(InputError, match=f"{file}; copy the checkpoint again"):
        BaseVLM(folder, verbose=False)
