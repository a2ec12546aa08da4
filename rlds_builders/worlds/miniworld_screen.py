"""Opens MiniWorld without a display: one OpenGL screen for all worlds of a process.

Importing this first lets miniworld and pyglet be imported on machines without a display.
"""

import dataclasses
import functools
import math
import os
from typing import Any

import pyglet
from PIL import Image

from gato_jax.errors import GatoError
from rlds_builders.worlds.walking import STRIDE, TURN

# Mesa renders in the caller's thread: an image is too small to share among threads.
os.environ.setdefault("LP_NUM_THREADS", "0")

pyglet.options["headless"] = True
# The shadow window would be opened on import.
pyglet.options["shadow_window"] = False

_CANNOT_RENDER = (
  "miniworld: cannot render ({}); "
  "run: sudo apt-get install libegl1 libegl-mesa0 libgl1 libglu1-mesa"
)
try:
  from miniworld.entity import COLORS, Entity
  from miniworld.opengl import FrameBuffer, Texture
  from miniworld.params import DEFAULT_PARAMS
  from pyglet import gl
except ImportError as error:
  # pyglet reports a missing library by this.
  raise GatoError(_CANNOT_RENDER.format(error)) from error

# Pixels of the observation: 20 patches.
HEIGHT, WIDTH = 64, 80

# Factor by which a video's image is larger, in height and in width.
_LARGE = 4

# Samples of each pixel, for smooth edges.
_SAMPLES = 4


def parameters() -> Any:
  """Returns the parameters of all worlds: light, camera and movement.

  The light and a texture's variant are drawn for each episode. Movement is exact and colours are
  true.
  """
  params = DEFAULT_PARAMS.no_random()

  # Default, lowest and highest value.
  params.set("light_pos", [0, 2.5, 0], [-40, 2.5, -40], [40, 5, 40])
  params.set("light_color", [0.7] * 3, [0.6] * 3, [0.8] * 3)
  params.set("light_ambient", [0.45] * 3, [0.4] * 3, [0.5] * 3)

  params.set("forward_step", STRIDE)
  params.set("turn_step", math.degrees(TURN))
  params.set("cam_height", 1.2)
  params.set("cam_pitch", -12)
  params.set("cam_fov_y", 70)
  return params


def _load_texture(path: str) -> Any:
  """Loads a texture in a hundredth of the time of MiniWorld's Texture.load().

  pyglet's way from RGB to RGBA is a regular expression.
  """
  # OpenGL's first row is the lowest one.
  image = Image.open(path).convert("RGBA").transpose(Image.Transpose.FLIP_TOP_BOTTOM)
  width, height = image.size
  pixels = image.tobytes()

  texture = pyglet.image.ImageData(width, height, "RGBA", pixels).get_texture()
  gl.glEnable(texture.target)
  gl.glBindTexture(texture.target, texture.id)
  gl.glTexImage2D(
    gl.GL_TEXTURE_2D, 0, gl.GL_RGB, width, height, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, pixels
  )

  # The rest is what MiniWorld sets.
  gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
  gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR)
  gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_LINEAR)
  gl.glBindTexture(gl.GL_TEXTURE_2D, 0)
  return texture


Texture.load = staticmethod(_load_texture)


@dataclasses.dataclass(frozen=True)
class Screen:
  """An OpenGL context and its frame buffers.

  Attributes:
    window: Invisible window that owns the context.
    small: Frame buffer of observations.
    large: Frame buffer of videos.
  """

  window: Any
  small: FrameBuffer
  large: FrameBuffer


@functools.cache
def screen() -> Screen:
  """Returns the screen that all worlds of the process share; MiniWorld itself makes one each."""
  try:
    window = pyglet.window.Window(width=1, height=1, visible=False)
  except (pyglet.window.WindowException, ImportError, AttributeError, RuntimeError) as e:
    raise GatoError(_CANNOT_RENDER.format(e)) from e

  gl.glEnable(gl.GL_DEPTH_TEST)
  gl.glEnable(gl.GL_CULL_FACE)
  return Screen(
    window,
    small=FrameBuffer(WIDTH, HEIGHT, _SAMPLES),
    large=FrameBuffer(_LARGE * WIDTH, _LARGE * HEIGHT, _SAMPLES),
  )


class Ball(Entity):
  """A ball of 180 faces.

  MiniWorld's has 5,000, which halves the speed of a level for the same image.

  Args:
    color: One of MiniWorld's colours.
    size: Metres of the diameter.
  """

  def __init__(self, color: str, size: float):
    super().__init__()
    self.color = color
    self.height = size
    self.radius = size / 2

  def render(self) -> None:
    gl.glDisable(gl.GL_TEXTURE_2D)
    gl.glColor3f(*COLORS[self.color])

    # The sphere's middle is a radius above the floor.
    gl.glPushMatrix()
    gl.glTranslatef(self.pos[0], self.pos[1] + self.radius, self.pos[2])
    gl.glScalef(self.radius, self.radius, self.radius)
    gl.glCallList(_sphere())
    gl.glPopMatrix()


@functools.cache
def _sphere() -> int:
  """Returns the OpenGL display list of a sphere of radius 1."""
  display_list = gl.glGenLists(1)
  quadric = gl.gluNewQuadric()

  # 18 slices of 10 stacks.
  gl.glNewList(display_list, gl.GL_COMPILE)
  gl.gluSphere(quadric, 1.0, 18, 10)
  gl.glEndList()

  gl.gluDeleteQuadric(quadric)
  return display_list
