"""TPU slices that need not exist: their devices, for compiling, from libtpu on any Linux machine.

`make` puts libtpu beside the packages and not among them (.venv/libtpu): JAX would look for a TPU at every start, and
say that it found none.
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

from gato_jax import hardware
from gato_jax.errors import GatoError

# Generation -> libtpu's options. On v4 a device is a chip, as Cloud TPU gives it: without megacore it is a core.
GENERATIONS: dict[str, dict[str, Any]] = {
  "v2": {},
  "v3": {},
  "v4": {"chip_config_name": "megacore"},
  "v5e": {},
  "v5p": {},
  "v6e": {},
}
EXAMPLES = "v3:16x16, v4:4x8x8, v5e:16x16, v5p:4x8x8 or v6e:16x16"

_ENVIRONMENT = {
  "TPU_SKIP_MDS_QUERY": "1",  # no question to the metadata server of a TPU VM
  "TPU_WORKER_HOSTNAMES": "localhost",  # these two: without them libtpu complains on stderr
  "TPU_ACCELERATOR_TYPE": "v3-8",
  "TPU_LOG_DIR": "disabled",  # no files in /tmp/tpu_logs
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # several processes may compile at one time
}


@dataclasses.dataclass(frozen=True)
class Slice:
  """name: "v3:16x16". devices: as JAX sees them; two a chip on v2 and v3. kind: one of them."""

  name: str
  devices: tuple[jax.Device, ...]
  chips: int
  kind: hardware.Device


def describe(name: str) -> Slice:
  """The slice called `name`: a generation and its shape in chips; "2*v5e:16x16" are two of them, joined by a network.

  Raises:
    GatoError: no such generation or shape, or no libtpu.
  """
  count, _, single = name.rpartition("*")
  generation, _, shape = single.partition(":")
  known = generation in GENERATIONS and re.fullmatch(r"\d+(x\d+){1,2}", shape)
  if not known or not re.fullmatch(r"([1-9]\d*)?", count):
    raise GatoError(
      f"--topology={name!r} is no slice: a generation of {', '.join(GENERATIONS)} and chips, as {EXAMPLES}"
    )
  os.environ.update(_ENVIRONMENT)
  os.environ.setdefault("TPU_LIBRARY_PATH", str(_library()))
  jax.config.update("jax_platforms", "cpu")  # this process compiles for devices that it does not have
  try:
    devices = topologies.get_topology_desc(
      single, platform="tpu", num_slices=int(count or 1), **GENERATIONS[generation]
    ).devices
  except jax.errors.JaxRuntimeError as e:
    reason = str(e).splitlines()[0]
    raise GatoError(f"--topology={name}: libtpu knows no such slice ({reason}); try one like {EXAMPLES}") from e
  chips = len({(getattr(device, "slice_index", 0), *device.coords) for device in devices})
  return Slice(name, tuple(devices), chips, hardware.DEVICES[devices[0].device_kind])


def _library() -> pathlib.Path:
  installed = importlib.util.find_spec("libtpu")  # on a TPU VM it is a package like others
  folder = pathlib.Path(installed.origin).parent if installed else pathlib.Path(sys.prefix) / "libtpu" / "libtpu"
  if not (folder / "libtpu.so").exists():
    raise GatoError(f"no libtpu in {folder}: `make` installs it (launch/requirements.txt)")
  return folder / "libtpu.so"
