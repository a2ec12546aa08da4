"""Registers the mixture with seqio, which chains sources, preprocessors and mixing into a pipeline.

Every component of the mixture is a seqio task, the mixture is a seqio mixture of them, and one
explicit call fills both registries. Unlike seqio's own sampling, the mixture is a function of the
example's number g: a counter-based hash of (seed, g) picks the component. A component's source
yields the numbers that are its own, and seqio's sampler is replaced by one that reads the same
hash. So every example knows its number, in however many processes and from whichever batch the run
starts.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from gato_jax.data import windows
from gato_jax.data.rows import FEATURES

# Example numbers hashed at a time.
_BLOCK = 4096

# Increment of splitmix64: 2**64 divided by the golden ratio.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _splitmix64(x: np.ndarray) -> np.ndarray:
  """Returns a well-mixed uint64 for each uint64 (Steele et al. 2014).

  It is counter-based: the last example costs as much as the first.
  """
  # The products are modulo 2**64 on purpose.
  with np.errstate(over="ignore"):
    z = x + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def choose_components(numbers: np.ndarray, seed: int, rates: Sequence[float]) -> np.ndarray:
  """Returns the component of each example, with probabilities proportional to `rates`.

  Args:
    numbers: int64 [n], example numbers.
    seed: Seed of the mixture.
    rates: One per component.

  Returns:
    int64 [n], component indices.
  """
  hashed_seed = _splitmix64(np.array([seed], np.uint64))
  mixed = _splitmix64(numbers.astype(np.uint64) ^ hashed_seed)
  uniform = mixed.astype(np.float64) / 2.0**64

  # Rounding to float64 may make `uniform` 1, hence the minimum.
  cumulative = np.cumsum(rates) / np.sum(rates)
  components = np.searchsorted(cumulative, uniform, side="right")
  return np.minimum(components, len(rates) - 1)


def _block_indices() -> tf.data.Dataset:
  """Returns 0, 1, ... without an end."""
  return tf.data.Dataset.range(np.iinfo(np.int64).max)


class ExampleSchedule:
  """Numbers and components of the examples that this process reads.

  The sources of a mixture and its sampler share one schedule.

  Attributes:
    rates: One per component.
    batch_size: Rows of a global batch; row r of batch i is example number i * batch_size + r.
    start: First batch of the run.
    rows: int64 [R], this process's rows of every batch. seqio's own sharding would give it every
      n-th example instead.
  """

  def __init__(self, rates: Sequence[float], batch_size: int):
    self.rates = tuple(rates)
    self.batch_size = batch_size
    self.start = 0
    self.rows = np.arange(batch_size)

  def numbers(self, seed: int, component: int) -> tf.data.Dataset:
    """Returns {"number": g, "seed": seed} for the examples of one component, from batch(start) on.

    One stage does all of it: with hundreds of components, tracing their stages is most of a start.
    """
    block = self._block_function(seed)

    def own_numbers(k):
      numbers, components = block(k)
      return numbers[components == component]

    def examples(k):
      numbers = tf.numpy_function(own_numbers, [k], tf.int64)
      numbers.set_shape([None])
      return {"number": numbers, "seed": tf.fill(tf.shape(numbers), tf.constant(seed, tf.int64))}

    return _block_indices().map(examples).unbatch()

  def choices(self, seed: int, position: np.ndarray) -> tf.data.Dataset:
    """Returns the positions [components] -> int64 of the examples' components, one by one."""
    block = self._block_function(seed)

    def chosen(k):
      positions = tf.numpy_function(lambda k: position[block(k)[1]], [k], tf.int64)
      return tf.ensure_shape(positions, [_BLOCK])

    return _block_indices().map(chosen).unbatch()

  def _block_function(self, seed: int) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Returns a function of a block's index: the numbers and components of its examples."""
    # By value: a dataset keeps its schedule while the next one is set up.
    return _block_function(
      seed, self.start, tuple(self.rows.tolist()), self.rates, batch_size=self.batch_size
    )


# The sources of all components of a mixture have one function, which remembers its last blocks:
# they read the same ones at about the same time.
@functools.lru_cache(maxsize=8)
def _block_function(
  seed: int, start: int, rows: tuple[int, ...], rates: tuple[float, ...], batch_size: int
) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
  own_rows = np.array(rows, np.int64)

  @functools.lru_cache(maxsize=4)
  def block(k: int) -> tuple[np.ndarray, np.ndarray]:
    # Examples of this process are numbered through: example e is its row e % R of batch e // R.
    batches, row_indices = np.divmod(k * _BLOCK + np.arange(_BLOCK), len(own_rows))
    numbers = (start + batches) * batch_size + own_rows[row_indices]
    return numbers, choose_components(numbers, seed, rates)

  return block


class NumberSource(seqio.DataSource):
  """Yields {"number": g, "seed": seed} for the example numbers that belong to one component."""

  def __init__(self, schedule: ExampleSchedule, component: int):
    super().__init__(splits=("train",), caching_permitted=False, performs_internal_shuffling=True)
    self._schedule = schedule
    self._component = component

  @property
  def supports_arbitrary_sharding(self) -> bool:
    return True

  def list_shards(self, split: str) -> Sequence[str]:
    del split
    return ["numbers"]

  def get_dataset(self, split="train", shuffle=True, seed=None, shard_info=None, **unused):
    # The schedule has the rows of this process, so seqio's sharding is not used.
    del split, shuffle, shard_info, unused

    return self._schedule.numbers(seed or 0, self._component)


def _row_map(
  task_windows: windows.Windows, component: int
) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
  """Returns a seqio preprocessor from example numbers to rows, in order."""

  def row(number, seed) -> list[np.ndarray]:
    # The counter-based generator makes a row a function of (seed, number) alone.
    random = np.random.Generator(np.random.Philox(key=[np.uint64(seed), np.uint64(number)]))
    arrays = task_windows.row(random, component)
    return [np.asarray(arrays[key], dtype) for key, (dtype, _) in FEATURES.items()]

  def row_tensors(example):
    dtypes = [tf.as_dtype(dtype) for dtype, _ in FEATURES.values()]
    tensors = tf.numpy_function(row, [example["number"], example["seed"]], dtypes)

    # TensorFlow does not know the ranks of what Python returns; padding needs them.
    for tensor, (_, rank) in zip(tensors, FEATURES.values(), strict=True):
      tensor.set_shape([None] * rank)

    return dict(zip(FEATURES, tensors, strict=True))

  def preprocessor(dataset: tf.data.Dataset) -> tf.data.Dataset:
    return dataset.map(row_tensors, num_parallel_calls=2, deterministic=True)

  return preprocessor


def seqio_name(name: str) -> str:
  """Replaces characters that seqio does not allow: all but letters, digits, "_", "." and ":"."""
  return re.sub(r"[^\w.:]", "_", name)


def _replace(registry: Any, name: str, *arguments: Any, **settings: Any) -> None:
  """Adds an entry to a seqio registry, in place of one of the same name."""
  if name in registry.names():
    registry.remove(name)
  registry.add(name, *arguments, **settings)


def register(
  mixture: str,
  components: Mapping[str, windows.Windows],
  rates: Mapping[str, float],
  batch_size: int,
) -> ExampleSchedule:
  """Registers `mixture` and a task "<mixture>:<domain.task>" for each component.

  Registering again replaces them.

  Args:
    mixture: Name of the mixture.
    components: "domain.task" -> the rows of its dataset.
    rates: "domain.task" -> share of sequences.
    batch_size: Rows of a global batch.

  Returns:
    The schedule of the mixture, whose `start` and `rows` the caller sets before it reads.
  """
  schedule = ExampleSchedule([rates[name] for name in components], batch_size)

  # Rows hold ids, pixels and positions that are encoded already: this vocabulary encodes nothing.
  vocabulary = seqio.PassThroughVocabulary(size=2**31 - 1)
  features = {
    key: seqio.Feature(vocabulary, add_eos=False, dtype=tf.as_dtype(dtype), rank=rank)
    for key, (dtype, rank) in FEATURES.items()
  }

  # seqio gives the datasets in the order of its own names, in which other characters have become
  # "_". That need not be the order of the components: "leg-b" comes before "leg_a".
  task_names = [seqio_name(f"{mixture}:{name}") for name in components]
  position = np.argsort(np.argsort(task_names))

  def sample(datasets, unused_rates, seed):
    chosen = schedule.choices(seed, position)
    return tf.data.Dataset.choose_from_datasets(datasets, chosen, stop_on_empty_dataset=True)

  task_rates = []
  for component, (name, task) in enumerate(zip(components, task_names, strict=True)):
    _replace(
      seqio.TaskRegistry,
      task,
      source=NumberSource(schedule, component),
      preprocessors=[_row_map(components[name], component)],
      output_features=features,
    )
    task_rates.append((task, rates[name]))

  _replace(seqio.MixtureRegistry, seqio_name(mixture), task_rates, sample_fn=sample)
  return schedule
