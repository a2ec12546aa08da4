"""Reads raw logs as RLDS episodes."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from gato_jax.env import logs, results
from gato_jax.task import nested
from rlds_builders.base import records


def read(shard: tuple[int, str], agent_id: str) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (index, record) of each episode; on Beam this runs in any process of any machine.

  Args:
    shard: Index of its first episode, and the path of a raw shard.
    agent_id: Identifies the expert.
  """
  start, path = shard
  for index, (row, columns) in enumerate(logs.read_shard(pathlib.Path(path)), start):
    yield index, record(index, row, columns=columns, agent_id=agent_id)


def record(
  index: int, row: results.Row, columns: dict[str, np.ndarray], agent_id: str
) -> dict[str, Any]:
  """Converts an episode of a raw log to the features of episodes.

  Args:
    index: Index of the episode in collection order.
    row: The episode's result.
    columns: Flat fields of its steps, [T + 1, ...] for T transitions.
    agent_id: Identifies who acted.
  """
  steps = nested(columns)
  step_count = row.length + 1
  is_first = np.arange(step_count) == 0
  is_last = np.arange(step_count) == step_count - 1

  # The step before the last one carries the last transition's discount, which is 0 where the
  # environment ended by itself.
  is_terminal = is_last & (columns["discount"][-2] == 0)
  steps.update(is_first=is_first, is_last=is_last, is_terminal=is_terminal)

  # Where the policy acted, the expert only labelled its steps.
  if row.actor.startswith(results.POLICY):
    agent_id = f"{row.actor}, corrected by {agent_id}"

  return {
    "steps": steps,
    "episode_metadata": {
      "agent_id": agent_id,
      "task": row.task,
      "seed": row.seed,
      "index": index,
      "return": row.episode_return,
      "length": row.length,
      "success": records.SUCCESS_UNDEFINED if row.success is None else int(row.success),
      "disturbed": row.actor != "expert",
      "info": json.dumps(row.info, sort_keys=True),
    },
  }
