"""Setting up the engine: one line for each thing that is missing."""

from types import SimpleNamespace

import pytest

from homework.common.errors import InputError
from lab import record
from lab.recording import setup


def test_setup_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"not installed; run python -m lab.record setup"):
        setup.find_installation()
    monkeypatch.setattr(setup.sys, "platform", "darwin")
    with pytest.raises(InputError, match="runs on Linux"):
        record.setup()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(setup.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(setup.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(InputError, match="apt-get install libgl1 libegl1 libgl1-mesa-dri"):
        record.setup()
    monkeypatch.setattr(setup.ctypes.util, "find_library", lambda name: name)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"no Python 3.8 to 3.10 is here.* uv python install"):
        record.setup()
    monkeypatch.setattr(setup, "_python_with_wheel", lambda: "python3.10")
    room = SimpleNamespace(free=1e9)
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda folder: room)
    with pytest.raises(InputError, match=r"1.0 GB are free and 1.7 GB needed; make room"):
        record.setup()
