"""Environments in processes of their own + one policy -> rows. Imports no JAX: simulator processes begin here."""

from gato_jax.evaluate.config import FIRST_SEED, EvaluateConfig
from gato_jax.evaluate.sequential import play, random_actor

__all__ = ["FIRST_SEED", "EvaluateConfig", "play", "random_actor"]
