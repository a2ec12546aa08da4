"""A* over pushes: of all shortest solutions, the first in the order up, down, left, right.

That order makes the expert a function of the board, which can be cloned: the rest of the first
shortest solution is itself the first shortest solution from there on, so the same board always
gets the same action.
"""

import functools
import heapq
import itertools
import math
from collections.abc import Iterable, Iterator

import dm_env
import numpy as np

from gato_jax.errors import GatoError
from rlds_builders.sokoban import environment, levels

NODES = 2_000_000  # boards that the search looks at before it gives up

# A board in the search: the player's cell and the sorted cells of the boxes.
_Board = tuple[int, tuple[int, ...]]

# Sequences of actions are bytes: compact, and compared in the order of the actions.
_ACTION_BYTES = [bytes([action]) for action in range(len(levels.ACTIONS))]


class Expert:
  """Follows its plan, and plans again only when the board is not a planned one.

  Privileged: it reads the board.
  """

  def __init__(self, env: environment.Sokoban):
    self._env = env
    self._plan: dict[tuple[int, frozenset[int]], int] = {}
    self._dead_end = False

  def reset(self, seed: int) -> None:
    del seed  # nothing is drawn
    self._plan = {}
    self._dead_end = False

  def act(self, timestep: dm_env.TimeStep) -> np.int32:
    """Returns the action; "up" in a dead end, where nothing helps."""
    del timestep  # the board is read from the environment

    board = self._env.player, frozenset(self._env.boxes)
    if board not in self._plan and not self._dead_end:
      self._replan(*board)

    return np.int32(0 if self._dead_end else self._plan[board])

  def _replan(self, player: int, boxes: frozenset[int]) -> None:
    """Plans an action for every board of the solution, or notes that there is no solution."""
    level = self._env.level
    solution = solve(level, player, boxes)

    # No move leads out of a dead end, so this holds for the rest of the episode.
    self._dead_end = solution is None

    plan = {}
    for action in solution or b"":
      plan[player, boxes] = action
      player += level.deltas[action]
      if player in boxes:
        boxes = boxes - {player} | {player + level.deltas[action]}
    self._plan = plan


def solve(level: levels.Level, player: int, boxes: Iterable[int]) -> bytes | None:
  """Searches for the first shortest sequence of actions that puts every box on a target.

  Args:
    level: The walls and targets.
    player: The player's cell.
    boxes: The cells of the boxes.

  Returns:
    The actions; None in a dead end.

  Raises:
    GatoError: More than NODES boards were looked at.
  """
  search = _Search(level)
  start: _Board = (player, tuple(sorted(boxes)))

  # Entries are (moves so far + lower bound of the rest, actions, board). Equal estimates are
  # ordered by their actions, so the first goal that is popped is the first shortest solution.
  queue = [(search.bound(start[1]), b"", start)]
  best: dict[_Board, tuple[int, bytes]] = {start: (0, b"")}

  for nodes in itertools.count():
    if not queue or queue[0][0] == math.inf:
      return None

    _, actions, board = heapq.heappop(queue)

    # An entry is out of date where a better way to its board was found after it was pushed.
    if best[board][1] != actions:
      continue
    if search.targets.issuperset(board[1]):
      return actions
    if nodes > NODES:
      raise GatoError(
        f"Sokoban solver: no solution within {NODES} boards of {level.rows()}; use a smaller level"
      )

    for successor, extended in search.successors(*board, actions):
      cost = (len(extended), extended)
      if successor in best and best[successor] <= cost:
        continue

      bound = search.bound(successor[1])
      if bound < math.inf:
        best[successor] = cost
        heapq.heappush(queue, (cost[0] + bound, extended, successor))

  return None


class _Search:
  """Bounds and moves on the walls and targets of one level.

  Attributes:
    targets: The level's targets.
    bound: Lower bound of the pushes that a solution takes, by the sorted cells of the boxes.
  """

  def __init__(self, level: levels.Level):
    self.targets = level.targets
    self._walls = level.walls
    self._deltas = level.deltas
    self._pushes = [self._pushes_to(target) for target in sorted(level.targets)]

    # From a dead cell a box cannot be pushed to any target.
    self._dead = {
      cell for cell in range(len(level.walls)) if all(cell not in pushes for pushes in self._pushes)
    }
    self.bound = functools.cache(self._bound)

  def _pushes_to(self, target: int) -> dict[int, int]:
    """Returns the pushes from each cell to `target` of a lone box, wherever the player is."""
    pushes, queue = {target: 0}, [target]

    # Breadth-first, backwards: a box on `cell` came from `origin`, pushed by a player behind it.
    for cell in queue:
      for delta in self._deltas:
        origin, player = cell - delta, cell - 2 * delta
        if origin not in pushes and not self._walls[origin] and not self._walls[player]:
          pushes[origin] = pushes[cell] + 1
          queue.append(origin)

    return pushes

  def _bound(self, boxes: tuple[int, ...]) -> float:
    """Returns the least sum of pushes over all assignments of boxes to targets.

    Infinite in a dead end.
    """
    # Dynamic programming over boxes: least cost by the set of assigned targets, a bit mask.
    best = {0: 0.0}
    for box in boxes:
      costs = [pushes.get(box, math.inf) for pushes in self._pushes]

      extended: dict[int, float] = {}
      for assigned, cost in best.items():
        for i, extra in enumerate(costs):
          if assigned >> i & 1:
            continue
          key = assigned | 1 << i
          if cost + extra < extended.get(key, math.inf):
            extended[key] = cost + extra
      best = extended

    return min(best.values(), default=math.inf)

  def successors(
    self, player: int, boxes: tuple[int, ...], actions: bytes
  ) -> Iterator[tuple[_Board, bytes]]:
    """Yields the board after every possible push, and the actions up to and including it."""
    walls, occupied = self._walls, set(boxes)
    paths, queue = {player: actions}, [player]

    # Breadth-first in the order of the actions, so that each cell gets its first shortest walk.
    for cell in queue:
      path = paths[cell]
      for action, delta in enumerate(self._deltas):
        near = cell + delta
        if walls[near] or near in paths:
          continue

        extended = path + _ACTION_BYTES[action]
        if near not in occupied:
          paths[near] = extended
          queue.append(near)
          continue

        beyond = near + delta
        if not walls[beyond] and beyond not in occupied and beyond not in self._dead:
          yield (near, tuple(sorted(occupied - {near} | {beyond}))), extended


def make(env: environment.Sokoban, task: str) -> Expert:
  """Returns the expert, which is the same for every size of boards."""
  del task
  return Expert(env)
