"""What a Python interpreter is and has; run by that interpreter, which may be another than ours.

    PATH/python probe.py torch transformers ...

prints a JSON object: see `about`. It must run in any Python from 3.10 on, with nothing installed.
"""

from __future__ import annotations

import json
import os
import site
import sys
import sysconfig
from importlib import metadata
from importlib.util import find_spec
from typing import Any

# Below an installation's prefix: not all of it, since a project may lie there (/usr/src/app).
PREFIX_PARTS = (
    "lib", "lib64", "libexec", "bin", "include", "share", "pyvenv.cfg",
    "Lib", "DLLs", "Library", "Scripts", "Python", "Frameworks", "Resources", "python3.dll",
)  # fmt: skip
DISTRIBUTIONS = ("torch", "torchvision", "transformers", "tokenizers", "peft", "numpy", "pillow")


def about(names: list[str]) -> dict[str, Any]:
    """What the grader needs to know of this interpreter.

    Args:
        names: of packages that it has to have.

    Returns:
        Its version (`python`); the files and folders of it and its packages (`places`); where a
        user's own packages lie, or None (`user_base`); those of `names` that are `missing`; and
        the `versions` of some packages, None for one that is not installed.
    """
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    places = [os.path.join(prefix, part) for prefix in prefixes for part in PREFIX_PARTS]
    places += [path for name, path in sysconfig.get_paths().items() if name != "data"]
    places += site.getsitepackages()
    if site.ENABLE_USER_SITE:
        places.append(site.getusersitepackages())
    versions: dict[str, str | None] = dict.fromkeys(DISTRIBUTIONS)
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "places": places,
        "user_base": site.getuserbase() if site.ENABLE_USER_SITE else None,
        "missing": [name for name in names if find_spec(name) is None],
        "versions": versions,
    }


if __name__ == "__main__":
    # Its own folder would show the grader's modules as packages.
    del sys.path[0]
    print(json.dumps(about(sys.argv[1:])))
