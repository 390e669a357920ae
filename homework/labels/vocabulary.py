"""The names of karts and tracks, and the numbers of karts. Pure."""

from __future__ import annotations

# The identifiers in the dataset, sorted.
_KARTS = """adiumy amanda beastie emule gavroche gnu hexley kiki konqi nolok pidgin puffy
sara_the_racer sara_the_wizard suzanne tux wilber xue"""
_TRACKS = """abyss black_forest candela_city cocoa_temple cornfield_crossing fortmagma
gran_paradiso_island hacienda lighthouse minigolf olivermath overworld ravenbridge_mansion
sandtrack scotland snowmountain snowtuxpeak tutorial volcano_island xr591 zengarden"""

KARTS = tuple(_KARTS.split())
TRACKS = tuple(_TRACKS.split())
MAX_KARTS = 10  # in a race
COUNTS = tuple(str(number) for number in range(1, MAX_KARTS + 1))
Probabilities = tuple[tuple[str, float], ...]  # (possible answer, probability), likeliest first
