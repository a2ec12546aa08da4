"""One jitted training step, sharded by gato_jax/sharding.py's table."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from gato_jax import model, sharding
from gato_jax.train import loss, state
from gato_jax.train.optimizer import OptimizerConfig, learning_rate, transformation


class Trainer:
  """The compiled step of one model, optimizer and mesh.

  Args:
    components: number of components of the mixture, for the loss of each.
    loss_chunk: target positions of a device whose logits exist at one time.
    accumulate: microbatches a step.
  """

  def __init__(
    self,
    config: model.GatoConfig,
    optimizer: OptimizerConfig,
    mesh: Mesh,
    components: int,
    seed: int = 0,
    loss_chunk: int = 256,
    accumulate: int = 1,
  ):
    self._config, self._optimizer, self._mesh = config, optimizer, mesh
    self._components, self._seed, self._loss_chunk = components, seed, loss_chunk
    self._accumulate = accumulate
    self.shardings = state.shardings(config, optimizer, mesh)
    whole = sharding.replicated(mesh)
    self._step = jax.jit(
      self._train_step,
      in_shardings=(self.shardings, sharding.batch_sharding(mesh), whole),
      out_shardings=(self.shardings, whole),
      donate_argnums=0,
    )

  def init(self) -> state.TrainState:
    create = jax.jit(lambda: state.create(self._config, self._optimizer, self._seed), out_shardings=self.shardings)
    with jax.set_mesh(self._mesh):
      return create()

  def template(self) -> state.TrainState:
    """Shapes, dtypes and shardings of the state, to restore a checkpoint into."""
    abstract = jax.eval_shape(lambda: state.create(self._config, self._optimizer, self._seed))
    return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, self.shardings)

  def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """This host's rows of a batch, as arrays of the global batch on the mesh."""
    layout = sharding.batch_sharding(self._mesh)
    return {name: jax.make_array_from_process_local_data(layout, value) for name, value in batch.items()}

  def __call__(
    self, train_state: state.TrainState, batch: Mapping[str, jax.Array], total_steps: int
  ) -> tuple[state.TrainState, dict[str, jax.Array]]:
    """The next state (the old one's buffers are reused) and metrics, all on the device.

    Metrics: loss, learning_rate, gradient_norm (before clipping), component_sums and component_counts [components].
    """
    with jax.set_mesh(self._mesh):
      return self._step(train_state, batch, np.int32(total_steps))

  def lower(self, batch: Mapping[str, jax.ShapeDtypeStruct]) -> jax.stages.Lowered:
    """The step for a global batch of these shapes, ready to compile for the mesh's devices, which need not exist."""
    with jax.set_mesh(self._mesh):
      return self._step.lower(self.template(), batch, jax.ShapeDtypeStruct((), np.int32))

  def _train_step(self, train_state: state.TrainState, batch: Any, total_steps: jax.Array):
    key = jax.random.fold_in(jax.random.key(self._seed), train_state.step)

    def compute_loss(params: Any):
      with nn.logical_axis_rules(sharding.RULES):
        hidden = model.Gato(self._config).apply({"params": params}, batch, train=True, rngs={"train": key})
      table = params["embedding"]["tokens"]
      return loss.next_token_loss(hidden, table, batch, self._components, self._loss_chunk)

    (value, metrics), gradients = jax.value_and_grad(compute_loss, has_aux=True)(train_state.params)
    directions, optimizer = transformation(self._optimizer).update(gradients, train_state.optimizer, train_state.params)
    rate = learning_rate(self._optimizer, train_state.step, total_steps)
    params = jax.tree.map(lambda p, d: p - rate * d, train_state.params, directions)
    metrics |= {"loss": value, "learning_rate": rate, "gradient_norm": optax.tree.norm(gradients)}
    return state.TrainState(params, optimizer, train_state.step + jnp.int32(1)), metrics
