"""Which implementation of attention a training window takes, by device and sizes.

| name | what it is | where |
|---|---|---|
| xla | products and a softmax, with scores in memory | everywhere |
| pallas | `relative_flash`: scores exist for one tile at a time | TPUs from v5 on |
| cudnn | `biased_attention`: cuDNN's kernel, with the distance term as its bias | NVIDIA GPUs |

"auto" takes what was verified for the device. A name that is asked for and impossible is an error.
"""

import functools
import logging
from typing import Any

import jax

from gato_jax.errors import GatoError
from gato_jax.model.config import GatoConfig

_log = logging.getLogger(__name__)

# Names of what rematerialisation keeps of a fused attention instead of computing it again: the
# output and, of each query, the log of its sum of exponentials.
OUTPUT = "attention_output"
LOG_SUM = "attention_log_sum"

# Lanes of a TPU's registers, which the heads of a run fill.
LANES = 128

# Positions of a row times lanes of a run that the fast memory holds on every generation: 2,048 x
# 256 were refused on v5e.
_LARGEST_RUN = 2048 * LANES

_TILES = (256, 128)

# Device kinds that the Pallas kernel was compiled for by libtpu 0.0.42: v5e, v5p, v6e and Ironwood.
# On v4 the rotation of a tile by rows does not exist. No TPU has run it yet, so a process compares
# it with the plain path before "auto" takes it (attention_check.py).
COMPILED_FOR = ("TPU v5 lite", "TPU v5", "TPU v6 lite", "TPU7x")

# On a CPU, the rows from which on the plain way computes in blocks unless told otherwise, and the
# queries of a block. A layer of four heads then takes 0.6 of the time at 512 tokens and 0.4 at
# 1,024. Shorter rows gain, too, and are left as they were: blocks add up in another order.
_LONG_ROW, _CPU_BLOCK = 512, 64

# Device kinds that cuDNN was compared on with the plain path, in numbers and in speed, by
# benchmarks/gpu.sh; rows in results/gpu/.
MEASURED_CUDNN: tuple[str, ...] = ()


def implementation(config: GatoConfig, length: int) -> str:
  """Returns "xla", "pallas" or "cudnn" for windows of a length, on the devices in use.

  They are those of the mesh that is set (`jax.set_mesh`), else the process's own.

  Raises:
    GatoError: The config names one that does not work here.
  """
  here = device()
  heads = config.heads // jax.sharding.get_abstract_mesh().shape.get("model", 1)

  obstacle = {
    "xla": None,
    "pallas": _obstacle_to_pallas(config, length, heads=heads, platform=here.platform),
    "cudnn": _obstacle_to_cudnn(config, length, platform=here.platform),
  }
  if config.attention != "auto":
    if obstacle[config.attention]:
      raise GatoError(
        f"model.attention={config.attention!r} cannot be used: {obstacle[config.attention]};"
        ' set model.attention="auto"'
      )
    return config.attention

  candidate = {"tpu": "pallas", "gpu": "cudnn", "cuda": "cudnn"}.get(here.platform, "xla")
  reason = obstacle[candidate] or _unverified(candidate, here.device_kind, config)
  if reason:
    _say(f"model.attention=auto: plain XLA instead of {candidate}, because {reason}")
    return "xla"
  return candidate


def query_block(config: GatoConfig, length: int) -> int:
  """Returns the number of queries whose scores the plain way computes together."""
  is_long = length >= _LONG_ROW
  if not config.attention_block and config.attention == "auto" and is_long:
    return _CPU_BLOCK if device().platform == "cpu" else length
  return config.attention_block or length


def device() -> Any:
  """Returns a device in use, with `platform` and `device_kind`."""
  return jax.sharding.get_abstract_mesh().abstract_device or jax.devices()[0]


def heads_of_run(heads: int, key_size: int) -> int | None:
  """Returns the number of heads that fill the lanes of a TPU; None where no number does."""
  if key_size % LANES == 0:
    return 1

  count = LANES // key_size
  return None if LANES % key_size or heads % count else count


def tile_side(length: int, key_size: int) -> int | None:
  """Returns the side of the Pallas kernel's tiles; None where the rows do not suit it."""
  if length * max(key_size, LANES) > _LARGEST_RUN:
    return None
  return next((tile for tile in _TILES if length % tile == 0), None)


def _obstacle_to_pallas(
  config: GatoConfig, length: int, *, heads: int, platform: str
) -> str | None:
  if platform != "tpu":
    return f"the kernel is for TPUs, and this is a {platform}"
  if heads_of_run(heads, config.key_size) is None:
    return f"{heads} heads of {config.key_size} on a device do not fill runs of {LANES} lanes"
  if tile_side(length, config.key_size) is None:
    longest = _LARGEST_RUN // max(config.key_size, LANES)
    return f"a row of {length} tokens is no multiple of {_TILES[-1]} up to {longest}"
  return None


def _obstacle_to_cudnn(config: GatoConfig, length: int, *, platform: str) -> str | None:
  if platform not in ("gpu", "cuda"):
    return f"cuDNN is for NVIDIA GPUs, and this is a {platform}"
  if config.dtype != "bfloat16":
    return f"it computes in bfloat16, and model.dtype is {config.dtype}"
  if config.key_size > 256 or config.key_size % 8:
    return f"model.key_size={config.key_size} is no multiple of 8 up to 256"
  if length % 2:
    return f"it takes rows of even lengths, and these have {length} tokens"
  return None


def _unverified(candidate: str, kind: str, config: GatoConfig) -> str | None:
  """Returns the reason for which "auto" does not trust an implementation that is possible here."""
  match candidate:
    case "pallas" if kind not in COMPILED_FOR:
      return f"the kernel was never compiled for {kind} (for {', '.join(COMPILED_FOR)} it was)"
    case "pallas" if jax.sharding.get_abstract_mesh().shape.get("model", 1) > 1:
      # Compiled for v5e:2x2 with data 2 x model 2, a small step sent 190 MB instead of 77 MB.
      return "with train.mesh_model > 1 the compiler splits other arrays, too, and sends more"
    case "pallas" if kind == jax.local_devices()[0].device_kind:
      # Not at the top: Pallas takes a while to import, and most processes have no TPU.
      from gato_jax.model import attention_check

      return attention_check.disagreement(config.heads, config.key_size, config.dtype)
    case "cudnn" if kind not in MEASURED_CUDNN:
      return f"cuDNN was not measured on {kind} (benchmarks/gpu.sh does that)"
  return None


@functools.cache
def _say(line: str) -> None:
  """Logs a line once; attention is traced for every layer and program."""
  _log.warning(line)
