"""Environments of the labyrinth by task."""

from collections.abc import Callable

from rlds_builders import labyrinth
from rlds_builders.base import wrappers
from rlds_builders.labyrinth import dm_lab, doom, forage, levels
from rlds_builders.worlds import first_person

_LEVELS: dict[str, Callable[[], first_person.World]] = {
  "alcoves": levels.Alcoves,
  "apples_in_order": forage.ApplesInOrder,
  "boxes_in_order": levels.BoxesInOrder,
  "collect_health": forage.CollectHealth,
  "explore_rooms": forage.ExploreRooms,
  "forage": lambda: forage.Forage(good=6, bad=0),
  "forage_avoid": lambda: forage.Forage(good=5, bad=5),
  "forage_shapes": forage.ForageShapes,
  "four_rooms": levels.FourRooms,
  "hallway": levels.Hallway,
  "key_door": lambda: levels.KeysDoors(doors=1),
  "keys_doors": lambda: levels.KeysDoors(doors=2),
  "match_sample": levels.MatchSample,
  "maze_2x2": lambda: levels.Maze(side=2),
  "maze_3x3": lambda: levels.Maze(side=3),
  "maze_4x4": lambda: levels.Maze(side=4),
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


def make(task: str) -> wrappers.Environment:
  """Returns the environment of one task, e.g. "maze_3x3"."""
  if task.startswith(labyrinth.DM_LAB):
    return dm_lab.make(task)
  if task in doom.SCENARIOS:
    return doom.Doom(doom.SCENARIOS[task])

  return first_person.Environment(_LEVELS[task]())
