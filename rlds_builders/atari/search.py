"""Planning by rollouts in a deterministic emulator whose state can be copied.

What was found stays true, so the best course so far is kept from decision to decision, and every rollout tries to
better it: it follows that course up to a random place, leaves it there, and goes on to the horizon.
"""

import dataclasses
import random
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Budget:
  """How much is planned for a decision.

  Attributes:
    repeat: environment steps that a planned action lasts.
    nodes: new states that are tried for each decision.
    danger: how many are tried while every course found so far loses a life.
    horizon: planned actions that a course is long.
    discount: of a reward, for every planned action that comes before it.
    life: what losing a life costs, in the planner's eyes alone; no score shows it.
    curiosity: what a state is worth whose memory holds only values that were not played through for long: less than
      any point, it decides where no points are in sight.
  """

  repeat: int = 1
  nodes: int = 10
  danger: int = 200
  horizon: int = 40
  discount: float = 0.995
  life: float = 10_000.0
  curiosity: float = 0.01


_MEMORY = 128  # bytes
_BYTE = np.arange(_MEMORY) * 256  # where a byte's 256 values begin in a table
_FORGOTTEN = 200  # decisions after which a value counts as never seen


class _Node:
  """A state of the game: `reward` came on the way into it, `value` is the best course's below it."""

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
  """Plans on an emulator of its own.

  Args:
    emulator: an ALEInterface whose actions last a frame; its state is overwritten.
    frames: that an environment step lasts.
  """

  _STICKY = (0.5, 0.8, 0.95)  # chances, one drawn per rollout, that an action is held: dodging as well as crossing

  def __init__(self, emulator: Any, frames: int, budget: Budget):
    self._emulator = emulator
    self._actions = [action.value for action in emulator.getMinimalActionSet()]
    self._frames = frames * budget.repeat
    self._budget = budget
    self.reset(0)

  def reset(self, seed: int) -> None:
    """Forgets what was planned; rollouts draw from a generator with this seed."""
    self._random = random.Random(f"atari rollouts {seed}")
    self._root: _Node | None = None
    self._now = 0
    self._seen = np.full(_MEMORY * 256, -_FORGOTTEN)  # when a byte last had a value

  def plan(self, state: Any) -> int:
    """The action, of ALE's 18, to play from an emulator's state."""
    emulator = self._emulator
    emulator.restoreState(state)
    if self._root is None or not np.array_equal(self._root.memory, emulator.getRAM()):  # pushed off the course
      self._root = _Node(emulator, 0.0)
    self._now += 1
    self._seen[self._root.memory + _BYTE] = self._now
    self._at = self._root  # the node whose state the emulator is in
    horizon = self._budget.horizon
    tried = self._rollout(horizon)  # makes the best course as long as the horizon again
    for _ in range(4 * self._budget.danger):  # a game that is about to end leaves little that is new
      if tried >= (self._budget.danger if self._root.value < -self._budget.life / 2 else self._budget.nodes):
        break
      tried += self._rollout(self._random.randrange(horizon))
    action = self._best(self._root)
    self._root = self._root.children[action]
    return action

  def _rollout(self, leave: int) -> int:
    """Walks the best course for `leave` actions, then random ones to the horizon; returns how many states were new."""
    node, path, action, tried = self._root, [], self._random.choice(self._actions), 0
    hold = self._random.choice(self._STICKY)
    while len(path) < self._budget.horizon and not node.ended:
      path.append(node)
      if len(path) <= leave and node.children:
        action = self._best(node)
      elif len(path) == leave + 1 or self._random.random() >= hold:
        action = self._random.choice(self._actions)
      child = node.children.get(action)
      if child is None:
        child = node.children[action] = self._try(node, action)
        tried += 1
      node = child
    for node in reversed(path):
      node.value = max(self._worth(child) for child in node.children.values())
    return tried

  def _worth(self, child: _Node) -> float:
    return child.reward + self._budget.discount * child.value

  def _best(self, node: _Node) -> int:
    """Of equally good actions the one that was tried first, so that a course is kept until a better one is found."""
    return max(node.children, key=lambda action: self._worth(node.children[action]))

  def _try(self, node: _Node, action: int) -> _Node:
    emulator = self._emulator
    if self._at is not node:
      emulator.restoreState(node.state)
    reward = 0.0
    for _ in range(self._frames):
      reward += emulator.act(action)
      if emulator.game_over():
        break
    self._at = child = _Node(emulator, reward)
    if child.lives < node.lives:
      child.reward -= self._budget.life
    elif self._budget.curiosity:
      age = np.minimum(self._now - self._seen[child.memory + _BYTE], _FORGOTTEN)
      child.reward += self._budget.curiosity * age.mean() / _FORGOTTEN
    return child
