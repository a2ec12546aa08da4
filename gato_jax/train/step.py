"""One jitted training step, sharded by gato_jax/sharding.py's table."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

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
    self.config, self.mesh = config, mesh
    self._optimizer = optimizer
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
    self._evaluate = jax.jit(
      self._losses,
      in_shardings=(self.shardings.params, sharding.batch_sharding(mesh)),
      out_shardings=whole,
    )

  def init(self, params: Any = None) -> state.TrainState:
    """The state before the first step. params: what to begin with, on the host; fresh ones by default."""
    create = jax.jit(lambda: state.create(self.config, self._optimizer, self._seed), out_shardings=self.shardings)
    with jax.set_mesh(self.mesh):
      fresh = create()
    if params is None:
      return fresh
    return state.TrainState(jax.device_put(params, self.shardings.params), fresh.optimizer, fresh.step)

  def template(self) -> state.TrainState:
    """Shapes, dtypes and shardings of the state, to restore a checkpoint into."""
    abstract = jax.eval_shape(lambda: state.create(self.config, self._optimizer, self._seed))
    return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, self.shardings)

  def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """This host's rows of a batch, as arrays of the global batch on the mesh."""
    layout = sharding.batch_sharding(self.mesh)
    return {name: jax.make_array_from_process_local_data(layout, value) for name, value in batch.items()}

  def __call__(
    self, train_state: state.TrainState, batch: Mapping[str, jax.Array], total_steps: int
  ) -> tuple[state.TrainState, dict[str, jax.Array]]:
    """The next state (the old one's buffers are reused) and metrics, all on the device.

    Metrics: loss, learning_rate, gradient_norm (before clipping), update_norm (of the step taken), component_sums and
    component_counts [components].
    """
    with jax.set_mesh(self.mesh):
      return self._step(train_state, batch, np.int32(total_steps))

  def evaluate(self, params: Any, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """component_sums and component_counts [components] of a batch's losses, without stochastic depth."""
    with jax.set_mesh(self.mesh):
      return self._evaluate(params, batch)

  def lower(self, batch: Mapping[str, jax.ShapeDtypeStruct]) -> jax.stages.Lowered:
    """The step for a global batch of these shapes, ready to compile for the mesh's devices, which need not exist."""
    with jax.set_mesh(self.mesh):
      return self._step.lower(self.template(), batch, jax.ShapeDtypeStruct((), np.int32))

  def _train_step(self, train_state: state.TrainState, batch: Any, total_steps: jax.Array):
    key = jax.random.fold_in(jax.random.key(self._seed), train_state.step)
    total, metrics, gradients = self.gradients(train_state.params, batch, key)
    targets = jnp.maximum(metrics["component_counts"].sum(), 1.0)
    gradients = jax.tree.map(lambda g: g / targets, gradients)
    directions, optimizer = transformation(self._optimizer).update(gradients, train_state.optimizer, train_state.params)
    rate = learning_rate(self._optimizer, train_state.step, total_steps)
    params = jax.tree.map(lambda p, d: p - rate * d, train_state.params, directions)
    metrics |= {
      "loss": total / targets,
      "learning_rate": rate,
      "gradient_norm": optax.tree.norm(gradients),
      "update_norm": rate * optax.tree.norm(directions),
    }
    return state.TrainState(params, optimizer, train_state.step + jnp.int32(1)), metrics

  def gradients(self, params: Any, batch: Any, key: jax.Array):
    """The loss summed over targets, its parts by component, and the sum's gradients, laid out as the parameters.

    Traceable, under `jax.set_mesh`.
    """
    gradients = functools.partial(self._device_gradients, ())
    rows, layouts, whole = sharding.batch_sharding(self.mesh).spec, self._layouts(), PartitionSpec()
    if self._several():
      gradients = jax.shard_map(
        functools.partial(self._device_gradients, sharding.BATCH_AXES),
        in_specs=(layouts, rows, rows, whole),
        out_specs=(whole, whole, layouts),
        axis_names=set(sharding.BATCH_AXES),
      )
    numbers = jnp.arange(len(batch["tokens"]))
    if self._accumulate == 1:
      return gradients(params, batch, numbers, key)

    def microbatch(sums: Any, index: jax.Array):
      part = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, 1, keepdims=False), split)
      return jax.tree.map(jnp.add, sums, gradients(params, *part, key)), None

    count = self._accumulate
    # Every microbatch takes rows from every device: [B, ...] -> [B / count, count, ...].
    split = jax.tree.map(lambda x: x.reshape(len(numbers) // count, count, *x.shape[1:]), (batch, numbers))
    first = jax.tree.map(lambda x: x[:, 0], split)
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(gradients, params, *first, key))
    return jax.lax.scan(microbatch, zeros, jnp.arange(count))[0]

  def _several(self) -> bool:
    """Whether rows or parameters lie on several devices."""
    return sharding.batch_sharding(self.mesh).num_devices > self.mesh.shape["model"]

  def _layouts(self) -> Any:
    return jax.tree.map(sharding.by_hand, self.shardings.params)

  def _losses(self, params: Any, batch: Any) -> dict[str, jax.Array]:
    losses = functools.partial(self._device_losses, ())
    if self._several():
      losses = jax.shard_map(
        functools.partial(self._device_losses, sharding.BATCH_AXES),
        in_specs=(self._layouts(), sharding.batch_sharding(self.mesh).spec),
        out_specs=PartitionSpec(),
        axis_names=set(sharding.BATCH_AXES),
      )
    return losses(params, batch)

  def _device_losses(self, axes: Sequence[str], params: Any, batch: Any) -> dict[str, jax.Array]:
    hidden, table = model.Gato(self.config).apply({"params": params}, batch, method="hidden_and_table")
    _, metrics = loss.next_token_loss(hidden, table, batch, self._components, self._loss_chunk)
    return jax.lax.psum(metrics, axes)

  def _device_gradients(self, axes: Sequence[str], params: Any, batch: Any, numbers: jax.Array, key: jax.Array):
    """`gradients` of one device's rows and shards; only what is summed here and in sharding.gather crosses `axes`."""

    def loss_sum(params: Any):
      network = model.Gato(self.config)
      hidden, table = network.apply({"params": params}, batch, numbers, rngs={"train": key}, method="hidden_and_table")
      parts = loss.next_token_loss(hidden, table, batch, self._components, self._loss_chunk)
      return jax.lax.psum(parts, axes)

    (total, metrics), gradients = jax.value_and_grad(loss_sum, has_aux=True)(params)
    return total, metrics, gradients
