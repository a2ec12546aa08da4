"""Google's names of the slices that pre-flight calls v5e:4x4, for GKE and for TPU VMs."""

import dataclasses
import math

from gato_jax.errors import GatoError

# Slices have these shapes unless a custom one is asked for. tests/launch compares those of GKE with
# xpk's own table.
_PLANE = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBE = (
  "2x2x1",
  "2x2x2",
  "2x2x4",
  "2x4x4",
  "4x4x4",
  "4x4x8",
  "4x8x8",
  "8x8x8",
  "8x8x16",
  "8x16x16",
)

# v2 and v3 have no slice of 2 x 4 chips.
_PLANE_V2 = ("2x2", "4x4", "4x8", "8x8", "8x16", "16x16")
_PLANE_V3 = (*_PLANE_V2, "16x32", "32x32")


@dataclasses.dataclass(frozen=True)
class Generation:
  """One generation of TPUs.

  Attributes:
    prefix: Prefix of an accelerator type: "v5litepod" of "v5litepod-16".
    cores: Cores of a chip, as accelerator types count them.
    shapes: Shapes of its slices, in chips.
    gke: Node label; "" where GKE has none.
    runtime: Runtime version of TPU VMs.
  """

  prefix: str
  cores: int
  shapes: tuple[str, ...]
  gke: str
  runtime: str


GENERATIONS = {
  "v2": Generation("v2", 2, _PLANE_V2, gke="", runtime="tpu-ubuntu2204-base"),
  "v3": Generation("v3", 2, _PLANE_V3, gke="", runtime="tpu-ubuntu2204-base"),
  "v4": Generation("v4", 2, _CUBE, gke="tpu-v4-podslice", runtime="tpu-ubuntu2204-base"),
  "v5e": Generation(
    "v5litepod",
    1,
    _PLANE[1:],
    gke="tpu-v5-lite-podslice",
    runtime="v2-alpha-tpuv5-lite",
  ),
  "v5p": Generation("v5p", 2, _CUBE, gke="tpu-v5p-slice", runtime="v2-alpha-tpuv5"),
  "v6e": Generation("v6e", 1, _PLANE, gke="tpu-v6e-slice", runtime="v2-alpha-tpuv6e"),
}
CHIPS_PER_HOST = 4  # of all these shapes


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
    return self.chips // CHIPS_PER_HOST

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

  shapes = GENERATIONS[name].shapes
  if shape not in shapes:
    raise GatoError(f"--topology={topology}: {name} has slices of {', '.join(shapes)}")

  return Tpu(GENERATIONS[name], shape)
