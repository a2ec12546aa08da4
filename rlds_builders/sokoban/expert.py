"""A* over pushes: of all shortest solutions, the first in the order up, down, left, right.

That choice makes the expert a function of the board: the rest of the first shortest solution is itself the first
shortest solution from there on, so the same board always gets the same action, which can be cloned.
"""

import functools
import heapq
import itertools
import math
from collections.abc import Iterable

import dm_env
import numpy as np

from gato_jax.errors import GatoError
from rlds_builders.sokoban import environment, levels

NODES = 2_000_000  # boards looked at before giving up


def make(env: environment.Sokoban, task: str) -> "Expert":
  del task
  return Expert(env)


class Expert:
  """Follows its plan and plans again only when the board is not the planned one (privileged: it reads the board)."""

  def __init__(self, env: environment.Sokoban):
    self._env = env
    self._plan: dict[tuple[int, frozenset[int]], int] = {}
    self._dead_end = False

  def reset(self, seed: int) -> None:
    del seed
    self._plan = {}
    self._dead_end = False

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    """The action, int32 []; up in a dead end, where nothing helps."""
    del timestep
    board = self._env.player, frozenset(self._env.boxes)
    if board not in self._plan and not self._dead_end:
      self._replan(*board)
    return np.int32(0 if self._dead_end else self._plan[board])

  def _replan(self, player: int, boxes: frozenset[int]) -> None:
    """Keeps the action for every board of the solution, or that there is none: no move leads out of a dead end."""
    level = self._env.level
    solution = solve(level, player, boxes)
    self._dead_end = solution is None
    plan = {}
    for action in solution or b"":
      plan[player, boxes] = action
      player += level.deltas[action]
      if player in boxes:
        boxes = boxes - {player} | {player + level.deltas[action]}
    self._plan = plan


def solve(level: levels.Level, player: int, boxes: Iterable[int]) -> bytes | None:
  """The first shortest sequence of actions that puts every box on a target; None in a dead end.

  Raises:
    GatoError: more than NODES boards were looked at.
  """
  search = _Search(level)
  start = (player, tuple(sorted(boxes)))
  # Ordered by (moves so far + bound, actions): ties are settled by the actions, so the first goal found is the one.
  queue = [(search.bound(start[1]), b"", start)]
  best: dict[tuple[int, tuple[int, ...]], tuple[int, bytes]] = {start: (0, b"")}
  for nodes in itertools.count():
    if not queue or queue[0][0] == math.inf:
      return None
    _, actions, state = heapq.heappop(queue)
    if best[state][1] != actions:  # a better way here was found meanwhile
      continue
    player, boxes = state
    if search.targets.issuperset(boxes):
      return actions
    if nodes > NODES:
      raise GatoError(f"Sokoban solver: no solution within {NODES} boards of {level.rows()}; use a smaller level")
    for after, longer in search.successors(player, boxes, actions):
      cost = (len(longer), longer)
      if after in best and best[after] <= cost:
        continue
      bound = search.bound(after[1])
      if bound < math.inf:
        best[after] = cost
        heapq.heappush(queue, (cost[0] + bound, longer, after))
  return None


class _Search:
  """Bounds and moves on one level's walls and targets."""

  def __init__(self, level: levels.Level):
    self.targets = level.targets
    self._walls = level.walls
    self._deltas = level.deltas
    self._pushes = [self._pushes_to(target) for target in sorted(level.targets)]
    self._dead = {cell for cell in range(len(level.walls)) if all(cell not in pushes for pushes in self._pushes)}
    self.bound = functools.cache(self._bound)

  def _pushes_to(self, target: int) -> dict[int, int]:
    """Cell -> pushes that bring a lone box from there to `target`, wherever the player is."""
    found, queue = {target: 0}, [target]
    for cell in queue:
      for delta in self._deltas:
        before, player = cell - delta, cell - 2 * delta
        if before not in found and not self._walls[before] and not self._walls[player]:
          found[before] = found[cell] + 1
          queue.append(before)
    return found

  def _bound(self, boxes: tuple[int, ...]) -> float:
    """Least summed pushes over all ways to give each box a target of its own; infinite in a dead end."""
    costs = [[pushes.get(box, math.inf) for pushes in self._pushes] for box in boxes]
    best = {0: 0.0}  # set of targets given away, as bits -> least cost
    for row in costs:
      longer: dict[int, float] = {}
      for given, cost in best.items():
        for i, extra in enumerate(row):
          if not given >> i & 1 and cost + extra < longer.get(given | 1 << i, math.inf):
            longer[given | 1 << i] = cost + extra
      best = longer
    return min(best.values(), default=math.inf)

  def successors(self, player: int, boxes: tuple[int, ...], actions: bytes):
    """((player, boxes), actions) after the nearest way to every possible push."""
    walls, deltas, occupied = self._walls, self._deltas, set(boxes)
    paths, queue = {player: actions}, [player]
    for cell in queue:  # breadth first in the order of the actions: the first shortest walk to every cell
      path = paths[cell]
      for action, delta in enumerate(deltas):
        near = cell + delta
        if walls[near] or near in paths:
          continue
        longer = path + _BYTES[action]
        if near not in occupied:
          paths[near] = longer
          queue.append(near)
        elif not walls[near + delta] and near + delta not in occupied and near + delta not in self._dead:
          yield (near, tuple(sorted(occupied - {near} | {near + delta}))), longer


_BYTES = [bytes([action]) for action in range(len(levels.ACTIONS))]
