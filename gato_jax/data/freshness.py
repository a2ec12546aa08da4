"""Comparison of a dataset with its sources, which every verb makes before it uses the dataset.

Neither TensorFlow nor a simulator is needed.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from gato_jax.domain import DocumentDomain, Domain, RecordedDomain, SimulatedDomain
from gato_jax.env import logs
from gato_jax.storage import origin


def expected(
  domain: Domain,
  task: str,
  raw: pathlib.Path,
  *,
  settings: Mapping[str, Any] | None = None,
  side: int | None = None,
  sources: pathlib.Path | None = None,
) -> dict[str, Any]:
  """Returns the origin of a dataset that would be built now.

  Args:
    domain: The domain of the task.
    task: Short name of the task.
    raw: Directory of raw logs. Without logs of the task the origin has no part about them.
    settings: Changes of the expert's actions while episodes are collected; None for those that were
      used.
    side: Pixels of images in documents.
    sources: Directory of the files that documents are built from (rlds_builders/base/sources.py).
  """
  parts = origin.declared(domain, task)

  if isinstance(domain, SimulatedDomain):
    directory = logs.task_directory(raw, domain.name, task)

    if content := logs.content_hash(directory):
      collected = origin.read(directory) or {}
      parts = {**collected, **parts, "logs": content}

      # The sharding of the logs changes no episode, and the dataset's spec has the rest.
      for part in ("shard_episodes", "observation", "action", "control_timestep"):
        parts.pop(part, None)

    parts |= settings or {}

  if isinstance(domain, RecordedDomain):
    source = domain.sources[task]
    if not source.dataset.startswith("tfds:") and (content := origin.listing_hash(source.path)):
      parts["recording"] = content

  if isinstance(domain, DocumentDomain):
    if side is not None:
      parts["side"] = side
    if sources is not None and (content := origin.files_hash(sources / domain.name)):
      parts["files"] = content

  return parts


def stale_logs(domain: Domain, task: str, raw: pathlib.Path) -> str:
  """Names what changed since the raw logs of a task were collected, or returns ""."""
  collected = origin.read(logs.task_directory(raw, domain.name, task)) or {}
  return origin.difference(collected, origin.declared(domain, task), origin.EPISODES)


def stale(metadata: pathlib.Path, now: Mapping[str, Any]) -> str:
  """Names what changed since a dataset was built, or returns "".

  Args:
    metadata: The dataset's metadata.json.
    now: The origin that `expected` returns.
  """
  built = origin.of_dataset(metadata)

  # Datasets of earlier versions have an origin without the hash of the logs.
  if "logs" in now and "logs" not in built:
    return "it was built by an older version, which did not note its sources"

  return origin.difference(built, now)
