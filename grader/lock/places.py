"""What a submission may read, and what it finds in its environment. Runs in the parent."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..interpreter import Interpreter

_SYSTEM = (
    "/lib", "/lib64", "/lib32", "/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/libexec",
    "/usr/share", "/usr/local/lib", "/usr/local/lib64", "/usr/local/share", "/usr/local/cuda",
    "/usr/local/nvidia", "/opt/intel", "/opt/rocm", "/nix/store",
    "/System/Library", "/Library/Fonts",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/timezone",
    "/etc/os-release", "/etc/mime.types", "/etc/fonts", "/etc/ssl/openssl.cnf", "/etc/ssl/certs",
    "/etc/pki/tls/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version",
    "/proc/filesystems", "/proc/loadavg", "/proc/devices", "/proc/modules", "/proc/driver",
    "/proc/sys/kernel", "/proc/sys/vm",
    "/sys/devices", "/sys/bus", "/sys/class", "/sys/module", "/sys/fs/cgroup", "/sys/kernel/mm",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_GPUS = ("/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/kfd", "/dev/dri/*", "/dev/dxg")

# Where libraries look for a home, or make a folder for their caches as soon as they are imported.
_HOMES = ("HOME", "USERPROFILE", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
_KEPT = re.compile(
    "PATH|LANG|LANGUAGE|LC_.*|TZ|TERM|COLUMNS|NO_COLOR|VIRTUAL_ENV|CONDA_PREFIX|MPLBACKEND"
    "|LD_LIBRARY_PATH|DYLD_.*|PYTHON.*"
    # Not what binds threads to processors: one thread may not do that to another.
    "|(OMP|KMP|GOMP|MKL|OPENBLAS|VECLIB|NUMEXPR)_(?!PROC_BIND|PLACES|AFFINITY|CPU_AFFINITY).*"
    "|(CUDA|NVIDIA|HIP|ROCR|PYTORCH|ATEN|TOKENIZERS)_.*"
    "|SYSTEMROOT|SYSTEMDRIVE|WINDIR|COMSPEC|PATHEXT|OS|NUMBER_OF_PROCESSORS|PROCESSOR_.*",
    re.IGNORECASE,
)


def readable(folder: Path, hidden: Iterable[Path], python: Interpreter) -> list[str]:
    """The files and folders that the submission may read, links resolved, duplicates dropped.

    Args:
        hidden: the files and folders that may not be readable, wherever links lead them. The
            folder that holds all private folders is one more.
        python: what runs the submission.

    Raises:
        ValueError: a hidden one lies inside one of them; its message says so.
    """
    secrets = {path: os.path.realpath(path) for path in (*hidden, tempfile.gettempdir())}
    own = str(folder), str(Path(__file__).resolve().parent.parent)
    path = _python_path(python, secrets.values())
    wanted = [*python.places, *path, hub_cache(), *_SYSTEM, *own]
    # /proc/self is a link to another process here than in the child.
    found = {p if p == "/proc/self" else os.path.realpath(p) for p in wanted if os.path.exists(p)}
    for path in found:
        for secret, real in secrets.items():
            if _inside(real, path):
                raise ValueError(f"{secret}: lies inside {path}")
    return sorted(found)


def devices() -> list[str]:
    """The device files that may be read and written: the harmless ones and the GPUs."""
    return [*filter(os.path.exists, _DEVICES), *gpus()]


def gpus() -> list[str]:
    """Device files of GPUs."""
    return sorted(path for pattern in _GPUS for path in glob.glob(pattern))


def hub_cache() -> str:
    """Where the Hugging Face hub keeps checkpoints; its token lies outside of it."""
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface"
    )
    return os.path.realpath(os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub"))


def environment(folder: Path, hidden: Iterable[Path] | None, python: Interpreter) -> dict[str, str]:
    """The child's variables: no secrets, and every default place for files is `folder`/tmp.

    Without a lock, where `hidden` is None, it has all of the grader's.
    """
    temporary = str(folder / "tmp")
    kept = python.variables()
    if hidden is not None:
        kept = {name: value for name, value in kept.items() if _KEPT.fullmatch(name)}
        if "PYTHONPATH" in kept:
            secrets = map(os.path.realpath, hidden)
            kept["PYTHONPATH"] = os.pathsep.join(_python_path(python, secrets))
        if python.user_base:
            kept["PYTHONUSERBASE"] = python.user_base
        kept |= {
            **dict.fromkeys(_HOMES, temporary),
            **dict.fromkeys(("USER", "LOGNAME", "USERNAME"), "submission"),
            "HF_HUB_CACHE": hub_cache(),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": os.environ.get("TOKENIZERS_PARALLELISM", "true"),
        }
    return {
        **kept,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary),
    }


def _python_path(python: Interpreter, secrets: Iterable[str]) -> list[str]:
    """PYTHONPATH without folders that hold a secret, or this grader: its data lies there too."""
    kept_out = [os.path.realpath(__file__), *secrets]
    paths = filter(None, python.variables().get("PYTHONPATH", "").split(os.pathsep))
    return [p for p in paths if not any(_inside(s, os.path.realpath(p)) for s in kept_out)]


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
