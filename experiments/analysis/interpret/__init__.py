"""Interpretation of a trained network.

Probes of its layers, directions that tell tasks apart, attention maps and maps of its states.
"""

from experiments.analysis.interpret.config import PARTS, InterpretConfig

__all__ = ["PARTS", "InterpretConfig"]
