"""The shape that operations are counted for is that of the base in the package."""

import json

from benchmarks.floor import EMBEDDED
from homework.model.loading import EMBEDDED_BASE


def test_the_embedded_base_has_the_counted_shape():
    config = json.loads((EMBEDDED_BASE / "config.json").read_text())
    vision, text = config["vision_config"], config["text_config"]
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers")
    assert EMBEDDED.vision == tuple(vision[name] for name in sizes)
    assert EMBEDDED.text == tuple(text[name] for name in sizes)
    assert EMBEDDED.vocabulary == text["vocab_size"]
    assert EMBEDDED.key_values == text["num_key_value_heads"] * text["head_dim"]
    assert EMBEDDED.patches == (vision["image_size"] // vision["patch_size"]) ** 2
    assert EMBEDDED.image_tokens == EMBEDDED.patches // config["scale_factor"] ** 2
    assert EMBEDDED.patch_values == config["stem_channels"][-1]

    side, inputs = vision["image_size"] // config["stem_side"], 3 * config["stem_side"] ** 2
    for stage, stride, channels, blocks in zip(
        EMBEDDED.stem,
        config["stem_strides"],
        config["stem_channels"],
        config["stem_blocks"],
        strict=True,
    ):
        side //= stride
        assert stage == (side, inputs, channels, blocks)
        inputs = channels
