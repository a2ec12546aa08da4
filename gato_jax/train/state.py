"""What a training step changes: parameters, optimizer state and the number of steps done."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from gato_jax import model, sharding
from gato_jax.train.optimizer import OptimizerConfig, transformation


@flax.struct.dataclass
class TrainState:
  """step: int32, steps done; also the index of the next batch."""

  params: Any
  optimizer: Any
  step: jax.Array


def create(config: model.GatoConfig, optimizer: OptimizerConfig, seed: int) -> TrainState:
  """A fresh state; traceable."""
  params = model.init_params(config, jax.random.key(seed))
  return TrainState(params, transformation(optimizer).init(params), jnp.zeros((), jnp.int32))


def shardings(config: model.GatoConfig, optimizer: OptimizerConfig, mesh: Mesh) -> TrainState:
  """A NamedSharding for every array of the state; moments lie as their parameters do."""
  boxed = jax.eval_shape(lambda: model.init_boxed(config, jax.random.key(0)))
  params = sharding.parameter_shardings(boxed, mesh)
  moments = jax.eval_shape(transformation(optimizer).init, nn.unbox(boxed))
  structure = jax.tree.structure(params)

  def is_params(tree: Any) -> bool:
    return jax.tree.structure(tree) == structure

  laid_out = jax.tree.map(lambda t: params if is_params(t) else sharding.replicated(mesh), moments, is_leaf=is_params)
  return TrainState(params, laid_out, sharding.replicated(mesh))
