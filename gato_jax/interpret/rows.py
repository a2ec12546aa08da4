"""What an interpretation leaves in its folder: rows of JSON lines, read by the report without TensorFlow or JAX."""

import dataclasses
from collections.abc import Mapping

FOLDER = "interpretation"  # of a run's results
FACTS = "facts.json"  # written last: what was looked at
PROBES, WITHOUT, HEADS, NEIGHBOURS, MAP = (
  f"{name}.jsonl" for name in ("probes", "without", "heads", "neighbours", "map")
)
FRAMES = "frames.npz"  # "frame_I" and "weights_I" of attention.look, in the order of the rows of HEADS

LAST, STEP = "last", "step"  # states of a timestep
RAW, EMBEDDING = -1, 0  # as `layer`; blocks count from 1
DOMAIN, TASK, WITHIN_DOMAIN = "domain", "task", "task, domain given"  # what a probe tells
OF_TASKS, WITHIN_TASKS, RANDOM = REMOVED = ("task", "within", "random")  # kinds of directions
NOTHING = "none"
STATES, PLANE = SPACES = ("states", "map")


@dataclasses.dataclass(frozen=True)
class Probe:
  """One probe.

  Attributes:
    target: DOMAIN, TASK, or WITHIN_DOMAIN: the task probe choosing among the tasks of a sample's domain, if it has two.
    state: of states.poolings. layer: -1: raw tokens, 0: the embedding, from 1: what a block returns.
    probe: "linear" or "mlp". components: principal components kept; 0: all. signs: only the signs of the state.
    shuffled: fitted on labels that were shuffled, which shows what is no information.
    accuracy, low, high: on test samples, with the 95 % bootstrap interval over their episodes.
    majority: what naming the most frequent class every time gives; of WITHIN_DOMAIN: guessing.
    classes, fitted, tested, episodes: numbers of classes, of samples of both sides, of test episodes.
    converged: the fit ended by itself.
    by_class: class -> share of its test samples that are told right.
  """

  target: str
  state: str
  layer: int
  probe: str
  components: int
  signs: bool
  shuffled: bool
  accuracy: float
  low: float
  high: float
  majority: float
  classes: int
  fitted: int
  tested: int
  episodes: int
  converged: bool
  by_class: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Without:
  """What a linear probe, fitted anew, still tells from one layer's states without the directions.

  Attributes:
    layer: from 1. kind: of KINDS, or NOTHING. directions: how many. state: of states.poolings.
    target: "domain" or "task".
    variance: share of the states' variance that went with the directions.
    accuracy, low, high, majority: as of a Probe.
  """

  layer: int
  kind: str
  directions: int
  state: str
  target: str
  variance: float
  accuracy: float
  low: float
  high: float
  majority: float


@dataclasses.dataclass(frozen=True)
class Head:
  """One head on one frame.

  Attributes:
    task: of the frame. frame: its number in the task. head: from 0.
    on_patches: weight on all patches of the frame together. even: the same if every position seen had equal weight.
    entropy: of the weights among the patches, divided by that of equal ones: 1 looks everywhere alike.
  """

  task: str
  frame: int
  head: int
  on_patches: float
  even: float
  entropy: float


@dataclasses.dataclass(frozen=True)
class Neighbours:
  """One task, or all of them together (task "all").

  Attributes:
    space: "states": the d dimensions, standardised; "map": the two of t-SNE.
    trained: the network was trained on it; of "all": None.
    same_task, same_domain: share of a sample's k nearest neighbours, those of its own episode left out, that are of its
      task or domain. task_chance, domain_chance: the same for neighbours drawn at random.
    next_domain: share of its domain among the neighbours of OTHER tasks. next_chance: the same at random.
    nearest: the other task that most of those neighbours are of; "" of "all".
    silhouette_task, silhouette_domain: mean silhouette, from -1 to 1; 0 where there is one class only.
  """

  space: str
  task: str
  trained: bool | None
  same_task: float
  same_domain: float
  task_chance: float
  domain_chance: float
  next_domain: float
  next_chance: float
  nearest: str
  silhouette_task: float
  silhouette_domain: float


@dataclasses.dataclass(frozen=True)
class Point:
  """One sample on the map. trained: the network was trained on its task."""

  task: str
  trained: bool
  episode: int
  x: float
  y: float
