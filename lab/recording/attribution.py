"""Name the authors of the artwork in recorded images, from the copyright file of Debian."""

from __future__ import annotations

import re
from collections import defaultdict

SHOWN = ("data/tracks/", "data/karts/", "data/library/", "data/textures/", "data/models/")
_HEAD = """# Attribution

The images in `sample` and `sample_valid` are rendered by SuperTuxKart from its artwork, and are
offered under the licences of that artwork: each shows a track, karts and things of the authors
below, who gave them under these free licences. Made by `python -m lab.record sample` from the
copyright file of Debian's `supertuxkart-data` 1.4.
"""


def attribution(copyright_text: str) -> str:
    """A page with the authors of the artwork, by licence.

    Args:
        copyright_text: a file in the format of Debian (DEP 5): paragraphs with the fields `Files`,
            `Copyright` and `License`, whose continuation lines are indented.
    """
    authors: defaultdict[str, set[str]] = defaultdict(set)
    for paragraph in re.split(r"\n\s*\n", copyright_text):
        fields = dict(re.findall(r"^(\w+):((?:.*)(?:\n[ \t]+.*)*)", paragraph, re.MULTILINE))
        files = fields.get("Files", "").split()
        if not any(file.startswith(SHOWN) for file in files) or "License" not in fields:
            continue
        licence = fields["License"].strip().splitlines()[0].strip()
        for line in fields.get("Copyright", "").splitlines():
            if name := _name(line):
                authors[licence].add(name)
    parts = [
        f"\n## {licence}\n\n{', '.join(sorted(sorted(names), key=str.casefold))}\n"
        for licence, names in sorted(authors.items())
    ]
    return _HEAD + "".join(parts)


def _name(line: str) -> str:
    """An author without years, addresses and symbols."""
    text = re.sub(r"<[^>]*>|\(c\)|©|Copyright:?|https?://\S+", " ", line, flags=re.IGNORECASE)
    text = re.sub(r"\b(19|20)\d\d\b(\s*[-,]\s*(19|20)?\d\d\b)*", " ", text)
    return re.sub(r"\s+", " ", text.replace("?", "")).strip(" ,.;:-(")
