"""How long a run is, what it keeps, where it lies and when it goes back."""

import dataclasses

PREEMPTED = 42  # exit status after SIGTERM: saved, start again


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """How long and how a run trains; give `steps` or `minutes`.

  Attributes:
    steps: of the whole run. minutes: instead of steps; the first steps are timed, and their number is lowered
      where the machine turns out slower (gato_jax/train/plan.py).
    batch_size: rows of the global batch.
    checkpoint_every, log_every: steps.
    keep: newest checkpoints kept. keep_period: those of every so many steps are kept for ever; 0: none.
    accumulate: microbatches a step, one after the other; their gradients are summed. Memory for activations shrinks.
    held_out_batches: at the end of the run the loss is measured on so many batches of episodes and documents that never
      train (data.hold_out), and written to <workdir>/held_out.json; 0: not.
    loss_chunk: target positions of a device whose logits exist at one time; larger on accelerators.
    mesh_data, mesh_fsdp, mesh_model: devices along each mesh axis; 0: as many as the others leave.
    spike_nats: a step in which a domain's loss lies so far above the median of its last 100 is bad, like one whose loss
      is not finite (gato_jax/train/guard.py). 0: only the latter.
    rollbacks: bad steps of one start after which the run goes back to a checkpoint; after one more it stops.
  """

  steps: int | None = None
  minutes: float | None = None
  batch_size: int = 16
  checkpoint_every: int = 500
  log_every: int = 20
  seed: int = 0
  keep: int = 3
  keep_period: int = 0
  accumulate: int = 1
  held_out_batches: int = 0
  loss_chunk: int = 256
  mesh_data: int = 0
  mesh_fsdp: int = 1
  mesh_model: int = 1
  spike_nats: float = 3.0
  rollbacks: int = 3
