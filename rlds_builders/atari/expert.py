"""Planners of the Atari games, which also play atari_extended."""

from rlds_builders.worlds.arcade.expert import make

__all__ = ["make"]
