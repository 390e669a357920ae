"""A base of the real form that is small enough to train within a second."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from transformers import Idefics3Config, SmolVLMConfig

from homework.base_vlm import BaseVLM
from homework.model import generation
from homework.model.compat import save_model
from lab.pretraining import architecture


def write_tiny_base(folder: Path, seed: int = 0, stem: bool = False, second: bool = False) -> Path:
    """Write a checkpoint folder of SmolVLM's form: 32 wide, one layer a side.

    Args:
        stem: with a convolutional stem, as the embedded base has.
        second: in the classes of SmolVLM2.
    """
    config = architecture.base_config()
    config.stem_channels, config.stem_blocks = [8, 16, 32], [0, 1, 0]
    if not stem:
        plain = {n: v for n, v in config.to_dict().items() if "stem" not in n}
        if second:
            plain["model_type"], plain["vision_config"]["model_type"] = "smolvlm", "smolvlm_vision"
        config = (SmolVLMConfig if second else Idefics3Config).from_dict(plain)
    for part in (config.vision_config, config.text_config):
        part.hidden_size, part.intermediate_size, part.num_hidden_layers = 32, 64, 1
        part.num_attention_heads = 2
        part.initializer_range = 0.3  # wide enough for answers that differ
    config.text_config.num_key_value_heads = 2
    config.text_config.head_dim = 16
    save_model(architecture.build_model(seed, config), folder)
    architecture.save_processor(folder)
    return folder


def score(
    vlm: BaseVLM,
    image_paths: Sequence[str],
    questions: Sequence[str],
    candidates: Sequence[Sequence[str]],
) -> list[list[float]]:
    """Log-probability of each candidate answer to each question, with its end token."""
    score_batch = partial(generation._score_batch, vlm, candidates=candidates)
    return generation.answer_each(vlm, image_paths, questions, score_batch)
