"""What to change when a step does not fit, with the memory it would take, estimated."""

import dataclasses
from collections.abc import Iterator

from gato_jax import sharding
from gato_jax.model import GatoConfig
from gato_jax.tokens import vocabulary
from gato_jax.train import loop, optimizer, step
from launch import slices
from launch.compiled_step import Needs, Shapes, state_bytes

_MARGIN = 0.95  # of the usable memory: estimates are a few percent off
_LOGITS_BYTES = 8  # a position's logit and its exponential, float32


@dataclasses.dataclass(frozen=True)
class Change:
  """settings: "train.mesh_fsdp=16", ... size: bytes of one device then, estimated; None: only a compile can tell."""

  settings: tuple[str, ...]
  size: float | None


def changes(
  model_config: GatoConfig,
  train_config: loop.TrainConfig,
  optimizer_config: optimizer.OptimizerConfig,
  place: slices.Slice,
  shapes: Shapes,
  needs: Needs,
) -> list[Change]:
  """Settings with which the step should fit the slice; each is worth a pre-flight of its own, which is the proof.

  The estimate: parameters, optimizer and one more copy of the parameters for gradients are what the shardings say; all
  else grows with the rows that a device works on at a time.
  """
  limit, chunk = _MARGIN * place.kind.usable, train_config.loss_chunk
  rest = max(0.0, needs.total - _fixed(needs.state))
  found = [] if model_config.remat == "full" else [Change(("model.remat=full",), None)]
  smaller = max(64, chunk // 8)
  without = needs.total - _LOGITS_BYTES * vocabulary.SIZE * (chunk - smaller)
  if smaller < chunk and without <= limit:
    found.append(Change((f"train.loss_chunk={smaller}",), without))

  by_kind: dict[tuple[bool, bool], Change] = {}  # (fsdp changed, accumulate changed) -> the smallest such change
  at_a_time = shapes.rows / (needs.mesh["data"] * needs.mesh["fsdp"] * train_config.accumulate)
  for fsdp in _doublings(needs.mesh["fsdp"], len(place.devices) // needs.mesh["model"]):
    mesh = sharding.make_mesh(0, fsdp, needs.mesh["model"], place.devices)
    trainer = step.Trainer(model_config, optimizer_config, mesh, shapes.components)
    held, shards = _fixed(state_bytes(trainer.template())), mesh.shape["data"] * fsdp
    for accumulate in _doublings(train_config.accumulate, shapes.rows // shards):
      size = held + rest * shapes.rows / (shards * accumulate) / at_a_time
      changed = fsdp != needs.mesh["fsdp"], accumulate != train_config.accumulate
      if any(changed) and size <= limit and changed not in by_kind:
        settings = (f"train.mesh_data=0 train.mesh_fsdp={fsdp}", f"train.accumulate={accumulate}")
        by_kind[changed] = Change(tuple(s for s, c in zip(settings, changed, strict=True) if c), size)
  one = [change for change in by_kind.values() if len(change.settings) == 1]
  return found + (one or list(by_kind.values()))


def _fixed(held: dict[str, int]) -> float:
  return 2 * held["parameters"] + held["optimizer"]


def _doublings(first: int, whole: int) -> Iterator[int]:
  """first, 2 first, 4 first, ... as far as they divide `whole`."""
  while first <= whole and whole % first == 0:
    yield first
    first *= 2
