"""Which device and precision are chosen, by what the hardware and the build of torch have."""

from __future__ import annotations

import pytest
import torch

from homework.common import machine

BUILD = ["sm_75", "sm_80", "sm_86", "sm_90a", "compute_120"]


@pytest.fixture
def gpu(monkeypatch):
    """Make torch report a GPU: its name, capability and whether it has bf16."""

    def report(name: str, capability: tuple[int, int], built_for=BUILD) -> None:
        cuda = torch.cuda
        monkeypatch.setattr(cuda, "is_available", lambda: True)
        monkeypatch.setattr(cuda, "get_device_name", lambda: name)
        monkeypatch.setattr(cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(cuda, "get_arch_list", lambda: built_for)
        monkeypatch.setattr(torch.version, "cuda", "12.8")
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
    gpu("Tesla P100-PCIE-16GB", (6, 0))
    found = machine.choose()
    assert found.device != "cuda"
    assert "Tesla P100-PCIE-16GB is left alone" in found.reason and "sm_60" in found.reason
    gpu("Tesla P100-PCIE-16GB", (6, 0), ["sm_60", *BUILD])
    assert machine.choose()[:2] == ("cuda", torch.float32)


@pytest.mark.parametrize(
    ("capability", "runs"),
    [
        ((6, 0), False),
        ((7, 0), False),  # older than sm_75
        ((7, 5), True),
        ((8, 9), True),  # as 8.6
        ((9, 0), True),
        ((9, 1), False),  # sm_90a is for 9.0 alone
        ((10, 0), False),
        ((12, 0), True),
        ((13, 0), True),  # compiled on the machine
    ],
)
def test_kernels_run_on_what_they_were_built_for(capability, runs):
    assert machine.has_kernels(capability, BUILD) == runs


def test_images_are_decoded_by_other_processes_where_a_gpu_waits(monkeypatch):
    assert machine.num_workers("cpu") == 0
    for cores, workers in ((1, 0), (2, 1), (4, 3), (64, 8)):
        monkeypatch.setattr(machine, "num_cores", lambda cores=cores: cores)
        assert machine.num_workers("cuda") == machine.num_workers("mps") == workers
