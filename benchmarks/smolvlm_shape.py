"""A checkpoint folder of SmolVLM-256M-Instruct's exact shape and file layout, random weights.

The real weights come from a hub; the shape is enough to prove the path and to measure speed.
The configuration is the published one. The tokenizer has SmolVLM's special tokens and
vocabulary size; its merges are learned from our own questions, since the real ones come with
the weights.
"""

from __future__ import annotations

import json
from pathlib import Path

from homework import embedded

VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
TEXT = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "vocab_size": 49280,
    "max_position_embeddings": 8192,
}
IMAGE_SIZE, PATCH_SIZE, PIXEL_SHUFFLE, IMAGE_TOKENS = 512, 16, 4, 64


def write_smolvlm_shape(
    folder: Path, vision_layers: int = 12, text_layers: int = 30, seed: int = 0
) -> Path:
    """Write the folder as `huggingface_hub` would leave it; fewer layers for quick tests."""
    config = embedded.base_config()
    vision, text = config.vision_config, config.text_config
    for part, shape in ((vision, VISION), (text, TEXT)):
        for name, value in shape.items():
            setattr(part, name, value)
    vision.num_hidden_layers, text.num_hidden_layers = vision_layers, text_layers
    vision.image_size, vision.patch_size = IMAGE_SIZE, PATCH_SIZE
    config.scale_factor = PIXEL_SHUFFLE
    text.rope_parameters = {"rope_type": "default", "rope_theta": 100_000.0}
    text.pad_token_id = embedded.SPECIAL_TOKENS.index("<|im_end|>")
    embedded.build_model(seed, config).save_pretrained(folder)
    embedded.build_tokenizer().save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    _write(folder / "chat_template.json", {"chat_template": embedded.CHAT_TEMPLATE})
    _write(
        folder / "processor_config.json",
        {"image_seq_len": IMAGE_TOKENS, "processor_class": "Idefics3Processor"},
    )
    _write(
        folder / "preprocessor_config.json",
        {
            "do_convert_rgb": True,
            "do_image_splitting": True,
            "do_normalize": True,
            "do_pad": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "Idefics3ImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "max_image_size": {"longest_edge": IMAGE_SIZE},
            "processor_class": "Idefics3Processor",
            "resample": 1,
            "rescale_factor": 1 / 255,
            "size": {"longest_edge": 2048},
        },
    )
    return folder


def _write(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2))
