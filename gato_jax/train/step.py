"""One jitted training step, sharded by the table in gato_jax/model/sharding.py."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

from gato_jax import model
from gato_jax.model import sharding
from gato_jax.tokens import vocabulary
from gato_jax.train import compiler_options, loss, state
from gato_jax.train.optimizer import OptimizerConfig, learning_rate, transformation


class Trainer:
  """The compiled training step of one model, optimizer and mesh.

  Attributes:
    config: Of the model.
    mesh: Devices that train together.
    shardings: A NamedSharding for every array of the state.
  """

  def __init__(
    self,
    config: model.GatoConfig,
    optimizer: OptimizerConfig,
    mesh: Mesh,
    *,
    components: int,
    seed: int = 0,
    loss_chunk: int = 256,
    accumulate: int = 1,
  ):
    """Prepares the step; it is compiled when it is first called.

    Args:
      config: Of the model.
      optimizer: Settings of the optimizer.
      mesh: Devices that train together.
      components: Number of components of the mixture, for the loss of each.
      seed: Of the parameters and of the noise in each step.
      loss_chunk: Target positions per device whose logits exist at one time.
      accumulate: Microbatches per step.
    """
    self.config = config
    self.mesh = mesh
    self._optimizer = optimizer
    self._components = components
    self._seed = seed
    self._loss_chunk = loss_chunk
    self._accumulate = accumulate

    self.shardings = state.shardings(config, optimizer, mesh)
    batch_sharding = sharding.batch_sharding(mesh)
    replicated = sharding.replicated(mesh)
    self._step = jax.jit(
      self._train_step,
      in_shardings=(self.shardings, batch_sharding, replicated),
      out_shardings=(self.shardings, replicated),
      donate_argnums=0,
      compiler_options=compiler_options.options(mesh.devices.flat[0].device_kind),
    )
    self._evaluate = jax.jit(
      self._losses,
      in_shardings=(self.shardings.params, batch_sharding),
      out_shardings=replicated,
    )

  def init(self, params: Any = None) -> state.TrainState:
    """Returns the state before the first step.

    Args:
      params: Parameters to begin with, on the host; fresh ones by default.
    """
    create = jax.jit(self._create_state, out_shardings=self.shardings)
    with jax.set_mesh(self.mesh):
      fresh = create()

    if params is None:
      return fresh
    return state.TrainState(
      jax.device_put(params, self.shardings.params), fresh.optimizer, step=fresh.step
    )

  def _create_state(self) -> state.TrainState:
    return state.create(self.config, self._optimizer, seed=self._seed)

  def template(self) -> state.TrainState:
    """Returns shapes, dtypes and shardings of the state, to restore a checkpoint into."""
    return jax.tree.map(
      lambda array, layout: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=layout),
      jax.eval_shape(self._create_state),
      self.shardings,
    )

  def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Places this host's rows of a batch on the mesh, as arrays of the global batch."""
    layout = sharding.batch_sharding(self.mesh)
    return {
      name: jax.make_array_from_process_local_data(layout, value) for name, value in batch.items()
    }

  def __call__(
    self, train_state: state.TrainState, batch: Mapping[str, jax.Array], total_steps: int
  ) -> tuple[state.TrainState, dict[str, jax.Array]]:
    """Trains one step.

    Args:
      train_state: Its buffers are reused for the next state.
      batch: From `put`.
      total_steps: Length of the run, for the learning rate.

    Returns:
      The next state, and metrics on the device: loss, learning_rate, gradient_norm (before
      clipping), update_norm (of the step taken), component_sums and component_counts [components],
      and patches, the number of image patches in the batch.
    """
    with jax.set_mesh(self.mesh):
      return self._step(train_state, batch, np.int32(total_steps))

  def evaluate(self, params: Any, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Returns component_sums and component_counts [components] of a batch's losses.

    They are computed without stochastic depth and with the mean patch positions.
    """
    with jax.set_mesh(self.mesh):
      return self._evaluate(params, batch)

  def lower(self, batch: Mapping[str, jax.ShapeDtypeStruct]) -> jax.stages.Lowered:
    """Lowers the step for a global batch of these shapes.

    It is then ready to be compiled for the devices of the mesh, which need not exist.
    """
    with jax.set_mesh(self.mesh):
      return self._step.lower(self.template(), batch, jax.ShapeDtypeStruct((), np.int32))

  def _train_step(
    self, train_state: state.TrainState, batch: Any, total_steps: jax.Array
  ) -> tuple[state.TrainState, dict[str, jax.Array]]:
    """Computes what `__call__` returns; traced."""
    key = jax.random.fold_in(jax.random.key(self._seed), train_state.step)
    loss_sum, metrics, gradients = self.gradients(train_state.params, batch, key=key)

    # The mean over the targets of the global batch (ours); at least one, so that a batch without
    # targets gives 0 instead of NaN.
    targets = jnp.maximum(metrics["component_counts"].sum(), 1.0)
    gradients = jax.tree.map(lambda gradient: gradient / targets, gradients)

    directions, optimizer = transformation(self._optimizer, self.config).update(
      gradients, train_state.optimizer, train_state.params
    )
    rate = learning_rate(self._optimizer, train_state.step, total_steps=total_steps)
    params = jax.tree.map(
      lambda param, direction: param - rate * direction, train_state.params, directions
    )

    metrics |= {
      "loss": loss_sum / targets,
      "learning_rate": rate,
      "gradient_norm": optax.tree.norm(gradients),
      "update_norm": rate * optax.tree.norm(directions),
    }
    next_step = train_state.step + jnp.int32(1)
    return state.TrainState(params, optimizer, step=next_step), metrics

  def gradients(
    self, params: Any, batch: Any, key: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array], Any]:
    """Computes the gradients of a batch; traceable, under `jax.set_mesh`.

    Args:
      params: Parameters of the model.
      batch: From `put`.
      key: For stochastic depth and patch positions.

    Returns:
      The loss summed over targets, component_sums, component_counts and patches, and the gradients
      of the sum, laid out as the parameters.
    """
    gradients: Any = functools.partial(self._device_gradients, axes=())
    if self._needs_shard_map():
      row_spec = sharding.batch_sharding(self.mesh).spec
      param_specs = self._param_specs()
      replicated = PartitionSpec()
      gradients = jax.shard_map(
        functools.partial(self._device_gradients, axes=sharding.BATCH_AXES),
        in_specs=(param_specs, row_spec, row_spec, replicated),
        out_specs=(replicated, replicated, param_specs),
        axis_names=set(sharding.BATCH_AXES),
      )

    # The index of a row in the global batch makes its random numbers independent of the mesh.
    row_indices = jnp.arange(len(batch["tokens"]))
    if self._accumulate == 1:
      return gradients(params, batch, row_indices, key)

    # Every microbatch takes rows from every device: [B, ...] -> [B / count, count, ...].
    count = self._accumulate
    split = jax.tree.map(
      lambda x: x.reshape(len(row_indices) // count, count, *x.shape[1:]), (batch, row_indices)
    )

    def add_microbatch(sums: Any, index: jax.Array) -> tuple[Any, None]:
      microbatch = jax.tree.map(
        lambda x: jax.lax.dynamic_index_in_dim(x, index, axis=1, keepdims=False), split
      )
      return jax.tree.map(jnp.add, sums, gradients(params, *microbatch, key)), None

    first = jax.tree.map(lambda x: x[:, 0], split)
    shapes = jax.eval_shape(gradients, params, *first, key)
    zeros = jax.tree.map(lambda array: jnp.zeros(array.shape, array.dtype), shapes)

    sums, _ = jax.lax.scan(add_microbatch, zeros, jnp.arange(count))
    return sums

  def _needs_shard_map(self) -> bool:
    """Returns True if rows or parameters are split over several devices."""
    # Devices along "model" share their rows, and are left to the compiler.
    return sharding.batch_sharding(self.mesh).num_devices > self.mesh.shape["model"]

  def _param_specs(self) -> Any:
    return jax.tree.map(sharding.by_hand, self.shardings.params)

  def _losses(self, params: Any, batch: Any) -> dict[str, jax.Array]:
    """Computes what `evaluate` returns; traced."""
    losses = functools.partial(self._device_losses, axes=())
    if self._needs_shard_map():
      losses = jax.shard_map(
        functools.partial(self._device_losses, axes=sharding.BATCH_AXES),
        in_specs=(self._param_specs(), sharding.batch_sharding(self.mesh).spec),
        out_specs=PartitionSpec(),
        axis_names=set(sharding.BATCH_AXES),
      )

    return losses(params, batch)

  def _device_losses(self, params: Any, batch: Any, *, axes: Sequence[str]) -> dict[str, jax.Array]:
    """Evaluates one device's rows; returns sums over the mesh axes `axes`."""
    output: Any = model.Gato(self.config).apply(
      {"params": params}, batch, method="hidden_and_table"
    )
    _, metrics = self._next_token_loss(output, batch)
    return jax.lax.psum(metrics, axes)

  def _device_gradients(
    self,
    params: Any,
    batch: Any,
    row_indices: jax.Array,
    key: jax.Array,
    *,
    axes: Sequence[str],
  ) -> tuple[jax.Array, dict[str, jax.Array], Any]:
    """Computes `gradients` for one device's rows and shards.

    Only what is summed here and in sharding.gather crosses the mesh axes `axes`.
    """

    def loss_sum(params: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
      output: Any = model.Gato(self.config).apply(
        {"params": params}, batch, row_indices, rngs={"train": key}, method="hidden_and_table"
      )
      total, metrics = self._next_token_loss(output, batch)
      metrics["patches"] = jnp.sum(batch["kinds"] == vocabulary.Kind.PATCH, dtype=jnp.float32)
      return jax.lax.psum((total, metrics), axes)

    (total, metrics), gradients = jax.value_and_grad(loss_sum, has_aux=True)(params)
    return total, metrics, gradients

  def _next_token_loss(
    self, output: tuple[jax.Array, jax.Array], batch: Any
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the loss of `hidden_and_table`'s output, and its parts by component."""
    hidden, table = output
    return loss.next_token_loss(
      hidden, table, batch, components=self._components, chunk=self._loss_chunk
    )
