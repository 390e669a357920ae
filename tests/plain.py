"""What transformers does alone, in a process that does not know this package."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# What the README of a merged model shows.
CODE = """
import json, sys
from transformers import AutoProcessor, pipeline

answers = []
for folder, asked in json.load(sys.stdin):
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    ask = pipeline("image-text-to-text", folder, processor=processor, trust_remote_code=True)
    chats = []
    for path, question in asked:
        content = [{"type": "image", "path": path}, {"type": "text", "text": question}]
        chats.append([{"role": "user", "content": content}])
    found = ask(text=chats, return_full_text=False)
    answers.append([one[0]["generated_text"].strip() for one in found])
assert not [name for name in sys.modules if name.startswith("homework")]
print(json.dumps(answers))
"""


Asked = Sequence[tuple[str, str]]  # (file of an image, question)


def plain_answers(jobs: Sequence[tuple[Path, Asked]], home: Path) -> list[list[str]]:
    """The answers of merged models to the questions of each; `home` is where the process runs."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input=json.dumps([(str(folder), asked) for folder, asked in jobs]),
        cwd=home,
        env={"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
