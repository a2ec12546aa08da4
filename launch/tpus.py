"""What Google calls the slices that pre-flight calls v5e:4x4: for GKE and for TPU VMs."""

import dataclasses
import math

from gato_jax.errors import GatoError

# Slices are of these shapes where nothing else is asked for; tests hold those of GKE to xpk's own table.
_PLANE = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBE = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")


@dataclasses.dataclass(frozen=True)
class Generation:
  """prefix: of an accelerator type. cores: of a chip, as types count them. gke: node label, "" where GKE has none."""

  prefix: str
  cores: int
  shapes: tuple[str, ...]
  gke: str
  runtime: str


GENERATIONS = {
  "v2": Generation("v2", 2, (*_PLANE[:1], *_PLANE[2:]), "", "tpu-ubuntu2204-base"),
  "v3": Generation("v3", 2, (*_PLANE[:1], *_PLANE[2:], "16x32", "32x32"), "", "tpu-ubuntu2204-base"),
  "v4": Generation("v4", 2, _CUBE, "tpu-v4-podslice", "tpu-ubuntu2204-base"),
  "v5e": Generation("v5litepod", 1, _PLANE[1:], "tpu-v5-lite-podslice", "v2-alpha-tpuv5-lite"),
  "v5p": Generation("v5p", 2, _CUBE, "tpu-v5p-slice", "v2-alpha-tpuv5"),
  "v6e": Generation("v6e", 1, _PLANE, "tpu-v6e-slice", "v2-alpha-tpuv6e"),
}
CHIPS_PER_HOST = 4  # of all these shapes


@dataclasses.dataclass(frozen=True)
class Tpu:
  """One slice. shape: of chips, "4x4". chips, hosts: their numbers. type: "v5litepod-16"."""

  generation: Generation
  shape: str

  @property
  def chips(self) -> int:
    return math.prod(int(n) for n in self.shape.split("x"))

  @property
  def hosts(self) -> int:
    return self.chips // CHIPS_PER_HOST

  @property
  def type(self) -> str:
    return f"{self.generation.prefix}-{self.chips * self.generation.cores}"


def tpu(topology: str) -> Tpu:
  """The slice that pre-flight calls `topology`.

  Raises:
    GatoError: there is none.
  """
  name, _, shape = topology.partition(":")
  if name not in GENERATIONS:
    raise GatoError(f"--topology={topology!r}: a generation of {', '.join(GENERATIONS)} and its chips, as v5e:16x16")
  if shape not in GENERATIONS[name].shapes:
    raise GatoError(f"--topology={topology}: {name} has slices of {', '.join(GENERATIONS[name].shapes)}")
  return Tpu(GENERATIONS[name], shape)
