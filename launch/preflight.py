"""Compiles the real training step for a TPU slice that need not exist: does it fit, and the cost.

python -m launch preflight --config=experiments/configs/gato_1b.py --topology=v3:16x16

No TPU, no data and a minute or two are needed. Settings are changed as for training:
--config.train.mesh_fsdp=16. The exit status is 1 when the step does not fit.
"""

import dataclasses
import json
import sys
from typing import Any

from absl import flags

from experiments import cli
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig
from gato_jax.train import loop, optimizer
from gato_jax.train.hardware import GIB
from launch import advice, compiled_step, roofline, slices

# Patches of a 64 x 80 image, the size of Atari's in the paper. A timestep has two tokens more: a
# separator and an action.
_IMAGE_PATCHES = 20
_TIMESTEP_TOKENS = _IMAGE_PATCHES + 2

# The longest operations of the step that are shown.
_OPERATIONS = 6

_TOPOLOGY = flags.DEFINE_string("topology", None, f"The slice, in chips: {slices.EXAMPLES}.")
_PATCHES = flags.DEFINE_integer(
  "patches",
  None,
  "Image patches a row. By default every row holds steps of one 64 x 80 image and one action.",
)
_TARGETS = flags.DEFINE_integer(
  "targets", None, "Predicted tokens a row, for FLOPs. By default one a step."
)
_JSON = flags.DEFINE_bool("json", False, "Prints one JSON object instead of text.")


def main(experiment: cli.Experiment) -> None:
  model_config = experiment.section(GatoConfig, "model")
  train_config = experiment.section(loop.TrainConfig, "train")
  optimizer_config = experiment.section(optimizer.OptimizerConfig, "optimizer")
  if _TOPOLOGY.value is None:
    raise GatoError(f"--topology=... is missing: the slice, {slices.EXAMPLES}")

  tpu_slice = slices.describe(_TOPOLOGY.value)
  shapes = _shapes(experiment)
  name = experiment.config.name
  print(f"compiling {name} for {tpu_slice.name} ...", file=sys.stderr, flush=True)
  needs = compiled_step.compile_step(
    model_config, train_config, optimizer_config, tpu_slice=tpu_slice, shapes=shapes
  )

  # A program may compile and still need more than libtpu leaves to programs.
  usable = tpu_slice.kind.usable
  assert usable is not None
  fits = needs.memory is not None and needs.total <= usable
  changes = []
  if not fits:
    changes = advice.changes(
      model_config,
      train_config,
      optimizer_config,
      tpu_slice=tpu_slice,
      shapes=shapes,
      needs=needs,
    )

  facts = _facts(
    name,
    train_config,
    tpu_slice=tpu_slice,
    shapes=shapes,
    needs=needs,
    fits=fits,
    changes=changes,
  )
  print(json.dumps(facts) if _JSON.value else text(facts))
  sys.exit(0 if fits else 1)


def _shapes(experiment: cli.Experiment) -> compiled_step.Shapes:
  length = experiment.config.data.sequence_length
  steps = length // _TIMESTEP_TOKENS
  patches = steps * _IMAGE_PATCHES if _PATCHES.value is None else _PATCHES.value
  targets = steps if _TARGETS.value is None else _TARGETS.value
  if not 0 <= patches <= length or not 0 <= targets <= length:
    raise GatoError(
      f"--patches={patches} --targets={targets}: a row has {length} positions for them"
    )

  return compiled_step.Shapes(
    rows=experiment.config.train.batch_size,
    length=length,
    patches=patches,
    targets=targets,
    components=len(experiment.all_tasks),
  )


def _facts(
  name: str,
  train_config: loop.TrainConfig,
  tpu_slice: slices.Slice,
  shapes: compiled_step.Shapes,
  needs: compiled_step.Needs,
  fits: bool,
  changes: list[advice.Change],
) -> dict[str, Any]:
  """Returns everything that is printed, as JSON: bytes and FLOPs plain, memory of one device."""
  kind = tpu_slice.kind
  step_seconds = None
  if needs.roofline is not None:
    step_seconds = (needs.roofline.shortest, needs.roofline.expected)

  return {
    "name": name,
    "topology": tpu_slice.name,
    "fits": fits,
    "chips": tpu_slice.chips,
    "devices": len(tpu_slice.devices),
    "device_memory": kind.memory,
    "device_usable": kind.usable,
    "peak_flops": kind.peak_flops,
    "shapes": dataclasses.asdict(shapes),
    "accumulate": train_config.accumulate,
    "steps": train_config.steps,
    "step_seconds": step_seconds,
    "faster": advice.faster(needs, train_config),
    "total": needs.total,
    "changes": [dataclasses.asdict(change) for change in changes],
    **dataclasses.asdict(needs),
  }


def text(facts: dict[str, Any]) -> str:
  """Returns the page that a person reads, of the facts that --json prints."""
  shapes = facts["shapes"]
  mesh = " x ".join(f"{axis} {n}" for axis, n in facts["mesh"].items())
  devices_per_chip = facts["devices"] // facts["chips"]
  device = "chip" if devices_per_chip == 1 else f"core ({devices_per_chip} a chip)"
  tokens = shapes["rows"] * shapes["length"]
  model_flops = facts["model_flops"]

  lines = [
    f"{facts['name']} on {facts['topology']}: {facts['chips']} chips; a JAX device is a {device}",
    f"mesh          {mesh}, accumulate {facts['accumulate']}",
    f"parameters    {facts['parameters']:,}; attention {facts['attention']}",
    f"batch         {shapes['rows']} rows x {shapes['length']} tokens; assumed of every row:"
    f" {shapes['patches']} patches and {shapes['targets']} targets (--patches, --targets)",
    "",
    *_memory_lines(facts, devices_per_chip),
    "",
    f"model FLOPs   {model_flops:.4g} a step, {model_flops / tokens:.4g} a token",
    *_program_lines(facts),
    "",
    *_cost_lines(facts),
    f"compiled in   {facts['seconds']:.0f} s",
    "",
    *_verdict_lines(facts),
  ]
  return "\n".join(lines)


def _memory_lines(facts: dict[str, Any], devices_per_chip: int) -> list[str]:
  # Where XLA refused there is only the state's share, beside the total that XLA named.
  rows = dict(facts["memory"] or facts["state"])
  needed = "needed" if facts["memory"] else "needed, says XLA (which refused to compile)"
  rows[needed] = facts["total"]
  rows["usable"] = facts["device_usable"]
  rows["of memory"] = facts["device_memory"]

  lines = ["memory, GiB                              a device     a chip"]
  for name, size in rows.items():
    of_chip = devices_per_chip * size
    lines.append(f"  {name:<43}{size / GIB:>7.3f}{of_chip / GIB:>11.3f}")

  return lines


def _program_lines(facts: dict[str, Any]) -> list[str]:
  """Returns products and collectives of the program; nothing where XLA refused to compile."""
  if not facts["program_flops"]:
    return []

  ratio = facts["program_flops"] / facts["model_flops"]
  lines = [
    f"products      {facts['program_flops']:.4g} FLOPs a step in the program,"
    f" {ratio:.2f} x the model's (what is computed again, masked or padded)",
    f"              check, a device, loops once: {facts['once_flops']:.4g};"
    f" XLA's own count: {facts['xla_flops']:.4g}",
    "",
    "collectives of a step (launch/collectives.py has the rules)        runs        GiB",
  ]
  for kind, (runs, size) in facts["collectives"].items():
    lines.append(f"  {kind:<60}{runs:>10,}{size / GIB:>11.3f}")
  if not facts["collectives"]:
    lines.append("  none")
  else:
    total = sum(size for _, size in facts["collectives"].values())
    share = facts["overlapped"] / total if total else 0.0
    lines.append(f"  {share:.0%} of these bytes are sent while the devices compute")

  return lines


def hours(facts: dict[str, Any]) -> tuple[float, float]:
  """Returns the hours of a run: all resources busy at once, and one instruction at a time."""
  low, high = (facts["steps"] * seconds / 3600 for seconds in facts["step_seconds"])
  return low, high


def utilisation(facts: dict[str, Any]) -> tuple[float, float]:
  """Returns the model FLOPs utilisation of steps that take the longest and the shortest time."""
  per_device = facts["model_flops"] / facts["devices"] / facts["peak_flops"]
  low, high = (per_device / seconds for seconds in reversed(facts["step_seconds"]))
  return low, high


def _cost_lines(facts: dict[str, Any]) -> list[str]:
  """Returns how long a step takes by the roofline, what binds it, and the cost of the run."""
  if not facts["step_seconds"]:
    return []

  estimate = facts["roofline"]
  shortest, expected = (1e3 * seconds for seconds in facts["step_seconds"])
  low, high = utilisation(facts)
  lines = [
    f"step          {shortest:.1f} to {expected:.1f} ms by the roofline: {low:.0%} to {high:.0%} of"
    f" the peak (docs/preflight.md); bound by {roofline.Roofline(**estimate).bound}",
    f"  products {estimate['products'] * 1e3:.1f} ms, memory {estimate['memory'] * 1e3:.1f},"
    f" collectives {estimate['exposed'] * 1e3:.1f} alone and {estimate['hidden'] * 1e3:.1f} beside",
    "  longest operations",
  ]
  for name, seconds in list(estimate["operations"].items())[:_OPERATIONS]:
    lines.append(f"    {seconds * 1e3:7.2f} ms  {name}")
  lines += [f"  faster, perhaps: {text}" for text in facts["faster"]]

  if facts["steps"] is None:
    return [*lines, "cost          train.steps is not set"]
  low, high = hours(facts)
  chips = facts["chips"]
  return [
    *lines,
    f"cost          {facts['steps']:,} steps: {low:,.1f} to {high:,.1f} hours,"
    f" {low * chips:,.0f} to {high * chips:,.0f} chip-hours",
  ]


def _verdict_lines(facts: dict[str, Any]) -> list[str]:
  share = facts["total"] / facts["device_usable"]
  if facts["fits"]:
    return [f"FITS: {share:.1%} of the usable memory"]

  lines = [f"DOES NOT FIT: {share:.2f} x the usable memory"]
  for change in facts["changes"]:
    size = change["size"]
    estimate = "estimate by pre-flight"
    if size is not None:
      estimate = f"about {size / GIB:.1f} GiB a device, estimated"

    # One string of a change may hold two settings.
    names = " ".join(change["settings"]).split()
    settings = " ".join(f"--config.{name}" for name in names)
    lines.append(f"  try {settings}  ({estimate})")

  return [*lines, "  or a larger slice, or a smaller train.batch_size"]


if __name__ == "__main__":
  cli.run(main)
