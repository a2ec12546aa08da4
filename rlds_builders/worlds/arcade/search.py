"""Planning by rollouts in a deterministic emulator whose state can be copied.

A planned future comes true, so the best course of actions so far is kept from decision to decision,
and every rollout tries to improve on it: it follows that course up to a random node, leaves it
there, and continues with random actions to the horizon.
"""

import dataclasses
import random
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Budget:
  """Amount of planning for a decision, and what plans are worth.

  Attributes:
    repeat: Environment steps for which a planned action is repeated.
    nodes: New states that are tried for each decision.
    danger: New states that are tried while every known course loses a life.
    horizon: Planned actions of a course.
    discount: Of a reward, for every planned action before it.
    life: Cost of losing a life, to the planner alone; no score shows it.
    curiosity: Value of a state whose memory holds only values that were not played through for
      long. Less than any point, it decides where no points are in sight.
  """

  repeat: int = 1
  nodes: int = 10
  danger: int = 200
  horizon: int = 40
  discount: float = 0.995
  life: float = 10_000.0
  curiosity: float = 0.01


_MEMORY = 128  # bytes of the console's memory

# Offset of each byte's 256 values in a flat table of (byte, value).
_BYTE_OFFSETS = np.arange(_MEMORY) * 256

_FORGOTTEN = 200  # decisions after which a value counts as never seen


class _Node:
  """A state of the game.

  Attributes:
    state: The emulator's state.
    memory: The console's memory, uint8 [128].
    lives: Lives that are left.
    ended: True when the game is over.
    reward: Reward of the action that led here.
    value: Value of the best course from here.
    children: Node by action, in the order in which actions were tried.
  """

  __slots__ = ("children", "ended", "lives", "memory", "reward", "state", "value")

  def __init__(self, emulator: Any, reward: float):
    self.state = emulator.cloneState()
    self.memory = emulator.getRAM()
    self.lives = emulator.lives()
    self.ended = emulator.game_over()
    self.reward = reward
    self.value = 0.0
    self.children: dict[int, _Node] = {}


class Search:
  """Plans on an emulator of its own."""

  # Probabilities of repeating the last random action. One is drawn per rollout, so that some
  # rollouts dodge and others cross the screen.
  _STICKY = (0.5, 0.8, 0.95)

  def __init__(self, emulator: Any, frames: int, budget: Budget):
    """Initialises the search.

    Args:
      emulator: An ALEInterface whose actions last a frame; its state is overwritten.
      frames: Frames of an environment step.
      budget: The amount of planning.
    """
    self._emulator = emulator
    self._actions = [action.value for action in emulator.getMinimalActionSet()]
    self._frames = frames * budget.repeat
    self._budget = budget
    self.reset(0)

  def reset(self, seed: int) -> None:
    """Forgets the plans; rollouts draw from a generator with this seed."""
    self._random = random.Random(f"atari rollouts {seed}")
    self._root: _Node | None = None

    # The number of this decision, and that of the last one at which a byte had a value.
    self._now = 0
    self._last_seen = np.full(_MEMORY * 256, -_FORGOTTEN)

  def plan(self, state: Any) -> int:
    """Returns the action, of ALE's 18, to play from an emulator's state."""
    budget = self._budget
    emulator = self._emulator
    emulator.restoreState(state)

    # Another memory than planned: the game was pushed off the course, and the plans are void.
    if self._root is None or not np.array_equal(self._root.memory, emulator.getRAM()):
      self._root = _Node(emulator, 0.0)

    self._now += 1
    self._last_seen[self._root.memory + _BYTE_OFFSETS] = self._now
    self._emulator_node = self._root  # the node whose state the emulator is in

    # The first rollout extends the best course to the horizon again.
    tried = self._rollout(budget.horizon)

    # The number of rollouts is limited too: a game that is about to end has few new states.
    for _ in range(4 * budget.danger):
      in_danger = self._root.value < -budget.life / 2
      if tried >= (budget.danger if in_danger else budget.nodes):
        break
      tried += self._rollout(self._random.randrange(budget.horizon))

    action = self._best_action(self._root)
    self._root = self._root.children[action]
    return action

  def _rollout(self, leave: int) -> int:
    """Follows the best course for `leave` actions, then random ones to the horizon.

    Returns:
      The number of new states.
    """
    assert self._root is not None
    node = self._root
    path: list[_Node] = []
    action = self._random.choice(self._actions)
    tried = 0
    repeat_probability = self._random.choice(self._STICKY)

    while len(path) < self._budget.horizon and not node.ended:
      path.append(node)

      # The first action off the course is always drawn, later ones may repeat the last.
      if len(path) <= leave and node.children:
        action = self._best_action(node)
      elif len(path) == leave + 1 or self._random.random() >= repeat_probability:
        action = self._random.choice(self._actions)

      child = node.children.get(action)
      if child is None:
        child = node.children[action] = self._expand(node, action)
        tried += 1
      node = child

    # Backs the values up from the last node to the root.
    for node in reversed(path):
      node.value = max(self._worth(child) for child in node.children.values())

    return tried

  def _worth(self, child: _Node) -> float:
    return child.reward + self._budget.discount * child.value

  def _best_action(self, node: _Node) -> int:
    """Returns the best action; the one tried first among equals, so that courses are kept."""
    return max(node.children, key=lambda action: self._worth(node.children[action]))

  def _expand(self, node: _Node, action: int) -> _Node:
    """Plays an action from a node and returns the new node."""
    emulator = self._emulator

    # Copying a state back is slow, and not needed along a path.
    if self._emulator_node is not node:
      emulator.restoreState(node.state)

    reward = 0.0
    for _ in range(self._frames):
      reward += emulator.act(action)
      if emulator.game_over():
        break

    child = _Node(emulator, reward)
    self._emulator_node = child

    if child.lives < node.lives:
      child.reward -= self._budget.life
    elif self._budget.curiosity:
      age = self._now - self._last_seen[child.memory + _BYTE_OFFSETS]
      mean_age = np.minimum(age, _FORGOTTEN).mean()
      child.reward += self._budget.curiosity * mean_age / _FORGOTTEN

    return child
