"""What an accelerator can do, by JAX's `device_kind`: the figures that utilisation and memory are measured against.

A JAX device is a core on TPU v2 and v3 (two a chip) and a chip elsewhere. Sources: Google's "TPU system architecture"
pages (v2 to v6e) and NVIDIA's data sheets (dense bfloat16, without sparsity).
"""

import dataclasses
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Device:
  """One JAX device.

  Attributes:
    peak_flops: bfloat16 products, FLOP/s. memory: bytes. bandwidth: of that memory, bytes/s.
    usable: bytes of the memory that a program may have; TPUs: what libtpu 0.0.42 says when a program exceeds it.
  """

  peak_flops: float
  memory: float
  bandwidth: float
  usable: float | None = None


DEVICES: dict[str, Device] = {
  "TPU v2": Device(22.5e12, 8 * GIB, 350e9, 7.48 * GIB),
  "TPU v3": Device(61.5e12, 16 * GIB, 450e9, 15.48 * GIB),
  "TPU v4": Device(275e12, 32 * GIB, 1228e9, 30.75 * GIB),
  "TPU v5 lite": Device(197e12, 16 * GIB, 819e9, 15.75 * GIB),
  "TPU v5": Device(459e12, 96 * GIB, 2765e9, 95.74 * GIB),  # v5p; Google says 95 GB
  "TPU v6 lite": Device(918e12, 32 * GIB, 1640e9, 31.25 * GIB),
  "NVIDIA A100-SXM4-80GB": Device(312e12, 80 * GIB, 2039e9),
  "NVIDIA H100 80GB HBM3": Device(989e12, 80 * GIB, 3350e9),
  "NVIDIA H200": Device(989e12, 141e9, 4800e9),
}


def peak_flops(devices: Sequence[jax.Device]) -> float:
  """FLOP/s of devices of one kind together: the data sheet's, or those of a large product timed here.

  The latter is for CPUs, whose devices share a process's cores.
  """
  known = DEVICES.get(devices[0].device_kind)
  if known:
    return len(devices) * known.peak_flops
  return len({device.process_index for device in devices}) * _product_flops(jax.local_devices()[0])


def _product_flops(device: jax.Device, side: int = 2048, repeats: int = 5) -> float:
  """Best of a few float32 products."""
  a = jax.device_put(jnp.ones((side, side), jnp.float32), device)
  product = jax.jit(jnp.matmul)
  product(a, a).block_until_ready()
  seconds = []
  for _ in range(repeats):
    began = time.perf_counter()
    product(a, a).block_until_ready()
    seconds.append(time.perf_counter() - began)
  return 2 * side**3 / min(seconds)
