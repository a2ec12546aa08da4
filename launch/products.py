"""FLOPs of the matrix products in a compiled program, loops counted as often as they turn.

XLA's own cost analysis counts the body of a loop once: a layer scan as one layer, and a windowed einsum, into which
XLA turns a gather and the product behind it, as one of its pieces. One run counts as XLA's rule has it: 2 x
multiply-adds, of a convolution (TPUs know no other product) only those whose input is no padding and no dilation.
"""

import math
import re

from launch import hlo


def product_flops(program: hlo.Program, unknown_trips: int = 1, *, loops_once: bool = False) -> float:
  """Of one call on one device. unknown_trips: hlo.walk. loops_once: as XLA's cost analysis counts."""
  total = 0.0
  for visit in hlo.walk(program, unknown_trips):
    counts = {"dot": _dot, "convolution": _convolution}
    if visit.instruction.opcode in counts:
      runs = 1 if loops_once else visit.times
      total += runs * counts[visit.instruction.opcode](visit)
  return total


def _dot(visit: hlo.Visit) -> float:
  left = hlo.dimensions(visit.siblings[visit.instruction.operands[0]].shape)
  summed = re.search(r"\blhs_contracting_dims=\{([\d,]*)\}", visit.instruction.attributes)[1]
  return 2.0 * math.prod(hlo.dimensions(visit.instruction.shape)) * math.prod(left[int(d)] for d in summed.split(","))


def _convolution(visit: hlo.Visit) -> float:
  attributes = visit.instruction.attributes
  left, right = (hlo.dimensions(visit.siblings[name].shape) for name in visit.instruction.operands)
  out = hlo.dimensions(visit.instruction.shape)
  of_left, of_right, of_out = re.search(r"\bdim_labels=(\w+)_(\w+)->(\w+)", attributes).groups()
  batch_groups = int((re.search(r"\bbatch_group_count=(\d+)", attributes) or (0, 1))[1])
  window = _window(attributes)
  products = right[of_right.index("i")] * out[of_out.index("f")] * left[of_left.index("b")] / batch_groups
  for i in range(len(of_out) - 2):
    label = str(i)
    size, extent, positions = right[of_right.index(label)], left[of_left.index(label)], out[of_out.index(label)]
    stride, dilation, kernel_dilation = (
      window.get(key, {}).get(i, 1) for key in ("stride", "lhs_dilate", "rhs_dilate")
    )
    low = window.get("pad", {}).get(i, 0)
    products *= sum(
      0 <= at <= (extent - 1) * dilation and at % dilation == 0
      for tap in range(size)
      for at in (tap * kernel_dilation - low + o * stride for o in range(positions))
    )
  return 2.0 * products


def _window(attributes: str) -> dict[str, dict[int, int]]:
  """Name -> spatial dimension -> value, of `window={size=2x3 pad=1_1x0_0}`; of a padding, the low side."""
  found = re.search(r"\bwindow=\{([^}]*)\}", attributes)
  parts = dict(part.split("=") for part in found[1].split()) if found else {}
  return {name: {i: int(v.split("_")[0]) for i, v in enumerate(text.split("x"))} for name, text in parts.items()}
