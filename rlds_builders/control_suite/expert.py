"""Experts of the control suite, which also play its variants from pixels and on random bodies."""

from rlds_builders.worlds.suite.expert import make

__all__ = ["make"]
