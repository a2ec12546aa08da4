"""What is asked of a network's inside. Read without TensorFlow or scikit-learn: every config has this section."""

import dataclasses

from gato_jax import specs
from gato_jax.errors import GatoError

PARTS = ("probes", "directions", "attention", "map")


@dataclasses.dataclass(frozen=True)
class InterpretConfig:
  """What experiments.interpret measures (docs/interpret.md).

  Attributes:
    parts: of PARTS: which files are written.
    tasks: "domain.task", with * and ? for any letters, or a domain: looked at beside those that train.
    samples: of each task; a sample is the beginning of a row: a window of one episode, or a piece of one document.
    test_every: every so manyth episode or document tests and is never fitted on.
    tokens: a state is the mean over a sample's first n tokens, for each n of these; empty: of its first timestep, once
      the mean over the observation and the separator ("step"), once the separator's alone ("last").
    components: the numbers of principal components that probes are left with, beside all.
    hidden: units of the probe with a hidden layer.
    directions: how many directions are taken out, a file for each number and kind (rows.REMOVED). The means of T tasks
      span 2 (T - 1) at most; without all of them no linear probe tells the tasks.
    after: the layers, from 1, that they are taken out after; empty: all.
    frames: of each task with pictures, whose attention is drawn.
    neighbours: k of the k nearest neighbours of a state.
    perplexity: of t-SNE.
    map_samples: of each task, that the map shows.
    seed: of everything drawn.
  """

  parts: tuple[str, ...] = PARTS
  tasks: tuple[str, ...] = ()
  samples: int = 320
  test_every: int = 4
  tokens: tuple[int, ...] = ()
  components: tuple[int, ...] = (1, 2, 4, 8, 16)
  hidden: int = 64
  directions: tuple[int, ...] = (4,)
  after: tuple[int, ...] = ()
  frames: int = 2
  neighbours: int = 10
  perplexity: float = 30.0
  map_samples: int = 60
  seed: int = 0

  def __post_init__(self):
    for part in self.parts:
      specs.check_name(part, PARTS, "part of interpret.parts")
    if self.samples < 2 * self.test_every or self.test_every < 2:
      raise GatoError(
        f"interpret config: samples {self.samples} must be at least twice test_every {self.test_every}, and that at"
        " least 2: both sides need samples"
      )
    if self.neighbours >= self.map_samples:
      raise GatoError(
        f"interpret config: neighbours {self.neighbours} must be fewer than map_samples {self.map_samples} of a task"
      )
    if self.tokens and set(self.parts) & {"directions", "attention", "map"}:
      raise GatoError(
        "interpret config: with interpret.tokens only probes are fitted, the other parts look at one timestep;"
        ' --config.interpret.parts=("probes",)'
      )
