"""The karts and tracks of the dataset, by identifier, sorted."""

_KARTS = """adiumy amanda beastie emule gavroche gnu hexley kiki konqi nolok pidgin puffy
sara_the_racer sara_the_wizard suzanne tux wilber xue"""
_TRACKS = """abyss black_forest candela_city cocoa_temple cornfield_crossing fortmagma
gran_paradiso_island hacienda lighthouse minigolf olivermath overworld ravenbridge_mansion
sandtrack scotland snowmountain snowtuxpeak tutorial volcano_island xr591 zengarden"""

KARTS = tuple(_KARTS.split())
TRACKS = tuple(_TRACKS.split())
