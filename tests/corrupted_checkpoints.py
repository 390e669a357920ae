"""Corrupted and hostile checkpoints: adapters and bases, in the manner of `corrupted`."""

from __future__ import annotations

import functools
import json
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from corrupted import MISSING, READ, Case, sparse
from safetensors.torch import load_file, save_file
from tiny import write_tiny_base

from homework.base_vlm import BaseVLM, load
from homework.model import adapter as checkpoint
from homework.model.loading import base_fingerprint
from homework.training import adapters

SETTINGS: dict[str, tuple[Any, ...]] = {
    "r": (MISSING, None, 0, -1, 10**9, 1.5, "4", True, [4], 8),
    "lora_alpha": (MISSING, None, 0, -1, 1e300, float("nan"), "8"),
    "lora_dropout": (MISSING, None, -1, 1, float("nan"), "0.1"),
    "target_modules": (MISSING, None, ".*nothing", "(" * 5_000, "all-linear", ["q_proj"], 7),
    "peft_type": (MISSING, None, "BONE", "XLORA", "os.system", 3),
    "task_type": ("SEQ_CLS", 3),
    "auto_mapping": ({"base_model_class": "system", "parent_library": "os"},),
    "megatron_config": ({"tensor_model_parallel_size": 1},),
    "megatron_core": ("this",),
    "init_lora_weights": ("pissa", "loftq", 7),
    "modules_to_save": (["lm_head"],),
    "use_dora": (True,),
    "use_rslora": (True,),
    "bias": ("all",),
    "rank_pattern": ({".*": 10**9},),
    "alpha_pattern": ({".*": 10**9},),
    "layers_to_transform": ([0],),
}
AUTO_MAP = {"AutoConfig": "evil.Config", "AutoTokenizer": ["evil.Tokenizer", None]}
CONFIG: dict[str, tuple[Any, ...]] = {
    "auto_map": (AUTO_MAP,),
    "model_type": (MISSING, None, "llama", "no such", 3, "x" * 5000),
    "image_token_id": (-1, 10**9, "x"),
    "scale_factor": (0, 10**9, 1.5, "x", 5),
    "text_config": (None, [], "x", {}),
    "vision_config": (None, [], "x"),
    "text_config/num_hidden_layers": (0, -1, 10**9, "x", 2),
    "text_config/hidden_size": (10**9, 31, None),
    "text_config/vocab_size": (10**12, 3),
    "text_config/num_attention_heads": (0, 3, 10**9),
    "text_config/model_type": ("no such", 3),
    "vision_config/image_size": (10**6, 0, "x", 150),
    "vision_config/patch_size": (0, 7),
    "vision_config/num_hidden_layers": (10**9,),
}


class MustNotRun:
    """Leaves a file where it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return (Path.touch, (self.witness,))


@functools.cache
def whole() -> tuple[Path, Path]:
    """A tiny base and an adapter of it, kept for all cases."""
    folder = Path(tempfile.mkdtemp(prefix="whole-"))
    base, adapter = write_tiny_base(folder / "base"), folder / "adapter"
    vlm = BaseVLM(base, verbose=False)
    adapter.mkdir()
    lora = checkpoint.add_lora(vlm, r=4, lora_alpha=8)
    adapters.save(lora, adapter, vlm.base, base_fingerprint(vlm.folder), {}, "")
    return base, adapter


def settings_cases(file: str, settings: dict[str, tuple]) -> Iterator[Case]:
    """Each field of a JSON file replaced by each of its values, and files that are no JSON."""
    for field, values in settings.items():
        for value in values:
            label = "missing" if value is MISSING else repr(value)[:40]
            yield Case(f"{file}: {field} = {label}", _changing(file, field, value))
    for label, content in {
        "empty": b"",
        "null": b"null",
        "a list": b"[]",
        "an empty object": b"{}",
        "noise": b"\x80\x81\xff",
        "nesting": b'{"a":' * 50_000,
    }.items():
        yield Case(f"{file}: {label}", lambda f, content=content: (f / file).write_bytes(content))
    yield Case(f"{file}: a gigabyte", lambda folder: sparse(folder / file, b"{"))


def _changing(file: str, field: str, value: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        settings = json.loads((folder / file).read_bytes())
        *parents, name = field.split("/")
        part = settings
        for parent in parents:
            part = part[parent]
        if value is MISSING:
            part.pop(name, None)
        else:
            part[name] = value
        (folder / file).write_text(json.dumps(settings))

    return change


def drop_digest(folder: Path) -> None:
    """Forget the SHA-256 of an adapter's weights, so that what is behind this check is reached."""
    record = folder / "base.json"
    if record.exists():
        fields = json.loads(record.read_text())
        fields.pop("weights_sha256", None)
        record.write_text(json.dumps(fields))


def weights_cases(file: str) -> Iterator[Case]:
    """Weights missing, extra, misshapen, of wrong types, not finite; and files cut or forged."""

    def case(
        label: str, change: Callable[[dict, str], object], kinds: tuple[bytes, ...] = ()
    ) -> Case:
        """`kinds`: a type in the file's header, and what is written in its place."""

        def write(folder: Path) -> None:
            weights = load_file(folder / file)
            change(weights, sorted(weights)[0])
            save_file(weights, folder / file, {"format": "pt"})
            if kinds:
                (folder / file).write_bytes((folder / file).read_bytes().replace(*kinds, 1))
            drop_digest(folder)

        return Case(f"{file}: {label}", write)

    yield case("missing", lambda w, name: w.pop(name))
    yield case("all missing", lambda w, name: w.clear())
    yield case("extra", lambda w, name: w.update(extra=torch.zeros(2)))
    yield case("misshapen", lambda w, name: w.update({name: torch.zeros(3, 3)}))
    yield case("no axis", lambda w, name: w.update({name: torch.tensor(1.0)}))
    yield case("transposed", lambda w, name: w.update({name: w[name].T.contiguous()}))
    yield case("NaN", lambda w, name: w[name].view(-1)[:1].fill_(float("nan")))
    yield case("infinite", lambda w, name: w[name].view(-1)[:1].fill_(float("inf")))
    yield case("integers", lambda w, name: w.update({name: torch.ones_like(w[name]).int()}))
    # Older versions of safetensors write no complex numbers: C64 takes the bytes of F64.
    yield case("complex", lambda w, name: w.update({name: w[name].double()}), (b"F64", b"C64"))
    yield case("another name", lambda w, name: w.update({"x\ny" * 50: w.pop(name)}))

    def raw(label: str, change: Callable[[bytes], bytes]) -> Case:
        def write(folder: Path) -> None:
            (folder / file).write_bytes(change((folder / file).read_bytes()))
            drop_digest(folder)

        return Case(f"{file}: {label}", write)

    for part in (0, 1, 4, 7):
        yield raw(f"cut at {part} of 8", lambda data, part=part: data[: len(data) * part // 8])
    yield raw("cut in the header's length", lambda data: data[:5])
    yield raw("header of 2^63 bytes", lambda data: b"\xff" * 7 + b"\x7f" + data[8:])
    yield raw("header is no JSON", lambda data: data[:8] + b"\xff" * 8 + data[16:])
    yield raw("a pickle", lambda data: pickle.dumps(MustNotRun(Path("unpickled"))))


def adapter_cases() -> Iterator[Case]:
    """An adapter's three files."""
    yield from settings_cases(checkpoint.CONFIG, SETTINGS)
    yield from weights_cases(checkpoint.WEIGHTS)
    bases = (
        MISSING,
        None,
        3,
        [],
        "",
        "no such",
        "no/such",
        "a/b\0c",
        "../..",
        "/dev",
        "\ud800",
        ".",
    )
    yield from settings_cases(
        checkpoint.BASE, {"base": bases, "sha256": (MISSING, None, "0" * 64, 3)}
    )


def base_cases() -> Iterator[Case]:
    """A base's weights, configuration and processor."""
    yield from settings_cases("config.json", CONFIG)
    yield from weights_cases("model.safetensors")
    for file, settings in {
        "tokenizer_config.json": {"auto_map": (AUTO_MAP,), "tokenizer_class": ("Evil", 3)},
        "tokenizer.json": {"model": (None, 3, {}), "added_tokens": ("x",)},
        "processor_config.json": {"image_seq_len": (None, 3, -1, 10**9, "x")},
        "preprocessor_config.json": {
            "max_image_size": (None, {"longest_edge": 10**9}, {}, 3, {"longest_edge": -1}),
            "image_mean": (["x"] * 3, [1.0], float("nan")),
            "image_std": ([0.0] * 3,),
            "resample": (99, "x"),
        },
    }.items():
        yield from settings_cases(file, settings)
    for label, text in {
        "no template": "",
        "a template without the question": "<image>",
        "a broken template": "{% if",
        "a template that asks for files": "{% include '/etc/passwd' %}<image>",
        "a template that looks for classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    }.items():
        yield Case(
            f"chat_template.jinja: {label}",
            lambda folder, text=text: (folder / "chat_template.jinja").write_text(text),
        )


def read_adapter(folder: Path, case: Case) -> str:
    """`base_vlm.load` of the corrupted one."""
    shutil.copytree(whole()[1], folder)
    return _load(folder, case, lambda: load(folder, verbose=False))


def read_base(folder: Path, case: Case) -> str:
    """BaseVLM of the corrupted one."""
    shutil.copytree(whole()[0], folder)
    return _load(folder, case, lambda: BaseVLM(folder, verbose=False))


def _load(folder: Path, case: Case, load: Callable[[], BaseVLM]) -> str:
    (folder / "evil.py").write_text("raise SystemExit('code of the checkpoint was run')")
    case.content(folder)
    try:
        vlm = load()
        vlm.inputs.view_sequence([("What track is this?", "abyss")])
    finally:
        assert not Path("unpickled").exists()
    return READ


KINDS = {"adapter": (adapter_cases, read_adapter), "base": (base_cases, read_base)}
