"""Whether a dataset is still what its sources are now: what the verbs ask before they use it.

Neither TensorFlow nor a simulator is needed.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from gato_jax import logs, origin, specs


def expected(
  domain: specs.Domain,
  task: str,
  raw: pathlib.Path,
  *,
  settings: Mapping[str, Any] | None = None,
  side: int | None = None,
  sources: pathlib.Path | None = None,
) -> dict[str, Any]:
  """Returns the origin of a dataset that would be built now.

  Args:
    raw: directory of raw logs; without logs of the task nothing is said of them.
    settings: how the expert's actions are to be changed, of episodes that are collected; None: as they were.
    side: pixels of images in documents.
    sources: directory of the files that documents are built from (rlds_builders/_sources.py).
  """
  parts = origin.declared(domain, task)

  if domain.environment:
    directory = logs.task_directory(raw, domain.name, task)
    if content := logs.content_hash(directory):
      collected = origin.read(directory) or {}
      parts = {**collected, **parts, "logs": content}
      for part in ("shard_episodes", "observation", "action", "control_timestep"):
        parts.pop(part, None)  # how episodes lie in files, and what the dataset's spec says as well
    parts |= settings or {}

  if domain.documents:
    if side is not None:
      parts["side"] = side
    if sources is not None and (content := origin.files_hash(sources / domain.name)):
      parts["files"] = content

  return parts


def stale_logs(domain: specs.Domain, task: str, raw: pathlib.Path) -> str:
  """Names what changed since the raw logs of a task were collected, or returns ""."""
  collected = origin.read(logs.task_directory(raw, domain.name, task)) or {}
  return origin.difference(collected, origin.declared(domain, task), origin.EPISODES)


def stale(metadata: pathlib.Path, now: Mapping[str, Any]) -> str:
  """Names what changed since a dataset was built, or returns "".

  Args:
    metadata: the dataset's metadata.json.
    now: as `expected` returns it.
  """
  built = origin.of_dataset(metadata)
  if "logs" in now and "logs" not in built:
    return "it was built by an older version, which did not note its sources"
  return origin.difference(built, now)
