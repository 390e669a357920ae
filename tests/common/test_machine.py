"""Which device and precision are chosen, by what the hardware and the build of torch have."""

from __future__ import annotations

import pytest
import torch

from homework.common import machine


@pytest.fixture
def gpu(monkeypatch):
    """Make torch report a GPU: its name, capability, whether it has bf16 and whether it fails."""
    ones = torch.ones

    def report(name: str, capability: tuple[int, int], fault: str = "") -> None:
        def on_gpu(*size, device="cpu"):
            if fault:
                raise RuntimeError(fault)
            return ones(*size)

        cuda = torch.cuda
        monkeypatch.setattr(torch, "ones", on_gpu)
        monkeypatch.setattr(cuda, "is_available", lambda: True)
        monkeypatch.setattr(cuda, "get_device_name", lambda: name)
        monkeypatch.setattr(cuda, "get_device_capability", lambda: capability)
        bf16 = capability >= (8, 0)
        monkeypatch.setattr(cuda, "is_bf16_supported", lambda including_emulation: bf16)

    return report


@pytest.mark.parametrize(
    ("name", "capability", "dtype"),
    [
        ("NVIDIA H100", (9, 0), torch.bfloat16),
        ("NVIDIA L4", (8, 9), torch.bfloat16),
        ("Tesla T4", (7, 5), torch.float16),
    ],
)
def test_a_gpu_computes_in_what_it_has_units_for(gpu, name, capability, dtype):
    gpu(name, capability)
    found = machine.choose()
    assert found[:2] == ("cuda", dtype)
    assert found.reason.startswith(f"cuda, {str(dtype).removeprefix('torch.')}: {name}")


def test_a_gpu_without_kernels_is_left_alone_with_a_line(gpu):
    fault = "CUDA error: no kernel image is available for execution on the device"
    gpu("Tesla P100-PCIE-16GB", (6, 0), fault)
    found = machine.choose()
    assert found.device != "cuda"
    assert "Tesla P100-PCIE-16GB is left alone" in found.reason and fault in found.reason
    gpu("Tesla P100-PCIE-16GB", (6, 0))
    assert machine.choose()[:2] == ("cuda", torch.float32)


def test_images_are_decoded_by_other_processes_where_a_gpu_waits(monkeypatch):
    assert machine.num_workers("cpu") == 0
    for cores, workers in ((1, 0), (2, 1), (4, 3), (64, 8)):
        monkeypatch.setattr(machine, "num_cores", lambda cores=cores: cores)
        assert machine.num_workers("cuda") == machine.num_workers("mps") == workers
