"""The curves of a training as an image."""

from homework.inspection.figures import save_curves


def test_curves_are_drawn_from_the_trainers_history(tmp_path):
    log = [{"step": 10, "loss": 2.0, "accuracy": 0.1}, {"step": 10, "eval_loss": 1.9}]
    save_curves(log, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
