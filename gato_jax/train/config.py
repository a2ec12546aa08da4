"""Settings of a training run: length, checkpoints, devices and rollbacks."""

import dataclasses

PREEMPTED = 42  # exit status after SIGTERM: saved, start again


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """Settings of a training run; give either `steps` or `minutes`.

  Attributes:
    steps: Length of the run.
    minutes: Length of the run, instead of `steps`. The first steps are timed, and the number of
      steps is lowered where the machine turns out slower (gato_jax/train/plan.py).
    stop_at: Share of the run after which this start ends, with a checkpoint; the next start goes
      on from there, on the same schedule.
    batch_size: Rows of the global batch.
    checkpoint_every: Steps between two checkpoints.
    log_every: Steps between two rows of the log.
    seed: Of the parameters and of the noise in training steps (stochastic depth, patch positions).
    keep: Number of newest checkpoints that are kept.
    branch_from: Workdir of another run with optimizer.schedule="wsd", whose stable part this run
      begins with (gato_jax/train/branch.py); "" to begin at step 0.
    keep_period: Every `keep_period`-th step is kept for good; 0 for no such steps.
    accumulate: Microbatches per step, computed one after the other; their gradients are summed.
      More of them need less memory for activations.
    validation_batches: Number of batches of the validation split (data.validation_every) on which
      the loss is measured at the end of the run. It is written to <workdir>/validation.json. 0 to
      measure nothing.
    loss_chunk: Target positions per device whose logits exist at one time; larger on accelerators.
    mesh_data: Devices along the mesh axis "data"; 0: as many as the other axes leave.
    mesh_fsdp: Devices along the mesh axis "fsdp"; 0: as many as the other axes leave.
    mesh_model: Devices along the mesh axis "model"; 0: as many as the other axes leave.
    spike_nats: A step is bad if the loss of a task is this far above the median of its last 100
      losses, as is a step whose loss is not finite (gato_jax/train/guard.py). 0: only the latter.
    compilation_cache: Directory in which compiled programs are kept, so that a run that starts
      again does not compile again: "auto" for <workdir>/compiled on accelerators, "" to keep
      nothing. JAX_COMPILATION_CACHE_DIR comes first.
    rollbacks: Number of bad steps per start after which the run returns to a checkpoint; it stops
      at the next one.
  """

  steps: int | None = None
  minutes: float | None = None
  stop_at: float = 1.0
  batch_size: int = 16
  checkpoint_every: int = 500
  log_every: int = 20
  seed: int = 0
  keep: int = 3
  keep_period: int = 0
  branch_from: str = ""
  accumulate: int = 1
  validation_batches: int = 0
  loss_chunk: int = 256
  mesh_data: int = 0
  mesh_fsdp: int = 1
  mesh_model: int = 1
  spike_nats: float = 3.0
  rollbacks: int = 3
  compilation_cache: str = "auto"
