"""Passes that fit into memory, and a run that goes on where it runs out."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from homework import finetune
from homework.common import machine
from homework.common.distributed import duration
from homework.common.errors import InputError
from homework.model import adapter_files
from homework.training import passes, run
from homework.training.config import TrainConfig
from homework.training.passes import Passes, counting
from homework.training.task import FineTuning

GPU = "CUDA out of memory. Tried to allocate 2.00 GiB."
CPU = "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"


def running_out(monkeypatch, error: BaseException, most: int) -> list[int]:
    """Let passes of more than `most` images fail; the images of each pass that was tried."""
    forward, tried = FineTuning._forward, []

    def limited(self, part):
        tried.append(len(part.paths))
        result = forward(self, part)
        if len(part.paths) > most:
            raise error
        return result

    monkeypatch.setattr(FineTuning, "_forward", limited)
    return tried


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(GPU),
        pytest.param(RuntimeError(CPU), marks=pytest.mark.slow),
        pytest.param(MemoryError(), marks=pytest.mark.slow),
    ],
    ids=type,
)
def test_a_run_goes_on_in_smaller_passes(
    error, workers, options, finished_run, tmp_path, monkeypatch, capsys
):
    tried = running_out(monkeypatch, error, most=1)
    monkeypatch.setattr(FineTuning, "prepare", lambda self: 1.0)  # so that a step is the first
    finetune.train(**options | {"num_workers": workers, "tokens_per_pass": 10_000})
    assert tried[0] == 4 and set(tried[-4:]) == {1}
    assert "memory has run out: goes on with" in capsys.readouterr().out
    found, expected = (
        load_file(f / adapter_files.WEIGHTS) for f in (tmp_path / "out", finished_run)
    )
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0.1, atol=3e-3)  # in bf16, on some


def test_dropout_is_drawn_again_where_a_step_begins_anew(options, tmp_path, monkeypatch):
    """The second pass of the step fails: what the first has added is taken back."""
    monkeypatch.setattr(FineTuning, "prepare", lambda self: 1.0)
    options |= {"lora_dropout": 0.5, "tokens_per_pass": 500}
    finetune.train(**options | {"output_dir": tmp_path / "whole"})
    forward, calls = FineTuning._forward, []

    def failing(self, part):
        calls.append(part)
        if len(calls) == 4:  # after the first, of one image
            raise torch.OutOfMemoryError(GPU)
        return forward(self, part)

    monkeypatch.setattr(FineTuning, "_forward", failing)
    monkeypatch.setattr(Passes, "smaller", lambda self, parts: parts)
    finetune.train(**options)
    files = [tmp_path / name / adapter_files.WEIGHTS for name in ("whole", "out")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_measuring_goes_on_in_smaller_passes(base, sample_data, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "HELD_OUT", 0.3)
    tried = running_out(monkeypatch, torch.OutOfMemoryError(GPU), most=2)
    finetune.train(sample_data, output_dir=tmp_path, base=base, max_steps=1, lora_r=4)
    assert max(tried) > 2 >= max(tried[-3:])


def test_one_image_too_many_ends_with_a_line(options, monkeypatch, capsys):
    running_out(monkeypatch, torch.OutOfMemoryError(GPU), most=0)
    with pytest.raises(InputError, match="not enough memory on cpu for one image"):
        finetune.train(**options)
    assert "goes on with gradient checkpointing" in capsys.readouterr().out


def test_other_errors_are_not_taken_for_it(options, monkeypatch):
    running_out(monkeypatch, RuntimeError("shapes differ"), most=0)
    with pytest.raises(RuntimeError, match="shapes differ"):
        finetune.train(**options)


@pytest.mark.parametrize(
    ("device", "free", "tokens", "checkpointing"),
    [
        ("cpu", 64e9, 1_200, False),  # bounded by MAX_BYTES
        ("cuda", 16e9, 3_360, False),  # by MAX_BYTES, too
        ("cuda", 60e9, 12_000, False),  # by OF_FREE
        ("cuda", 140e9, 16_384, False),  # by LARGEST
        ("cuda", 4e9, 2_880, False),
        ("cpu", 2e9, 1_200, False),
        ("cpu", 1e9, 1_200, True),
    ],
)
def test_passes_fit_into_the_free_memory(device, free, tokens, checkpointing, monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda device: free)
    calls = []
    monkeypatch.setattr(passes, "keep_less", calls.append)
    vlm = SimpleNamespace(device=device, network=None)
    cut = Passes(vlm)
    cut.fit(1_200, 1_000_000_000)
    assert cut.settings == {"tokens_per_pass": tokens, "gradient_checkpointing": checkpointing}
    assert len(calls) == checkpointing
    given = Passes(vlm, 5_000)
    given.fit(1_200, 1_000_000_000)
    assert given.settings == {"tokens_per_pass": 5_000, "gradient_checkpointing": False}


@pytest.mark.parametrize("half", [False, True])
def test_what_a_backward_pass_needs_is_counted(half):
    layer = torch.nn.Linear(64, 32)
    given = torch.randn(1_000, 64, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, half), counting(layer.parameters()) as kept:
        layer(given).exp()
    # The layer's input, or its copy in half precision, and the result of exp.
    assert sum(kept.values()) == 1_000 * (64 + 32) * (2 if half else 4)


def test_a_line_and_no_traceback_where_nothing_can_be_smaller(monkeypatch, capsys):
    from homework.common import cli

    def load() -> None:
        """Load."""
        raise torch.OutOfMemoryError(GPU)

    monkeypatch.setattr("sys.argv", ["load"])
    with pytest.raises(SystemExit) as ended:
        cli.run(load)
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: not enough memory")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7, "7 s"),
        (99.4, "99 s"),
        (100, "1.7 min"),
        (15 * 60, "15 min"),
        (3.4 * 3600, "3.4 h"),
        (42 * 3600, "42 h"),
        (257 * 3600, "11 days"),
    ],
)
def test_a_time_in_few_digits(seconds, text):
    assert duration(seconds) == text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", [None, "", "y"])
def test_more_than_a_day_is_asked_about(answer, unfinished, options, monkeypatch, capsys):
    """Before anything in the folder goes; where nobody can answer, it is refused."""
    monkeypatch.setattr(
        FineTuning, "prepare", lambda self: 1.0 if self.vlm.base == "embedded_base" else 1e4
    )
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("y") if answer is None else Terminal(f"{answer}\n")
    )
    before = sorted(unfinished.iterdir())
    if answer != "y":
        with pytest.raises(InputError, match="not begun" if answer == "" else "give --yes"):
            finetune.train(**options | {"overwrite": True, "seed": 1})
        assert sorted(unfinished.iterdir()) == before
    else:
        finetune.train(**options | {"overwrite": True, "seed": 1})
    assert (
        "about 44 h on this machine; with --base embedded_base about 16 s"
        in capsys.readouterr().out
    )


def test_a_run_of_days_begins_with_yes(options, monkeypatch):
    monkeypatch.setattr(FineTuning, "prepare", lambda self: 1e6)
    finetune.train(**options, yes=True)


def test_the_time_of_the_embedded_base_is_tried(options, tmp_path, monkeypatch, capsys):
    """A run that is expected to be long names the time that the embedded base would take here."""
    prepare, tried = FineTuning.prepare, []

    def slow(self):
        found = prepare(self)
        tried.append((self.vlm.base, found))
        return found if self.vlm.base == "embedded_base" else 4000.0

    monkeypatch.setattr(FineTuning, "prepare", slow)
    finetune.train(**options, yes=True)
    (_, _), (base, seconds) = tried
    assert base == "embedded_base"
    said = capsys.readouterr().out
    told = duration(4 * 4 * seconds)  # four steps of four images
    assert f"; with --base embedded_base about {told}\n" in said and said.count("in a pass") == 1


@pytest.mark.parametrize(
    ("hours", "said"),
    [(43, "; with --max_samples 5000 about 3.9 h"), (2, "; with --max_samples 50000 about 78 min")],
)
def test_fewer_pairs_are_named_with_their_time(hours, said):
    class Views(list):
        pairs = 296_621

    network = SimpleNamespace(config=SimpleNamespace(model_type="idefics3_stem"))
    task = SimpleNamespace(train_set=Views(range(52_490)), vlm=SimpleNamespace(network=network))
    assert run._shorter(task, hours * 3600, 1.0, TrainConfig()) == said


def test_what_is_left_of_a_resumed_run_counts(unfinished, options, monkeypatch, capsys):
    monkeypatch.setattr(FineTuning, "prepare", lambda self: 1.0)
    finetune.train(**options)
    assert "about 4 s on this machine" in capsys.readouterr().out  # one step of four images
