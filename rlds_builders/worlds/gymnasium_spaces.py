"""Any gymnasium environment as a domain's environment: its specs follow from its spaces.

A domain's environment.py is then one statement, which its declaration names as
"rlds_builders.NAME.environment:make":

  make = gymnasium_spaces.tasks({"taxi": "Taxi-v4", "lake": "FrozenLake-v1"})

Whatever the spaces do not say takes a class of its own (rlds_builders/base/wrappers.py).
"""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from dm_env import specs

from gato_jax.errors import GatoError, check_name
from gato_jax.task import nested
from rlds_builders.base import wrappers
from rlds_builders.worlds import space_fields


def tasks(
  environments: Mapping[str, str | Callable[[], gymnasium.Env]],
  image_size: tuple[int, int] | None = None,
  resize: str = "pad",
  **settings: Any,
) -> Callable[[str], "GymnasiumSpaces"]:
  """Returns a domain's `make`, a function of the short name of a task.

  Args:
    environments: Short name of each task -> gymnasium's id of it, or a function that makes it.
    image_size: Height and width that images are brought to, multiples of 16; None: the nearest.
    resize: "pad", "crop" or "stretch" (rlds_builders/base/resizing.py).
    **settings: Passed on to `gymnasium.make`, e.g. max_episode_steps.
  """

  def make(task: str) -> GymnasiumSpaces:
    check_name(task, environments, "task")
    environment = environments[task]

    made = _made(environment, settings) if isinstance(environment, str) else environment()
    return GymnasiumSpaces(made, name=task, image_size=image_size, resize=resize)

  return make


def _made(name: str, settings: Mapping[str, Any]) -> gymnasium.Env:
  """Makes a registered environment, to be rendered as images where it can be.

  Raises:
    GatoError: It cannot be made.
  """
  try:
    made = gymnasium.make(name, **settings)
    if "rgb_array" in made.metadata.get("render_modes", ()) and "render_mode" not in settings:
      made.close()
      made = gymnasium.make(name, render_mode="rgb_array", **settings)
  except (gymnasium.error.Error, ImportError, TypeError) as e:
    reason = " ".join(str(e).split())
    raise GatoError(f"gymnasium.make({name!r}): {reason}") from e

  if made.spec is not None and made.spec.max_episode_steps is None:
    raise GatoError(
      f"{name} has no time limit, so an episode might never end; give max_episode_steps=..."
    )
  return made


class GymnasiumSpaces(wrappers.GymnasiumEnvironment):
  """Adapts a gymnasium environment by its spaces alone.

  | space | field |
  |---|---|
  | Box of uint8 from 0 to 255, [H, W], [H, W, 1 or 3], 16 pixels or more | image |
  | other Box of integers from 0 to 1023, Discrete, MultiDiscrete, MultiBinary | discrete |
  | Box of floats, or of larger integers | continuous |
  | Text | text; the domain's max_text_tokens says how long |
  | Dict, Tuple | its parts, by key or index |

  Actions are Discrete, MultiDiscrete, MultiBinary or a Box with bounds, or a Dict or Tuple of them
  that are all discrete or all continuous. "success" is the entry "is_success" or "success" of
  `info`, where there is one.

  Raises:
    GatoError: A space cannot become tokens; the message names it.
  """

  def __init__(
    self,
    gym: gymnasium.Env,
    name: str = "",
    image_size: tuple[int, int] | None = None,
    resize: str = "pad",
  ):
    super().__init__(gym)
    self._name = name or str(gym)
    self._success: bool | None = None
    self._image: np.ndarray | None = None

    self._leaves = [
      space_fields.leaf(path, space, f"{self._name}: observation", image_size, resize)
      for path, space in space_fields.parts(gym.observation_space)
    ]
    self._actions = space_fields.ActionParts(gym.action_space, self._name)

  def observation_spec(self) -> dict[str, Any]:
    return nested({leaf.key: leaf.spec for leaf in self._leaves})

  def action_spec(self) -> specs.BoundedArray:
    return self._actions.spec

  def observe(self, observation: Any) -> dict[str, Any]:
    fields = {}
    for leaf in self._leaves:
      value = observation
      for key in leaf.path:
        value = value[key]
      fields[leaf.key] = leaf.convert(value)

    return nested(fields)

  def native_action(self, action: np.ndarray) -> Any:
    return self._actions.native(action)

  def reset(self):
    self._success = None
    return super().reset()

  def on_info(self, info: dict[str, Any]) -> None:
    for key in ("is_success", "success"):
      if key in info:
        self._success = bool(info[key])

  def episode_info(self) -> dict[str, Any]:
    return {} if self._success is None else {"success": self._success}

  def control_timestep(self) -> float:
    fps = self.gym.metadata.get("render_fps")
    return 1 / fps if fps else 0.0

  def render(self) -> np.ndarray:
    image = self.gym.render()

    # Some have no image of an episode that is over, such as ViZDoom: the last one stays.
    if np.ndim(image) == 3:
      self._image = np.asarray(image, np.uint8)
    if self._image is None:
      raise GatoError(
        f"{self._name} renders no images: make it with render_mode='rgb_array', or collect and "
        "evaluate with --config.evaluate.videos=False"
      )
    return self._image
