"""Rooms in rows and columns, joined by doorways."""

import numpy as np

from rlds_builders.worlds.first_person import Room, World

WALL = 0.3  # metres between neighbouring rooms

# A room of a grid, by row and column.
_Cell = tuple[int, int]


def grid(
  world: World,
  rows: int,
  columns: int,
  size: float,
  door: float,
  more_doors: int = 0,
  alike: bool = True,
) -> list[list[Room]]:
  """Adds connected rooms in rows and columns; the doorways are drawn at random.

  Args:
    world: The world that gets the rooms.
    rows: Number of rows.
    columns: Number of columns.
    size: Side of a room, in metres.
    door: Width of the doorways in metres, at most `size`.
    more_doors: Doorways beyond those without which a room would be cut off.
    alike: True for the same textures in all rooms.

  Returns:
    The rooms by row and column.
  """
  pitch = size + WALL
  rooms: list[list[Room]] = []
  for row in range(rows):
    rooms.append([])
    for column in range(columns):
      if not alike:
        world.redecorate()

      x, z = column * pitch, row * pitch
      rooms[row].append(world.add_rect_room(min_x=x, max_x=x + size, min_z=z, max_z=z + size))

  for a, b in _doors(world.np_random, rows=rows, columns=columns, more=more_doors):
    connect(world, rooms[a[0]][a[1]], rooms[b[0]][b[1]], door=door)

  return rooms


def connect(world: World, a: Room, b: Room, door: float) -> np.ndarray:
  """Adds a doorway in the middle between two rooms of a grid.

  Args:
    world: The world of the rooms.
    a: A room.
    b: Its neighbour.
    door: Width of the doorway, in metres.

  Returns:
    The middle of the doorway, float [3].
  """
  if a.mid_x == b.mid_x:
    world.connect_rooms(a, b, min_x=a.mid_x - door / 2, max_x=a.mid_x + door / 2)
  else:
    world.connect_rooms(a, b, min_z=a.mid_z - door / 2, max_z=a.mid_z + door / 2)

  return np.array([(a.mid_x + b.mid_x) / 2, 0.0, (a.mid_z + b.mid_z) / 2])


def _doors(
  random: np.random.Generator, rows: int, columns: int, more: int
) -> list[tuple[_Cell, _Cell]]:
  """Returns pairs of neighbouring rooms: a random spanning tree (Kruskal's), and `more` pairs."""
  pairs = [((r, c), (r + 1, c)) for r in range(rows - 1) for c in range(columns)]
  pairs += [((r, c), (r, c + 1)) for r in range(rows) for c in range(columns - 1)]

  # A pair joins the tree if its rooms are not connected yet, that is in different groups.
  group = {(r, c): (r, c) for r in range(rows) for c in range(columns)}
  tree: list[tuple[_Cell, _Cell]] = []
  rest: list[tuple[_Cell, _Cell]] = []
  for index in random.permutation(len(pairs)):
    a, b = pairs[index]
    if group[a] == group[b]:
      rest.append((a, b))
      continue

    tree.append((a, b))
    merged, kept = group[b], group[a]
    group = {room: kept if g == merged else g for room, g in group.items()}

  return tree + rest[:more]
