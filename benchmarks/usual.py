"""The usual recipe of course notebooks and tutorials, as the baseline of the benchmarks.

One question per sample; the processor's own chain for text and image (with SmolVLM's default
first resize, to 2048 pixels, unless told otherwise); batches padded on the right; labels masked
except for the answer; transformers' Trainer, its loss over the whole vocabulary at every token;
PEFT's LoRA on the same layers, and the same precision as this package uses.
"""

from __future__ import annotations

from pathlib import Path

import torch

from homework.base_vlm import BaseVLM
from homework.frames.images import open_image
from homework.model.inputs import IGNORED

FIRST_RESIZE = 2048  # longest edge, in SmolVLM's preprocessor_config.json


def load(base: str | Path, first_resize: bool) -> BaseVLM:
    """A base as the usual recipe loads it: library attention, the processor's first resize."""
    vlm = BaseVLM(base, verbose=False)
    vlm.network.set_attn_implementation("sdpa")
    if first_resize:
        vlm.processor.image_processor.size = {"longest_edge": FIRST_RESIZE}
    return vlm


class Collator:
    """Pairs to a padded batch, through the processor."""

    def __init__(self, processor) -> None:
        self.processor = processor
        processor.tokenizer.padding_side = "right"

    def __call__(self, pairs: list[tuple[str, str, str]]) -> dict[str, torch.Tensor]:
        texts, images, asked = [], [], []
        for path, question, answer in pairs:
            content = [{"type": "image"}, {"type": "text", "text": question}]
            prompt = self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
            texts.append(f"{prompt} {answer}<end_of_utterance>")
            asked.append(f" {answer}<end_of_utterance>")
            images.append([open_image(path)])
        batch = self.processor(text=texts, images=images, padding=True, return_tensors="pt")
        tokenizer = self.processor.tokenizer
        labels = torch.full_like(batch["input_ids"], IGNORED)
        for row, answer in enumerate(asked):
            supervised = tokenizer(answer, add_special_tokens=False)["input_ids"]
            end = int(batch["attention_mask"][row].sum())
            labels[row, end - len(supervised) : end] = torch.tensor(supervised)
        return {**batch, "labels": labels}


def answer(vlm: BaseVLM, pairs: list[tuple[str, str]], batch_size: int, tokens: int) -> list[str]:
    """Greedy answers: batches in the order given, padded on the left, each with its image."""
    processor = vlm.processor
    processor.tokenizer.padding_side = "left"
    answers: list[str] = []
    with torch.inference_mode(), torch.autocast(vlm.device, vlm.dtype, vlm.dtype != torch.float32):
        for start in range(0, len(pairs), batch_size):
            some = pairs[start : start + batch_size]
            batch = processor(
                text=[vlm.format_prompt(question) for _, question in some],
                images=[[open_image(path)] for path, _ in some],
                padding=True,
                return_tensors="pt",
            ).to(vlm.device)
            found = vlm.model.generate(
                **batch,
                do_sample=False,
                max_new_tokens=tokens,
                eos_token_id=vlm.inputs.end_id,
                pad_token_id=vlm.inputs.pad_id,
            )
            new = found[:, batch["input_ids"].shape[1] :]
            answers += processor.tokenizer.batch_decode(new, skip_special_tokens=True)
    return [text.strip() for text in answers]
