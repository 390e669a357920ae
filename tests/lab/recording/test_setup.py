"""Setting up the engine: one line for each thing that is missing; the data is joined by links."""

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


def game_data(folder, version="1.4"):
    """What setup looks for in the game's data."""
    for name in ("tracks", "karts", "library", "music", "models", "gfx", "gui/icons"):
        (folder / name).mkdir(parents=True)
    (folder / "textures" / "skybox").mkdir(parents=True)
    (folder / "textures" / "skybox" / "sky.png").touch()
    (folder / "gui" / "icons" / "bomb-attach-icon.png").touch()
    (folder / f"supertuxkart.{version}").touch()
    return folder


def test_assets_of_another_version_are_refused(tmp_path):
    setup._check_game(game_data(tmp_path / "right"))
    with pytest.raises(
        InputError, match=r"has no file supertuxkart.1.4; give as --assets the data folder"
    ):
        setup._check_game(game_data(tmp_path / "other", "1.5"))


def test_assets_are_joined_by_links_and_half_a_join_is_made_again(tmp_path):
    game = game_data(tmp_path / "game")
    own = tmp_path / "shaders" / "data"
    for name in ("shaders", "gfx", "gui", "po"):
        (own / name).mkdir(parents=True)
    (own / "shaders" / "sky.frag").write_text("void main() {}")
    left = tmp_path / "assets.partial"
    (left / "rubbish").mkdir(parents=True)  # of a setup that was killed
    setup.join(game, tmp_path / "shaders", tmp_path / "assets")
    data = tmp_path / "assets" / "pystk_data" / "data"
    assert (data / "tracks").resolve() == game / "tracks"
    assert not (data / "po").exists()
    assert (data / "shaders" / "sky.frag").read_text() == "void main() {}"
    assert (data / "textures" / "sky.png").is_symlink()
    assert (data / "gui" / "icons" / "bomb-attach-icon.png").is_symlink()
    assert (tmp_path / "assets" / "complete").exists() and not left.exists()


def test_an_engine_that_is_there_needs_no_python_with_a_wheel(tmp_path, monkeypatch):
    """It may have been compiled by an earlier version."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho 3.12.1\n")
    python.chmod(0o755)
    (tmp_path / setup.WHOLE).touch()
    monkeypatch.setattr(setup, "_python_with_wheel", lambda: pytest.fail("asked for one"))
    assert setup._install_engine(tmp_path) == "3.12.1\n"
