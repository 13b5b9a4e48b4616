"""How fast and how flat: the engine against floors and a plain baseline, measured in the same run."""
