"""Environments in processes of their own and one policy -> rows.

Importing this package needs no JAX: simulator processes begin here.
"""

from gato_jax.evaluate.config import EvaluateConfig

__all__ = ["EvaluateConfig"]
