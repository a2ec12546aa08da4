"""The expert of the labyrinth and the playroom: the shortest path to the next goal."""

from rlds_builders.worlds import first_person, walking


def make(environment: first_person.Environment, task: str) -> walking.Walker:
  """Returns the expert, which reads the true map of the environment's world."""
  del task
  return walking.Walker(environment.world)
