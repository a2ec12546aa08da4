"""Checkpoint + layout + model -> an actor: the only place where the three meet. No TensorFlow."""

from gato_jax.agent.config import ActConfig
from gato_jax.agent.engine import Engine, GatoActor
from gato_jax.agent.policy import Policy
from gato_jax.agent.reader import Reader

__all__ = ["ActConfig", "Engine", "GatoActor", "Policy", "Reader"]
