"""Navigation in ViZDoom's own scenarios, by the labyrinth's actions and in its size of picture."""

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
from rlds_builders import _wrappers
from rlds_builders._walking import FORWARD, LEFT, RIGHT, Goal

_SHRINK = 4  # from the engine's 256x320 to 64x80
HEIGHT, WIDTH = 256 // _SHRINK, 320 // _SHRINK
_TICS, _TICS_A_SECOND = 4, 35  # of a step
_TURN = 15  # degrees of a step, as in the other levels
_UNITS = 40.0  # of Doom to a metre: its player's radius of 16 is then the 0.4 m of the other levels
_BUTTONS = {LEFT: [-_TURN / _TICS, 0.0], RIGHT: [_TURN / _TICS, 0.0], FORWARD: [0.0, 1.0]}


@dataclasses.dataclass(frozen=True)
class Scenario:
  """One of ViZDoom's.

  Attributes:
    file: its name there.
    limit: steps of an episode.
    goals: names of the objects to be touched.
    avoided: of those not to be touched.
    survive: whether the task is to stay alive, for 1 a step, and not to reach the object, for 1.
  """

  file: str
  limit: int
  goals: tuple[str, ...]
  avoided: tuple[str, ...] = ()
  survive: bool = False


SCENARIOS = {
  "doom_my_way_home": Scenario("my_way_home", 300, ("GreenArmor",)),
  "doom_health_gathering": Scenario("health_gathering", 300, ("Medikit",), survive=True),
  "doom_health_gathering_supreme": Scenario(
    "health_gathering_supreme", 300, ("CustomMedikit",), ("Poison",), survive=True
  ),
}


class Doom(_wrappers.Environment):
  """A scenario; the engine is a process of its own.

  For experts it is a world of _walking.Walker: `agent`, `wall_segs` and the rest are in metres, x to the right and z
  to the viewer.

  Attributes:
    game: the engine.
  """

  def __init__(self, scenario: Scenario):
    self._scenario = scenario
    self._seed = 0
    self._over = True
    self._folder = tempfile.TemporaryDirectory(prefix="gato_doom_")
    game = vizdoom.DoomGame()
    game.load_config(str(pathlib.Path(vizdoom.scenarios_path) / f"{scenario.file}.cfg"))
    game.set_window_visible(False)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_320X256)
    game.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA, vizdoom.Button.MOVE_FORWARD])
    variables = vizdoom.GameVariable
    game.set_available_game_variables([variables.POSITION_X, variables.POSITION_Y, variables.ANGLE])
    game.set_sectors_info_enabled(True)
    game.set_objects_info_enabled(True)
    game.set_episode_timeout(0)  # ours
    game.set_vizdoom_path(_mortal_engine(pathlib.Path(self._folder.name)))
    game.set_doom_config_path("/dev/null")
    game.init()
    self.game = game

  @property
  def world(self) -> "Doom":
    return self

  def seed(self, seed: int) -> None:
    self._seed = seed

  def reset(self) -> dm_env.TimeStep:
    self.game.set_seed(self._seed % 2**31)
    self.game.new_episode()
    self._seed += 1
    self._steps, self._success, self._over = 0, False, False
    return dm_env.restart(self._observe())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._over:
      return self.reset()
    self.game.make_action(_BUTTONS[int(action)], _TICS)
    self._steps += 1
    ended, timeout = self.game.is_episode_finished(), self._steps >= self._scenario.limit
    observation = self._picture() if ended else self._observe()
    if self._scenario.survive:
      self._success = timeout and not ended
      reward = float(not ended)
    else:
      self._success = ended = ended or not self.goals()  # the script ends the episode a few tics later
      reward = float(ended)
    self._over = ended or timeout
    if ended:
      return dm_env.termination(reward, observation)
    if timeout:
      return dm_env.truncation(reward, observation)
    return dm_env.transition(reward, observation)

  def _observe(self) -> dict[str, np.ndarray]:
    """Reads the engine's state, of which there is none after the end: what was seen last stands."""
    self._state = self.game.get_state()
    return self._picture()

  def _picture(self) -> dict[str, np.ndarray]:
    return {"image": np.asarray(Image.fromarray(self._state.screen_buffer).reduce(_SHRINK))}

  def observation_spec(self) -> dict[str, specs.Array]:
    return {"image": specs.BoundedArray((HEIGHT, WIDTH, 3), np.uint8, 0, 255, name="image")}

  def action_spec(self) -> specs.DiscreteArray:
    """0 turn left, 1 turn right, 2 forward."""
    return specs.DiscreteArray(len(_BUTTONS), np.int32, name="action")

  def episode_info(self) -> dict[str, Any]:
    return {"success": self._success}

  def render(self) -> np.ndarray:
    return np.array(self._state.screen_buffer)

  def control_timestep(self) -> float:
    return _TICS / _TICS_A_SECOND

  @property
  def agent(self) -> types.SimpleNamespace:
    x, y, angle = self._state.game_variables
    return types.SimpleNamespace(pos=np.array([x, 0.0, -y]) / _UNITS, dir=math.radians(angle), radius=16 / _UNITS)

  @property
  def wall_segs(self) -> np.ndarray:
    """Float [N, 2, 3]."""
    lines = {(n.x1, n.y1, n.x2, n.y2) for sector in self._state.sectors for n in sector.lines if n.is_blocking}
    return np.array([[[x1, 0, -y1], [x2, 0, -y2]] for x1, y1, x2, y2 in sorted(lines)]) / _UNITS

  def barriers(self) -> list[np.ndarray]:
    return []

  def goals(self) -> list[Goal]:
    return [Goal(place, 0.6) for place in self._places(self._scenario.goals)]

  def obstacles(self) -> list[tuple[float, float, float]]:
    return [(*place, 0.9) for place in self._places(self._scenario.avoided)]

  def _places(self, names: tuple[str, ...]) -> list[np.ndarray]:
    objects = [o for o in self._state.objects if o.name in names]
    return [np.array([o.position_x, -o.position_y]) / _UNITS for o in sorted(objects, key=lambda o: o.id)]

  def close(self) -> None:
    self.game.close()
    self._folder.cleanup()


def _mortal_engine(folder: pathlib.Path) -> str:
  """A program that is the engine, but ends with its parent, not waiting for ever, and writes into `folder`."""
  if shutil.which("setpriv") is None:
    raise GatoError("labyrinth: ViZDoom's tasks need setpriv; run: sudo apt-get install util-linux")
  engine = pathlib.Path(vizdoom.__file__).parent / "vizdoom"
  path = folder / "engine"
  path.write_text(f'#!/bin/sh\ncd "{folder}" && exec setpriv --pdeathsig KILL "{engine}" "$@"\n')
  path.chmod(0o700)
  return str(path)
