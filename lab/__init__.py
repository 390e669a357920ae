"""Where a base is made: frames are recorded and a base is trained. `homework` needs none of it."""
