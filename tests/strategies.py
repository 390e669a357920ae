"""Random info files and scenes for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from homework.labels.questions import KARTS, TRACKS
from homework.labels.scene import IMAGE_SIZE, MIN_BOX_SIDE, Kart, Scene, make_scene
from lab.pretraining import augment

# A busy machine is slow at times; that is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@st.composite
def infos(draw) -> dict:
    """A parsed info file of one view, with rows of all classes and of all sizes.

    No kart is detected twice, and no box is turned inside out.
    """
    line_up = draw(st.lists(st.sampled_from(KARTS), min_size=1, max_size=10, unique=True))
    across = st.integers(0, 599) | st.integers(0, 40)
    along = st.integers(0, 399) | st.integers(0, 40)
    sides = st.tuples(st.tuples(across, across).map(sorted), st.tuples(along, along).map(sorted))
    rows = []
    for track_id in draw(st.lists(st.integers(0, len(line_up) - 1), max_size=8, unique=True)):
        (x1, x2), (y1, y2) = draw(sides)
        rows.append([draw(st.sampled_from((1, 1, 1, 2, 5))), track_id, x1, y1, x2, y2])
    return {"track": draw(st.sampled_from(TRACKS)), "karts": line_up, "detections": [rows]}


def any_infos() -> st.SearchStrategy[dict]:
    """As a parsed info file of up to three views, but values may be wrong or occur twice."""
    right = st.sampled_from(("tux", "gnu", "kiki", "K.O-2", "T\u00fcx"))
    names = right | st.sampled_from(("a b", "", "a\n", True, None)) | st.text(max_size=3)
    whole = st.tuples(
        *(st.just(1), st.integers(0, 3)),
        *(st.integers(0, 300), st.integers(0, 200), st.integers(310, 599), st.integers(210, 399)),
    ).map(list)
    value = st.integers(-1, 600) | st.sampled_from((True, None, 1.5, 1e300, "1"))
    any_row = st.builds(
        lambda row, place, value: [*row[:place], value, *row[place + 1 :]],
        *(whole, st.integers(0, 5), value),
    )
    views = st.lists(whole, max_size=4) | st.lists(whole | any_row, max_size=4)
    return st.fixed_dictionaries(
        {
            "track": right | names,
            "karts": st.lists(right, min_size=4, max_size=5) | st.lists(names, max_size=5),
            "detections": st.lists(views, max_size=3),
        }
    )


@st.composite
def scenes(draw) -> Scene:
    """A scene of up to nine karts, no two of one name."""
    names = draw(st.lists(st.sampled_from(KARTS), max_size=9, unique=True))
    karts = tuple(Kart(name, draw(boxes())) for name in names)
    return make_scene(draw(st.sampled_from(TRACKS)), karts)


@st.composite
def boxes(draw) -> tuple[int, int, int, int]:
    """A box in the image, large enough to count."""
    width, height = IMAGE_SIZE
    x1, y1 = draw(st.integers(0, width - 5)), draw(st.integers(0, height - 5))
    return x1, y1, draw(st.integers(x1 + 5, width)), draw(st.integers(y1 + 5, height))


@st.composite
def views(draw) -> augment.View:
    """An image of noise with a scene of up to six karts."""
    names = draw(st.lists(st.sampled_from(KARTS), unique=True, max_size=6))
    karts = []
    for name in names:
        x1 = draw(st.integers(0, IMAGE_SIZE[0] - MIN_BOX_SIDE))
        y1 = draw(st.integers(0, IMAGE_SIZE[1] - MIN_BOX_SIDE))
        x2 = draw(st.integers(x1 + MIN_BOX_SIDE, IMAGE_SIZE[0]))
        y2 = draw(st.integers(y1 + MIN_BOX_SIDE, IMAGE_SIZE[1]))
        karts.append(Kart(name, (x1, y1, x2, y2)))
    scene = make_scene(draw(st.sampled_from(TRACKS)), tuple(karts))
    image = np.random.default_rng(draw(st.integers(0, 9))).integers(
        0, 255, (IMAGE_SIZE[1], IMAGE_SIZE[0], 3), dtype=np.uint8
    )
    return augment.View(image, scene)
