"""Google's names of the slices that pre-flight calls v5e:4x4, for GKE and for TPU VMs."""

import dataclasses
import math
import re

from gato_jax.errors import GatoError

# Shapes of the generations whose chips lie in a plane; v2 and v3 have no slice of 2 x 4.
_PLANE = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_PLANE_V2 = ("2x2", "4x4", "4x8", "8x8", "8x16", "16x16")
_PLANE_V3 = (*_PLANE_V2, "16x32", "32x32")

# Of those that lie in a cube, the shapes below a cube of 4 x 4 x 4; larger ones follow a rule.
_SMALL_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")
_CUBE_SIDE = 4

_CHIPS_PER_HOST = 4


@dataclasses.dataclass(frozen=True)
class Generation:
  """One generation of TPUs.

  Attributes:
    prefix: Prefix of an accelerator type: "v5litepod" of "v5litepod-16".
    cores: Cores of a chip, as accelerator types count them.
    shapes: Shapes of its slices in chips, or of the small ones where `largest_cube` is not 0.
    gke: Node label; "" where GKE has none.
    runtime: Runtime version of TPU VMs; "" where there are none.
    largest_cube: Chips of the largest slice of a generation whose chips lie in a cube: from
      4 x 4 x 4 on all shapes are sold whose sides are multiples of 4.
  """

  prefix: str
  cores: int
  shapes: tuple[str, ...]
  gke: str
  runtime: str
  largest_cube: int = 0

  def has(self, shape: str) -> bool:
    """Returns True for the shapes of its slices, the smallest side first."""
    if shape in self.shapes:
      return True
    if not self.largest_cube or not re.fullmatch(r"\d+x\d+x\d+", shape):
      return False

    sides = [int(side) for side in shape.split("x")]
    is_cubes = all(side and side % _CUBE_SIDE == 0 for side in sides)
    return is_cubes and sides == sorted(sides) and math.prod(sides) <= self.largest_cube

  @property
  def described(self) -> str:
    """The shapes, for messages."""
    text = ", ".join(self.shapes)
    if self.largest_cube:
      text += f", and sides of multiples of 4, such as 4x4x12, up to {self.largest_cube:,} chips"
    return text


# tests/launch compares those of GKE with xpk's own table. v5p's largest job has 6,144 chips by
# Google's pages, its table in xpk goes to 8,960.
GENERATIONS = {
  "v2": Generation("v2", 2, _PLANE_V2, gke="", runtime="tpu-ubuntu2204-base"),
  "v3": Generation("v3", 2, _PLANE_V3, gke="", runtime="tpu-ubuntu2204-base"),
  "v4": Generation(
    "v4",
    2,
    _SMALL_CUBES,
    gke="tpu-v4-podslice",
    runtime="tpu-ubuntu2204-base",
    largest_cube=4096,
  ),
  "v5e": Generation(
    "v5litepod", 1, _PLANE, gke="tpu-v5-lite-podslice", runtime="v2-alpha-tpuv5-lite"
  ),
  "v5p": Generation(
    "v5p", 2, _SMALL_CUBES, gke="tpu-v5p-slice", runtime="v2-alpha-tpuv5", largest_cube=8960
  ),
  "v6e": Generation("v6e", 1, _PLANE, gke="tpu-v6e-slice", runtime="v2-alpha-tpuv6e"),
  # Ironwood, which only GKE has.
  "tpu7x": Generation(
    "tpu7x", 2, ("1x1x1", *_SMALL_CUBES), gke="tpu7x", runtime="", largest_cube=9216
  ),
}


@dataclasses.dataclass(frozen=True)
class Tpu:
  """One slice.

  Attributes:
    generation: Generation of its chips.
    shape: Shape in chips, "4x4".
  """

  generation: Generation
  shape: str

  @property
  def chips(self) -> int:
    """Number of chips."""
    return math.prod(int(n) for n in self.shape.split("x"))

  @property
  def hosts(self) -> int:
    """Number of hosts."""
    return self.chips // self.chips_per_host

  @property
  def chips_per_host(self) -> int:
    """Number of chips of a host."""
    return min(_CHIPS_PER_HOST, self.chips)

  @property
  def type(self) -> str:
    """Accelerator type: "v5litepod-16"."""
    return f"{self.generation.prefix}-{self.chips * self.generation.cores}"


def tpu(topology: str) -> Tpu:
  """Returns the slice that pre-flight calls `topology`.

  Raises:
    GatoError: There is no such slice.
  """
  name, _, shape = topology.partition(":")
  if name not in GENERATIONS:
    raise GatoError(
      f"--topology={topology!r}: a generation of {', '.join(GENERATIONS)} and its chips, "
      "as v5e:16x16"
    )

  generation = GENERATIONS[name]
  if not generation.has(shape):
    raise GatoError(f"--topology={topology}: {name} has slices of {generation.described}")

  return Tpu(generation, shape)
