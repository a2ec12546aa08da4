"""Expert that walks among walls and circles: shortest paths on a grid, followed without collisions.

Points are (x, z) in metres, as MiniWorld's floor has them; z points to the viewer.
"""

import dataclasses
import math
from typing import Any

import dm_env
import numpy as np
import scipy.ndimage
import scipy.sparse.csgraph

from rlds_builders.worlds import radians

# Actions.
LEFT, RIGHT, FORWARD, PICK_UP, DROP = range(5)

# Radians of a turn, and metres of a step forward.
TURN = math.radians(15)
STRIDE = 0.25

# Metres of a grid cell's side; a large map has larger cells, so that there are not too many.
CELL = 0.2
MOST_CELLS = 22_500

# Metres between body and wall that lines of sight keep.
_MARGIN = 0.08

# Within this many metres of a wall or circle, beside the body, a path costs more: up to
# 1 + _SHYNESS times as much.
_SHY_DISTANCE = 0.45
_SHYNESS = 3.0

# Metres to the nearest wall or circle where there is none.
_FAR = 1e6

# Another heading must be better than the current one by this share of a turn.
_STRAIGHT_ON = 0.15

# Turns that lead to each of the 24 headings, the smallest first.
_TURNS = np.array(sorted(range(-11, 13), key=abs))


@dataclasses.dataclass(frozen=True)
class Goal:
  """A position worth going to.

  Attributes:
    position: float [2], x and z in metres.
    reach: Metres from the position that are near enough.
    action: Action to take there, facing it; None where being there is all.
  """

  position: np.ndarray
  reach: float
  action: int | None = None


class Floor:
  """Grid of the positions at which a round body fits.

  Args:
    walls: float [N, 2, 2], segments (x, z) in metres that enclose the space.
    radius: Metres of the body that walks.
  """

  def __init__(self, walls: np.ndarray, radius: float):
    self.radius = radius
    self._walls = np.asarray(walls, float)

    corners = self._walls.reshape(-1, 2)
    low = np.min(corners, axis=0)
    high = np.max(corners, axis=0)
    self._side = max(CELL, math.sqrt(np.prod(high - low) / MOST_CELLS))

    # One more cell around the walls on every side.
    self._low = low - self._side
    self._shape = tuple(np.ceil((high + self._side - self._low) / self._side).astype(int) + 1)
    self._middles = self._low + self._side * np.moveaxis(np.indices(self._shape), 0, -1)
    self._from_walls = self._distance(self._middles)
    self.place([])

  def place(self, circles: list[tuple[float, float, float]]) -> None:
    """Replaces all other obstacles than walls by circles (x, z, radius)."""
    self._circles = np.array(circles, float).reshape(-1, 3)
    self._clearance = np.minimum(self._from_walls, self._beside_circles(self._middles))

    # Half of the margin: who stands slightly too close to a wall must still find a way out.
    is_free = self._clearance >= self.radius + _MARGIN / 2
    closeness = np.clip(1 - (self._clearance - self.radius) / _SHY_DISTANCE, 0, 1)
    self._cost = np.where(is_free, 1 + _SHYNESS * closeness, np.inf)

  def _distance(self, points: np.ndarray) -> np.ndarray:
    """Returns the metres to the nearest wall; points are float [..., 2]."""
    nearest = np.full(points.shape[:-1], _FAR)
    for start, end in self._walls:
      along = end - start
      # Share of the segment at which its point nearest to each of the points lies.
      share = np.clip((points - start) @ along / (along @ along), 0, 1)
      distance = np.linalg.norm(points - start - share[..., None] * along, axis=-1)
      np.minimum(nearest, distance, out=nearest)
    return nearest

  def _beside_circles(self, points: np.ndarray) -> np.ndarray:
    """Returns the metres to the nearest circle; points are float [..., 2]."""
    nearest = np.full(points.shape[:-1], _FAR)
    for x, z, radius in self._circles:
      distance = np.hypot(points[..., 0] - x, points[..., 1] - z) - radius
      np.minimum(nearest, distance, out=nearest)
    return nearest

  def clearance(self, points: np.ndarray) -> np.ndarray:
    """Returns the exact metres from points, float [..., 2], to the nearest wall or circle."""
    return np.minimum(self._distance(points), self._beside_circles(points))

  def _cell(self, point: np.ndarray) -> int:
    """Returns the index of the nearest free cell."""
    distance = np.linalg.norm(self._middles - point, axis=-1)
    return int(np.argmin(np.where(np.isfinite(self._cost), distance, np.inf)))

  def field(self, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the cheapest paths from all cells to any of the source cells.

    Args:
      sources: int [N], indices of cells.

    Returns:
      Costs, float [cells], and the next cell on each path, int [cells], negative at its end.
    """
    costs, next_cells, _ = scipy.sparse.csgraph.dijkstra(
      self._graph(), indices=sources, min_only=True, return_predecessors=True
    )
    return costs, next_cells

  def _graph(self) -> scipy.sparse.csr_matrix:
    """Returns the costs of moving between neighbouring free cells, [cells, cells]."""
    index = np.arange(self._cost.size).reshape(self._shape)
    row_count, column_count = self._shape
    rows, columns, weights = [], [], []

    # Half of the eight neighbours; adding the transposed matrix gives the other half.
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
      # Views of all cells that have this neighbour, and of the neighbours, of one shape.
      here = (
        slice(0, row_count - down),
        slice(max(0, -right), column_count - max(0, right)),
      )
      there = (
        slice(down, None),
        slice(max(0, right), column_count + min(0, right)),
      )
      length = self._side * math.hypot(down, right)
      cost = length * (self._cost[here] + self._cost[there]) / 2

      is_free = np.isfinite(cost)
      rows.append(index[here][is_free])
      columns.append(index[there][is_free])
      weights.append(cost[is_free])

    size = self._cost.size
    entries = (np.concatenate(rows), np.concatenate(columns))
    graph = scipy.sparse.csr_matrix((np.concatenate(weights), entries), (size, size))
    return graph + graph.T

  def distances(self, point: np.ndarray) -> np.ndarray:
    """Returns the costs of the cheapest paths from a point to every cell, float [cells]."""
    return self.field(np.array([self._cell(point)]))[0]

  def around(self, point: np.ndarray, reach: float) -> np.ndarray:
    """Returns the indices of the free cells within `reach` of a point, at least the nearest one."""
    is_near = np.linalg.norm(self._middles - point, axis=-1) <= reach
    cells = np.flatnonzero(is_near & np.isfinite(self._cost))
    return cells if cells.size else np.array([self._cell(point)])

  def path(self, point: np.ndarray, next_cells: np.ndarray) -> np.ndarray:
    """Returns the middles of the cells from a point on, float [cells, 2].

    Args:
      point: float [2].
      next_cells: As `field` returns them.
    """
    cells = [self._cell(point)]
    while next_cells[cells[-1]] >= 0:
      cells.append(next_cells[cells[-1]])
    return self._middles.reshape(-1, 2)[cells]

  def sees(self, point: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns True for points that the body can reach in a straight line.

    Args:
      point: float [2].
      others: float [N, 2].

    Returns:
      bool [N].
    """
    # Two samples a cell, along all lines at once: [samples, N, 2].
    offsets = others - point
    longest = float(np.linalg.norm(offsets, axis=-1).max())
    shares = np.linspace(0, 1, max(2, math.ceil(longest / (self._side / 2))))
    samples = point + shares[:, None, None] * offsets

    # Interpolated between cells, which is faster than the exact clearance.
    coordinates = np.moveaxis((samples - self._low) / self._side, -1, 0)
    clearance = scipy.ndimage.map_coordinates(self._clearance, coordinates, order=1, mode="nearest")

    # Who stands close to a wall may leave it.
    least = min(self.radius + _MARGIN, float(clearance[0, 0]))
    return (clearance >= least - 1e-9).all(0)


class Walker:
  """Expert that walks to the nearest goal and acts there.

  It takes the shortest path that keeps off walls, and turning counts. Its only memory is the goal
  that it walks to.

  Args:
    world: Has agent (pos, dir, radius), wall_segs, goals(), obstacles() and barriers(), as
      first_person.World; its actions begin with left, right and forward.
  """

  def __init__(self, world: Any):
    self._world = world

  def reset(self, seed: int) -> None:
    """Reads the new level; to be called after the environment's reset."""
    del seed
    walls = self._world.wall_segs[:, :, [0, 2]]
    barriers = [barrier[None] for barrier in self._world.barriers()]
    self._floor = Floor(np.concatenate([walls, *barriers]), self._world.agent.radius)
    self._goal: Goal | None = None
    self._obstacles: list[tuple[float, float, float]] = []

  def act(self, timestep: dm_env.TimeStep) -> np.int32:
    """Returns the next action; it follows from the world's state."""
    del timestep
    agent = self._world.agent
    position = agent.pos[[0, 2]]
    goal = self._plan(position, agent.dir)
    return np.int32(self._action(position, agent.dir, goal=goal))

  def _plan(self, position: np.ndarray, direction: float) -> Goal:
    """Returns the goal to walk to, and plans the way there.

    The goal changes only when it is gone, and the way when any obstacle has moved.
    """
    goals = self._world.goals()
    obstacles = self._world.obstacles()
    goal = self._goal
    if goal is not None and not any(_same(other, goal) for other in goals):
      goal = None
    if goal is not None and obstacles == self._obstacles:
      return goal

    # The circles at goals are no obstacles on the way to them.
    self._obstacles = obstacles
    positions = {tuple(candidate.position) for candidate in goals}
    self._floor.place([circle for circle in obstacles if circle[:2] not in positions])
    if goal is None:
      goal = self._nearest(goals, position, direction)
      self._goal = goal

    # Who is to act at one goal must not push against the others, which are in the way.
    if goal.action is not None:
      target = tuple(goal.position)
      self._floor.place([circle for circle in obstacles if circle[:2] != target])

    near = self._floor.around(goal.position, goal.reach - 0.1)
    _, self._next_cells = self._floor.field(near)
    return goal

  def _nearest(self, goals: list[Goal], position: np.ndarray, direction: float) -> Goal:
    """Returns the goal that costs least, where a turn costs as much as a step forward."""
    costs = self._floor.distances(position)

    def cost(goal: Goal) -> float:
      turns = abs(_angle(position, direction, goal.position)) / TURN
      return costs[self._floor.around(goal.position, goal.reach)].min() + turns * STRIDE

    return min(goals, key=cost)

  def _action(self, position: np.ndarray, direction: float, goal: Goal) -> int:
    # Within reach it turns to the goal, and then acts.
    if goal.action is not None and np.linalg.norm(goal.position - position) < goal.reach:
      turns = round(_angle(position, direction, goal.position) / TURN)
      return goal.action if turns == 0 else _turn(turns)

    # Otherwise it heads for the farthest point of the path that it can reach in a straight line.
    path = self._floor.path(position, self._next_cells)
    points = np.concatenate([path[1:], goal.position[None]])
    reachable = np.flatnonzero(self._floor.sees(position, points))
    point = points[reachable[-1] if reachable.size else 0]

    turns = self._turns(position, direction, point)
    return FORWARD if turns == 0 else _turn(turns)

  def _turns(self, position: np.ndarray, direction: float, towards: np.ndarray) -> int:
    """Returns the number of turns to the left that lead nearest to facing a point.

    Only headings count in which a step forward fits. It is a function of the state: while the
    agent turns on the spot, the result counts down to 0.
    """
    angles = direction + _TURNS * TURN
    errors = np.abs(radians.wrapped(_angle(position, 0.0, towards) - angles))
    # The first entry is the current heading.
    errors[0] -= _STRAIGHT_ON * TURN

    # z points to the viewer, hence the minus.
    steps = position + STRIDE * np.stack([np.cos(angles), -np.sin(angles)], -1)
    clearance = self._floor.clearance(steps)
    fits = clearance >= self._floor.radius

    # Where no step fits, the one with most room around it is tried.
    best = np.argmin(np.where(fits, errors, np.inf)) if fits.any() else np.argmax(clearance)
    return int(_TURNS[best])


def _turn(turns: int) -> int:
  """Returns the action for a number of turns to the left, which is not 0."""
  return LEFT if turns > 0 else RIGHT


def _same(goal: Goal, other: Goal) -> bool:
  return (*goal.position, goal.action) == (*other.position, other.action)


def _angle(position: np.ndarray, direction: float, towards: np.ndarray) -> float:
  """Returns the radians to the left of a direction in which a point lies."""
  # z points to the viewer, so its difference is taken the other way round.
  angle = math.atan2(position[1] - towards[1], towards[0] - position[0])
  return radians.wrapped(angle - direction)
