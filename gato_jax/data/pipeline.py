"""batch(i) as a pure function of (mixture, seed, i): the whole state of the input is one integer."""

import atexit
import contextlib
import pathlib
import re
import traceback
import weakref
from collections.abc import Iterator

import numpy as np
import seqio
import tensorflow as tf

from gato_jax import specs
from gato_jax.data import episodes, tasks, windows
from gato_jax.errors import GatoError
from gato_jax.mixture import MixtureConfig
from gato_jax.tokens import codec


class Input:
  """The training input of one mixture.

  Attributes:
    names: component names in the order of batch["components"].
    shares: the components' shares of sequences, summing to 1.
    datasets: name -> Episodes or Documents.
  """

  def __init__(
    self,
    config: MixtureConfig,
    tfds_dir: pathlib.Path,
    batch_size: int,
    text: codec.TextCodec,
    max_local_positions: int,
    held_out: bool = False,
  ):
    """held_out: of what config.hold_out keeps from training, under a name of its own in the registry."""
    if not config.weights:
      raise GatoError("the mixture is empty: set config.data.weights, task -> share")
    negative = [name for name, weight in config.weights.items() if weight <= 0]
    if negative:
      raise GatoError(f"config.data.weights: the share of {negative[0]} must be positive; leave the task out instead")
    self.config = config
    self.batch_size = batch_size
    self.names = sorted(config.weights)
    total = sum(config.weights.values())
    self.shares = {name: config.weights[name] / total for name in self.names}
    self.datasets = {name: episodes.load(tfds_dir, name, config.keep, config.returns) for name in self.names}
    self.windows = {
      name: windows.make_windows(data, text, config, max_local_positions, held_out)
      for name, data in self.datasets.items()
    }
    self.patch_capacity = max(w.patch_capacity for w in self.windows.values())
    self._name = f"{config.name}.held_out" if held_out else config.name
    self._plan = tasks.register(self._name, self.windows, self.shares, batch_size)

  @property
  def task_specs(self) -> dict[str, specs.TaskSpec]:
    return {name: data.spec for name, data in self.datasets.items()}

  def batches(self, start: int = 0, rows: np.ndarray | None = None) -> Iterator[dict[str, np.ndarray]]:
    """batch(start), batch(start + 1), ..., of which only `rows`: int [R], ascending; None for all.

    Row r of batch(i) is example number i * batch_size + r, whichever process reads it and however many there are.

    Raises:
      GatoError: rows are none, not ascending, or outside the batch.
    """
    rows = np.arange(self.batch_size) if rows is None else np.asarray(rows, np.int64)
    if not len(rows) or np.any(np.diff(rows) <= 0) or rows[0] < 0 or rows[-1] >= self.batch_size:
      raise GatoError(f"rows must ascend within [0, {self.batch_size}), a batch's size; got {rows.tolist()}")
    self._plan.start, self._plan.rows = start, rows
    dataset = seqio.get_mixture_or_task(tasks.seqio_name(self._name)).get_dataset(
      sequence_length=None,
      split="train",
      shuffle=False,
      seed=self.config.seed,
      num_epochs=1,
      try_in_mem_cache=False,  # its default keeps whole datasets in memory
    )
    shapes = {key: [None] * rank for key, (_, rank) in windows.FEATURES.items()}
    shapes |= {"patches": [self.patch_capacity, 16, 16, 3], "patch_positions": [self.patch_capacity, 4]}
    dataset = dataset.padded_batch(len(rows), shapes, drop_remainder=True).prefetch(2)
    batches = _with_own_errors(dataset.as_numpy_iterator())
    _open.add(batches)
    return batches


def _with_own_errors(iterator: Iterator[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
  """TensorFlow wraps what our functions raise into a page of text; a GatoError comes out as itself.

  When this ends, in whichever way, the iterator is destroyed: see `_open`.
  """
  try:
    yield from iterator
  except tf.errors.OpError as e:
    traceback.clear_frames(e.__traceback__)  # those of TensorFlow hold the iterator, and errors are kept to the end
    own = re.search(r"GatoError: (.+)", e.message)
    if not own:
      raise
    raise GatoError(own[1]) from e
  finally:
    del iterator  # its threads end here


# An iterator that the interpreter destroys while it ends waits for ever: for a thread of TensorFlow that called Python,
# which Python ends when it ends itself. Everything that still holds an iterator then makes it live that long: a frame
# of a suspended generator, or one in the traceback of an error on its way out.
_open: weakref.WeakSet[Iterator] = weakref.WeakSet()


@atexit.register
def _close() -> None:
  for batches in list(_open):
    with contextlib.suppress(ValueError):  # running in a thread of its own, which will not be destroyed
      batches.close()
