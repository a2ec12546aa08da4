"""Environments of the Atari games in ALE's default mode and difficulty."""

from rlds_builders.worlds.arcade.environment import make

__all__ = ["make"]
