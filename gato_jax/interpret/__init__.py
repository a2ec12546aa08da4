"""What is inside a network: probes of its layers, directions that tell tasks, attention maps, maps of its states."""

from gato_jax.interpret.config import PARTS, InterpretConfig

__all__ = ["PARTS", "InterpretConfig"]
