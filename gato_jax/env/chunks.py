"""Action chunks: a transform of datasets and their specs, and a wrapper of actors.

With `data.chunk` a timestep holds the next k actions instead of one, so the network predicts them
after one observation (Zhao et al. 2023, ACT). Acting executes the first of them one by one and asks
again: fewer calls, and no copying of the last action within a chunk.
"""

import dataclasses
from typing import Any

import numpy as np
from dm_env import specs

from gato_jax.env.loop import Actor
from gato_jax.env.realtime import ActionRepeat
from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec


def with_chunk(spec: TaskSpec, size: int) -> TaskSpec:
  """Returns the spec whose action is a chunk of `size` actions, [size, ...]."""
  assert spec.action is not None, "documents have no actions"
  action = spec.action
  shape = (size, *action.shape)

  def bound(values: Any) -> np.ndarray:
    return np.broadcast_to(np.broadcast_to(values, action.shape), shape)

  chunk = specs.BoundedArray(
    shape, action.dtype, bound(action.minimum), bound(action.maximum), name=action.name
  )
  return dataclasses.replace(spec, action=chunk)


def chunk_indices(starts: np.ndarray, ends: np.ndarray, size: int) -> np.ndarray:
  """Returns which actions make up the chunks of some steps.

  Args:
    starts: Int [n], index of each step's own action.
    ends: Int [n], end of its episode, exclusive; the last action is repeated beyond it.
    size: Actions of a chunk.

  Returns:
    Int [n, size].
  """
  return np.minimum(starts[:, None] + np.arange(size), ends[:, None] - 1)


class ChunkedActor(ActionRepeat):
  """Executes the first `steps` actions of each chunk that an actor gives, then asks again."""

  def __init__(self, actor: Actor, steps: int):
    if steps < 1:
      raise GatoError(f"act.chunk_steps={steps}: at least one action of a chunk is executed")
    super().__init__(actor, steps)

  def _action(self, answer: Any, elapsed: int) -> Any:
    return answer[elapsed]
