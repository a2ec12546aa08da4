"""Search for the quickest way to the next reward, which plays every action from every known state.

States in one cell (of position, velocity and so on) count as one, so the search ends; the first
state in a cell is kept.
"""

import collections
from collections.abc import Hashable, Sequence

import numpy as np

from rlds_builders.procgen import environment
from rlds_builders.procgen import state as procgen_state
from rlds_builders.procgen.experts import rolling

_NODES = 20_000  # states that are expanded before giving up, over all sizes of cells

# Divisors of cells and velocities. Two states in one cell may lead to different places, so cells
# become finer where no way is found.
_RESOLUTIONS = (1, 2, 4)


class Search:
  """Finds plans to the next reward."""

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
    """Initialises the search.

    Args:
      game: The game's name.
      actions: Actions to search over.
      hold: Steps for which each action is repeated.
      cell: Side of a cell, in the game's cells.
      speed: Width of a cell in both velocities, in cells a step; 0 for one cell.
      time: Width of a cell in time, in steps, for games where waiting helps; 0 for one cell.
      count: Types of entities whose number tells states apart; None for all types together.
      tail: Range of bytes, from the end of a saved state, that tells states apart.
      safe: A planner that must be able to survive after the reward.
    """
    self._games = environment.Games(game, len(actions))
    self._actions = np.array(actions, np.int32)
    self._hold = hold
    self._cell = cell
    self._speed = speed
    self._time = time
    self._count = count
    self._tail = tail
    self._safe = safe

  def plan(self, state: bytes) -> list[int] | None:
    """Returns the actions from a saved state to the next reward; None where no way was found."""
    self._nodes_left = _NODES
    for resolution in _RESOLUTIONS:
      actions = self._search(state, resolution)
      if actions is not None:
        return actions

    return None

  def _search(self, state: bytes, resolution: int) -> list[int] | None:
    seen = {self._key(state, resolution)}

    # (Parent, action that led here) of every node.
    parents: list[tuple[int, int]] = [(-1, -1)]

    # All edges take equally long, so the search is breadth-first.
    queue = collections.deque([(0, state)])
    while queue and self._nodes_left > 0:
      self._nodes_left -= 1
      node, saved = queue.popleft()
      children, rewarded = self._expand(saved)

      for branch, steps in rewarded:
        plan = [int(self._actions[branch])] * steps
        if self._safe is None or self._survives(saved, plan):
          return self._path(parents, node) + plan

        # A reward that costs the life leads nowhere.
        children.pop(branch, None)

      for branch, child in children.items():
        key = self._key(child, resolution)
        if key not in seen:
          seen.add(key)
          queue.append((len(parents), child))
          parents.append((node, int(self._actions[branch])))

    return None

  def _expand(self, saved: bytes) -> tuple[dict[int, bytes], list[tuple[int, int]]]:
    """Plays every action from a state, each as a branch in a game of its own.

    Returns:
      The states of branches in which the game goes on; and (branch, steps) of branches with a
      reward, ordered by the steps to their first reward.
    """
    games, branches = self._games, range(len(self._actions))
    for branch in branches:
      games.restore(saved, branch)

    is_alive = np.ones(len(branches), bool)
    rewards: list[tuple[int, int]] = []
    for step in range(1, self._hold + 1):
      games.act(self._actions)

      # A reward counts if the game goes on after it, or was completed by it.
      completed = games.ended & (games.completed == 1)
      rewarded = is_alive & (games.rewards > 0) & (completed | ~games.ended)
      rewards += [(branch, step) for branch in np.flatnonzero(rewarded).tolist()]
      is_alive &= ~games.ended

    children = {branch: games.save(branch) for branch in branches if is_alive[branch]}

    # The first reward of each branch: reversed, so that earlier entries overwrite later ones. The
    # order among equals is part of the recorded experts.
    first_steps = {branch: step for branch, step in reversed(rewards)}
    return children, sorted(first_steps.items(), key=lambda item: item[1])

  def _survives(self, saved: bytes, plan: list[int]) -> bool:
    """True when a plan completes the game or the planner survives after it."""
    assert self._safe is not None

    # All copies are stepped, the first one counts.
    self._games.restore(saved)
    for action in plan:
      self._games.act(np.full(len(self._actions), action, np.int32))

    return bool(self._games.ended[0]) or self._safe.survives(self._games.save())

  def _path(self, parents: list[tuple[int, int]], node: int) -> list[int]:
    """Returns the actions from the root to a node."""
    plan: list[int] = []
    while node > 0:
      node, action = parents[node]
      plan = [action] * self._hold + plan

    return plan

  def _key(self, saved: bytes, resolution: int) -> Hashable:
    """Returns the cell of a state."""
    state = procgen_state.parse(saved)
    x, y, *velocities = state.agent.tolist()

    # 0.01: what rests on the border of two cells does not jump between them by rounding.
    key: list[Hashable] = [int(resolution * value / self._cell + 0.01) for value in (x, y)]
    if self._speed:
      key += [int(np.floor(resolution * value / self._speed + 0.01)) for value in velocities]
    if self._time:
      key.append(state.time // self._time)

    if self._count is None:
      key.append(len(state.types))
    else:
      key += [int(np.count_nonzero(state.types == kind)) for kind in self._count]
    if self._tail:
      key.append(saved[self._tail[0] : self._tail[1]])

    return tuple(key)
