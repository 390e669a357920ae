"""The jobs that `kills` kills: small, and each does all that its command does."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

assert sys.platform != "win32"


@dataclass
class Job:
    """A job to kill, with its result and its reader.

    `run(folder)` does the whole job in `folder`. `result(folder)` is what must be the same after
    a rerun: digests by file name. `read(folder)` is what a reader accepts as complete, in the same
    form; None when it refuses.
    """

    name: str
    run: Callable[[Path], None]
    result: Callable[[Path], dict]
    read: Callable[[Path], dict | None]


def tree(folder: Path, *left_out: str) -> dict[str, str]:
    """Name -> digest of every file below a folder, except those that match `left_out`."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(path.match(pattern) for pattern in left_out)
    }


def generate_job(work: Path) -> Job:
    """Labels of some frames, by two processes."""
    from helpers import make_split

    from homework.common.outputs import RECORD
    from homework.generate_qa import generate

    split = make_split(work / "labels" / "train", frames=40, seed=0)

    def read(folder: Path) -> dict | None:
        found = tree(folder, "*.partial")
        return found if found.keys() - {RECORD} else None  # it is written before the pairs

    def run(folder: Path) -> None:
        generate(split, folder / "train_qa_pairs.json", num_workers=2)

    return Job("generate", run, tree, read)


def bundle_job(work: Path) -> Job:
    """A zip of a folder of a megabyte."""
    import bundle
    from homework.common.files import PACKAGE_DIR

    package = work / "submission" / "homework"
    shutil.copytree(PACKAGE_DIR / "vlm_model", package / "vlm_model")
    (package / "__init__.py").write_bytes(random.Random(0).randbytes(900_000))

    def run(folder: Path) -> None:
        os.chdir(folder)
        if bundle.main([os.path.relpath(package), "ID"]):
            raise RuntimeError("bundle.py failed")

    def read(folder: Path) -> dict | None:
        return tree(folder, "*.partial") or None

    return Job("bundle", run, tree, read)


def download_job(work: Path) -> Job:
    """An archive from a slow server, which is unpacked."""
    from homework.download import MANIFEST, download

    url = serve(_dataset_zip())

    def run(folder: Path) -> None:
        os.sync = lambda: None  # of the whole machine; a kill loses nothing that was written
        download(url, folder)

    def read(folder: Path) -> dict | None:
        # A kill just after the manifest leaves the archive, which the rerun removes.
        return tree(folder, "dataset-*") if (folder / MANIFEST).exists() else None

    return Job("download", run, tree, read)


def train_job(work: Path) -> Job:
    """Fine-tuning of a tiny base, with a checkpoint every second step."""
    import torch
    from helpers import make_split
    from tiny import write_tiny_base

    from homework import base_vlm, finetune
    from homework.common.errors import InputError
    from homework.generate_qa import generate
    from homework.inspection import figures
    from homework.model import adapter_files

    torch.set_num_threads(1)
    generate(make_split(work / "data" / "train", frames=3, seed=0), num_workers=1)
    base = write_tiny_base(work / "base")
    # Two plots take longer than the training; their file is written like any other.
    figures.save_curves = lambda log, path: path.write_text(json.dumps(log))
    options: dict[str, Any] = {
        "max_steps": 8,
        "save_steps": 2,
        "lora_r": 4,
        "per_device_train_batch_size": 2,
    }

    def run(folder: Path) -> None:
        finetune.train(work / "data", "train", folder, str(base), **options)

    def read(folder: Path) -> dict | None:
        try:
            base_vlm.load(folder, verbose=False)
        except InputError:
            return None
        names = (adapter_files.WEIGHTS, adapter_files.CONFIG)
        return {name: digest for name, digest in tree(folder).items() if name in names}

    return Job("train", run, lambda folder: read(folder) or {}, read)


def pretrain_job(work: Path) -> Job:
    """Pre-training of a small base, with a state after every second step."""
    import torch
    from helpers import make_split

    from homework.base_vlm import BaseVLM
    from homework.common.errors import InputError
    from lab import pretrain
    from lab.pretraining import architecture, batches, task

    torch.set_num_threads(1)
    frames = make_split(work / "frames" / "train", frames=2, seed=0)
    config: Any = architecture.base_config()
    for part in (config.vision_config, config.text_config):
        part.hidden_size, part.intermediate_size, part.num_hidden_layers = 32, 64, 1
        part.num_attention_heads = 2
    config.text_config.num_key_value_heads, config.text_config.head_dim = 2, 16
    architecture.base_config = lambda: config
    batches.HELD_OUT, task.STEPS_PER_CHECKPOINT = 0.2, 2

    def run(folder: Path) -> None:
        pretrain.run(str(frames), folder / "base", folder / "work", 6, 2, 4)

    def read(folder: Path) -> dict | None:
        try:
            BaseVLM(folder / "base", verbose=False)
        except InputError:
            return None
        return result(folder)

    def result(folder: Path) -> dict:
        return tree(folder / "base", "*.partial", "fresh.partial/*")

    return Job("pretrain", run, result, read)


JOBS = {
    "generate": generate_job,
    "train": train_job,
    "download": download_job,
    "pretrain": pretrain_job,
    "bundle": bundle_job,
}


# --- the server that is downloaded from ---

SERVERS: list[int] = []  # process ids, for who ends them


class SlowHandler(BaseHTTPRequestHandler):
    """Sends `body` in pieces, from where it is asked to."""

    body = b""

    def do_GET(self) -> None:
        body, asked = self.body, re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("ETag", '"one"')
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        for place in range(start, len(body), 1 << 16):
            self.wfile.write(body[place : place + (1 << 16)])
            time.sleep(0.005)

    def log_message(self, *args) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client was killed
            super().handle()


def serve(body: bytes) -> str:
    """Start a process that serves `body` on this machine; returns its address."""
    os.environ["no_proxy"] = "127.0.0.1"
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowHandler)
    SlowHandler.body = body
    process = os.fork()
    if not process:
        try:
            server.serve_forever()
        finally:
            os._exit(0)
    server.socket.close()
    SERVERS.append(process)
    return f"http://127.0.0.1:{server.server_port}/data.zip"


def _dataset_zip() -> bytes:

    rng, buffer = random.Random(0), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for split in ("train", "valid"):
            for number in range(30):
                archive.writestr(f"{split}/{number:05d}_00_im.jpg", rng.randbytes(40_000))
    return buffer.getvalue()
