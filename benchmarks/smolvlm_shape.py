"""A checkpoint folder of SmolVLM-256M-Instruct's exact shape and file layout, random weights.

The real weights come from a hub; the shape is enough to test the path and to measure speed.
SmolVLM2-256M-Video-Instruct has the same shape, in classes of its own: see `second`. Sizes and
token ids are the published ones. The tokenizer has the same size and ids, but its words are those
of our own questions. tests/real_text.py has the real tokenizer and text model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from homework.common.files import write_json
from homework.model.loading import EMBEDDED_BASE
from homework.model.processor import read_tokenizer
from lab.pretraining import architecture

VOCABULARY, IMAGE_TOKENS = 49280, 64
TOKEN_IDS = {
    "<|im_start|>": 1,
    "<|im_end|>": 2,
    "<global-img>": 49152,
    "<fake_token_around_image>": 49189,
    "<image>": 49190,
    "<end_of_utterance>": 49279,
}
VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "image_size": 512,
    "patch_size": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
TEXT = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000,
    "bos_token_id": 1,
    "eos_token_id": TOKEN_IDS["<end_of_utterance>"],
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}
PREPROCESSOR = {
    "do_convert_rgb": True,
    "do_image_splitting": True,
    "do_normalize": True,
    "do_pad": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "max_image_size": {"longest_edge": 512},
    "resample": 1,
    "rescale_factor": 1 / 255,
    "size": {"longest_edge": 2048},
}

VIDEO_SAMPLING = {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 512}}


def smolvlm_config(vision_layers: int = 12, text_layers: int = 30, second: bool = False) -> dict:
    """`config.json` as the hub has it, except for the number of layers.

    Args:
        second: of SmolVLM2.
    """
    kind, prefix = ("smolvlm", "SmolVLM") if second else ("idefics3", "Idefics3")
    return {
        "architectures": [f"{prefix}ForConditionalGeneration"],
        "model_type": kind,
        "image_token_id": TOKEN_IDS["<image>"],
        "scale_factor": 4,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": VOCABULARY,
        "vision_config": {
            **VISION,
            "model_type": f"{kind}_vision",
            "num_hidden_layers": vision_layers,
        },
        "text_config": {**TEXT, "num_hidden_layers": text_layers},
    }


def write_smolvlm_shape(
    folder: Path,
    vision_layers: int = 12,
    text_layers: int = 30,
    seed: int = 0,
    second: bool = False,
) -> Path:
    """Write the folder as a download leaves it: bfloat16 weights, JSON files, chat template.

    Args:
        second: of SmolVLM2.
    """
    from transformers import AutoConfig

    folder.mkdir(parents=True, exist_ok=True)
    config: Any = AutoConfig.for_model(**smolvlm_config(vision_layers, text_layers, second))
    architecture.build_model(seed, config).bfloat16().save_pretrained(folder)
    _write_tokenizer(folder)
    write_settings(folder, vision_layers, text_layers, second)
    return folder


def write_settings(
    folder: Path, vision_layers: int = 12, text_layers: int = 30, second: bool = False
) -> None:
    """The JSON files beside weights and tokenizer; arguments of `smolvlm_config`."""
    write_json(folder / "config.json", smolvlm_config(vision_layers, text_layers, second))
    write_json(
        folder / "chat_template.json",
        {"chat_template": read_tokenizer(EMBEDDED_BASE).chat_template},
    )
    prefix = "SmolVLM" if second else "Idefics3"
    classes = {
        "image_processor_type": f"{prefix}ImageProcessor",
        "processor_class": f"{prefix}Processor",
    }
    videos = {"video_sampling": VIDEO_SAMPLING} if second else {}
    write_json(folder / "preprocessor_config.json", {**PREPROCESSOR, **classes, **videos})
    write_json(
        folder / "processor_config.json",
        {"image_seq_len": IMAGE_TOKENS, "processor_class": f"{prefix}Processor"},
    )


def _write_tokenizer(folder: Path) -> None:
    """The embedded tokenizer with SmolVLM's ids; the ids between are filled with unused tokens."""
    read_tokenizer(EMBEDDED_BASE).save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    words = [word for word in tokenizer["model"]["vocab"] if word not in TOKEN_IDS]
    taken = set(TOKEN_IDS.values())
    free = (index for index in range(VOCABULARY) if index not in taken)
    vocabulary = {word: next(free) for word in words}
    vocabulary |= {f"<unused_{index}>": index for index in free}
    tokenizer["model"]["vocab"] = vocabulary | TOKEN_IDS
    for token in tokenizer["added_tokens"]:
        token["id"] = TOKEN_IDS[token["content"]]
    path.write_text(json.dumps(tokenizer))
