"""Where the levels are: MiniWorld's own rooms, and rooms in rows and columns with doorways between them."""

import numpy as np

from rlds_builders._miniworld import Room, World

WALL = 0.3  # metres between neighbouring rooms


def grid(
  world: World, rows: int, columns: int, size: float, door: float, more_doors: int = 0, alike: bool = True
) -> list[list[Room]]:
  """Rooms in rows and columns that doorways join to one whole, drawn at random.

  Args:
    world: gets the rooms.
    rows, columns: how many.
    size: of a room, metres a side.
    door: width of the doorways, metres; at most `size`.
    more_doors: beyond those without which a room would be cut off.
    alike: whether all rooms have the same textures.
  """
  pitch, built = size + WALL, []
  for row in range(rows):
    built.append([])
    for column in range(columns):
      if not alike:
        world.redecorate()
      x, z = column * pitch, row * pitch
      built[row].append(world.add_rect_room(min_x=x, max_x=x + size, min_z=z, max_z=z + size))
  for a, b in _doors(world.np_random, rows, columns, more_doors):
    connect(world, built[a[0]][a[1]], built[b[0]][b[1]], door)
  return built


def connect(world: World, a: Room, b: Room, door: float) -> np.ndarray:
  """A doorway in the middle between two rooms of a grid; returns its middle, float [3]."""
  if a.mid_x == b.mid_x:
    world.connect_rooms(a, b, min_x=a.mid_x - door / 2, max_x=a.mid_x + door / 2)
  else:
    world.connect_rooms(a, b, min_z=a.mid_z - door / 2, max_z=a.mid_z + door / 2)
  return np.array([(a.mid_x + b.mid_x) / 2, 0.0, (a.mid_z + b.mid_z) / 2])


def _doors(
  random: np.random.Generator, rows: int, columns: int, more: int
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
  """Pairs of neighbouring rooms: a spanning tree in random order (Kruskal's), and some more."""
  pairs = [((r, c), (r + 1, c)) for r in range(rows - 1) for c in range(columns)]
  pairs += [((r, c), (r, c + 1)) for r in range(rows) for c in range(columns - 1)]
  group = {(r, c): (r, c) for r in range(rows) for c in range(columns)}
  tree, rest = [], []
  for index in random.permutation(len(pairs)):
    a, b = pairs[index]
    if group[a] == group[b]:
      rest.append((a, b))
      continue
    tree.append((a, b))
    old = group[b]
    group = {room: group[a] if g == old else g for room, g in group.items()}
  return tree + rest[:more]
