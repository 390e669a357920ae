"""Record frames with the engine of the game; `lab.record` has the commands."""
