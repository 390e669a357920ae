"""The real packages under the lock: they load unhindered, and a model answers the same."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from fake_submission import GOOD
from PIL import Image
from tiny import write_tiny_base

from grader import interpreter

PACKAGE = Path(__file__).resolve().parents[2] / "homework"
BEFORE_THE_LOCK = interpreter.BEFORE_THE_LOCK
LOAD = """
def load_vlm():
    import peft
    from pathlib import Path
    from .base_vlm import BaseVLM
    return BaseVLM(Path(__file__).parent / "tiny", verbose=False)
"""


@pytest.fixture(autouse=True)
def real_packages(place, monkeypatch):
    monkeypatch.setattr(interpreter, "BEFORE_THE_LOCK", BEFORE_THE_LOCK)


LOOK = """
import ctypes, os, sys
import accelerate, matplotlib.pyplot, peft, torch, transformers
import torch._dynamo, torch._inductor, torch.distributed, torch.utils.cpp_extension
from torch.utils.tensorboard import SummaryWriter
from transformers import AutoModelForImageTextToText, AutoProcessor, Trainer

maps = [line.split() for line in open("/proc/self/maps")]
print("shared", [line for line in maps if line[1].startswith("rw-s")])
torch.set_num_threads(4)
weights = torch.rand(300, 300, requires_grad=True)
(weights.bfloat16() @ weights.bfloat16()).float().sum().backward()
model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
assert len([*torch.utils.data.DataLoader(torch.rand(9, 3, 16, 16), batch_size=3)]) == 3
torch.jit.trace(model, torch.rand(1, 3, 16, 16))
with torch.profiler.profile():
    model(torch.rand(1, 3, 16, 16))
torch.set_num_interop_threads(2)
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, pipeline
small = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1)
LlamaForCausalLM(LlamaConfig(**small, vocab_size=99)).generate(
    torch.ones(1, 3, dtype=torch.long), max_new_tokens=3, pad_token_id=0)
from tokenizers import Tokenizer, models
Tokenizer(models.BPE()).encode_batch(["a b c"] * 999)
import io, numpy, PIL.Image
png = io.BytesIO()
PIL.Image.fromarray(numpy.zeros((9, 9, 3), "uint8")).resize((99, 99)).save(png, "png")
PIL.Image.open(png).convert("L").load()
blas = {line[5] for line in maps if "libscipy_openblas64" in line[-1]}
print("blas", [ctypes.CDLL(path).scipy_openblas_get_num_threads64_() for path in blas])
"""


def assert_loaded_unhindered(out: str, result: dict) -> None:
    """What LOOK does is not denied, and what it prints; it needs Linux."""
    assert result["denied"] == [], out
    if sys.platform != "linux":
        return
    assert "| shared []" in out  # no file's memory through which the process could write
    assert "| blas [3]" in out or "| blas []" in out  # another BLAS than numpy's own


@pytest.mark.slow
def test_a_real_model_answers_under_the_lock_as_without(place, graded, capsys, monkeypatch):
    """Loaded after all that the packages may do, with the usual path of programs."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(place / "cache"))
    from homework.base_vlm import BaseVLM
    from homework.data import VQADataset

    folder = place / "homework"
    without = shutil.ignore_patterns("__pycache__", "embedded_base", "vlm_model", "runs")
    shutil.copytree(PACKAGE, folder, ignore=without)
    (folder / "__init__.py").write_text((LOOK if sys.platform == "linux" else "") + LOAD)
    write_tiny_base(folder / "tiny")
    capsys.readouterr()  # a progress bar
    for number, path in enumerate(sorted((place / "data" / "valid").iterdir())):
        Image.new("RGB", (150, 100), (20 * number, 90, 10)).save(path)

    out, result = graded(folder, "-vv")
    assert [case["status"] for case in result["cases"]] == ["ok"] * 6, out
    assert_loaded_unhindered(out, result)

    items = [*VQADataset("valid_grader", place / "data")]
    expected = BaseVLM(folder / "tiny", verbose=False).answer(
        [item["image_path"] for item in items], [item["question"] for item in items]
    )
    assert [sample["model_answer"] for sample in result["samples"]] == expected


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_packages_load_unhindered_where_there_is_no_program(graded, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    out, result = graded(GOOD | {"__init__.py": LOOK + GOOD["__init__.py"]}, "-vv")
    assert result["total"] == 105, out
    assert_loaded_unhindered(out, result)
