"""Record frames with the engine of the game; `lab.record` has the commands.

session     one recording: folder, manifest, missing races
plan        which races: tracks, line-ups, moments, frame numbers
recorder    runs engines and writes the frames they send
process     one engine process and its messages
engine      runs in that process, in a Python of its own
setup       installs the engine; `assets` installs the data of the game
projection  checks the boxes
attribution names the authors of the artwork
"""
