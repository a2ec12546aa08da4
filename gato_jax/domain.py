"""A family of tasks: played in a simulator, recorded by others, or made of documents.

Domains are declarations. Nothing is imported until one of their hooks, "module:function", is
called.
"""

import dataclasses
import importlib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from dm_env import specs

from gato_jax.documents import Document, ImageConfig
from gato_jax.errors import check_name
from gato_jax.task import DOCUMENT_FIELDS, TaskSpec, flatten


@dataclasses.dataclass(frozen=True)
class Domain:
  """A family of tasks. Use one of the three subclasses.

  Attributes:
    name: The name of its folder in rlds_builders/.
    tasks: Short task names.
    weight: Share of sequences in the paper's mixture, in per cent.
    held_out: Tasks that join a mixture only where they are named.
  """

  name: str
  tasks: tuple[str, ...]
  weight: float
  held_out: tuple[str, ...] = ()

  def check_task(self, task: str) -> None:
    """Raises GatoError, with the nearest right name, where the domain has no such task."""
    check_name(task, self.tasks, f"task of domain {self.name}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _EpisodeDomain(Domain):
  """Tasks whose data are episodes.

  Attributes:
    agent_id: Identifies the agent that acted, e.g. "scripted-v3". Prompts come from other episodes
      of the same agent.
    max_text_tokens: Flat observation key -> tokens reserved for the text in it.
    task_text_tokens: Task -> the entries of `max_text_tokens` in which it differs.
  """

  agent_id: str = ""
  max_text_tokens: Mapping[str, int] = dataclasses.field(default_factory=dict)
  task_text_tokens: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)

  def text_tokens(self, task: str) -> dict[str, int]:
    """Returns the tokens that are reserved for each text field of a task."""
    return {**self.max_text_tokens, **self.task_text_tokens.get(task, {})}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulatedDomain(_EpisodeDomain):
  """Tasks with an environment to act in and an expert to imitate.

  Attributes:
    environment: "module:function"; function(task) returns a dm_env.Environment that conforms to
      gato_jax/env/contract.py.
    expert: "module:function"; function(environment, task) returns an expert with reset(seed) and
      act(timestep). One that keeps track of what it did may also have executed(action), which is
      called when another action than its own was executed.
    corrects: False where the expert's action depends on what it did before, such as the stage of a
      plan, so that it does not know what to do in states that another agent reached
      (experiments/dagger.py). A planner that starts from the state every few steps corrects.
  """

  environment: str
  expert: str = ""
  corrects: bool = True

  def make_environment(self, task: str) -> Any:
    self.check_task(task)
    return _load(self.environment)(task)

  def make_expert(self, environment: Any, task: str) -> Any:
    return _load(self.expert)(environment, task)


@dataclasses.dataclass(frozen=True)
class Source:
  """Recorded episodes, instead of an environment and an expert.

  docs/domains.md explains them. A path names a field of a step, nested keys joined with "/".

  Attributes:
    dataset: "tfds:NAME" or "tfds:NAME/CONFIG" of TFDS' catalogue; ":VERSION" behind it pins a
      version, otherwise the newest is used. Or files: "rlds:DIRECTORY", "lerobot:DIRECTORY",
      "minari:NAME", "hdf5:FILE", "npz:DIRECTORY" (rlds_builders/base/recorded_source.py).
    observation: Our key -> path. Where it is empty, all fields under "observation" are used, by
      their own keys.
    action: Paths. Their concatenated values are the continuous action; a discrete action has one
      path.
    choices: Number of values of a discrete action, an integer in [0, choices); 0 where the action
      is continuous.
    minimum: Lower bound of each number of the action, or one for all. Values outside are clipped.
    maximum: Upper bound, like `minimum`.
    clip: Largest share of an action number's values that may lie outside its bounds and is moved to
      them; more mean that the bounds are wrong. Bounds that are quantiles of the data need more
      than the default.
    observation_bounds: Our key -> smallest and largest value of each of its numbers, which become
      -1 and 1; what lies outside counts as the bound. Numbers of other keys take the mu-law.
    image_size: Height and width that images are resized to, multiples of 16. Where it is None,
      images must already have such sides. Grey images become RGB.
    resize: How images get there: "stretch", "pad" or "crop" (rlds_builders/base/resizing.py).
    image_range: Our key -> values of an image that become black and white. Images that are not
      uint8, e.g. depth, need a range; a field that is no image by its type, [H, W] or
      [H, W, 1 or 3], becomes one.
    split: Split of the dataset that is trained on; several are joined with "+".
    validation_split: Split that is held out from training; "" where the config's
      data.validation_every does it.
  """

  dataset: str
  observation: Mapping[str, str] = dataclasses.field(default_factory=dict)
  action: tuple[str, ...] = ("action",)
  choices: int = 0
  minimum: tuple[float, ...] = (-1.0,)
  maximum: tuple[float, ...] = (1.0,)
  clip: float = 0.01
  observation_bounds: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = dataclasses.field(
    default_factory=dict
  )
  image_size: tuple[int, int] | None = None
  resize: str = "stretch"
  image_range: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
  split: str = "train"
  validation_split: str = ""

  @property
  def path(self) -> pathlib.Path:
    """The file or directory that `dataset` names; a TFDS dataset or Minari's name is none."""
    return pathlib.Path(self.dataset.partition(":")[2]).expanduser()


def source_to_json(source: Source) -> dict[str, Any]:
  """Returns a declaration in the form that reading its JSON gives: tuples are lists."""
  fields = dataclasses.asdict(source)
  defaults = dataclasses.asdict(Source(""))

  # These are newer than datasets that were built without them, which still match.
  for name in ("clip", "resize", "validation_split", "observation_bounds"):
    if fields[name] == defaults[name]:
      del fields[name]
  return json.loads(json.dumps(fields))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordedDomain(_EpisodeDomain):
  """Tasks whose episodes others recorded.

  Attributes:
    sources: Task -> the declaration of its episodes.
  """

  sources: Mapping[str, Source] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DocumentDomain(Domain):
  """Sets of documents (gato_jax/documents.py), which have no actions.

  Attributes:
    documents: "module:function"; function(task, split, side) iterates over the documents of a
      split, "train" or "validation", with images of at most `side` pixels in height and width.
      Raises MissingData where this machine has none.
    document_kind: A key of documents.KINDS: "text", "captions", "questions" or "pages".
  """

  documents: str
  document_kind: str = "text"

  def read_documents(
    self, task: str, split: str = "train", side: int = ImageConfig.side
  ) -> Iterable[Document]:
    self.check_task(task)
    return _load(self.documents)(task, split, side)


def environment_task_spec(domain: SimulatedDomain, task: str, environment: Any) -> TaskSpec:
  """Returns the TaskSpec of a live environment."""
  control_timestep = getattr(environment, "control_timestep", lambda: 0.0)

  return TaskSpec(
    name=f"{domain.name}.{task}",
    observation=flatten(environment.observation_spec()),
    action=environment.action_spec(),
    max_text_tokens=domain.text_tokens(task),
    control_timestep=float(control_timestep()),
  )


def document_task_spec(domain: DocumentDomain, task: str, side: int) -> TaskSpec:
  """Returns the TaskSpec of documents with images of at most `side` pixels in height and width."""
  image = specs.BoundedArray((side, side, 3), np.uint8, 0, 255)
  text = specs.StringArray(())

  # The fields that hold images are "image" and "segments/image"; all others hold text.
  fields = DOCUMENT_FIELDS[domain.document_kind]
  observation = {key: image if key.endswith("image") else text for key in fields}

  return TaskSpec(name=f"{domain.name}.{task}", observation=observation, action=None)


def _load(hook: str) -> Callable[..., Any]:
  """Imports the function of a hook, "module:function"."""
  module, function = hook.split(":")
  return getattr(importlib.import_module(module), function)
