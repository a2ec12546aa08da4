"""The labyrinth's tasks by name."""

from collections.abc import Callable

from rlds_builders import _miniworld, _wrappers, labyrinth
from rlds_builders.labyrinth import dm_lab, doom, forage, levels

_LEVELS: dict[str, Callable[[], _miniworld.World]] = {
  "alcoves": levels.Alcoves,
  "apples_in_order": forage.ApplesInOrder,
  "boxes_in_order": levels.BoxesInOrder,
  "collect_health": forage.CollectHealth,
  "explore_rooms": forage.ExploreRooms,
  "forage": lambda: forage.Forage(6, 0),
  "forage_avoid": lambda: forage.Forage(5, 5),
  "forage_shapes": forage.ForageShapes,
  "four_rooms": levels.FourRooms,
  "hallway": levels.Hallway,
  "key_door": lambda: levels.KeysDoors(1),
  "keys_doors": lambda: levels.KeysDoors(2),
  "match_sample": levels.MatchSample,
  "maze_2x2": lambda: levels.Maze(2),
  "maze_3x3": lambda: levels.Maze(3),
  "maze_4x4": lambda: levels.Maze(4),
  "obstacles": levels.Obstacles,
  "odd_one_out": levels.OddOneOut,
  "one_room": levels.OneRoom,
  "pickup_objects": forage.PickupObjects,
  "return_to_goal": levels.ReturnToGoal,
  "rooms_3x3": levels.Rooms,
  "sidewalk": levels.Sidewalk,
  "sign": levels.Sign,
  "t_maze": levels.TMaze,
  "wall_gap": levels.WallGap,
  "y_maze": levels.YMaze,
}


def make(task: str) -> _wrappers.Environment:
  """The environment of one task, e.g. "maze_3x3"."""
  if task.startswith(labyrinth.DM_LAB):
    return dm_lab.make(task)
  if task in doom.SCENARIOS:
    return doom.Doom(doom.SCENARIOS[task])
  return _miniworld.Environment(_LEVELS[task]())
