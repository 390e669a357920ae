"""The folder of a split."""

from homework.frames.split import list_split


def test_a_split_is_named_after_its_folder(data_dir, monkeypatch):
    monkeypatch.chdir(data_dir / "train")
    assert list_split(".").name == "train"
    (data_dir / "link").symlink_to(data_dir / "train")
    assert list_split(data_dir / "link").image_file("x.jpg") == "link/x.jpg"
