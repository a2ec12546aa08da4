"""Fused attention against the plain one: one layer, forward and backward, with its numbers.

For a TPU that need not be there, compiled (bytes of its memory, by the program):
  python benchmarks/attention.py --topology=v5e:2x2 --out=results/attention.jsonl
On the device that is here (time, and the largest difference from the plain path):
  python benchmarks/attention.py --sizes=gato_79m,gato_1b

Rows of a GPU have "cudnn", of a TPU "pallas", of a CPU the plain path in blocks of queries. Bytes
are those that the instructions of the compiled program read and write (launch/roofline.py).
"""

import argparse
import dataclasses
import json
import math
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from gato_jax import model
from gato_jax.model import attention, attention_check, sharding, visibility
from gato_jax.train import hardware
from launch import collectives, hlo, products, roofline, slices

# The paper's sizes, and one that a CPU computes in a moment.
SIZES = {
  **{name: model.variant(name) for name in ("gato_79m", "gato_364m", "gato_1b")},
  "small": model.GatoConfig(
    layers=1, heads=4, width=128, feed_forward=2, key_size=32, dtype="float32"
  ),
}


def layer_arguments(config: model.GatoConfig, rows: int, length: int) -> tuple:
  """Returns the shapes of a layer's parameters, its input and the codes of the window."""
  stacked = model.abstract_params(dataclasses.replace(config, layers=1, patch_channels=32))
  params = jax.tree.map(
    lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype),
    stacked["decoder"]["layers"]["attention"],
  )
  x = jax.ShapeDtypeStruct((rows, length, config.width), jnp.dtype(config.dtype))
  return params, x, jax.ShapeDtypeStruct((rows, 2, length), np.int32)


def gradients(config: model.GatoConfig, length: int):
  """Returns a function of `layer_arguments`: the output, and the gradients of the first two."""

  def compute(params, x, codes):
    mask = attention.WindowMask(
      visibility.window_mask(codes), attention.distance_table(length - 1, config.width), codes
    )

    def apply(params, x):
      return attention.RelativeAttention(config).apply({"params": params}, x, mask)

    out, transpose = jax.vjp(apply, params, x)
    return out, transpose(out)

  return compute


def compiled(config: model.GatoConfig, rows: int, length: int, device: jax.Device):
  """Returns the program of `gradients` for one device, which need not exist."""
  mesh = sharding.make_mesh(1, 1, devices=[device])
  whole = NamedSharding(mesh, PartitionSpec())
  arguments = jax.tree.map(
    lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole),
    layer_arguments(config, rows, length),
  )
  with jax.set_mesh(mesh):
    return jax.jit(gradients(config, length)).lower(*arguments).compile()


def program_row(program, kind: hardware.Device | None) -> dict:
  """Returns the bytes and FLOPs of a compiled program, and its roofline where it has one."""
  text = program.as_text()
  parsed = hlo.parse(text)
  visits = [
    visit
    for visit in hlo.walk(parsed, 1)
    if not visit.fusion and visit.instruction.opcode not in roofline._FREE
  ]
  row = {
    "bytes": sum(visit.times * roofline.memory_bytes(parsed, visit) for visit in visits),
    "temporary_bytes": program.memory_analysis().temp_size_in_bytes,
    "product_flops": products.product_flops(parsed),
  }
  if kind is not None:
    found = roofline.estimate(parsed, collectives.collectives(text), kind)
    row["expected_ms"] = 1e3 * found.expected
  return row


def measured_row(program, config: model.GatoConfig, rows: int, length: int, repeats: int) -> dict:
  """Returns the median time of a program on the device that is here."""
  random = np.random.default_rng(0)

  def array(shape: jax.ShapeDtypeStruct) -> np.ndarray:
    if shape.dtype == np.int32:
      return np.ones(shape.shape, np.int32)
    return (random.normal(size=shape.shape) / math.sqrt(config.width)).astype(shape.dtype)

  arrays = jax.device_put(jax.tree.map(array, layer_arguments(config, rows, length)))
  seconds = []
  for _ in range(repeats + 1):
    start = time.perf_counter()
    jax.block_until_ready(program(*arrays))
    seconds.append(time.perf_counter() - start)

  return {"measured_ms": 1e3 * statistics.median(seconds[1:])}


def choices(platform: str) -> dict[str, dict]:
  """Returns name -> changes of the config, the plain path first."""
  fused = {
    "tpu": {"pallas": {"attention": "pallas"}},
    "gpu": {"cudnn": {"attention": "cudnn"}},
    "cpu": {f"blocks of {n}": {"attention_block": n} for n in (64, 256)},
  }
  return {"xla": {"attention": "xla"}, **fused[platform]}


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--topology", help=f"a slice that need not exist: {slices.EXAMPLES}")
  parser.add_argument("--sizes", help=f"some of {','.join(SIZES)}; by default what the device fits")
  parser.add_argument("--rows", type=int, default=2, help="rows of the batch on a device")
  parser.add_argument("--length", type=int, default=1024, help="tokens of a row")
  parser.add_argument("--repeats", type=int, default=10, help="timed runs")
  parser.add_argument("--out", help="append the rows to this JSONL")
  args = parser.parse_args()

  device = slices.describe(args.topology).devices[0] if args.topology else jax.devices()[0]
  platform = {"cuda": "gpu"}.get(device.platform, device.platform)
  by_default = "small" if platform == "cpu" else "gato_79m,gato_364m,gato_1b"

  is_wrong = False
  for size in (args.sizes or by_default).split(","):
    for name, changes in choices(platform).items():
      config = dataclasses.replace(SIZES[size], **changes)
      program = compiled(config, args.rows, args.length, device)
      row = {
        "device": device.device_kind,
        "size": size,
        "attention": name,
        "rows": args.rows,
        "length": args.length,
        "dtype": config.dtype,
        **program_row(program, hardware.DEVICES.get(device.device_kind)),
      }
      if not args.topology:
        row |= measured_row(program, config, args.rows, args.length, args.repeats)
        if name in ("pallas", "cudnn"):
          row["largest_errors"] = attention_check.largest_errors(
            config.heads, config.key_size, config.dtype, name
          )

          is_wrong |= (
            not max(row["largest_errors"].values()) <= attention_check.TOLERANCE[config.dtype]
          )

      print(text(row), flush=True)
      if args.out:
        with open(args.out, "a") as file:
          file.write(json.dumps(row) + "\n")

  if is_wrong:
    sys.exit("error: a fused attention differs from the plain one; the rows say by how much")


def text(row: dict) -> str:
  """Returns a row as a person reads it."""
  parts = [
    f"{row['device']:<14} {row['size']:<10} {row['attention']:<13}",
    f"{row['bytes'] / 2**20:9.1f} MiB read and written",
    f"{row['temporary_bytes'] / 2**20:8.1f} MiB at a time",
  ]
  if "expected_ms" in row:
    parts.append(f"{row['expected_ms']:7.2f} ms by the roofline")
  if "measured_ms" in row:
    parts.append(f"{row['measured_ms']:7.2f} ms measured")
  if "largest_errors" in row:
    parts.append(f"largest error {max(row['largest_errors'].values()):.1e}")
  return ", ".join(parts)


if __name__ == "__main__":
  main()
