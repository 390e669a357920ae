"""The embedded base: a small model of the SmolVLM architecture, trained from scratch.

This module defines its shape, tokenizer and processor; `lab.pretrain` trains its weights. The
special tokens, the chat template and the file layout are those of SmolVLM-256M-Instruct, and the
class is its Idefics3ForConditionalGeneration with a convolutional stem (see `stem`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, product
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from homework.labels import questions
from homework.labels.questions import KARTS, TRACKS
from homework.model.processor import Settings, write

from . import descriptions

if TYPE_CHECKING:
    from transformers import (
        Idefics3Config,
        PreTrainedTokenizerFast,
    )

    from homework.model.stem import Idefics3StemConfig


IMAGE_SIDE = 144  # pixels; the 150x100 image becomes a square, as with SmolVLM without splitting
PATCH_SIDE = 12
STEM = {
    "stem_side": 2,
    "stem_strides": [1, 2, 3],
    "stem_channels": [32, 96, 192],
    "stem_blocks": [2, 2, 2],
}
SCALE_FACTOR = 1  # each patch is an image token: two karts rarely share one
IMAGE_TOKENS = (IMAGE_SIDE // PATCH_SIDE // SCALE_FACTOR) ** 2
VOCABULARY = 1024

# Special tokens and chat template of SmolVLM-256M-Instruct (Apache-2.0).
SPECIAL_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<fake_token_around_image>",
    "<global-img>",
    "<image>",
    "<end_of_utterance>",
)
CHAT_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def base_config(stem: Mapping[str, Any] = MappingProxyType({})) -> Idefics3StemConfig:
    """The configuration of the embedded base: about 6M parameters.

    Args:
        stem: what is other than in STEM.
    """
    from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

    from homework.model.stem import Idefics3StemConfig

    pad_id = SPECIAL_TOKENS.index("<|im_end|>")
    text = {
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,  # 5.x takes it over into its `rope_parameters`
        "bos_token_id": SPECIAL_TOKENS.index("<|im_start|>"),
        "eos_token_id": SPECIAL_TOKENS.index("<end_of_utterance>"),
        "pad_token_id": pad_id,
        "tie_word_embeddings": True,
    }
    vision = Idefics3VisionConfig(
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=3,
        image_size=IMAGE_SIDE,
        patch_size=PATCH_SIDE,
        hidden_act="relu",  # GELU took a tenth of the time of pre-training
    )
    return Idefics3StemConfig(
        **(STEM | dict(stem)),
        image_token_id=SPECIAL_TOKENS.index("<image>"),
        scale_factor=SCALE_FACTOR,
        tie_word_embeddings=True,
        pad_token_id=pad_id,
        text_config=text,
        vision_config=vision,
    )


def build_model(seed: int, config: Idefics3Config | None = None) -> Any:
    """An Idefics3ForConditionalGeneration with new random float32 weights.

    Args:
        config: the embedded base's if None. An Idefics3Config or SmolVLMConfig gives a model
            without a stem.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    from homework.model.compat import dtype_option

    config = config or base_config()
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(config, **dtype_option(torch.float32))
    _initialise_attention(model)
    model.generation_config.eos_token_id = model.config.text_config.eos_token_id
    model.generation_config.pad_token_id = model.config.text_config.pad_token_id
    return model


def _initialise_attention(model: Any) -> None:
    """Initialise each query projection like its key projection, and positions as waves.

    A token then first attends to similar tokens: a patch to its neighbours, the name of a kart to
    the patches that show it. With random weights, training finds both late.
    Source: Trockman and Kolter, Mimetic Initialization of Self-Attention Layers, 2023.
    """
    import torch

    vision, text = model.model.vision_model, model.model.text_model
    for layer in (*vision.encoder.layers, *text.layers):
        query, key = layer.self_attn.q_proj.weight.data, layer.self_attn.k_proj.weight.data
        torch.nn.init.orthogonal_(key, gain=0.5)
        heads = key.unflatten(0, (-1, layer.self_attn.head_dim))
        query.copy_(heads.repeat_interleave(len(query) // len(key), 0).flatten(0, 1))
    places = vision.embeddings.position_embedding.weight.data
    side, width = vision.embeddings.num_patches_per_side, places.shape[1]
    waves = torch.pi * torch.arange(1, width // 4 + 1) / (width // 4) * side / 2
    angles = torch.linspace(0, 1, side)[:, None] * waves
    line = torch.cat([angles.sin(), angles.cos()], 1)
    rows, columns = line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)
    places[:, : width // 4 * 4] = 0.2 * torch.cat([rows, columns], -1).flatten(0, 1)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE over the words of questions and descriptions; it can encode any text.

    A word or name with the space before it is one token, so that questions and descriptions share
    their words.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    words = Regex(r" ?\w+| ?[^\w\s]|\s")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_language(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def save_processor(folder: str | Path) -> None:
    """Write tokenizer, settings of the image and chat template to `folder`."""
    settings = Settings(
        IMAGE_SIDE,
        2,  # bilinear: it enlarges the image in a fifth of the time of Lanczos
        [0.5] * 3,
        [0.5] * 3,
        IMAGE_TOKENS,
    )
    write(Path(folder), build_tokenizer(), settings)


def _language() -> list[str]:
    naming = [form for form in questions.FORMS if "{}" in form]
    fixed = [form for form in questions.FORMS if "{}" not in form]
    asked = [form.format(kart) for form, kart in product(naming, KARTS)] + fixed
    answers = [*KARTS, *TRACKS, *map(str, range(100)), *chain(*questions.FORMS.values())]
    told = [f" {text}" for text in (*dict.fromkeys(answers), *descriptions.language())]
    return ["User:", *asked, "\nAssistant:", *told]
