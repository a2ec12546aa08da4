"""Training batches as a pure function of (mixture, seed, i): the input's state is one integer."""

import atexit
import contextlib
import dataclasses
import pathlib
import re
import traceback
import weakref
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from gato_jax.data import prepared, records, tasks, windows
from gato_jax.data.mixture import MixtureConfig
from gato_jax.data.rows import FEATURES
from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec
from gato_jax.tokens import codec

Batch = dict[str, np.ndarray]

# Ends the name of the component that has the corrections of a task.
_CORRECTIONS = " (corrections)"


class Input:
  """The training input of one mixture.

  Attributes:
    config: The mixture.
    batch_size: Rows of a global batch.
    names: Component names in the order of batch["components"]: tasks, and "<task> (corrections)"
      where there are corrections of the policy.
    shares: Name -> share of sequences; the shares sum to 1.
    datasets: Name -> prepared episodes or documents.
    windows: Name -> rows of the dataset.
    patch_capacity: P, the most patches of a row.
  """

  def __init__(
    self,
    config: MixtureConfig,
    tfds_dir: pathlib.Path,
    batch_size: int,
    text: codec.TextCodec,
    max_local_positions: int,
    split: str = "train",
    corrections_dir: pathlib.Path | None = None,
  ):
    """Opens the datasets of a mixture and registers it with seqio.

    Args:
      config: The mixture.
      tfds_dir: Directory of all datasets.
      batch_size: Rows of a global batch.
      text: The tokenizer.
      max_local_positions: Size of the network's table of local positions.
      split: "train" or "validation", of every task. Each has a name of its own in the registry.
      corrections_dir: Directory of the datasets with corrections of the policy, which take the
        share config.corrections of their tasks' sequences; None or without datasets: none.

    Raises:
      GatoError: The mixture is empty, a share is not positive, or a dataset cannot be trained on.
    """
    if not config.weights:
      raise GatoError("the mixture is empty: set config.data.weights, task -> share")

    negative = [name for name, weight in config.weights.items() if weight <= 0]
    if negative:
      raise GatoError(
        f"config.data.weights: the share of {negative[0]} must be positive; "
        "leave the task out instead"
      )

    self.config = config
    self.batch_size = batch_size

    total = sum(config.weights.values())
    self.shares: dict[str, float] = {}
    self.datasets: dict[str, Any] = {}
    self.windows: dict[str, windows.Windows] = {}

    def add(name: str, share: float, data: Any, config: MixtureConfig) -> None:
      self.shares[name] = share
      self.datasets[name] = data
      self.windows[name] = windows.make_windows(
        data, text, config=config, max_local_positions=max_local_positions, split=split
      )

    for name in sorted(config.weights):
      share = config.weights[name] / total
      data = prepared.load(
        tfds_dir, name, keep=config.keep, with_returns=config.returns, chunk=config.chunk
      )

      # No correction is held out, since the validation loss is that of the expert's episodes.
      corrections = None
      if corrections_dir and config.corrections and split == "train":
        corrections = _load_corrections(corrections_dir, name, config)

      if corrections is not None:
        all_of_them = dataclasses.replace(config, validation_every=0, episodes={})
        add(name + _CORRECTIONS, share * config.corrections, corrections, config=all_of_them)
        share *= 1 - config.corrections
      if share:
        add(name, share, data, config=config)

    self.names = list(self.windows)
    self.patch_capacity = max(w.patch_capacity for w in self.windows.values())

    self._name = config.name if split == "train" else f"{config.name}.{split}"
    self._schedule = tasks.register(
      self._name, self.windows, rates=self.shares, batch_size=batch_size
    )

  @property
  def task_specs(self) -> dict[str, TaskSpec]:
    return {data.spec.name: data.spec for data in self.datasets.values()}

  @property
  def expert_windows(self) -> dict[str, windows.Windows]:
    """Rows of each task's own dataset, without those of corrections."""
    return {name: rows for name, rows in self.windows.items() if not name.endswith(_CORRECTIONS)}

  def batches(self, start: int = 0, rows: np.ndarray | None = None) -> Iterator[Batch]:
    """Returns batch(start), batch(start + 1), ...

    Row r of batch(i) is example number i * batch_size + r, in whichever process it is read and
    however many there are.

    Args:
      start: Number of the first batch.
      rows: int [R], ascending, the rows to read of every batch; None for all.

    Raises:
      GatoError: `rows` is empty, not ascending, or outside the batch.
    """
    rows = np.arange(self.batch_size) if rows is None else np.asarray(rows, np.int64)
    if not len(rows) or np.any(np.diff(rows) <= 0) or rows[0] < 0 or rows[-1] >= self.batch_size:
      raise GatoError(
        f"rows must ascend within [0, {self.batch_size}), a batch's size; got {rows.tolist()}"
      )

    # The sources read the schedule when seqio builds the dataset.
    self._schedule.start = start
    self._schedule.rows = rows

    # By default seqio would keep whole datasets in memory.
    dataset = seqio.get_mixture_or_task(tasks.seqio_name(self._name)).get_dataset(
      sequence_length=None,
      split="train",
      shuffle=False,
      seed=self.config.seed,
      num_epochs=1,
      try_in_mem_cache=False,
    )

    # Only patches need padding: all other arrays of a row have the same length in every row.
    shapes: dict[str, list[int | None]] = {}
    for key, (_, rank) in FEATURES.items():
      shapes[key] = [None] * rank
    shapes["patches"] = [self.patch_capacity, 16, 16, 3]
    shapes["patch_positions"] = [self.patch_capacity, 4]

    dataset = dataset.padded_batch(len(rows), shapes, drop_remainder=True).prefetch(2)

    # TensorFlow models every stage of every task to choose numbers of threads. With hundreds of
    # tasks that takes most of a core, all the time.
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = dataset.with_options(options)

    batches = _with_own_errors(dataset.as_numpy_iterator())
    _open.add(batches)
    return batches


def _load_corrections(
  directory: pathlib.Path, task: str, config: MixtureConfig
) -> prepared.PreparedEpisodes | None:
  """Opens the corrections of a task; None where there are none.

  Raises:
    GatoError: The mixture does not learn the expert's actions, which are what corrects.
  """
  if not records.directory_of(directory, task).exists():
    return None

  if not config.learns_expert:
    raise GatoError(
      f"{task} has corrections in {directory}, whose labels are the expert's actions, but the "
      "mixture learns the executed ones (data.labels, data.returns); leave the corrections out by "
      "--config.data.corrections=0"
    )

  # The policy's returns say nothing about how good the labels are.
  data = prepared.load(directory, task, keep=0.0, chunk=config.chunk)
  assert isinstance(data, prepared.PreparedEpisodes), task
  return data


def _with_own_errors(iterator: Iterator[Batch]) -> Generator[Batch]:
  """Yields from a TensorFlow iterator and raises a GatoError of our functions as itself.

  TensorFlow wraps it into a page of text. However this generator ends, the iterator is destroyed:
  see `_open`.
  """
  try:
    yield from iterator
  except tf.errors.OpError as e:
    # TensorFlow's frames hold the iterator, and the error may live until the interpreter exits.
    traceback.clear_frames(e.__traceback__)

    own = re.search(r"GatoError: (.+)", e.message)
    if not own:
      raise
    raise GatoError(own[1]) from e
  finally:
    # The last reference: the iterator's threads end here.
    del iterator


# The generators whose iterators are still open. An iterator that is destroyed while the interpreter
# exits blocks forever: it waits for a thread of TensorFlow that called Python, and Python has ended
# that thread. A reference from a suspended generator's frame, or from a frame in the traceback of
# an error on its way out, keeps an iterator alive that long.
_open: weakref.WeakSet[Generator[Batch]] = weakref.WeakSet()


@atexit.register
def _close() -> None:
  for batches in list(_open):
    # A generator that runs in another thread cannot be closed, and is not destroyed either.
    with contextlib.suppress(ValueError):
      batches.close()
