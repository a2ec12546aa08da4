"""Environments of the control suite from states."""

from rlds_builders.worlds.suite.environment import make

__all__ = ["make"]
