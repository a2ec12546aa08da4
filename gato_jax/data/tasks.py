"""The seqio TaskRegistry and MixtureRegistry, filled by one explicit call.

The mixture is a function of the example's number g. A counter-based hash of (seed, g) picks the component; each
component's source yields just the numbers that are its own, so every example knows its number whoever asks for it,
in however many processes, from wherever the run starts. seqio's sampler is replaced by one that reads the same hash.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf

from gato_jax.data import windows

_BLOCK = 4096  # example numbers hashed at a time
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _splitmix64(x: np.ndarray) -> np.ndarray:
  """A well-mixed uint64 per uint64; counter-based, so example g costs the same as example 0."""
  with np.errstate(over="ignore"):
    z = x + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def choose_components(numbers: np.ndarray, seed: int, rates: Sequence[float]) -> np.ndarray:
  """Example numbers int64 [n] -> component indices int64 [n], with probabilities proportional to `rates`."""
  mixed = _splitmix64(numbers.astype(np.uint64) ^ _splitmix64(np.array([seed], np.uint64)))
  uniform = mixed.astype(np.float64) / 2.0**64
  cumulative = np.cumsum(rates) / np.sum(rates)
  return np.minimum(np.searchsorted(cumulative, uniform, side="right"), len(rates) - 1)


class Plan:
  """What a mixture's sources and its sampler share: the rates, and which examples this process reads.

  Attributes:
    rates: one per component.
    batch_size: rows of a global batch; row r of batch i is example number i * batch_size + r.
    start: the first batch of the run.
    rows: int64 [R], this process's rows of every batch. seqio's own sharding knows only every n-th example.
  """

  def __init__(self, rates: Sequence[float], batch_size: int):
    self.rates = tuple(rates)
    self.batch_size = batch_size
    self.start = 0
    self.rows = np.arange(batch_size)

  def blocks(self, seed: int) -> tf.data.Dataset:
    """Blocks of (numbers, components) of this process's rows of batch(start), batch(start + 1), ..."""
    start, rates, rows, batch_size = self.start, self.rates, self.rows, self.batch_size

    def block(k):
      batches, places = np.divmod(k * _BLOCK + np.arange(_BLOCK), len(rows))
      numbers = (start + batches) * batch_size + rows[places]
      return numbers, choose_components(numbers, seed, rates)

    def shaped(k):
      numbers, components = tf.numpy_function(block, [k], (tf.int64, tf.int64))
      return tf.ensure_shape(numbers, [_BLOCK]), tf.ensure_shape(components, [_BLOCK])

    return tf.data.Dataset.range(np.iinfo(np.int64).max).map(shaped)


class NumberSource(seqio.DataSource):
  """Yields {"number": g, "seed": seed} for the example numbers that belong to one component."""

  def __init__(self, plan: Plan, component: int):
    super().__init__(splits=("train",), caching_permitted=False, performs_internal_shuffling=True)
    self._plan = plan
    self._component = component

  @property
  def supports_arbitrary_sharding(self) -> bool:
    return True

  def list_shards(self, split: str) -> Sequence[str]:
    del split
    return ["numbers"]

  def get_dataset(self, split="train", shuffle=True, seed=None, shard_info=None, **unused):
    del split, shuffle, shard_info, unused  # the plan knows the rows
    blocks = self._plan.blocks(seed or 0)
    mine = blocks.map(lambda numbers, components: tf.boolean_mask(numbers, components == self._component))
    return mine.unbatch().map(lambda number: {"number": number, "seed": tf.constant(seed or 0, tf.int64)})


def _row_map(rows: windows.Windows, component: int):
  """A seqio preprocessor: example numbers -> rows, decoded in Python, in order."""

  def row(number, seed):
    random = np.random.Generator(np.random.Philox(key=[np.uint64(seed), np.uint64(number)]))
    arrays = rows.row(random, component)
    return [np.asarray(arrays[key], dtype) for key, (dtype, _) in windows.FEATURES.items()]

  def to_row(example):
    dtypes = [tf.as_dtype(dtype) for dtype, _ in windows.FEATURES.values()]
    flat = tf.numpy_function(row, [example["number"], example["seed"]], dtypes)
    for tensor, (_, rank) in zip(flat, windows.FEATURES.values(), strict=True):
      tensor.set_shape([None] * rank)
    return dict(zip(windows.FEATURES, flat, strict=True))

  def preprocessor(dataset: tf.data.Dataset) -> tf.data.Dataset:
    return dataset.map(to_row, num_parallel_calls=2, deterministic=True)

  return preprocessor


def seqio_name(name: str) -> str:
  """seqio allows letters, digits, "_", "." and ":" in names."""
  return re.sub(r"[^\w.:]", "_", name)


def register(
  mixture: str,
  components: Mapping[str, windows.Windows],
  rates: Mapping[str, float],
  batch_size: int,
) -> Plan:
  """Registers `mixture` and a task "<mixture>:<domain.task>" per component; registering again replaces them."""
  names = list(components)
  plan = Plan([rates[name] for name in names], batch_size)
  vocabulary = seqio.PassThroughVocabulary(size=2**31 - 1)
  features = {
    key: seqio.Feature(vocabulary, add_eos=False, dtype=tf.as_dtype(dtype), rank=rank)
    for key, (dtype, rank) in windows.FEATURES.items()
  }

  def sample(datasets, unused_rates, seed):
    chosen = plan.blocks(seed).map(lambda _, components: components).unbatch()
    return tf.data.Dataset.choose_from_datasets(datasets, chosen, stop_on_empty_dataset=True)

  pairs = []
  for component, name in enumerate(names):
    task = seqio_name(f"{mixture}:{name}")
    if task in seqio.TaskRegistry.names():
      seqio.TaskRegistry.remove(task)
    seqio.TaskRegistry.add(
      task,
      source=NumberSource(plan, component),
      preprocessors=[_row_map(components[name], component)],
      output_features=features,
    )
    pairs.append((task, rates[name]))
  if seqio_name(mixture) in seqio.MixtureRegistry.names():
    seqio.MixtureRegistry.remove(seqio_name(mixture))
  seqio.MixtureRegistry.add(seqio_name(mixture), pairs, sample_fn=sample)
  return plan
