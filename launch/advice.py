"""Changes of settings for a step that does not fit, with an estimate of its memory then."""

import dataclasses
from collections.abc import Iterator

from gato_jax.model import GatoConfig, sharding
from gato_jax.tokens import vocabulary
from gato_jax.train import loop, optimizer, step
from launch import slices
from launch.compiled_step import Needs, Shapes, state_bytes

# Share of the usable memory that an estimate may fill: estimates are a few percent off.
_MARGIN = 0.95

# Bytes of one position and token of the vocabulary: the logit and its exponential, float32.
_LOGITS_BYTES = 8

# Smaller chunks of the loss save little more and take longer.
_SMALLEST_CHUNK = 64

# An advice is given where what it is about takes so much of a step.
_LARGE_SHARE = 0.2

# Parts of the names of products in the attention: queries by keys, by distances, weights by values.
_SCORES = ("->hblm", "->hblk", "->hmk")


@dataclasses.dataclass(frozen=True)
class Change:
  """One way to make a step fit.

  Attributes:
    settings: "train.mesh_fsdp=16", ...
    size: Estimated bytes of one device with these settings; None: only a compile can tell.
  """

  settings: tuple[str, ...]
  size: float | None


def changes(
  model_config: GatoConfig,
  train_config: loop.TrainConfig,
  optimizer_config: optimizer.OptimizerConfig,
  tpu_slice: slices.Slice,
  shapes: Shapes,
  needs: Needs,
) -> list[Change]:
  """Returns settings with which the step should fit the slice.

  Only a pre-flight of each proves it. The estimate: parameters, optimizer and one more copy of the
  parameters for gradients are as the shardings say; all else grows with the rows that a device
  works on at a time.
  """
  usable = tpu_slice.kind.usable
  assert usable is not None
  limit = _MARGIN * usable
  result = []
  if model_config.remat != "full":
    result.append(Change(("model.remat=full",), None))

  chunk = train_config.loss_chunk
  smaller = max(_SMALLEST_CHUNK, chunk // 8)
  size = needs.total - _LOGITS_BYTES * vocabulary.SIZE * (chunk - smaller)
  if smaller < chunk and size <= limit:
    result.append(Change((f"train.loss_chunk={smaller}",), size))

  rest = max(0.0, needs.total - _fixed_bytes(needs.state))
  fsdp, model = needs.mesh["fsdp"], needs.mesh["model"]
  rows_at_a_time = shapes.rows / (needs.mesh["data"] * fsdp * train_config.accumulate)

  # (fsdp changed, accumulate changed) -> the smallest such change.
  by_kind: dict[tuple[bool, bool], Change] = {}
  for new_fsdp in _doublings(fsdp, len(tpu_slice.devices) // model):
    mesh = sharding.make_mesh(0, new_fsdp, model=model, devices=tpu_slice.devices)
    trainer = step.Trainer(model_config, optimizer_config, mesh=mesh, components=shapes.components)
    fixed = _fixed_bytes(state_bytes(trainer.template()))

    # Rows are sharded over both axes.
    shards = mesh.shape["data"] * new_fsdp
    for accumulate in _doublings(train_config.accumulate, shapes.rows // shards):
      new_rows_at_a_time = shapes.rows / (shards * accumulate)
      size = fixed + rest * new_rows_at_a_time / rows_at_a_time

      kind = (new_fsdp != fsdp, accumulate != train_config.accumulate)
      if not any(kind) or size > limit or kind in by_kind:
        continue

      settings = []
      if kind[0]:
        settings.append(f"train.mesh_data=0 train.mesh_fsdp={new_fsdp}")
      if kind[1]:
        settings.append(f"train.accumulate={accumulate}")
      by_kind[kind] = Change(tuple(settings), size)

  # Both together are worth a mention only where neither is enough.
  single = [change for change in by_kind.values() if len(change.settings) == 1]
  return result + (single or list(by_kind.values()))


def _fixed_bytes(state: dict[str, int]) -> float:
  """Returns the bytes of parameters, gradients and optimizer, which no batch size changes."""
  return 2 * state["parameters"] + state["optimizer"]


def _doublings(first: int, limit: int) -> Iterator[int]:
  """Yields first, 2 first, 4 first, ... as long as they divide `limit`."""
  number = first
  while number <= limit and limit % number == 0:
    yield number
    number *= 2


def faster(needs: Needs, train_config: loop.TrainConfig) -> list[str]:
  """Returns changes that should make a step faster, by what its roofline says it waits for.

  Only a run on the machine proves it.
  """
  estimate = needs.roofline
  if estimate is None:
    return []

  lines = []
  scores = sum(
    seconds
    for name, seconds in estimate.operations.items()
    if "attention" in name or any(part in name for part in _SCORES)
  )
  is_fused = any("pallas_call" in name for name in estimate.operations)
  if scores > _LARGE_SHARE * estimate.expected and not is_fused:
    lines.append(
      f"{scores / estimate.expected:.0%} of the time is the attention's, mostly scores in memory: "
      "model.attention=pallas on TPUs from v5 on, model.attention_block=256 elsewhere, or shorter"
      " rows (data.sequence_length)"
    )

  if estimate.exposed > _LARGE_SHARE * estimate.expected:
    lines.append(
      f"{estimate.exposed / estimate.expected:.0%} of the time is spent on sending alone: more "
      "rows (train.batch_size), or parameters over fewer devices (train.mesh_fsdp)"
    )

  if needs.program_flops and needs.program_flops > 1.3 * needs.model_flops:
    lines.append(
      f"the products are {needs.program_flops / needs.model_flops:.2f} times the model's: "
      "model.remat=dots or none, where the memory suffices"
    )

  rows = needs.mesh["data"] * needs.mesh["fsdp"] * train_config.accumulate
  if train_config.accumulate > 1 and estimate.bound == "memory":
    lines.append(f"batches of {train_config.batch_size // rows} rows a device: less accumulation")

  return lines
