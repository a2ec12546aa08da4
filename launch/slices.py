"""TPU slices that need not exist: their devices, for compiling, from libtpu on any Linux machine.

`make` installs libtpu beside the packages and not among them (.venv/libtpu): otherwise JAX would
look for a TPU at every start, and report that it found none.
"""

import dataclasses
import importlib.util
import os
import pathlib
import re
import sys
from typing import Any

import jax
from jax.experimental import topologies

from gato_jax.errors import GatoError
from gato_jax.train import hardware

# Generation -> libtpu's options. On v4 a device is a chip, as on Cloud TPU: without megacore it
# would be a core.
GENERATIONS: dict[str, dict[str, Any]] = {
  "v2": {},
  "v3": {},
  "v4": {"chip_config_name": "megacore"},
  "v5e": {},
  "v5p": {},
  "v6e": {},
  "tpu7x": {},
}
EXAMPLES = "v3:16x16, v4:4x8x8, v5e:16x16, v5p:4x8x8, v6e:16x16 or tpu7x:4x4x4"

_ENVIRONMENT = {
  # No request to the metadata server of a TPU VM.
  "TPU_SKIP_MDS_QUERY": "1",
  # Without these two libtpu complains on stderr.
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_ACCELERATOR_TYPE": "v3-8",
  # No files in /tmp/tpu_logs.
  "TPU_LOG_DIR": "disabled",
  # Several processes may compile at the same time.
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclasses.dataclass(frozen=True)
class Slice:
  """One or several slices of TPUs that train together.

  Attributes:
    name: Name as in --topology, "v3:16x16".
    devices: Devices as JAX sees them; two a chip on v2, v3 and tpu7x.
    chips: Number of chips.
    kind: Memory and speed of one device.
  """

  name: str
  devices: tuple[jax.Device, ...]
  chips: int
  kind: hardware.Device


def describe(name: str) -> Slice:
  """Returns the slice called `name`: a generation and its shape in chips.

  "2*v5e:16x16" are two of them, joined by a network.

  Raises:
    GatoError: No such generation or shape, or no libtpu.
  """
  count, _, single = name.rpartition("*")
  generation, _, shape = single.partition(":")
  is_known = generation in GENERATIONS and re.fullmatch(r"\d+(x\d+){1,2}", shape)
  if not is_known or not re.fullmatch(r"([1-9]\d*)?", count):
    raise GatoError(
      f"--topology={name!r} is no slice: a generation of {', '.join(GENERATIONS)} and chips, "
      f"as {EXAMPLES}"
    )

  os.environ.update(_ENVIRONMENT)
  os.environ.setdefault("TPU_LIBRARY_PATH", str(_library()))

  # This process compiles for devices that it does not have.
  jax.config.update("jax_platforms", "cpu")

  try:
    description = topologies.get_topology_desc(
      single, platform="tpu", num_slices=int(count or 1), **GENERATIONS[generation]
    )
  except jax.errors.JaxRuntimeError as e:
    reason = str(e).splitlines()[0]
    raise GatoError(
      f"--topology={name}: libtpu knows no such slice ({reason}); try one like {EXAMPLES}"
    ) from e

  # The cores of a chip share its coordinates, and all slices count theirs from 0.
  devices: list[Any] = description.devices
  chips = {(getattr(device, "slice_index", 0), *device.coords) for device in devices}
  kind = hardware.DEVICES[devices[0].device_kind]
  return Slice(name, tuple(devices), chips=len(chips), kind=kind)


def _library() -> pathlib.Path:
  # On a TPU VM libtpu is a package like others.
  installed = importlib.util.find_spec("libtpu")
  if installed and installed.origin:
    directory = pathlib.Path(installed.origin).parent
  else:
    directory = pathlib.Path(sys.prefix) / "libtpu" / "libtpu"

  library = directory / "libtpu.so"
  if not library.exists():
    raise GatoError(f"no libtpu in {directory}: `make` installs it (launch/requirements.txt)")

  return library
