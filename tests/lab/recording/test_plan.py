"""Which races are recorded: balanced line-ups, whole numbers, moments in their shares."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from homework.labels.questions import TRACKS
from lab.record import FREE_KARTS
from lab.recording.plan import MOMENTS, PACKS, plan

names = st.integers(1, 21).map(lambda number: TRACKS[:number])
line_ups = st.integers(1, 16).map(lambda number: FREE_KARTS[:number])


@given(st.integers(1, 3000), names, line_ups, st.integers(0, 9))
def test_every_track_and_kart_meet_equally_often(views, tracks, karts, seed):
    races = plan(views, tracks, karts, seed)
    for track in tracks:
        raced = Counter(kart for race in races if race.track == track for kart in race.karts)
        counts = [raced[kart] for kart in karts]
        assert max(counts) - min(counts) <= 1
    rounds = Counter(race.track for race in races)
    assert max(rounds.values()) - min(rounds[track] for track in tracks) <= 1


@given(st.integers(1, 3000), names, line_ups, st.integers(0, 9))
def test_frames_are_numbered_through_and_just_enough(views, tracks, karts, seed):
    races = plan(views, tracks, karts, seed)
    numbers = [number for race in races for number, _ in race.frames]
    assert numbers == list(range(len(numbers)))
    per_frame = len(races[0].karts)
    assert views <= len(numbers) * per_frame < views + per_frame


@given(st.integers(500, 3000), st.integers(0, 9))
def test_moments_have_their_shares_and_come_in_blocks(views, seed):
    races = plan(views, TRACKS, FREE_KARTS, seed)
    found = Counter(moment for race in races for _, moment in race.frames)
    for moment, share in MOMENTS.items():
        assert abs(found[moment] / found.total() - share) < 0.12
    for race in races:
        order = [list(MOMENTS).index(moment) for _, moment in race.frames]
        assert order == sorted(order)  # cameras change hands twice in a race at most


def test_packs_have_their_share_of_the_frames():
    moments = [m for race in plan(2100, TRACKS, FREE_KARTS, 0, 0.6) for _, m in race.frames]
    packed = sum(moment in PACKS for moment in moments)
    assert set(moments) == {*MOMENTS, *PACKS}
    assert abs(packed - 0.6 * len(moments)) < 0.05 * len(moments)
    without = [m for race in plan(2100, TRACKS, FREE_KARTS, 0) for _, m in race.frames]
    assert set(without) == set(MOMENTS)


def test_a_plan_is_the_same_every_time_and_another_for_another_seed():
    assert plan(300, TRACKS, FREE_KARTS, 4) == plan(300, TRACKS, FREE_KARTS, 4)
    assert plan(300, TRACKS, FREE_KARTS, 4) != plan(300, TRACKS, FREE_KARTS, 5)
