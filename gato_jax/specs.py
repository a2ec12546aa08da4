"""What a task is to the library: its observation and action specs, never its name.

Observations are dicts, possibly nested, of dm_env specs. Inside the library they are flat: nested keys are joined
with "/". The modality of a field follows from its spec alone:

  text        specs.StringArray, shape ()
  image       uint8, shape [H, W, 3], H and W multiples of 16
  discrete    any other integer dtype, BoundedArray or DiscreteArray, values in [0, 1024)
  continuous  any float dtype; bounds inside [-1, 1] skip the mu-law (GATO_SPEC section 1)
"""

import dataclasses
import difflib
import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from gato_jax.documents import Document, PictureConfig
from gato_jax.errors import GatoError


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Nested dict -> flat dict with "/"-joined keys in lexicographic order."""
  flat = {}
  for key, value in nested.items():
    if isinstance(value, Mapping):
      flat.update(flatten(value, f"{prefix}{key}/"))
    else:
      flat[f"{prefix}{key}"] = value
  return dict(sorted(flat.items()))


def nested(columns: Mapping[str, Any]) -> dict[str, Any]:
  """Flat "/"-joined keys -> nested dicts; the inverse of flatten."""
  tree: dict[str, Any] = {}
  for key, value in columns.items():
    *parents, leaf = key.split("/")
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[leaf] = value
  return tree


RETURN_TO_GO = "return_to_go"  # the observation field of TaskSpec.with_return_to_go


@dataclasses.dataclass(frozen=True)
class TaskSpec:
  """One task's contract.

  Attributes:
    name: "domain.task".
    observation: flat, "/"-joined key -> dm_env spec.
    action: BoundedArray of floats, or integers (DiscreteArray included); None for plain text documents.
    max_text_tokens: SentencePiece tokens reserved in every timestep for each text field.
    control_timestep: seconds of simulated time per step, for players of videos; 0 where time has no unit.
    expert_return: what 100 per cent of the field RETURN_TO_GO stand for; None where timesteps have no such field.
  """

  name: str
  observation: Mapping[str, specs.Array]
  action: specs.Array | None
  max_text_tokens: Mapping[str, int] = dataclasses.field(default_factory=dict)
  control_timestep: float = 0.0
  expert_return: float | None = None

  @property
  def domain(self) -> str:
    return self.name.split(".", 1)[0]

  def with_return_to_go(self, expert_return: float) -> "TaskSpec":
    """The same task with one more field: what is still to be earned, in per cent of the expert's return.

    Raises:
      GatoError: the task has a field of that name, or the expert return is 0 or not finite.
    """
    if RETURN_TO_GO in self.observation:
      raise GatoError(f"{self.name}: the observation already has a field {RETURN_TO_GO!r}; train without data.returns")
    if not np.isfinite(expert_return) or expert_return == 0:
      raise GatoError(f"{self.name}: there is no per cent of an expert return of {expert_return:g}; train it without")
    field = specs.Array((), np.float32, name=RETURN_TO_GO)
    return dataclasses.replace(
      self, observation={**self.observation, RETURN_TO_GO: field}, expert_return=float(expert_return)
    )

  def without_return_to_go(self) -> "TaskSpec":
    """What the environment itself has to say."""
    if self.expert_return is None:
      return self
    observation = {key: field for key, field in self.observation.items() if key != RETURN_TO_GO}
    return dataclasses.replace(self, observation=observation, expert_return=None)

  @property
  def is_document(self) -> bool:
    return self.action is None

  @property
  def document_kind(self) -> str:
    """Of documents.KINDS; it follows from the fields alone."""
    return next(kind for kind, keys in _DOCUMENT_FIELDS.items() if set(keys) == set(self.observation))

  def to_json(self) -> dict[str, Any]:
    data = {
      "name": self.name,
      "observation": {k: _spec_to_json(v) for k, v in sorted(self.observation.items())},
      "action": None if self.action is None else _spec_to_json(self.action),
      "max_text_tokens": dict(sorted(self.max_text_tokens.items())),
      "control_timestep": self.control_timestep,
    }
    return data if self.expert_return is None else {**data, "expert_return": self.expert_return}

  @classmethod
  def from_json(cls, data: Mapping[str, Any]) -> "TaskSpec":
    return cls(
      name=data["name"],
      observation={k: _spec_from_json(v, k) for k, v in data["observation"].items()},
      action=None if data["action"] is None else _spec_from_json(data["action"], "action"),
      max_text_tokens=data["max_text_tokens"],
      control_timestep=data["control_timestep"],
      expert_return=data.get("expert_return"),
    )

  def fingerprint(self) -> str:
    """Short hash of everything that changes the tokens; datasets, checkpoints and environments must agree on it."""
    relevant = {k: v for k, v in self.to_json().items() if k != "control_timestep"}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:12]


_DOCUMENT_FIELDS = {
  "text": ("text",),
  "captions": ("captions", "image"),
  "questions": ("answers", "image", "question"),
  "pages": ("segments/image", "segments/text"),
}


def document_task_spec(domain: "Domain", task: str, side: int) -> TaskSpec:
  """The TaskSpec of documents, pictures at most `side` pixels wide and high."""
  picture, text = specs.BoundedArray((side, side, 3), np.uint8, 0, 255), specs.StringArray(())
  fields = _DOCUMENT_FIELDS[domain.document_kind]
  return TaskSpec(
    name=f"{domain.name}.{task}",
    observation={key: picture if key.endswith("image") else text for key in fields},
    action=None,
  )


def difference(ours: TaskSpec, theirs: TaskSpec) -> str:
  """Names the first field in which two specs of one task differ, or "" when they agree."""
  a, b = ours.to_json(), theirs.to_json()
  for part in ("observation", "max_text_tokens"):
    for key in sorted(set(a[part]) | set(b[part])):
      if a[part].get(key) != b[part].get(key):
        return f"{part} {key!r}: {a[part].get(key)} against {b[part].get(key)}"
  if a["action"] != b["action"]:
    return f"action: {a['action']} against {b['action']}"
  if ours.expert_return != theirs.expert_return:
    return f"expert return: {ours.expert_return} against {theirs.expert_return}"
  return ""


def _spec_to_json(spec: specs.Array) -> dict[str, Any]:
  if isinstance(spec, specs.StringArray):
    return {"dtype": "string", "shape": list(spec.shape)}
  data: dict[str, Any] = {"dtype": np.dtype(spec.dtype).name, "shape": list(spec.shape)}
  if isinstance(spec, specs.BoundedArray):
    data["minimum"] = np.broadcast_to(spec.minimum, spec.shape).tolist()
    data["maximum"] = np.broadcast_to(spec.maximum, spec.shape).tolist()
  return data


def _spec_from_json(data: Mapping[str, Any], name: str) -> specs.Array:
  shape = tuple(data["shape"])
  if data["dtype"] == "string":
    return specs.StringArray(shape=shape, name=name)
  if "minimum" not in data:
    return specs.Array(shape=shape, dtype=np.dtype(data["dtype"]), name=name)
  return specs.BoundedArray(
    shape=shape,
    dtype=np.dtype(data["dtype"]),
    minimum=np.asarray(data["minimum"], data["dtype"]),
    maximum=np.asarray(data["maximum"], data["dtype"]),
    name=name,
  )


def environment_task_spec(domain: "Domain", task: str, environment: Any) -> TaskSpec:
  """The TaskSpec of a live environment."""
  return TaskSpec(
    name=f"{domain.name}.{task}",
    observation=flatten(environment.observation_spec()),
    action=environment.action_spec(),
    max_text_tokens=domain.text_tokens(task),
    control_timestep=float(getattr(environment, "control_timestep", lambda: 0.0)()),
  )


class BadStep(GatoError):
  """A timestep that is not what its task's spec says: the environment has to be corrected."""


def check_timestep(spec: TaskSpec, timestep: dm_env.TimeStep, where: str) -> None:
  """Checks a timestep against its spec: keys, shapes, dtypes, bounds, finite numbers, and the reward.

  Args:
    where: begins the message, e.g. "dummy.reach, seed 3, step 5".

  Raises:
    BadStep: names the key that is wrong.
  """
  observation = flatten(timestep.observation)

  if set(observation) != set(spec.observation):
    raise BadStep(f"{where}: the spec has {sorted(spec.observation)}, the observation {sorted(observation)}")

  for key, field in spec.observation.items():
    value = observation[key]
    if not isinstance(field, specs.StringArray) and not isinstance(value, np.ndarray | np.generic):
      raise BadStep(f"{where}: observation {key!r} is a {type(value).__name__}, not a NumPy array")
    try:
      field.validate(value)
    except ValueError as e:
      raise BadStep(f"{where}: observation {key!r} is not what its spec says: {' '.join(str(e).split())}") from e
    if np.issubdtype(field.dtype, np.floating) and not np.all(np.isfinite(value)):
      raise BadStep(f"{where}: observation {key!r} is not finite: {np.ravel(value)[:4]}")

  if not timestep.first():
    for name in ("reward", "discount"):
      _check_number(getattr(timestep, name), f"{where}: {name}")


def _check_number(value: Any, what: str) -> None:
  if value is None:
    raise BadStep(f"{what} is None; every step but an episode's first has one")
  if np.ndim(value) or not np.isfinite(value):
    raise BadStep(f"{what} is {value}, not a finite number")


def check_environment(spec: TaskSpec, environment: Any) -> None:
  """Checks that the environment's first timestep is what its spec says; raises GatoError where it is not."""
  environment.seed(0)
  check_timestep(spec, environment.reset(), spec.name)


@dataclasses.dataclass(frozen=True)
class Source:
  """Recorded RLDS episodes of TFDS' catalogue, instead of an environment and an expert (docs/domains.md).

  A path names a field of a step, nested keys joined with "/".

  Attributes:
    dataset: "tfds:NAME" or "tfds:NAME/CONFIG", with ":VERSION" behind it where it should not be the newest.
    observation: our key -> path; where it is empty, all fields under "observation" by their own keys.
    action: paths; their values one after the other are the action, continuous; of a discrete one, one path.
    choices: of a discrete action, which is then an integer from 0 to choices - 1; 0: the action is continuous.
    minimum, maximum: of each number of the action, or one for all. What lies outside is moved to the bound.
    image_size: height and width that images are resized to, multiples of 16; where it is None they must be so already.
      Grey images become RGB.
    image_range: our key -> lowest and highest value of an image, which become black and white. Images that are not
      uint8, e.g. depth, need one; a field that is no image by its type, [H, W] or [H, W, 1 or 3], becomes one.
    split: of the dataset.
  """

  dataset: str
  observation: Mapping[str, str] = dataclasses.field(default_factory=dict)
  action: tuple[str, ...] = ("action",)
  choices: int = 0
  minimum: tuple[float, ...] = (-1.0,)
  maximum: tuple[float, ...] = (1.0,)
  image_size: tuple[int, int] | None = None
  image_range: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
  split: str = "train"


def source_to_json(source: Source) -> dict[str, Any]:
  """Returns a declaration as JSON gives it back: tuples are lists."""
  return json.loads(json.dumps(dataclasses.asdict(source)))


@dataclasses.dataclass(frozen=True)
class Domain:
  """A family of tasks that share an environment module. Data only: nothing is imported until a hook is called.

  Attributes:
    name: the folder's name.
    tasks: short task names.
    weight: share of sequences in the paper's mixture, in per cent.
    environment: "module:function"; function(task) -> dm_env.Environment with the additions of `Environment` below.
    expert: "module:function"; function(environment, task) -> an expert actor: reset(seed), act(timestep) -> action.
    agent_id: who acted, e.g. "scripted-v3": prompts come from another episode of the same agent.
    max_text_tokens: flat observation key -> tokens reserved. task_text_tokens: task -> what differs there.
    held_out: tasks that no mixture takes unless they are named.
    documents: "module:function" of domains without actions, function(task, split, side) -> iterator of documents of
      that split ("train" or "validation"; gato_jax/documents.py), pictures at most `side` pixels wide and high; raises
      MissingData where there are none here.
    document_kind: "text", "captions", "questions" or "pages".
    sources: task -> Source, of domains whose episodes others recorded; they have no environment either.
  """

  name: str
  tasks: tuple[str, ...]
  weight: float
  environment: str = ""
  expert: str = ""
  agent_id: str = ""
  max_text_tokens: Mapping[str, int] = dataclasses.field(default_factory=dict)
  task_text_tokens: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
  held_out: tuple[str, ...] = ()
  documents: str = ""
  document_kind: str = "text"
  sources: Mapping[str, Source] = dataclasses.field(default_factory=dict)

  def make_environment(self, task: str) -> Any:
    self.check_task(task)
    return _load(self.environment)(task)

  def make_expert(self, environment: Any, task: str) -> Any:
    return _load(self.expert)(environment, task)

  def read_documents(self, task: str, split: str = "train", side: int = PictureConfig.side) -> Iterable[Document]:
    self.check_task(task)
    return _load(self.documents)(task, split, side)

  def text_tokens(self, task: str) -> dict[str, int]:
    """Returns the tokens that are reserved for each text field of a task."""
    return {**self.max_text_tokens, **self.task_text_tokens.get(task, {})}

  def check_task(self, task: str) -> None:
    check_name(task, self.tasks, f"task of domain {self.name}")


def check_name(name: str, known: Iterable[str], what: str) -> None:
  """Raises GatoError with the nearest right name when `name` is not one of `known`."""
  known = list(known)
  if name in known:
    return
  near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
  hint = f"did you mean {near[0]!r}?" if near else "there is none."
  raise GatoError(f"unknown {what}: {name!r}; {hint}")


def _load(hook: str) -> Callable[..., Any]:
  """Imports "module:function"."""
  module, function = hook.split(":")
  return getattr(importlib.import_module(module), function)
