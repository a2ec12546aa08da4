"""Drawn scenes, captioned and asked about: rooms in MiniWorld and grids seen from the top."""
