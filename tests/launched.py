"""What `accelerate launch` starts in test_distributed.py: a fine-tuning and its measurements.

    accelerate launch --config_file configs/2_cpu_processes.yaml tests/launched.py OPTIONS.json

In float32, as in bf16 the order of sums would show. With "killed_at", the process of rank 1
kills itself in that step.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from homework import finetune
from homework.common import distributed, machine
from homework.training.loop import Loop


def run(
    train: dict | None = None, tests: Sequence[dict] = (), killed_at: int | None = None
) -> None:
    """Train, and then answer questions, in float32."""
    machine.choose = lambda: machine.Machine("cpu", torch.float32, "cpu, float32: a test")
    optimizer_step = Loop._optimizer_step

    def dying(self, *args, **kwargs):
        if self.step == killed_at and distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return optimizer_step(self, *args, **kwargs)

    Loop._optimizer_step = dying
    try:
        if train:
            finetune.train(**train)
        for test in tests:
            finetune.test(**({"checkpoint": train["output_dir"]} if train else {}) | test)
    finally:
        Loop._optimizer_step = optimizer_step


if __name__ == "__main__":
    run(**json.loads(Path(sys.argv[1]).read_text()))
