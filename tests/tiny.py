"""A base of the real form that is small enough to train within a second."""

from pathlib import Path

from homework import embedded


def write_tiny_base(folder: Path, seed: int = 0) -> Path:
    """Write a checkpoint folder of the embedded base's form: 32 wide, one layer a side."""
    config = embedded.base_config()
    for part in (config.vision_config, config.text_config):
        part.hidden_size, part.intermediate_size, part.num_hidden_layers = 32, 64, 1
        part.num_attention_heads = 2
        part.initializer_range = 0.3  # wide enough for answers that differ
    config.stem_channels, config.stem_blocks = [8, 16, 32], [0, 1, 0]
    config.text_config.num_key_value_heads = 2
    config.text_config.head_dim = 16
    embedded.build_model(seed, config).save_pretrained(folder)
    embedded.save_processor(folder)
    return folder
