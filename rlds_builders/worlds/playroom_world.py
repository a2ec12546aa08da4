"""The playroom's things and the size of its room, shared by its tasks and by the drawn scenes."""

from collections.abc import Callable

from rlds_builders.worlds.first_person import Ball, Box, Entity, MeshEnt

SIDE = 10  # metres, of the square room
COLOURS = ("red", "green", "blue", "yellow", "purple")

# Kind -> function(colour), which makes a thing of that kind.
KINDS: dict[str, Callable[[str], Entity]] = {
  "box": lambda colour: Box(colour, 0.65),
  "ball": lambda colour: Ball(colour, 0.7),
  "key": lambda colour: MeshEnt(f"key_{colour}", 0.6, static=False),
}
