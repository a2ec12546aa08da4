"""FLOPs of the matrix products in a compiled program, loops counted as often as they turn.

XLA's own cost analysis counts the body of a loop once: a layer scan as one layer, and a windowed
einsum, into which XLA turns a gather and the product behind it, as one of its pieces. One run
counts by XLA's rule: 2 x multiply-adds, and of a convolution (TPUs know no other product) only
those whose input is neither padding nor dilation. A Pallas kernel counts what it states itself;
of cuDNN's attention nothing is known.
"""

import math
import re

from launch import hlo


def product_flops(
  program: hlo.Program, unknown_trips: int = 1, *, loops_once: bool = False
) -> float:
  """Returns the FLOPs of one call on one device.

  Args:
    program: The compiled program.
    unknown_trips: Turns of a loop whose number only the data decide (hlo.walk).
    loops_once: Counts the body of a loop once, as XLA's cost analysis does.
  """
  total = 0.0
  for visit in hlo.walk(program, unknown_trips):
    runs = 1 if loops_once else visit.times
    total += runs * of_instruction(visit)

  return total


def of_instruction(visit: hlo.Visit) -> float:
  """Returns the FLOPs of one run of an instruction; 0 where it is no product."""
  if visit.instruction.opcode == "dot":
    return _dot_flops(visit)
  if visit.instruction.opcode == "convolution":
    return _convolution_flops(visit)
  if visit.instruction.opcode == "custom-call":
    return _kernel_flops(visit)
  return 0.0


def _kernel_flops(visit: hlo.Visit) -> float:
  """Returns the FLOPs of a call of cuBLAS, and of a Pallas kernel those that it states itself."""
  attributes = visit.instruction.attributes
  stated = re.search(r'"cost_estimate":\{"flops":"(\d+)"', attributes)
  if stated:
    return float(stated[1])

  contracting = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', attributes)
  if "__cublas$" not in attributes or not contracting:
    return 0.0

  # The result comes first, and before a workspace.
  left = hlo.dimensions(visit.siblings[visit.instruction.operands[0]].shape)
  summed = math.prod(left[int(d)] for d in re.findall(r"\d+", contracting[1]))
  return 2.0 * math.prod(hlo.dimensions(visit.instruction.shape)) * summed


def _dot_flops(visit: hlo.Visit) -> float:
  instruction = visit.instruction
  left = hlo.dimensions(visit.siblings[instruction.operands[0]].shape)
  output = hlo.dimensions(instruction.shape)

  contracting = re.search(r"\blhs_contracting_dims=\{([\d,]*)\}", instruction.attributes)
  assert contracting is not None, instruction
  summed = math.prod(left[int(d)] for d in contracting[1].split(","))

  return 2.0 * math.prod(output) * summed


def _convolution_flops(visit: hlo.Visit) -> float:
  attributes = visit.instruction.attributes
  left, right = (hlo.dimensions(visit.siblings[name].shape) for name in visit.instruction.operands)
  output = hlo.dimensions(visit.instruction.shape)

  # One letter a dimension: b batch, f features, i and o input and output features of the kernel,
  # digits for spatial dimensions.
  labels = re.search(r"\bdim_labels=(\w+)_(\w+)->(\w+)", attributes)
  assert labels is not None, attributes
  left_labels, right_labels, output_labels = labels.groups()

  groups = re.search(r"\bbatch_group_count=(\d+)", attributes)
  batch = left[left_labels.index("b")] / (int(groups[1]) if groups else 1)
  products = right[right_labels.index("i")] * output[output_labels.index("f")] * batch

  window = _window(attributes)
  for axis in range(len(output_labels) - 2):
    label = str(axis)
    kernel_size = right[right_labels.index(label)]
    input_size = left[left_labels.index(label)]
    output_size = output[output_labels.index(label)]

    stride = window.get("stride", {}).get(axis, 1)
    dilation = window.get("lhs_dilate", {}).get(axis, 1)
    kernel_dilation = window.get("rhs_dilate", {}).get(axis, 1)
    low_padding = window.get("pad", {}).get(axis, 0)

    # Pairs of a kernel tap and an output whose input position, counted in the dilated input, is a
    # real element: inside, and no gap of the dilation.
    pairs = 0
    for tap in range(kernel_size):
      for out in range(output_size):
        at = tap * kernel_dilation - low_padding + out * stride
        pairs += 0 <= at <= (input_size - 1) * dilation and at % dilation == 0
    products *= pairs

  return 2.0 * products


def _window(attributes: str) -> dict[str, dict[int, int]]:
  """Returns name -> spatial dimension -> value, of `window={size=2x3 pad=1_1x0_0}`.

  Of a padding it is the low side.
  """
  match = re.search(r"\bwindow=\{([^}]*)\}", attributes)
  if not match:
    return {}

  window = {}
  for part in match[1].split():
    name, text = part.split("=")
    values = [int(value.split("_")[0]) for value in text.split("x")]
    window[name] = dict(enumerate(values))

  return window
