"""The roofline of pre-flight against steps that are measured, on the devices that are here.

python benchmarks/roofline.py --results=results/roofline.jsonl

For each size the training step is compiled once; launch/roofline.py says from the program how long
it takes at least, and the same program is timed. Peak and bandwidth are the data sheet's, and on a
CPU those of a large product and of a large copy, timed here first. CPUs have caches and no matrix
units: what is compared is the method, not a TPU.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import time

import jax
import jax.numpy as jnp

from benchmarks.train_step import PRESETS, control_batch
from gato_jax import model
from gato_jax.model import flops, sharding
from gato_jax.train import hardware, optimizer, step
from launch import collectives, hlo, roofline

# Name -> network, rows and length: bound by products, by scores, by the token table, by all three.
_BASE = dataclasses.replace(PRESETS["cpu"], text_pieces=2048, attention_block=0, scan_layers=True)
_SIZES = {
  "wide": (dataclasses.replace(_BASE, width=512, heads=8, feed_forward=2048), 16, 128),
  "long": (dataclasses.replace(_BASE, layers=2), 4, 1024),
  "many pieces": (dataclasses.replace(_BASE, layers=1, text_pieces=32_000), 8, 128),
  "small": (dataclasses.replace(_BASE, width=128, heads=2, feed_forward=768), 24, 208),
  "remat": (dataclasses.replace(_BASE, remat="full"), 8, 512),
}
# For accelerators, with --only.
_LARGE = {name: (model.variant(name), 8, 1024) for name in ("gato_79m", "gato_364m", "gato_1b")}


def measured_bandwidth(device: jax.Device, repeats: int = 5) -> float:
  """Returns bytes/s of a large copy, read and written."""
  array = jax.device_put(jnp.ones(64 << 20, jnp.float32), device)
  copy = jax.jit(lambda x: x + 1)
  copy(array).block_until_ready()  # compiles

  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    copy(array).block_until_ready()
    seconds.append(time.perf_counter() - start)

  return 2 * array.nbytes / min(seconds)


def device_here() -> hardware.Device:
  """Returns the figures of the first device."""
  device = jax.devices()[0]
  known = hardware.DEVICES.get(device.device_kind)
  if known:
    return known

  return hardware.Device(
    hardware.peak_flops([device]), memory=0, bandwidth=measured_bandwidth(device)
  )


def measure(name: str, device: hardware.Device, repeats: int) -> dict:
  """Returns one row: what was predicted and what was measured, in seconds a step."""
  config, rows, length = {**_SIZES, **_LARGE}[name]
  batch = control_batch(rows, length)
  mesh = sharding.make_mesh(1, 1, devices=jax.devices()[:1])
  trainer = step.Trainer(config, optimizer.OptimizerConfig(), mesh=mesh, components=1)
  arrays = trainer.put(batch)

  compiled = trainer.lower({k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in batch.items()})
  text = compiled.compile().as_text()
  assert text is not None
  targets = int(batch["targets"].sum())
  estimate = roofline.estimate(
    hlo.parse(text), collectives.collectives(text), device, unknown_trips=-(-targets // 1024)
  )

  state = trainer.init()
  seconds = []
  for _ in range(repeats + 2):
    start = time.perf_counter()
    state, measured = trainer(state, arrays, total_steps=1000)
    jax.block_until_ready((state, measured))
    seconds.append(time.perf_counter() - start)
  seconds = sorted(seconds[2:])  # without compilation

  median = statistics.median(seconds)
  model_flops = flops.train_step(config, rows=rows, length=length, targets=targets, patches=0)
  return {
    "device": jax.devices()[0].device_kind,
    "name": name,
    "peak_flops": device.peak_flops,
    "bandwidth": device.bandwidth,
    "products": estimate.products,
    "memory": estimate.memory,
    "bound": estimate.bound,
    "shortest": estimate.shortest,
    "expected": estimate.expected,
    "measured": median,
    "fastest": seconds[0],
    "slowest": seconds[-1],
    "measured_over_expected": median / estimate.expected,
    "utilisation": model_flops / median / device.peak_flops,
  }


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--results", type=pathlib.Path, help="file of JSON lines, replaced")
  parser.add_argument("--repeats", type=int, default=10, help="steps that are timed")
  parser.add_argument("--only", choices=[*_SIZES, *_LARGE], help="one size instead of all")
  arguments = parser.parse_args()

  device = device_here()
  print(f"{device.peak_flops:.3g} FLOP/s, {device.bandwidth:.3g} bytes/s")
  rows = []
  for name in [arguments.only] if arguments.only else _SIZES:
    row = measure(name, device, arguments.repeats)
    rows.append(row)
    print(
      f"{name:<12} bound by {row['bound']:<8} expected {row['expected'] * 1e3:7.1f} ms, "
      f"measured {row['measured'] * 1e3:7.1f} [{row['fastest'] * 1e3:.1f}, "
      f"{row['slowest'] * 1e3:.1f}], ratio {row['measured_over_expected']:.2f}, "
      f"utilisation {row['utilisation']:.0%}",
      flush=True,
    )

  if arguments.results:
    arguments.results.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
  main()
