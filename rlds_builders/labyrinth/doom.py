"""Navigation in ViZDoom's own scenarios, with the labyrinth's actions and image size."""

import dataclasses
import math
import pathlib
import shutil
import tempfile
import types
from typing import Any

import dm_env
import numpy as np
import vizdoom
from dm_env import specs
from PIL import Image

from gato_jax.errors import GatoError
from rlds_builders.base import wrappers
from rlds_builders.worlds.walking import FORWARD, LEFT, RIGHT, Goal

# Pixels: the engine's 256x320 become 64x80.
_SHRINK = 4
HEIGHT, WIDTH = 256 // _SHRINK, 320 // _SHRINK

# The engine's unit of time, of which a step takes 4.
_TICS = 4
_TICS_PER_SECOND = 35

_TURN = 15  # degrees a step, as in the other levels

# Units of Doom in a metre: its player's radius of 16 units becomes the 0.4 m of the other levels.
_UNITS = 40.0
_PLAYER_RADIUS = 16  # units

# Metres from an object at which the expert has reached it, and that it keeps from what it avoids.
_GOAL_REACH = 0.6
_OBSTACLE_RADIUS = 0.9

# Values of the engine's buttons, which are held for all tics of a step: turn in degrees, forward.
_BUTTONS = {LEFT: [-_TURN / _TICS, 0.0], RIGHT: [_TURN / _TICS, 0.0], FORWARD: [0.0, 1.0]}


@dataclasses.dataclass(frozen=True)
class Scenario:
  """A scenario of ViZDoom.

  Attributes:
    file: Name of its configuration.
    limit: Steps of an episode.
    goals: Names of the objects to be touched.
    avoided: Names of the objects not to be touched.
    survive: True when the task is to stay alive, for a reward of 1 a step; False when it is to
      reach the object, for a reward of 1.
  """

  file: str
  limit: int
  goals: tuple[str, ...]
  avoided: tuple[str, ...] = ()
  survive: bool = False


SCENARIOS = {
  "doom_my_way_home": Scenario("my_way_home", limit=300, goals=("GreenArmor",)),
  "doom_health_gathering": Scenario(
    "health_gathering", limit=300, goals=("Medikit",), survive=True
  ),
  "doom_health_gathering_supreme": Scenario(
    "health_gathering_supreme",
    limit=300,
    goals=("CustomMedikit",),
    avoided=("Poison",),
    survive=True,
  ),
}


class Doom(wrappers.Environment):
  """A scenario; the engine is a process of its own.

  For experts it is also the world of a walking.Walker: `agent`, `wall_segs` and the rest are in
  metres, with x to the right and z to the viewer.

  Attributes:
    game: The engine.
  """

  def __init__(self, scenario: Scenario):
    self._scenario = scenario
    self._seed = 0
    self._needs_reset = True
    self._directory = tempfile.TemporaryDirectory(prefix="gato_doom_")

    game = vizdoom.DoomGame()
    game.load_config(str(pathlib.Path(vizdoom.scenarios_path) / f"{scenario.file}.cfg"))
    game.set_window_visible(False)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_320X256)
    game.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA, vizdoom.Button.MOVE_FORWARD])

    # What experts read.
    variables = vizdoom.GameVariable
    game.set_available_game_variables([variables.POSITION_X, variables.POSITION_Y, variables.ANGLE])
    game.set_sectors_info_enabled(True)
    game.set_objects_info_enabled(True)

    # step() counts the scenario's limit itself.
    game.set_episode_timeout(0)
    game.set_vizdoom_path(_write_launcher(pathlib.Path(self._directory.name)))
    game.set_doom_config_path("/dev/null")
    game.init()
    self.game = game

  @property
  def world(self) -> "Doom":
    """The world that the expert walks in."""
    return self

  def seed(self, seed: int) -> None:
    self._seed = seed

  def reset(self) -> dm_env.TimeStep:
    self.game.set_seed(self._seed % 2**31)
    self.game.new_episode()
    self._seed += 1

    self._steps = 0
    self._success = False
    self._needs_reset = False

    self._state = self.game.get_state()
    return dm_env.restart(self._observation())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()

    self.game.make_action(_BUTTONS[int(action)], _TICS)
    self._steps += 1
    ended = self.game.is_episode_finished()
    timeout = self._steps >= self._scenario.limit

    # After its end the engine has no state: the last one is shown again.
    if not ended:
      self._state = self.game.get_state()
    observation = self._observation()

    if self._scenario.survive:
      self._success = timeout and not ended
      reward = float(not ended)
    else:
      # The scenario's script ends the episode a few tics after the object is gone.
      ended = ended or not self.goals()
      self._success = ended
      reward = float(ended)

    self._needs_reset = ended or timeout
    if ended:
      return dm_env.termination(reward, observation)
    if timeout:
      return dm_env.truncation(reward, observation)

    return dm_env.transition(reward, observation)

  def _observation(self) -> dict[str, np.ndarray]:
    return {"image": np.asarray(Image.fromarray(self._state.screen_buffer).reduce(_SHRINK))}

  def observation_spec(self) -> dict[str, specs.Array]:
    return {"image": specs.BoundedArray((HEIGHT, WIDTH, 3), np.uint8, 0, 255, name="image")}

  def action_spec(self) -> specs.DiscreteArray:
    """Returns the spec of 0 turn left, 1 turn right, 2 forward."""
    return specs.DiscreteArray(len(_BUTTONS), np.int32, name="action")

  def episode_info(self) -> dict[str, Any]:
    """Returns "success", True when the object was reached, or when alive at the limit."""
    return {"success": self._success}

  def render(self) -> np.ndarray:
    return np.array(self._state.screen_buffer)

  def control_timestep(self) -> float:
    return _TICS / _TICS_PER_SECOND

  @property
  def agent(self) -> types.SimpleNamespace:
    """The player: pos [3] and radius in metres, dir in radians."""
    variables = self._state.game_variables
    assert variables is not None
    x, y, angle = variables

    return types.SimpleNamespace(
      # Doom's y points away from the viewer of the map, z to him.
      pos=np.array([x, 0.0, -y]) / _UNITS,
      dir=math.radians(angle),
      radius=_PLAYER_RADIUS / _UNITS,
    )

  @property
  def wall_segs(self) -> np.ndarray:
    """Both ends of all walls in metres, float [N, 2, 3]."""
    # A set, because neighbouring sectors share lines.
    lines = {
      (line.x1, line.y1, line.x2, line.y2)
      for sector in self._state.sectors
      for line in sector.lines
      if line.is_blocking
    }
    segments = [[[x1, 0, -y1], [x2, 0, -y2]] for x1, y1, x2, y2 in sorted(lines)]
    return np.array(segments) / _UNITS

  def barriers(self) -> list[np.ndarray]:
    """Returns no barriers: whatever the expert must not cross is a wall."""
    return []

  def goals(self) -> list[Goal]:
    """Returns the objects to be touched."""
    return [Goal(position, _GOAL_REACH) for position in self._positions(self._scenario.goals)]

  def obstacles(self) -> list[tuple[float, float, float]]:
    """Returns circles (x, z, radius) around the objects not to be touched."""
    positions = self._positions(self._scenario.avoided)
    return [(*position, _OBSTACLE_RADIUS) for position in positions]

  def _positions(self, names: tuple[str, ...]) -> list[np.ndarray]:
    """Returns the positions (x, z) in metres of all objects with one of the names."""
    objects = [entity for entity in self._state.objects if entity.name in names]
    return [
      np.array([entity.position_x, -entity.position_y]) / _UNITS
      for entity in sorted(objects, key=lambda entity: entity.id)
    ]

  def close(self) -> None:
    self.game.close()
    self._directory.cleanup()


def _write_launcher(directory: pathlib.Path) -> str:
  """Writes a script that starts the engine, and returns its path.

  The engine then ends with its parent, after which it would wait for ever, and writes its files
  into `directory`.

  Raises:
    GatoError: The system lacks setpriv.
  """
  if shutil.which("setpriv") is None:
    raise GatoError("labyrinth: ViZDoom's tasks need setpriv; run: sudo apt-get install util-linux")

  engine = pathlib.Path(vizdoom.__file__).parent / "vizdoom"
  path = directory / "engine"
  path.write_text(f'#!/bin/sh\ncd "{directory}" && exec setpriv --pdeathsig KILL "{engine}" "$@"\n')
  path.chmod(0o700)

  return str(path)
