"""Compiles the real training step for a TPU slice that need not exist, and says whether it fits and what it costs.

python -m launch preflight --config=experiments/configs/gato_1b.py --topology=v3:16x16

No TPU, no data and a minute or two are needed. Settings are changed as for training: --config.train.mesh_fsdp=16.
The exit status is 1 when the step does not fit.
"""

import dataclasses
import json
import sys
from typing import Any

from absl import flags

from experiments import cli
from gato_jax.errors import GatoError
from gato_jax.hardware import GIB
from gato_jax.model import GatoConfig
from gato_jax.train import loop, optimizer
from launch import advice, compiled_step, slices

_IMAGE_PATCHES = 20  # of a 64 x 80 image, as the paper has Atari; with a separator and an action 22 tokens a step

_topology = flags.DEFINE_string("topology", None, f"The slice, in chips: {slices.EXAMPLES}.")
_utilisation = flags.DEFINE_float("utilisation", 0.4, "Model FLOPs utilisation that hours are computed with.")
_patches = flags.DEFINE_integer(
  "patches", None, "Image patches a row. By default every row holds steps of one 64 x 80 image and one action."
)
_targets = flags.DEFINE_integer("targets", None, "Predicted tokens a row, for FLOPs. By default one a step.")
_json = flags.DEFINE_bool("json", False, "Prints one JSON object instead of text.")


def main(experiment: cli.Experiment) -> None:
  model_config = experiment.section(GatoConfig, "model")
  train_config = experiment.section(loop.TrainConfig, "train")
  optimizer_config = experiment.section(optimizer.OptimizerConfig, "optimizer")
  if _topology.value is None:
    raise GatoError(f"--topology=... is missing: the slice, {slices.EXAMPLES}")
  if not 0 < _utilisation.value <= 1:
    raise GatoError(f"--utilisation={_utilisation.value}: a fraction of the peak, above 0 and up to 1")
  place = slices.describe(_topology.value)
  shapes = _shapes(experiment)
  print(f"compiling {experiment.config.name} for {place.name} ...", file=sys.stderr, flush=True)
  needs = compiled_step.compile_step(model_config, train_config, optimizer_config, place, shapes)
  fits = needs.memory is not None and needs.total <= place.kind.usable
  changes = []
  if not fits:
    changes = advice.changes(model_config, train_config, optimizer_config, place, shapes, needs)
  found = _facts(experiment.config.name, train_config, place, shapes, needs, fits, changes)
  print(json.dumps(found) if _json.value else text(found))
  sys.exit(0 if fits else 1)


def _shapes(experiment: cli.Experiment) -> compiled_step.Shapes:
  length = experiment.config.data.sequence_length
  steps = length // (_IMAGE_PATCHES + 2)
  patches = steps * _IMAGE_PATCHES if _patches.value is None else _patches.value
  targets = steps if _targets.value is None else _targets.value
  if not 0 <= patches <= length or not 0 <= targets <= length:
    raise GatoError(f"--patches={patches} --targets={targets}: a row has {length} positions for them")
  return compiled_step.Shapes(
    experiment.config.train.batch_size, length, patches, targets, components=len(experiment.all_tasks)
  )


def _facts(
  name: str,
  train_config: loop.TrainConfig,
  place: slices.Slice,
  shapes: compiled_step.Shapes,
  needs: compiled_step.Needs,
  fits: bool,
  changes: list[advice.Change],
) -> dict[str, Any]:
  """Everything that is printed, as JSON; bytes and FLOPs plain, memory of one device."""
  hours = None
  if train_config.steps is not None:
    speed = place.kind.peak_flops * len(place.devices) * _utilisation.value
    hours = train_config.steps * needs.model_flops / speed / 3600
  return {
    "name": name,
    "topology": place.name,
    "fits": fits,
    "chips": place.chips,
    "devices": len(place.devices),
    "device_memory": place.kind.memory,
    "device_usable": place.kind.usable,
    "peak_flops": place.kind.peak_flops,
    "shapes": dataclasses.asdict(shapes),
    "accumulate": train_config.accumulate,
    "steps": train_config.steps,
    "utilisation": _utilisation.value,
    "hours": hours,
    "chip_hours": hours and hours * place.chips,
    "total": needs.total,
    "changes": [dataclasses.asdict(change) for change in changes],
    **dataclasses.asdict(needs),
  }


def text(found: dict[str, Any]) -> str:
  """The page that a person reads, of `_facts`."""
  shapes, mesh = found["shapes"], found["mesh"]
  per_chip = found["devices"] // found["chips"]
  device = "chip" if per_chip == 1 else f"core ({per_chip} a chip)"
  lines = [
    f"{found['name']} on {found['topology']}: {found['chips']} chips; a JAX device is a {device}",
    "mesh          " + " x ".join(f"{axis} {n}" for axis, n in mesh.items()) + f", accumulate {found['accumulate']}",
    f"parameters    {found['parameters']:,}",
    f"batch         {shapes['rows']} rows x {shapes['length']} tokens; assumed of every row:"
    f" {shapes['patches']} patches and {shapes['targets']} targets (--patches, --targets)",
    "",
  ]
  lines += _memory_lines(found, per_chip) + [""]
  tokens = shapes["rows"] * shapes["length"]
  lines.append(f"model FLOPs   {found['model_flops']:.4g} a step, {found['model_flops'] / tokens:.4g} a token")
  if found["program_flops"]:
    lines.append(
      f"products      {found['program_flops']:.4g} FLOPs a step in the program,"
      f" {found['program_flops'] / found['model_flops']:.2f} x the model's (what is computed again, masked or padded)"
    )
    lines.append(
      f"              check, a device, loops once: {found['once_flops']:.4g}; XLA's own count: {found['xla_flops']:.4g}"
    )
    lines += ["", "collectives of a step (launch/collectives.py has the rules)        runs        GiB"]
    lines += [f"  {kind:<60}{runs:>10,}{size / GIB:>11.3f}" for kind, (runs, size) in found["collectives"].items()] or [
      "  none"
    ]
  lines += ["", *_cost_lines(found), f"compiled in   {found['seconds']:.0f} s"]
  return "\n".join(lines + ["", *_verdict_lines(found)])


def _memory_lines(found: dict[str, Any], per_chip: int) -> list[str]:
  lines = ["memory, GiB                              a device     a chip"]
  rows = dict(found["memory"] or found["state"])
  rows["needed" if found["memory"] else "needed, says XLA (which refused to compile)"] = found["total"]
  rows["usable"], rows["of memory"] = found["device_usable"], found["device_memory"]
  return lines + [f"  {k:<43}{v / GIB:>7.3f}{per_chip * v / GIB:>11.3f}" for k, v in rows.items()]


def _cost_lines(found: dict[str, Any]) -> list[str]:
  if found["hours"] is None:
    return ["cost          train.steps is not set"]
  return [
    f"cost          {found['steps']:,} steps at {found['utilisation']:.0%} of {found['peak_flops'] / 1e12:g} TFLOP/s a"
    f" device: {found['hours']:,.1f} hours, {found['chip_hours']:,.0f} chip-hours"
  ]


def _verdict_lines(found: dict[str, Any]) -> list[str]:
  share = found["total"] / found["device_usable"]
  if found["fits"]:
    return [f"FITS: {share:.1%} of the usable memory"]
  lines = [f"DOES NOT FIT: {share:.2f} x the usable memory"]
  for change in found["changes"]:
    size = change["size"]
    estimate = "estimate by pre-flight" if size is None else f"about {size / GIB:.1f} GiB a device, estimated"
    settings = " ".join(f"--config.{s}" for s in " ".join(change["settings"]).split())
    lines.append(f"  try {settings}  ({estimate})")
  return lines + ["  or a larger slice, or a smaller train.batch_size"]


if __name__ == "__main__":
  cli.run(main)
