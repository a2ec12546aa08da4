"""What the network is shown: beginnings of rows of the data pipeline, each known by its task and its episode.

Legend: L tokens a row, P patches a row at the most, N samples.
"""

import copy
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from gato_jax.data import episodes, windows
from gato_jax.errors import GatoError
from gato_jax.interpret.config import InterpretConfig
from gato_jax.mixture import MixtureConfig
from gato_jax.tokens import codec
from gato_jax.tokens.vocabulary import Kind

_OF_PATCHES = ("patches", "patch_positions")  # keys whose first axis counts patches and not tokens


@dataclasses.dataclass(frozen=True)
class Sample:
  """The first segment of a row: a window of one episode, or a piece of one document.

  Attributes:
    task: "domain.task". episode: number of the episode in its dataset; of documents, the sample's own number.
    test: its episode, or document, is one that tests.
    row: keys of docs/batch.md, cut after the segment.
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
    """Places of the positions that are no padding: int [n]."""
    return np.flatnonzero(self.row["kinds"] != Kind.PADDING)

  @property
  def observation(self) -> np.ndarray:
    """`read` up to the first separator, that one included; all of them where there is none, as in documents."""
    separators = np.flatnonzero(self.row["kinds"] == Kind.SEPARATOR)
    return self.read[self.read <= separators[0]] if len(separators) else self.read


def draw(
  data: episodes.Episodes | episodes.Documents,
  text: codec.TextCodec,
  mixture: MixtureConfig,
  max_local_positions: int,
  config: InterpretConfig,
) -> list[Sample]:
  """config.samples of one task, of which one in config.test_every tests.

  Every test_every-th episode tests; samples take turns over the episodes of their side. Documents are split the same
  way, and drawn.

  Raises:
    GatoError: there are not enough episodes or documents for both sides.
  """
  task, samples = data.spec.name, []
  for test in (False, True):
    number = config.samples // config.test_every
    number = number if test else config.samples - number
    turns = _turns(data, text, mixture, max_local_positions, config.test_every, test)
    for count, (episode, source) in enumerate(itertools.islice(turns, number)):
      random = np.random.default_rng([config.seed, test, count, *task.encode()])
      samples.append(Sample(task, count if episode is None else episode, test, _first_segment(source.row(random, 0))))
  return samples


def _turns(
  data: episodes.Episodes | episodes.Documents,
  text: codec.TextCodec,
  mixture: MixtureConfig,
  max_local_positions: int,
  every: int,
  test: bool,
) -> Iterator[tuple[int | None, windows.Windows]]:
  """(episode, windows of that episode alone), for ever; of documents: (None, windows of all that are on this side)."""
  split = dataclasses.replace(mixture, hold_out=every, prompt_probability=0.0)
  if isinstance(data, episodes.Documents):
    yield from itertools.repeat((None, windows.make_windows(data, text, split, max_local_positions, held_out=test)))
  whole = dataclasses.replace(split, hold_out=0)
  tests = (np.arange(len(data.kept)) + 1) % every == 0
  if not tests.any():
    raise GatoError(
      f"{data.spec.name}: {len(data.kept)} episodes count, every {every}th would test, so none; collect more or lower"
      " --config.interpret.test_every"
    )
  sources = []
  for episode in data.kept[tests == test].tolist():
    one = copy.copy(data)  # shares the open file
    one.kept = np.array([episode])
    sources.append((episode, windows.EpisodeWindows(one, text, whole, max_local_positions)))
  yield from itertools.cycle(sources)


def _first_segment(row: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """What was packed behind the first segment is cut off."""
  later = np.flatnonzero(row["segments"] > 1)
  end = int(later[0]) if len(later) else int(np.flatnonzero(row["segments"])[-1]) + 1
  patches = int(np.sum(row["kinds"][:end] == Kind.PATCH))
  return {
    key: value if value.ndim == 0 else value[: patches if key in _OF_PATCHES else end] for key, value in row.items()
  }


def batches(samples: Sequence[Sample], size: int) -> Iterator[dict[str, np.ndarray]]:
  """Batches of `size` rows as docs/batch.md describes, all of one shape; the last one is filled up with empty rows."""
  tokens = max(len(one.row["tokens"]) for one in samples)
  patches = max(len(one.row["patches"]) for one in samples)
  for start in range(0, len(samples), size):
    rows = [one.row for one in samples[start : start + size]]
    batch = {}
    for key, (dtype, _) in windows.FEATURES.items():
      shape = rows[0][key].shape
      length = () if not shape else (patches if key in _OF_PATCHES else tokens, *shape[1:])
      batch[key] = np.full((size, *length), -1 if key == "locals" else 0, dtype)
      for place, row in enumerate(rows):
        batch[key][(place, *(slice(n) for n in row[key].shape[:1]))] = row[key]
    yield batch
