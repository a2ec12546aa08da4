"""A window that shows an agent acting, in real time.

Legend: H heads, R x C patches of an image, L tokens.
"""

import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import dm_env
import numpy as np

from experiments.analysis.interpret import attention
from gato_jax.domain import SimulatedDomain
from gato_jax.env import loop
from gato_jax.errors import GatoError
from gato_jax.evaluate import videos
from gato_jax.model import GatoConfig
from gato_jax.randomness import FIRST_EVALUATION_SEED
from gato_jax.task import flatten
from gato_jax.tokens import layout, vocabulary
from gato_jax.train import export

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # noqa: E402  its greeting is switched off first

SIDE = 512  # pixels of an image's longer side


class Closed(Exception):
  """Raised when the window is closed or Esc is hit."""


class Window:
  """Images side by side, with a caption in the title bar.

  Raises:
    GatoError: There is no display.
  """

  def __init__(self, fps: float):
    if not os.environ.get("SDL_VIDEODRIVER") and not (
      os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
      raise GatoError(
        "--show needs a display, and DISPLAY is not set; without --show the episodes become videos "
        "on a page"
      )

    pygame.display.init()
    self._clock = pygame.time.Clock()
    self._fps = fps

  def draw(self, images: list[np.ndarray], caption: str) -> None:
    """Shows uint8 [height, width, 3] images, then waits for the next frame's time.

    Raises:
      Closed: The user has closed the window.
    """
    surfaces = [_surface(image) for image in images]
    width = sum(surface.get_width() for surface in surfaces)
    height = max(surface.get_height() for surface in surfaces)
    screen = pygame.display.get_surface()
    if screen is None or screen.get_size() != (width, height):
      screen = pygame.display.set_mode((width, height))

    left = 0
    for surface in surfaces:
      screen.blit(surface, (left, 0))
      left += surface.get_width()
    pygame.display.set_caption(caption)
    pygame.display.flip()
    self._clock.tick(self._fps)

    for event in pygame.event.get():
      is_escape = event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE
      if event.type == pygame.QUIT or is_escape:
        raise Closed

  def close(self) -> None:
    pygame.display.quit()


def _surface(image: np.ndarray) -> pygame.Surface:
  """Returns an image whose longer side has SIDE pixels, without smoothing."""
  height, width = image.shape[:2]
  scale = SIDE / max(height, width)
  surface = pygame.surfarray.make_surface(image.swapaxes(0, 1))

  return pygame.transform.scale(surface, (round(width * scale), round(height * scale)))


class AttentionOverlay:
  """The image that the network sees, lit up by the first layer's attention.

  The query is the separator, from which the first action token is predicted; the weights are the
  mean over heads. Only the present timestep is looked at.

  Raises:
    GatoError: The task has no image.
  """

  def __init__(self, workdir: pathlib.Path, task_layout: layout.TokenLayout):
    images = [f for f in task_layout.observation if f.kind == vocabulary.Kind.PATCH]
    if not images:
      raise GatoError(
        f"--attention: {task_layout.spec.name} has no image in its observation; leave it out"
      )

    self._params, meta, _ = export.load(workdir)
    self._config = GatoConfig.from_json(meta["model"])
    self._layout = task_layout
    self._image = images[0]

  def __call__(self, observation: Mapping[str, Any]) -> np.ndarray:
    """Returns the lit image of an observation, uint8 [height, width, 3]."""
    column = {name: np.asarray(value)[None] for name, value in observation.items()}
    batch = attention.single_step(self._layout, column)
    weights = attention.first_attention(self._config, self._params, batch)
    weights_HxL = np.asarray(weights, np.float32)[0, :, -1]

    height, width = self._image.spec.shape[:2]
    side = vocabulary.PATCH_SIDE
    weights_RxC = weights_HxL.mean(0)[self._image.slice].reshape(height // side, width // side)
    light = np.kron(weights_RxC / weights_RxC.max(), np.ones((side, side)))[..., None]

    image = np.broadcast_to(observation[self._image.key], (height, width, 3))
    return (image * (0.25 + 0.75 * light)).astype(np.uint8)


class _Shown:
  """An actor whose environment is drawn before each action."""

  def __init__(self, actor: loop.Actor, environment: Any, window: Window, name: str, overlay: Any):
    self._actor = actor
    self._environment = environment
    self._window = window
    self._name = name
    self._overlay = overlay
    self._step = 0
    self._seed = 0

  def reset(self, slot: int, seed: int) -> None:
    self._step, self._seed = 0, seed
    self._actor.reset(slot, seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> Mapping[int, Any]:
    ((_, timestep),) = timesteps.items()
    images = [self._environment.render()]
    if self._overlay:
      images.append(self._overlay(flatten(timestep.observation)))

    self._window.draw(images, f"{self._name}, seed {self._seed}, step {self._step}")
    self._step += 1
    return self._actor.act(timesteps)


def play(
  domain: SimulatedDomain, task: str, actor: loop.Actor, episodes: int, overlay: Any = None
) -> Iterator[loop.Episode]:
  """Plays episodes in a window, yields each as it ends, and stops when the window is closed.

  Args:
    domain: The domain of the task.
    task: Its short name.
    actor: The agent.
    episodes: How many are played, from the first seed of evaluation on.
    overlay: An AttentionOverlay, whose image is shown beside the scene; None for the scene alone.

  Raises:
    GatoError: There is no display.
  """
  environment = domain.make_environment(task)
  seconds = float(environment.control_timestep() or 0.0)
  window = Window(1 / seconds if seconds else videos.DEFAULT_FPS)
  shown = _Shown(actor, environment, window, f"{domain.name}.{task}", overlay)
  seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + episodes)

  try:
    yield from loop.run_episodes([environment], shown, seeds)
  except Closed:
    return
  finally:
    window.close()
    environment.close()
