"""State that a training step changes: parameters, optimizer state and the number of steps done."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from gato_jax import model
from gato_jax.model import sharding
from gato_jax.train.optimizer import OptimizerConfig, transformation


@flax.struct.dataclass
class TrainState:
  """State of the training; also a tree of its shapes or shardings.

  Attributes:
    params: Parameters of the model.
    optimizer: Optimizer state.
    step: int32, number of steps done.
  """

  params: Any
  optimizer: Any
  step: Any


def create(config: model.GatoConfig, optimizer: OptimizerConfig, seed: int) -> TrainState:
  """Returns the initial state; traceable."""
  params = model.init_params(config, jax.random.key(seed))
  return TrainState(
    params, transformation(optimizer, config).init(params), step=jnp.zeros((), jnp.int32)
  )


def shardings(config: model.GatoConfig, optimizer: OptimizerConfig, mesh: Mesh) -> TrainState:
  """Returns a NamedSharding for every array of the state.

  The optimizer's moments are sharded as their parameters are, everything else is replicated.
  """
  boxed = jax.eval_shape(lambda: model.init_boxed(config, jax.random.key(0)))
  params = sharding.parameter_shardings(boxed, mesh)
  params_structure: Any = jax.tree.structure(params)

  def is_like_params(tree: Any) -> bool:
    return jax.tree.structure(tree) == params_structure

  # Optax keeps moments as trees with the structure of the parameters, beside counters.
  abstract_optimizer = jax.eval_shape(transformation(optimizer, config).init, nn.unbox(boxed))
  optimizer_shardings = jax.tree.map(
    lambda tree: params if is_like_params(tree) else sharding.replicated(mesh),
    abstract_optimizer,
    is_leaf=is_like_params,
  )

  return TrainState(params, optimizer_shardings, step=sharding.replicated(mesh))
