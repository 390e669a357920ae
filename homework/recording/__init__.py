"""Recording frames with the game's own engine; `homework.record` has the commands.

plan        which races: tracks, line-ups, moments, frame numbers
recorder    runs engines and writes the frames they send
process     one engine process, and the conversation with it
engine      the other side of it, in the engine's own Python
setup       installs the engine; `assets` the game's data
projection  are the boxes right
attribution who made the artwork
"""
