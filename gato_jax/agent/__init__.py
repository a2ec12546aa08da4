"""Acting: a checkpoint, a token layout and the model make an actor. No TensorFlow."""

from gato_jax.agent.actor import GatoActor
from gato_jax.agent.config import ActConfig
from gato_jax.agent.engine import Engine
from gato_jax.agent.generation import TextGenerator
from gato_jax.agent.policy import Policy

__all__ = ["ActConfig", "Engine", "GatoActor", "Policy", "TextGenerator"]
