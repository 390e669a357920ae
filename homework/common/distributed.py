"""The processes of one command: one, or several that `accelerate launch` has started.

    accelerate launch --config_file configs/8_gpus.yaml -m homework.finetune train

Each runs the same code. Only the first, the main one, prints and writes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this process prints and writes."""
    return rank() == 0


def say(text: str) -> None:
    """Print, in the main process alone."""
    if is_main():
        print(text, flush=True)


def connect() -> None:
    """Make the processes known to each other; nothing where there is one."""
    if world_size() > 1:
        from accelerate import PartialState

        PartialState(cpu=_on_cpu())


def wait() -> None:
    """Go on when every process has come here."""
    if world_size() > 1:
        import torch.distributed

        torch.distributed.barrier()


def total(numbers: Sequence[float]) -> list[float]:
    """The sums over all processes of some numbers."""
    if world_size() == 1:
        return list(numbers)
    import torch
    import torch.distributed

    device = "cpu" if torch.distributed.get_backend() == "gloo" else "cuda"
    sums = torch.tensor(list(numbers), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(sums)
    return sums.tolist()


def average(tensors: Sequence[torch.Tensor]) -> None:
    """Replace tensors by their means over all processes, all in one exchange."""
    if world_size() == 1:
        return
    import torch

    flat = torch.cat([tensor.flatten() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    flat /= world_size()
    for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def gather(value: Any) -> list[Any]:
    """Each process's value, in their order."""
    if world_size() == 1:
        return [value]
    import torch.distributed

    values: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def _on_cpu() -> bool:
    import torch

    return not torch.cuda.is_available()
