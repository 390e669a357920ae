"""Random info files and scenes for property tests."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from homework.labels.scene import PICTURE_SIZE, Kart, Scene, make_scene
from homework.labels.vocabulary import KARTS, TRACKS

# A busy machine is slow at times; that is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@st.composite
def infos(draw) -> dict:
    """A parsed info file of one view, with rows of all classes and of all sizes."""
    line_up = draw(st.lists(st.sampled_from(KARTS), min_size=1, max_size=10, unique=True))
    across = st.integers(0, 599) | st.integers(0, 40)
    along = st.integers(0, 399) | st.integers(0, 40)
    row = st.builds(
        lambda class_id, track_id, x1, x2, y1, y2: [class_id, track_id, x1, y1, x2, y2],
        *(st.sampled_from((1, 1, 1, 2, 5)), st.integers(0, len(line_up) - 1)),
        *(across, across, along, along),
    )
    rows = draw(st.lists(row, max_size=8))
    return {"track": draw(st.sampled_from(TRACKS)), "karts": line_up, "detections": [rows]}


@st.composite
def scenes(draw) -> Scene:
    """A scene of up to nine karts, no two of one name."""
    names = draw(st.lists(st.sampled_from(KARTS), max_size=9, unique=True))
    karts = tuple(Kart(name, draw(boxes())) for name in names)
    return make_scene(draw(st.sampled_from(TRACKS)), karts)


@st.composite
def boxes(draw) -> tuple[int, int, int, int]:
    """A box in the picture, large enough to count."""
    width, height = PICTURE_SIZE
    x1, y1 = draw(st.integers(0, width - 5)), draw(st.integers(0, height - 5))
    return x1, y1, draw(st.integers(x1 + 5, width)), draw(st.integers(y1 + 5, height))
