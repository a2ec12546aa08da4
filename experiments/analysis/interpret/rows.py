"""Rows of the JSON lines that an interpretation writes.

The report reads them without TensorFlow or JAX.
"""

import dataclasses
from collections.abc import Mapping

FOLDER = "interpretation"  # in the directory of a run's results
FACTS = "facts.json"  # written last: it marks the interpretation as complete
PROBES, WITHOUT, HEADS, NEIGHBOURS, MAP = (
  f"{name}.jsonl" for name in ("probes", "without", "heads", "neighbours", "map")
)
# "frame_I" and "weights_I" of attention.look, in the order of the rows of HEADS.
FRAMES = "frames.npz"

# States of a timestep: at the separator, and the mean over the step.
LAST, STEP = "last", "step"

# Values of `layer` that are not a block; blocks count from 1.
RAW, EMBEDDING = -1, 0

# Targets of a probe.
DOMAIN, TASK, WITHIN_DOMAIN = "domain", "task", "task, domain given"

# Kinds of directions. NOTHING is the control without any.
OF_TASKS, WITHIN_TASKS, RANDOM = REMOVED = ("task", "within", "random")
NOTHING = "none"

# Spaces in which neighbours are searched.
STATES, PLANE = SPACES = ("states", "map")


@dataclasses.dataclass(frozen=True)
class Probe:
  """The result of one probe.

  Attributes:
    target: DOMAIN, TASK or WITHIN_DOMAIN. The last is the task probe restricted to the tasks of a
      sample's domain, on samples whose domain has at least two.
    state: A name from states.poolings.
    layer: RAW, EMBEDDING, or the number of a block, from 1, whose output is probed.
    probe: "linear" or "mlp".
    components: Principal components that are kept; 0 for all.
    signs: True if the probe sees only the signs of the state.
    shuffled: True if the labels were shuffled, which shows the accuracy without information.
    accuracy: On test samples.
    low: Lower end of the 95 % bootstrap interval over test episodes.
    high: Upper end of that interval.
    majority: Accuracy of always naming the most frequent class; of guessing, for WITHIN_DOMAIN.
    classes: Number of classes.
    fitted: Number of training samples.
    tested: Number of test samples.
    episodes: Number of test episodes.
    converged: True if the fit converged.
    by_class: Class -> share of its test samples that are classified correctly.
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
class AblatedProbe:
  """A linear probe of one layer's states, refitted after directions were removed.

  Attributes:
    layer: Number of the block, from 1.
    kind: One of REMOVED, or NOTHING.
    directions: Number of directions that were removed.
    state: A name from states.poolings.
    target: DOMAIN or TASK.
    variance: Share of the states' variance that was removed.
    accuracy: On test samples.
    low: Lower end of the 95 % bootstrap interval over test episodes.
    high: Upper end of that interval.
    majority: Accuracy of always naming the most frequent class.
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
  """The attention of one head on one image.

  Attributes:
    task: Of the image.
    frame: Number of the image in its task.
    head: Number of the head, from 0.
    on_patches: Attention weight on all patches of the image together.
    even: The same if every visible position had equal weight.
    entropy: Of the weights among the patches, divided by that of equal weights: 1 if all patches
      get the same weight.
  """

  task: str
  frame: int
  head: int
  on_patches: float
  even: float
  entropy: float


@dataclasses.dataclass(frozen=True)
class Neighbours:
  """The nearest neighbours of the states of one task, or of all of them (task "all").

  Attributes:
    space: "states", the d standardised dimensions, or "map", the two of t-SNE.
    task: "domain.task", or "all".
    trained: True if the network was trained on the task; None for "all".
    same_task: Share of a sample's k nearest neighbours of the same task. Neighbours of its own
      episode are excluded.
    same_domain: The same for its domain.
    task_chance: `same_task` of neighbours drawn at random.
    domain_chance: `same_domain` of neighbours drawn at random.
    next_domain: Share of its domain among the nearest neighbours of OTHER tasks.
    next_chance: `next_domain` of neighbours drawn at random.
    nearest: The most frequent other task among these neighbours; "" for "all".
    silhouette_task: Mean silhouette by task, from -1 to 1; 0 if there is only one.
    silhouette_domain: Mean silhouette by domain.
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
class MapPoint:
  """One sample on the map.

  Attributes:
    task: "domain.task".
    trained: True if the network was trained on the task.
    episode: Of the sample.
    x: First coordinate of t-SNE.
    y: Second coordinate.
  """

  task: str
  trained: bool
  episode: int
  x: float
  y: float
