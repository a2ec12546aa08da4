"""Peak performance and memory of accelerators, by JAX's `device_kind`.

Utilisation and memory needs are measured against these figures. A JAX device is a core on TPU v2
and v3 (two per chip), half a chip on TPU7x and a chip elsewhere. Sources: Google's "TPU system
architecture" pages (v2 to v6e, and TPU7x) and NVIDIA's data sheets (dense bfloat16, without
sparsity).
"""

import dataclasses
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Device:
  """Figures of one JAX device.

  Attributes:
    peak_flops: FLOP/s of bfloat16 products.
    memory: Bytes.
    bandwidth: Bytes/s of that memory.
    usable: Bytes of memory that a program may use; None where it is not known. TPUs: the limit that
      libtpu 0.0.42 names when a program exceeds it.
    link_bandwidth: Bytes/s of one link between chips in one direction, of which a ring uses two; 0
      where it is not known. Sources: "How to Scale Your Model" (Austin et al. 2025), chapter 2, for
      v4 to v6e; Jouppi et al. 2020 for v2 and v3; Google's page of the TPU7x for its 9.6 Tb/s a
      chip over six links. What two devices of a chip share is halved.
  """

  peak_flops: float
  memory: float
  bandwidth: float
  usable: float | None = None
  link_bandwidth: float = 0.0


DEVICES: dict[str, Device] = {
  "TPU v2": Device(22.5e12, 8 * GIB, bandwidth=350e9, usable=7.48 * GIB, link_bandwidth=31e9),
  "TPU v3": Device(61.5e12, 16 * GIB, bandwidth=450e9, usable=15.48 * GIB, link_bandwidth=41e9),
  "TPU v4": Device(275e12, 32 * GIB, bandwidth=1228e9, usable=30.75 * GIB, link_bandwidth=45e9),
  "TPU v5 lite": Device(197e12, 16 * GIB, bandwidth=819e9, usable=15.75 * GIB, link_bandwidth=45e9),
  # JAX's name of the v5p. Google's page says 95 GB.
  "TPU v5": Device(459e12, 96 * GIB, bandwidth=2765e9, usable=95.74 * GIB, link_bandwidth=90e9),
  "TPU v6 lite": Device(
    918e12, 32 * GIB, bandwidth=1640e9, usable=31.25 * GIB, link_bandwidth=90e9
  ),
  # Ironwood: 2,307e12 FLOP/s, 192 GiB and 7.37e12 bytes/s a chip, which is two devices.
  "TPU7x": Device(1153.5e12, 96 * GIB, bandwidth=3685e9, usable=94.75 * GIB, link_bandwidth=50e9),
  "NVIDIA A100-SXM4-80GB": Device(312e12, 80 * GIB, bandwidth=2039e9),
  "NVIDIA H100 80GB HBM3": Device(989e12, 80 * GIB, bandwidth=3350e9),
  "NVIDIA H200": Device(989e12, 141e9, bandwidth=4800e9),
}


def peak_flops(devices: Sequence[jax.Device]) -> float:
  """Returns the FLOP/s of devices of one kind together.

  The figure is from the data sheet where the kind is known. Otherwise it is that of a large product
  timed here, which is meant for CPUs, where the devices of a process share its cores.
  """
  device = DEVICES.get(devices[0].device_kind)
  if device:
    return len(devices) * device.peak_flops

  processes = {device.process_index for device in devices}
  return len(processes) * _measure_flops(jax.local_devices()[0])


def _measure_flops(device: jax.Device, side: int = 2048, repeats: int = 5) -> float:
  """Returns the FLOP/s of the fastest of a few float32 products."""
  matrix = jax.device_put(jnp.ones((side, side), jnp.float32), device)
  product = jax.jit(jnp.matmul)
  product(matrix, matrix).block_until_ready()  # compiles

  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    product(matrix, matrix).block_until_ready()
    seconds.append(time.perf_counter() - start)

  # A multiply-add of [n, n] x [n, n] counts as two operations.
  return 2 * side**3 / min(seconds)
