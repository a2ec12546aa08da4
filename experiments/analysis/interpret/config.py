"""Settings of an interpretation.

Every config has this section, so this module imports neither TensorFlow nor scikit-learn.
"""

import dataclasses

from gato_jax.errors import GatoError, check_name

PARTS = ("probes", "directions", "attention", "map")


@dataclasses.dataclass(frozen=True)
class InterpretConfig:
  """Settings of experiments.interpret (docs/interpret.md).

  Attributes:
    parts: The elements of PARTS to compute; each writes files of its own.
    tasks: Tasks to look at beside those that were trained on: "domain.task", with * and ? for any
      letters, or a domain.
    samples: Samples per task. A sample is the beginning of a row: a window of one episode, or a
      piece of one document.
    test_every: Every `test_every`-th episode or document is a test one, and never fitted on.
    tokens: For each n, a state is the mean over the first n tokens of a sample. If empty, states
      are those of the first timestep: once the mean over the observation and the separator
      ("step"), once the separator alone ("last").
    components: Numbers of principal components that probes are fitted on, beside all of them.
    hidden: Units of the probe with a hidden layer.
    directions: Numbers of directions to remove; there is a file for each number and kind
      (rows.REMOVED). The means of T tasks span at most 2 (T - 1) dimensions. A linear probe cannot
      tell the tasks apart only if all of these are removed.
    after: The layers, from 1, after which directions are removed; empty for all.
    frames: Images per task whose attention is drawn, for tasks with images.
    neighbours: k of the k nearest neighbours of a state.
    perplexity: Of t-SNE.
    map_samples: Samples per task on the map.
    seed: Of all random draws.
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

  def __post_init__(self) -> None:
    for part in self.parts:
      check_name(part, PARTS, "part of interpret.parts")

    if self.samples < 2 * self.test_every or self.test_every < 2:
      raise GatoError(
        f"interpret config: samples {self.samples} must be at least twice test_every"
        f" {self.test_every}, and that at least 2: both sides need samples"
      )

    if self.neighbours >= self.map_samples:
      raise GatoError(
        f"interpret config: neighbours {self.neighbours} must be fewer than map_samples"
        f" {self.map_samples} of a task"
      )

    if self.tokens and set(self.parts) & {"directions", "attention", "map"}:
      raise GatoError(
        "interpret config: with interpret.tokens only probes are fitted, the other parts look at"
        ' one timestep; --config.interpret.parts=("probes",)'
      )
