"""The contract of one task: its observation and action specs. The library never looks at its name.

Observations are dicts, possibly nested, of dm_env specs. Inside the library they are flat: nested
keys are joined with "/". The modality of a field follows from its spec alone:

  text        specs.StringArray, shape ()
  image       uint8, shape [H, W, 3], H and W multiples of 16
  discrete    any other integer dtype, BoundedArray or DiscreteArray, values in [0, 1024)
  continuous  any float dtype; bounds inside [-1, 1] skip the mu-law (Reed et al. 2022, section
              2.1), and so do the keys that a TaskSpec names as scaled
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from gato_jax.errors import GatoError

# Observation fields of a document task, by its kind (documents.KINDS).
DOCUMENT_FIELDS = {
  "text": ("text",),
  "captions": ("captions", "image"),
  "questions": ("answers", "image", "question"),
  "pages": ("segments/image", "segments/text"),
}


class BadStep(GatoError):
  """A timestep violates its task's spec: the environment has to be corrected."""


@dataclasses.dataclass(frozen=True)
class TaskSpec:
  """One task's contract.

  Attributes:
    name: "domain.task".
    observation: Flat, "/"-joined key -> dm_env spec.
    action: BoundedArray of floats or integers (DiscreteArray included); None for documents.
    max_text_tokens: Text field -> SentencePiece tokens reserved for it in every timestep.
    control_timestep: Seconds of simulated time per step, for video players; 0 where time has no
      unit.
    expert_return: Return that 100 per cent in the return-to-go field stand for
      (gato_jax/env/returns.py); None where timesteps have no such field.
    scaled: Continuous observation keys of which each number is scaled to [-1, 1] by its own
      bounds, as actions are, instead of the mu-law; what lies outside counts as the bound. For
      recorded states, whose quantiles are their bounds.
  """

  name: str
  observation: Mapping[str, specs.Array]
  action: specs.Array | None
  max_text_tokens: Mapping[str, int] = dataclasses.field(default_factory=dict)
  control_timestep: float = 0.0
  expert_return: float | None = None
  scaled: tuple[str, ...] = ()

  @property
  def domain(self) -> str:
    return self.name.split(".", 1)[0]

  @property
  def is_document(self) -> bool:
    return self.action is None

  @property
  def document_kind(self) -> str:
    """The key of documents.KINDS, which follows from the field names alone."""
    return next(
      kind for kind, keys in DOCUMENT_FIELDS.items() if set(keys) == set(self.observation)
    )

  def to_json(self, every_bound: bool = False) -> dict[str, Any]:
    """Returns the fields, as files and messages keep them.

    Args:
      every_bound: True writes out bounds that are all equal, too, instead of one number: those of
        an image are thousands. Hashes are of this form.
    """
    arrays = functools.partial(_spec_to_json, every_bound=every_bound)
    data: dict[str, Any] = {
      "name": self.name,
      "observation": {k: arrays(v) for k, v in sorted(self.observation.items())},
      "action": None if self.action is None else arrays(self.action),
      "max_text_tokens": dict(sorted(self.max_text_tokens.items())),
      "control_timestep": self.control_timestep,
    }

    # Specs without these keep the fingerprints that they had before there were any.
    if self.expert_return is not None:
      data["expert_return"] = self.expert_return
    if self.scaled:
      data["scaled"] = list(self.scaled)

    return data

  @classmethod
  def from_json(cls, data: Mapping[str, Any]) -> "TaskSpec":
    return cls(
      name=data["name"],
      observation={k: _spec_from_json(v, k) for k, v in data["observation"].items()},
      action=None if data["action"] is None else _spec_from_json(data["action"], "action"),
      max_text_tokens=data["max_text_tokens"],
      control_timestep=data["control_timestep"],
      expert_return=data.get("expert_return"),
      scaled=tuple(data.get("scaled", ())),
    )

  def fingerprint(self) -> str:
    """Returns a short hash of everything that changes the tokens.

    Datasets, checkpoints and environments must agree on it.
    """
    fields = self.to_json(every_bound=True)
    relevant = {name: value for name, value in fields.items() if name != "control_timestep"}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:12]


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Flattens a nested dict: "/"-joined keys in lexicographic order."""
  flat = {}
  for key, value in nested.items():
    if isinstance(value, Mapping):
      flat.update(flatten(value, f"{prefix}{key}/"))
    else:
      flat[f"{prefix}{key}"] = value

  return dict(sorted(flat.items()))


def nested(columns: Mapping[str, Any]) -> dict[str, Any]:
  """Nests a flat dict with "/"-joined keys; the inverse of `flatten`."""
  tree: dict[str, Any] = {}
  for key, value in columns.items():
    *parents, leaf = key.split("/")

    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})

    node[leaf] = value

  return tree


def spec_difference(ours: TaskSpec, theirs: TaskSpec) -> str:
  """Names the first field in which two specs of one task differ, or "" when they agree."""
  a = ours.to_json()
  b = theirs.to_json()

  for part in ("observation", "max_text_tokens"):
    for key in sorted(set(a[part]) | set(b[part])):
      if a[part].get(key) != b[part].get(key):
        return f"{part} {key!r}: {a[part].get(key)} against {b[part].get(key)}"

  if a["action"] != b["action"]:
    return f"action: {a['action']} against {b['action']}"

  if ours.expert_return != theirs.expert_return:
    return f"expert return: {ours.expert_return} against {theirs.expert_return}"

  if ours.scaled != theirs.scaled:
    return f"scaled observations: {list(ours.scaled)} against {list(theirs.scaled)}"

  return ""


def check_timestep(spec: TaskSpec, timestep: dm_env.TimeStep, where: str) -> None:
  """Checks a timestep against its spec: keys, shapes, dtypes, bounds, finite numbers, the reward.

  Args:
    spec: The spec of the task.
    timestep: The timestep, with a nested or flat observation.
    where: Prefix of the message, e.g. "dummy.reach, seed 3, step 5".

  Raises:
    BadStep: Names the key that is wrong.
  """
  observation = flatten(timestep.observation)

  if set(observation) != set(spec.observation):
    raise BadStep(
      f"{where}: the spec has {sorted(spec.observation)}, the observation {sorted(observation)}"
    )

  for key, field in spec.observation.items():
    value = observation[key]
    if not isinstance(field, specs.StringArray) and not isinstance(value, np.ndarray | np.generic):
      raise BadStep(f"{where}: observation {key!r} is a {type(value).__name__}, not a NumPy array")

    if key in spec.scaled:
      # What lies outside its bounds counts as the bound.
      field = specs.Array(field.shape, field.dtype, name=field.name)
    try:
      field.validate(value)
    except ValueError as e:
      message = " ".join(str(e).split())
      raise BadStep(f"{where}: observation {key!r} is not what its spec says: {message}") from e

    # Specs say nothing of NaN, and an unbounded one allows infinity.
    if np.issubdtype(field.dtype, np.floating) and not np.all(np.isfinite(value)):
      raise BadStep(f"{where}: observation {key!r} is not finite: {np.ravel(value)[:4]}")

  # dm_env gives the first timestep of an episode no reward and no discount.
  if not timestep.first():
    for name in ("reward", "discount"):
      _check_number(getattr(timestep, name), f"{where}: {name}")


def check_environment(spec: TaskSpec, environment: Any) -> None:
  """Checks the environment's first timestep against its spec.

  Raises:
    BadStep: The timestep violates the spec.
  """
  environment.seed(0)
  check_timestep(spec, environment.reset(), spec.name)


def _check_number(value: Any, subject: str) -> None:
  if value is None:
    raise BadStep(f"{subject} is None; every step but an episode's first has one")

  if np.ndim(value) or not np.isfinite(value):
    raise BadStep(f"{subject} is {value}, not a finite number")


def _spec_to_json(spec: specs.Array, every_bound: bool) -> dict[str, Any]:
  if isinstance(spec, specs.StringArray):
    return {"dtype": "string", "shape": list(spec.shape)}

  data: dict[str, Any] = {"dtype": np.dtype(spec.dtype).name, "shape": list(spec.shape)}

  # Scalar bounds and bounds of the full shape are the same contract, so they get the same JSON.
  if isinstance(spec, specs.BoundedArray):
    for name, bound in (("minimum", spec.minimum), ("maximum", spec.maximum)):
      values = np.broadcast_to(bound, spec.shape)
      is_one_number = not every_bound and values.size and np.all(values == values.flat[0])
      data[name] = values.flat[0].item() if is_one_number else values.tolist()

  return data


def _spec_from_json(data: Mapping[str, Any], name: str) -> specs.Array:
  shape = tuple(data["shape"])
  if data["dtype"] == "string":
    return specs.StringArray(shape=shape, name=name)

  dtype = np.dtype(data["dtype"])
  if "minimum" not in data:
    return specs.Array(shape=shape, dtype=dtype, name=name)

  return specs.BoundedArray(
    shape=shape,
    dtype=dtype,
    # One number may stand for all that are equal.
    minimum=np.broadcast_to(np.asarray(data["minimum"], dtype), shape),
    maximum=np.broadcast_to(np.asarray(data["maximum"], dtype), shape),
    name=name,
  )
