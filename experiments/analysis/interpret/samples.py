"""Samples that a network is shown: beginnings of rows of the data pipeline, with task and episode.

Legend: L tokens per row, P patches per row (at most), N samples.
"""

import copy
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from experiments.analysis.interpret.config import InterpretConfig
from gato_jax.data import prepared, windows
from gato_jax.data.mixture import MixtureConfig
from gato_jax.data.rows import FEATURES
from gato_jax.errors import GatoError
from gato_jax.tokens import codec
from gato_jax.tokens.vocabulary import Kind

# Keys of a row whose first axis counts patches, not tokens.
_PATCH_KEYS = ("patches", "patch_positions")


@dataclasses.dataclass(frozen=True)
class Sample:
  """The first segment of a row: a window of one episode, or a piece of one document.

  Attributes:
    task: "domain.task".
    episode: Index of the episode in its dataset. For documents, the sample's own number.
    test: True if its episode or document is a test one.
    row: The keys of docs/batch.md, cut after the segment.
  """

  task: str
  episode: int
  test: bool
  row: dict[str, np.ndarray]

  @property
  def domain(self) -> str:
    return self.task.split(".", 1)[0]

  @property
  def read(self) -> np.ndarray:
    """Positions that are not padding, int [n]."""
    return np.flatnonzero(self.row["kinds"] != Kind.PADDING)

  @property
  def observation(self) -> np.ndarray:
    """The positions of `read` up to and including the first separator.

    All of them if there is no separator, as in documents.
    """
    separators = np.flatnonzero(self.row["kinds"] == Kind.SEPARATOR)
    if not len(separators):
      return self.read
    return self.read[self.read <= separators[0]]


def draw(
  data: prepared.PreparedEpisodes | prepared.PreparedDocuments,
  text: codec.TextCodec,
  mixture: MixtureConfig,
  max_local_positions: int,
  config: InterpretConfig,
) -> list[Sample]:
  """Draws `config.samples` samples of one task, one in `config.test_every` of them for testing.

  Every `test_every`-th episode is a test one. Samples cycle over the episodes of their side.
  Documents are split in the same way, and drawn at random.

  Raises:
    GatoError: If there are not enough episodes or documents for both sides.
  """
  task = data.spec.name
  num_test = config.samples // config.test_every
  num_samples = {False: config.samples - num_test, True: num_test}

  samples = []
  for test, number in num_samples.items():
    sources = _sources(data, text, mixture, max_local_positions, config.test_every, test)
    for count, (episode, source) in enumerate(itertools.islice(sources, number)):
      random = np.random.default_rng([config.seed, test, count, *task.encode()])
      row = _first_segment(source.row(random, 0))
      samples.append(Sample(task, count if episode is None else episode, test=test, row=row))

  return samples


def _sources(
  data: prepared.PreparedEpisodes | prepared.PreparedDocuments,
  text: codec.TextCodec,
  mixture: MixtureConfig,
  max_local_positions: int,
  test_every: int,
  test: bool,
) -> Iterator[tuple[int | None, windows.Windows]]:
  """Yields (episode, windows of that episode alone), cycling over the episodes of one side.

  For documents, (None, windows of all documents of the side).
  """
  config = dataclasses.replace(mixture, validation_every=test_every, prompt_probability=0.0)
  if isinstance(data, prepared.PreparedDocuments):
    split = "validation" if test else "train"
    source = windows.make_windows(data, text, config, max_local_positions, split=split)
    while True:
      yield None, source

  is_test = (np.arange(len(data.kept)) + 1) % test_every == 0
  if not is_test.any():
    raise GatoError(
      f"{data.spec.name}: {len(data.kept)} episodes count, every {test_every}th would test, so"
      " none; collect more or lower --config.interpret.test_every"
    )

  # The windows of a single episode must not be split again.
  undivided = dataclasses.replace(config, validation_every=0)
  sources = []
  for episode in data.kept[is_test == test].tolist():
    single = copy.copy(data)  # shares the open file
    single.kept, single.validation = np.array([episode]), np.array([], int)
    sources.append((episode, windows.EpisodeWindows(single, text, undivided, max_local_positions)))

  yield from itertools.cycle(sources)


def _first_segment(row: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns a row without the segments that were packed behind the first one."""
  # Segments count from 1, padding is 0.
  later = np.flatnonzero(row["segments"] > 1)
  end = int(later[0]) if len(later) else int(np.flatnonzero(row["segments"])[-1]) + 1
  patches = int(np.sum(row["kinds"][:end] == Kind.PATCH))

  segment = {}
  for key, value in row.items():
    if value.ndim == 0:
      segment[key] = value
    else:
      segment[key] = value[: patches if key in _PATCH_KEYS else end]
  return segment


def batches(samples: Sequence[Sample], size: int) -> Iterator[dict[str, np.ndarray]]:
  """Yields batches of `size` rows as docs/batch.md describes, all of one shape.

  The last batch is filled up with empty rows.
  """
  max_tokens = max(len(sample.row["tokens"]) for sample in samples)
  max_patches = max(len(sample.row["patches"]) for sample in samples)

  for start in range(0, len(samples), size):
    rows = [sample.row for sample in samples[start : start + size]]
    batch: dict[str, np.ndarray] = {}
    for key, (dtype, _) in FEATURES.items():
      row_shape = rows[0][key].shape
      shape: tuple[int, ...] = ()
      if row_shape:
        shape = (max_patches if key in _PATCH_KEYS else max_tokens, *row_shape[1:])

      # -1 is "no local position".
      batch[key] = np.full((size, *shape), -1 if key == "locals" else 0, dtype)
      for index, row in enumerate(rows):
        if row_shape:
          batch[key][index, : len(row[key])] = row[key]
        else:
          batch[key][index] = row[key]

    yield batch
