"""The game's data: its version is checked, and it is joined to the engine by links."""

import pytest

from homework.common.errors import InputError
from lab.recording import assets


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
    assets.check_game(game_data(tmp_path / "right"))
    with pytest.raises(InputError, match=r"is of 1.5; the engine was tried with 1.4 only"):
        assets.check_game(game_data(tmp_path / "other", "1.5"))
    with pytest.raises(InputError, match="has no tracks; give SuperTuxKart's data folder"):
        assets.check_game(tmp_path)


def test_assets_are_joined_by_links_and_half_a_join_is_made_again(tmp_path):
    game = game_data(tmp_path / "game")
    own = tmp_path / "shaders" / "data"
    for name in assets._OWN:
        (own / name).mkdir(parents=True) if "." not in name else (own / name).write_text(name)
    (own / "shaders" / "sky.frag").write_text("void main() {}")
    left = tmp_path / "assets.partial"
    (left / "rubbish").mkdir(parents=True)  # of a setup that was killed
    assets.join(game, tmp_path / "shaders", tmp_path / "assets")
    data = tmp_path / "assets" / "pystk_data" / "data"
    assert (data / "tracks").resolve() == game / "tracks"
    assert (data / "shaders" / "sky.frag").read_text() == "void main() {}"
    assert (data / "textures" / "sky.png").is_symlink()
    assert (data / "gui" / "icons" / "bomb-attach-icon.png").is_symlink()
    assert (tmp_path / "assets" / "complete").exists() and not left.exists()
