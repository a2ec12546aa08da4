"""How a round agent walks among walls and circles: shortest paths on a grid, and a follower that cuts no corner."""

import dataclasses
import math
from typing import Any

import dm_env
import numpy as np
import scipy.ndimage
import scipy.sparse.csgraph

from rlds_builders import _angles

LEFT, RIGHT, FORWARD, PICK_UP, DROP = range(5)  # actions
TURN, STRIDE = math.radians(15), 0.25  # radians and metres of a step
CELL, MOST_CELLS = 0.2, 22_500  # metres a side; a large map has larger cells
_MARGIN = 0.08  # metres between body and wall that lines of sight keep
_ROOM = 0.45  # nearer to a wall than this, beside the body, a path costs up to ...
_SHY = 3.0  # ... so much more
_FAR = 1e6  # metres
_STRAIGHT_ON = 0.15  # of a turn: another heading has to be so much better
_TURNS = np.array(sorted(range(-11, 13), key=abs))  # to every heading, the smallest first


@dataclasses.dataclass(frozen=True)
class Goal:
  """A place worth going to.

  Attributes:
    position: float [2], x and z in metres.
    reach: how near is near enough, metres.
    action: what to do there, facing it; None where being there is all.
  """

  position: np.ndarray
  reach: float
  action: int | None = None


class Floor:
  """Where a circle of `radius` fits.

  Args:
    walls: float [N, 2, 2], segments (x, z) in metres, closed around where one can be.
    radius: of who walks, metres.
  """

  def __init__(self, walls: np.ndarray, radius: float):
    self.radius = radius
    self._walls = np.asarray(walls, float)
    low, high = (f(self._walls.reshape(-1, 2), axis=0) for f in (np.min, np.max))
    self._side = max(CELL, math.sqrt(np.prod(high - low) / MOST_CELLS))
    self._low = low - self._side
    self._shape = tuple(np.ceil((high + self._side - self._low) / self._side).astype(int) + 1)
    self._middles = self._low + self._side * np.moveaxis(np.indices(self._shape), 0, -1)
    self._from_walls = self._distance(self._middles)
    self.place([])

  def place(self, circles: list[tuple[float, float, float]]) -> None:
    """Other obstacles than walls: (x, z, radius) each."""
    self._circles = np.array(circles, float).reshape(-1, 3)
    self._clearance = np.minimum(self._from_walls, self._beside_circles(self._middles))
    free = self._clearance >= self.radius + _MARGIN / 2
    self._cost = np.where(free, 1 + _SHY * np.clip(1 - (self._clearance - self.radius) / _ROOM, 0, 1), np.inf)

  def _distance(self, points: np.ndarray) -> np.ndarray:
    """Metres to the nearest wall; points float [..., 2]."""
    nearest = np.full(points.shape[:-1], _FAR)
    for start, end in self._walls:
      along = end - start
      share = np.clip((points - start) @ along / (along @ along), 0, 1)
      np.minimum(nearest, np.linalg.norm(points - start - share[..., None] * along, axis=-1), out=nearest)
    return nearest

  def _beside_circles(self, points: np.ndarray) -> np.ndarray:
    nearest = np.full(points.shape[:-1], _FAR)
    for x, z, radius in self._circles:
      np.minimum(nearest, np.hypot(points[..., 0] - x, points[..., 1] - z) - radius, out=nearest)
    return nearest

  def clearance(self, points: np.ndarray) -> np.ndarray:
    """Metres from points, float [..., 2], to the nearest wall or circle, exactly."""
    return np.minimum(self._distance(points), self._beside_circles(points))

  def _cell(self, point: np.ndarray) -> int:
    """The nearest free cell's number."""
    distance = np.where(np.isfinite(self._cost), np.linalg.norm(self._middles - point, axis=-1), np.inf)
    return int(np.argmin(distance))

  def field(self, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Costs of the cheapest paths to any of the source cells, float [cells], and the next cell, int [cells]."""
    distance, before, _ = scipy.sparse.csgraph.dijkstra(
      self._graph(), indices=sources, min_only=True, return_predecessors=True
    )
    return distance, before

  def _graph(self) -> scipy.sparse.csr_matrix:
    number = np.arange(self._cost.size).reshape(self._shape)
    rows, columns, weights = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
      a = (slice(0, self._shape[0] - down), slice(max(0, -right), self._shape[1] - max(0, right)))
      b = (slice(down, None), slice(max(0, right), self._shape[1] + min(0, right)))
      cost = self._side * math.hypot(down, right) * (self._cost[a] + self._cost[b]) / 2
      free = np.isfinite(cost)
      rows.append(number[a][free])
      columns.append(number[b][free])
      weights.append(cost[free])
    rows, columns, weights = (np.concatenate(x) for x in (rows, columns, weights))
    size = self._cost.size
    graph = scipy.sparse.csr_matrix((weights, (rows, columns)), (size, size))
    return graph + graph.T

  def distances(self, point: np.ndarray) -> np.ndarray:
    """Costs of the cheapest paths from a point to every cell, float [cells]."""
    return self.field(np.array([self._cell(point)]))[0]

  def around(self, point: np.ndarray, reach: float) -> np.ndarray:
    """Numbers of the free cells within `reach` of a point, at least the nearest one."""
    near = np.linalg.norm(self._middles - point, axis=-1) <= reach
    cells = np.flatnonzero(near & np.isfinite(self._cost))
    return cells if cells.size else np.array([self._cell(point)])

  def path(self, point: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Middles of the cells from a point on, float [cells, 2], by field()'s next cells."""
    cells = [self._cell(point)]
    while following[cells[-1]] >= 0:
      cells.append(following[cells[-1]])
    return self._middles.reshape(-1, 2)[cells]

  def sees(self, point: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether the body fits on the straight line to each of the others; bool [N] for float [N, 2]."""
    offsets = others - point
    longest = float(np.linalg.norm(offsets, axis=-1).max())
    shares = np.linspace(0, 1, max(2, math.ceil(longest / (self._side / 2))))
    samples = point + shares[:, None, None] * offsets
    clearance = scipy.ndimage.map_coordinates(
      self._clearance, np.moveaxis((samples - self._low) / self._side, -1, 0), order=1, mode="nearest"
    )
    least = min(self.radius + _MARGIN, float(clearance[0, 0]))  # who stands close to a wall may leave it
    return (clearance >= least - 1e-9).all(0)


class Walker:
  """An expert: to the nearest goal, turning included, on the shortest path that keeps off walls, then acts there.

  Its only memory is which goal it goes to. The world has agent (pos, dir, radius), wall_segs, goals(), obstacles() and
  barriers(); its actions begin with left, right, forward (_miniworld.World).
  """

  def __init__(self, world: Any):
    self._world = world

  def reset(self, seed: int) -> None:
    """Call after the environment's reset: reads the new level."""
    del seed
    walls = np.concatenate([self._world.wall_segs[:, :, [0, 2]], *(b[None] for b in self._world.barriers())])
    self._floor = Floor(walls, self._world.agent.radius)
    self._goal: Goal | None = None
    self._obstacles: list[tuple[float, float, float]] = []

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep
    agent = self._world.agent
    self._plan(agent.pos[[0, 2]], agent.dir)
    return np.int32(self._action(agent.pos[[0, 2]], agent.dir))

  def _plan(self, position: np.ndarray, direction: float) -> None:
    """Looks for the nearest goal when the last one is gone, and for the way there when anything is in another place."""
    goals, obstacles = self._world.goals(), self._world.obstacles()
    gone = not any(_same(goal, self._goal) for goal in goals)
    if not gone and obstacles == self._obstacles:
      return
    self._obstacles = obstacles
    wanted = {tuple(goal.position) for goal in goals}
    self._floor.place([circle for circle in obstacles if circle[:2] not in wanted])
    if gone:
      costs = self._floor.distances(position)

      def cost(goal: Goal) -> float:
        turns = abs(_angle(position, direction, goal.position)) / TURN
        return costs[self._floor.around(goal.position, goal.reach)].min() + turns * STRIDE

      self._goal = min(goals, key=cost)
    if self._goal.action is not None:  # what is only passed by is in the way
      self._floor.place([circle for circle in obstacles if circle[:2] != tuple(self._goal.position)])
    near = self._floor.around(self._goal.position, self._goal.reach - 0.1)
    self._following = self._floor.field(near)[1]

  def _action(self, position: np.ndarray, direction: float) -> int:
    goal = self._goal
    if goal.action is not None and np.linalg.norm(goal.position - position) < goal.reach:
      turns = round(_angle(position, direction, goal.position) / TURN)
      return goal.action if turns == 0 else LEFT if turns > 0 else RIGHT
    points = np.concatenate([self._floor.path(position, self._following)[1:], goal.position[None]])
    seen = np.flatnonzero(self._floor.sees(position, points))
    turns = self._turns(position, direction, points[seen[-1] if seen.size else 0])
    return FORWARD if turns == 0 else LEFT if turns > 0 else RIGHT

  def _turns(self, position: np.ndarray, direction: float, towards: np.ndarray) -> int:
    """How many turns to the left lead nearest to facing a point, among those after which a step fits.

    A function of the state: while one turns on the spot the answer counts down to 0.
    """
    angles = direction + _TURNS * TURN
    errors = np.abs(_angles.wrapped(_angle(position, 0.0, towards) - angles))
    errors[0] -= _STRAIGHT_ON * TURN
    steps = position + STRIDE * np.stack([np.cos(angles), -np.sin(angles)], -1)
    clearance = self._floor.clearance(steps)
    fits = clearance >= self._floor.radius
    return int(_TURNS[np.argmin(np.where(fits, errors, np.inf)) if fits.any() else np.argmax(clearance)])


def _same(goal: Goal, other: Goal | None) -> bool:
  return other is not None and (*goal.position, goal.action) == (*other.position, other.action)


def _angle(position: np.ndarray, direction: float, towards: np.ndarray) -> float:
  """Radians to the left of a direction in which a point lies; z points to the viewer."""
  return _angles.wrapped(math.atan2(position[1] - towards[1], towards[0] - position[0]) - direction)
