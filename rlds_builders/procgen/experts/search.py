"""The quickest way to the next reward, by playing every action from every place that can be reached.

States that fall into one cell count as one, so the search ends; the first to get there is kept.
"""

import collections
from collections.abc import Hashable, Sequence

import numpy as np

from rlds_builders.procgen import environment
from rlds_builders.procgen import state as procgen_state
from rlds_builders.procgen.experts import rolling

_NODES = 20_000  # states looked at before giving up, over all sizes of cells
_FINER = (1, 2, 4)  # cells and velocities, where the way was not found: two states in one cell may lead elsewhere


class Search:
  """Finds plans to the next reward.

  Args:
    game: name of a game.
    actions: those to search over.
    hold: steps that each is held.
    cell: side of a cell, in the game's cells.
    speed: width of a cell in each of the two velocities, cells a step; 0: all velocities are one.
    time: width of a cell in time, steps, for games where waiting helps; 0: all times are one.
    count: types of entities whose number tells states apart; all, where it is None.
    tail: bytes before the end of a saved state that tell states apart, (from, to).
    safe: None, or a planner that must be able to live on where the reward is had.
  """

  def __init__(
    self,
    game: str,
    actions: Sequence[int],
    hold: int,
    cell: float = 0.5,
    speed: float = 0.25,
    time: int = 0,
    count: Sequence[int] | None = (),
    tail: tuple[int, int] | None = None,
    safe: rolling.Rolling | None = None,
  ):
    self._games = environment.Games(game, len(actions))
    self._actions = np.array(actions, np.int32)
    self._hold, self._cell, self._speed, self._time = hold, cell, speed, time
    self._count, self._tail, self._safe = count, tail, safe

  def plan(self, state: bytes) -> list[int] | None:
    """Actions from a saved state up to the next reward; None where none was found, in smaller and smaller cells."""
    self._left = _NODES
    for finer in _FINER:
      if (found := self._search(state, finer)) is not None:
        return found
    return None

  def _search(self, state: bytes, finer: int) -> list[int] | None:
    seen = {self._key(state, finer)}
    parents: list[tuple[int, int]] = [(-1, -1)]  # of every node: its parent, the action that led here
    queue = collections.deque([(0, state)])  # all edges take equally long, so first in, first out
    while queue and self._left > 0:
      self._left -= 1
      node, saved = queue.popleft()
      children, rewarded = self._expand(saved)
      for branch, steps in rewarded:
        plan = [int(self._actions[branch])] * steps
        if self._safe is None or self._lives(saved, plan):
          return self._way(parents, node) + plan
        children.pop(branch, None)
      for branch, after in children.items():
        key = self._key(after, finer)
        if key not in seen:
          seen.add(key)
          queue.append((len(parents), after))
          parents.append((node, int(self._actions[branch])))
    return None

  def _expand(self, saved: bytes) -> tuple[dict[int, bytes], list[tuple[int, int]]]:
    """Plays every action from a state: states by branch where the game goes on, (branch, steps) of first rewards."""
    games, branches = self._games, range(len(self._actions))
    for branch in branches:
      games.restore(saved, branch)
    alive, rewarded = np.ones(len(branches), bool), []
    for step in range(1, self._hold + 1):
      games.act(self._actions)
      completed = games.ended & (games.completed == 1)
      for branch in np.flatnonzero(alive & (games.rewards > 0) & (completed | ~games.ended)):
        rewarded.append((int(branch), step))
      alive &= ~games.ended
    rewarded = list({branch: (branch, step) for branch, step in reversed(rewarded)}.values())
    children = {branch: games.save(branch) for branch in branches if alive[branch]}
    return children, sorted(rewarded, key=lambda found: found[1])

  def _lives(self, saved: bytes, plan: list[int]) -> bool:
    """Whether the game is completed by the plan or can be lived on after it."""
    self._games.restore(saved)
    for action in plan:
      self._games.act(np.full(len(self._actions), action, np.int32))
    return bool(self._games.ended[0]) or self._safe.survives(self._games.save())

  def _way(self, parents: list[tuple[int, int]], node: int) -> list[int]:
    plan: list[int] = []
    while node > 0:
      node, action = parents[node]
      plan = [action] * self._hold + plan
    return plan

  def _key(self, saved: bytes, finer: int) -> Hashable:
    state = procgen_state.parse(saved)
    x, y, *speeds = state.agent.tolist()
    key = [int(finer * at / self._cell + 0.01) for at in (x, y)]
    if self._speed:
      key += [int(np.floor(finer * speed / self._speed + 0.01)) for speed in speeds]
    if self._time:
      key.append(state.time // self._time)
    if self._count is None:
      key.append(len(state.types))
    else:
      key += [int(np.count_nonzero(state.types == kind)) for kind in self._count]
    if self._tail:
      key.append(saved[self._tail[0] : self._tail[1]])
    return tuple(key)
