"""Planners on saved states of the game: tree search and random shooting."""
