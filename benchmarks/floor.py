"""python benchmarks/floor.py

The floor of a training step and of an answer: the operations that remain when nothing is
computed twice, against those of the usual recipe (one question per sample). Counts only; runs
nothing.

A product of (m, k) and (k, n) is 2mkn operations. Training with LoRA takes a forward pass and
the gradients of the activations, so twice the forward pass; only a stem needs no gradients, as
nothing in it is trained. The products of LoRA itself are left out. Bytes are the least that must
move: each weight once per pass, and the inputs and outputs of each linear layer and convolution
once, in bf16.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

PAIRS = 5.65  # of a frame, on average, in the dataset's train split


@dataclass(frozen=True)
class Shape:
    """The sizes that the number of operations depends on."""

    name: str
    patches: int
    patch_values: int  # inputs of a patch's product: 3 * side * side, or the stem's last channels
    vision: tuple[int, int, int]  # hidden size, MLP size, layers
    image_tokens: int
    text: tuple[int, int, int]
    key_values: int  # width of the keys, and of the values
    vocabulary: int
    head: int  # tokens of the prompt before the question, besides the image's
    branch: float  # tokens of a question with its answer, on average
    answer: float  # tokens of the answer alone
    # Of each stage of a convolutional stem: cells a side, input and output channels, blocks.
    stem: tuple[tuple[int, int, int, int], ...] = ()


EMBEDDED = Shape(
    *("embedded base", 144, 192, (192, 768, 4), 144, (192, 512, 4), 192, 1024, 5, 5.6, 2.0),
    stem=((72, 12, 32, 2), (36, 32, 96, 2), (12, 96, 192, 2)),
)
SMOLVLM = Shape(
    *("SmolVLM-256M shape", 1024, 768, (768, 3072, 12), 64, (576, 1536, 30), 192, 49280),
    *(6, 18.2, 3.4),
)


def stem_flops(shape: Shape) -> float:
    """Forward pass of one image through the stem: 3x3 convolutions, two in each block."""
    return sum(
        2 * 9 * side**2 * (inputs * channels + 2 * blocks * channels**2)
        for side, inputs, channels, blocks in shape.stem
    )


def vision_flops(shape: Shape) -> float:
    """Forward pass of one image: stem, patches, layers, attention, connector."""
    hidden, wide, layers = shape.vision
    linear = 2 * shape.patches * (4 * hidden**2 + 2 * hidden * wide)
    attention = 4 * shape.patches**2 * hidden
    joined = hidden * shape.patches // shape.image_tokens
    ends = 2 * shape.patches * shape.patch_values * hidden
    ends += 2 * shape.image_tokens * joined * shape.text[0]
    return stem_flops(shape) + layers * (linear + attention) + ends


def text_flops(shape: Shape, tokens: float, seen: float, scored: float) -> float:
    """Forward pass of `tokens` that each see `seen` tokens, with logits at `scored` of them."""
    hidden, wide, layers = shape.text
    linear = 2 * (2 * hidden**2 + 2 * hidden * shape.key_values + 3 * hidden * wide)
    return tokens * layers * (linear + 4 * seen * hidden) + 2 * scored * hidden * shape.vocabulary


def pair_flops(shape: Shape, pairs: float, shared: bool) -> float:
    """Forward pass of one pair: a sample of its own, or one of `pairs` after a shared prefix."""
    prefix, tower = shape.image_tokens + shape.head, vision_flops(shape)
    if not shared:
        length = prefix + shape.branch
        return tower + text_flops(shape, length, length / 2, length)
    once = tower + text_flops(shape, prefix, prefix / 2, 0)
    return once / pairs + text_flops(shape, shape.branch, prefix + shape.branch / 2, shape.answer)


def training_flops(shape: Shape, pairs: float, shared: bool) -> float:
    """Forward pass of one pair and the gradients of its activations; arguments as above."""
    return 2 * pair_flops(shape, pairs, shared) - stem_flops(shape) / (pairs if shared else 1)


def weights(shape: Shape) -> tuple[float, float]:
    """Numbers in the convolutions and linear layers of the vision tower, and in the text model."""
    hidden, wide, layers = shape.vision
    width, inner, depth = shape.text
    tower = layers * (4 * hidden**2 + 2 * hidden * wide)
    tower += sum(9 * (i * c + 2 * blocks * c**2) for _, i, c, blocks in shape.stem)
    text = depth * (2 * width**2 + 2 * width * shape.key_values + 3 * width * inner)
    return tower, text + width * shape.vocabulary


def pair_bytes(shape: Shape, pairs: float, frames: int) -> float:
    """Bytes of the forward pass of one pair, in a shared pass of `frames` images."""
    hidden, wide, layers = shape.vision
    width, inner, depth = shape.text
    tokens = shape.image_tokens + shape.head + pairs * shape.branch
    tower = shape.patches * layers * (8 * hidden + 2 * (hidden + wide))
    tower += sum(side**2 * (i + c + 4 * blocks * c) for side, i, c, blocks in shape.stem)
    text = tokens * depth * (4 * width + 2 * (width + shape.key_values) + 3 * (width + inner))
    return 2 * (tower + text) / pairs + 2 * sum(weights(shape)) / (pairs * frames)


def main() -> None:
    """Print the table and the JSON line."""
    rows = {}
    print(f"GFLOP of a pair, forward, at {PAIRS} pairs a frame")
    print(f"{'':22}{'vision/image':>15}{'usual':>9}{'shared':>9}{'bound':>7}")
    for shape in (EMBEDDED, SMOLVLM):
        usual, shared = pair_flops(shape, PAIRS, False), pair_flops(shape, PAIRS, True)
        rows[shape.name] = {
            "vision_gflop": vision_flops(shape) / 1e9,
            "usual_gflop": usual / 1e9,
            "shared_gflop": shared / 1e9,
            "bound": usual / shared,
            "training_gflop": training_flops(shape, PAIRS, True) / 1e9,
            "shared_megabytes": pair_bytes(shape, PAIRS, 16) / 1e6,
        }
        row = rows[shape.name]
        print(
            f"{shape.name:22}{row['vision_gflop']:15.2f}{row['usual_gflop']:9.2f}"
            f"{row['shared_gflop']:9.2f}{row['bound']:6.1f}x"
        )
    print(
        "GFLOP, forward, of a frame, of a pair behind it, and of a pair at 1, 5.65 and 31 a frame"
    )
    for shape in (EMBEDDED, SMOLVLM):
        alone, several = (pair_flops(shape, pairs, True) for pairs in (1, 2))
        frame = 2 * (alone - several)  # a pair is a share of the frame, and its own tokens
        numbers = (frame, alone - frame, *(pair_flops(shape, n, True) for n in (1, PAIRS, 31)))
        print(f"{shape.name:22}{''.join(f'{number / 1e9:9.2f}' for number in numbers)}")
    print("GFLOP of a pair in training, shared, with its bound")
    for shape in (EMBEDDED, SMOLVLM):
        usual, shared = (training_flops(shape, PAIRS, each) for each in (False, True))
        print(f"{shape.name:22}{shared / 1e9:9.2f}{usual / shared:6.1f}x")
    print(
        "bytes of a shared pair, forward, 16 frames a pass: "
        + ", ".join(f"{name} {row['shared_megabytes']:.1f} MB" for name, row in rows.items())
    )
    print(
        json.dumps(
            {
                "benchmark": "floor",
                "pairs_per_frame": PAIRS,
                "shapes": {
                    name: {key: round(value, 4) for key, value in row.items()}
                    for name, row in rows.items()
                },
            }
        )
    )


if __name__ == "__main__":
    main()
