"""Packed rows weigh exactly as one-question samples, for every LoRA module."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import write_tiny_base
from torch.nn.functional import cross_entropy
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from homework.base_vlm import BaseVLM
from homework.labels import questions
from homework.model import adapter, attention, compat, packing
from homework.model.inputs import IGNORED
from homework.model.packing import pairs_right
from homework.training.batches import Sample
from homework.training.passes import Passes

PAIRS = [
    [(questions.EGO, "sara_the_racer"), (questions.WHERE.format("konqi"), "front and left")],
    [(questions.TRACK, "gran_paradiso_island")],
]


def double_norm(self, hidden):
    """The library's norm, but for its step through float32."""
    variance = hidden.pow(2).mean(-1, keepdim=True)
    return self.weight * hidden * torch.rsqrt(variance + self.variance_epsilon)


@pytest.fixture(
    scope="module",
    params=[
        "embedded base",
        pytest.param("SmolVLM-256M, a layer a side", marks=pytest.mark.slow),
        "a small SmolVLM2",
    ],
)
def vlm(request, tmp_path_factory):
    """A base with LoRA whose B matrices are not zero, so that every module gets a gradient."""
    base = "embedded_base"
    if request.param.startswith("SmolVLM-256M"):
        base = request.getfixturevalue("smolvlm_shape")
    elif request.param.endswith("SmolVLM2"):
        base = write_tiny_base(tmp_path_factory.mktemp("base"), second=True)
    vlm = BaseVLM(base, verbose=False)
    vlm.model = adapter.add_lora(vlm, r=4, lora_alpha=8).double().train()
    torch.manual_seed(0)
    for name, weight in vlm.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return vlm


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    monkeypatch.setattr(LlamaRMSNorm, "forward", double_norm)


def gradients(model) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def plain_losses(vlm, pixels) -> list[list[torch.Tensor]]:
    """Of each image's pairs: one question a sample, the library's own mask and attention."""
    losses = []
    for image, pairs in zip(pixels, PAIRS, strict=True):
        losses.append([])
        for pair in pairs:
            sequence = vlm.inputs.view_sequence([pair])
            ids, labels = (torch.tensor([field]) for field in sequence[:2])
            scores = vlm.model(pixel_values=image[None], input_ids=ids).logits[0, :-1]
            losses[-1].append(
                cross_entropy(scores, labels[0, 1:], ignore_index=IGNORED, reduction="sum")
            )
    return losses


def test_loss_and_gradients_are_those_of_one_question_samples(vlm):
    """float64; LoRA on vision tower, connector and text model."""
    side = vlm.inputs.side
    pixels = torch.rand(2, 1, 3, side, side, generator=torch.Generator().manual_seed(0)).double()
    row = packing.pack(
        [vlm.inputs.view_sequence(pairs) for pairs in PAIRS], len(vlm.inputs.prefix_ids)
    )
    seen = packing.image_tokens(vlm.network, pixels)
    loss = packing.weighted_loss(packing.answer_logits(vlm.network, row, seen), row)
    loss = loss / row.weights.sum()
    loss.backward()
    packed = gradients(vlm.model)

    compat.use_attention(vlm.network, "sdpa")  # as for eager attention, its softmax is float32
    losses = plain_losses(vlm, pixels)
    expected = sum(map(sum, losses)) / 3
    expected.backward()
    alone = gradients(vlm.model)
    attention.use(vlm.network)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert packed.keys() == alone.keys()
    for part in ("vision_model", "connector", "text_model"):
        assert any(part in name for name in alone)
    for name, gradient in alone.items():
        assert gradient.abs().max() > 0, name
        scale = gradient.abs().max().item()
        torch.testing.assert_close(packed[name], gradient, rtol=1e-6, atol=1e-6 * scale)


def test_passes_make_the_same_step_as_one_row(vlm):
    """A small budget cuts a step into passes; their gradients add up to the row's."""
    if vlm.base != "embedded_base":
        pytest.skip("the same code, at twenty times the work")
    side = vlm.inputs.side
    squares = torch.randint(
        0, 256, (2, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    samples = [
        Sample(square.numpy(), vlm.inputs.view_sequence(pairs), str(index), 1.0)
        for index, (square, pairs) in enumerate(zip(squares, PAIRS, strict=True))
    ]
    found = []
    for budget in (10**6, 1):
        passes = Passes(vlm, budget).pack(samples)
        total = 0.0
        for part in passes:
            pixels = vlm.inputs.normalise(part.squares).double()
            seen = packing.image_tokens(vlm.network, pixels)
            scores = packing.answer_logits(vlm.network, part.row, seen)
            loss = packing.weighted_loss(scores, part.row) / 3
            loss.backward()
            total += loss.item()
        found.append((len(passes), total, gradients(vlm.model)))
    assert [count for count, _, _ in found] == [1, 2]
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-9)
    for name, gradient in found[0][2].items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(found[1][2][name], gradient, rtol=1e-6, atol=1e-8 * scale)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return BaseVLM(write_tiny_base(tmp_path_factory.mktemp("tiny")), verbose=False).inputs


asked = st.sampled_from([pair for pairs in PAIRS for pair in pairs])


@settings(max_examples=40, deadline=None)
@given(images=st.lists(st.lists(asked, max_size=5), min_size=1, max_size=4))
def test_a_row_holds_each_token_once_and_scores_each_answer(inputs, images):
    size = len(inputs.prefix_ids)
    sequences = [inputs.view_sequence(pairs) for pairs in images]
    row = packing.pack(sequences, size)
    assert row.input_ids.shape == (1, sum(len(s.input_ids) for s in sequences))
    pairs = [(frame, *pair) for frame, some in enumerate(images) for pair in some]
    assert row.layout.frames.tolist() == [frame for frame, _, _ in pairs]
    ids = row.input_ids[0]
    for number, (frame, question, answer) in enumerate(pairs):
        tokens = inputs.question_ids(question) + inputs.answer_ids(answer)
        among = number - sum(len(some) for some in images[:frame])
        places = row.layout.branches[frame, among, : len(tokens)]
        assert ids[places].tolist() == tokens
        assert row.position_ids[0, places].tolist() == list(range(size, size + len(tokens)))
        mine = row.pairs == number
        assert row.answers[mine].tolist() == inputs.answer_ids(answer)
        assert ids[row.answer_positions[mine] + 1].tolist() == inputs.answer_ids(answer)
    # What the attention gives back is each branch token once, in the row's order.
    flat = row.layout.branches.flatten()[row.layout.tokens]
    assert flat.tolist() == list(range(len(images) * size, len(ids)))


def test_passes_stay_within_their_number_of_tokens():
    assert packing.split([3, 3, 3, 9, 1], 6) == [[0, 1], [2], [3], [4]]
    assert packing.split([], 6) == []


def test_a_pair_is_right_only_if_every_token_is():
    end = 5
    expected = torch.tensor([7, 8, end, 9, end, 7, end])
    chosen = torch.tensor([7, 8, end, 1, end, 7, end])
    assert pairs_right(chosen, expected, end).tolist() == [True, False, True]
