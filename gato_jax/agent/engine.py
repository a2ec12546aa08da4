"""Engine: acts in many environments of many tasks at once, each with a KV cache of its own."""

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gato_jax import randomness
from gato_jax.agent import buckets, step
from gato_jax.agent.config import ActConfig
from gato_jax.agent.prompts import Prompts
from gato_jax.data.prepared_format import group_id
from gato_jax.errors import GatoError, check_name
from gato_jax.model import GatoConfig, cache
from gato_jax.tokens import layout, packing, vocabulary
from gato_jax.tokens.vocabulary import Kind

# Compiled batch sizes are 1, 4, 16, ... and all slots; a batch is padded to the next one.
_BATCH_GROWTH = 4

# Of the module, so that engines of the same sizes in one process share their compiled programs.
_ACT = jax.jit(step.act, static_argnums=(0, 1, 2), donate_argnames="state")
_PROMPT = jax.jit(step.prompt, static_argnums=0, donate_argnames="state")


@dataclasses.dataclass
class _Episode:
  """Episode that runs in a slot.

  Attributes:
    task: Name of the task.
    seed: Seed of the episode.
    group: Number of its group, 0 for none.
    steps: Steps acted so far.
  """

  task: str
  seed: int
  group: int = 0
  steps: int = 0

  @functools.cached_property
  def noise(self) -> np.int32:
    """Seed of the draws of its actions.

    It differs between tasks too, so that two tasks that look alike do not act alike.
    """
    key = randomness.key(f"act/{self.task}/{self.seed}")
    return np.uint32(key % 2**32).view(np.int32)


class Engine:
  """Acts in up to `slots` environments at once.

  All methods but `pack` must be called from one thread.

  Attributes:
    slots: Environments at once.
    buckets: Buckets of the tasks, each with its own compiled steps.
  """

  def __init__(
    self,
    config: GatoConfig,
    params: cache.ActingParams,
    layouts: Mapping[str, layout.TokenLayout],
    prompts: Mapping[str, Prompts],
    slots: int,
    act: ActConfig,
    stride: int = 1,
  ):
    """Prepares tables and an empty KV cache; compiles nothing yet.

    Args:
      config: Sizes of the network.
      params: Its parameters.
      layouts: Task name -> token layout.
      prompts: Task name -> prompts.
      slots: Environments at once.
      act: Settings of acting.
      stride: Steps from one step of a history to the next (data.history_stride). An episode has
        that many KV caches, which take turns.

    Raises:
      GatoError: One step of a task does not fit into the KV cache.
    """
    for task, task_layout in layouts.items():
      if task_layout.length > config.memory_length:
        raise GatoError(
          f"{task}: one step takes {task_layout.length} tokens, the memory holds"
          f" {config.memory_length}"
        )

    self.slots = slots
    self.buckets = buckets.group(layouts)
    self._config = config
    self._params = params
    self._act = act
    self._stride = stride
    self._layouts = layouts
    self._prompts = prompts

    self._bucket_of_task: dict[str, buckets.Bucket] = {}
    self._index_in_bucket: dict[str, int] = {}
    for bucket in self.buckets:
      for index, task in enumerate(bucket.tasks):
        self._bucket_of_task[task] = bucket
        self._index_in_bucket[task] = index

    # On the device from the beginning, so that a step transfers observations only.
    self._tables = {
      bucket: jax.device_put(buckets.tables(bucket, layouts)) for bucket in self.buckets
    }
    self._heads = {bucket: step.head(params, bucket) for bucket in self.buckets}
    self._temperature = jax.device_put(np.float32(act.temperature))

    self._caches = slots * stride
    self._state = step.init_state(config, self._caches)
    self._episodes: dict[int, _Episode] = {}
    self._compiled: dict[tuple[Any, ...], Any] = {}

  def _cache_of(self, slot: int) -> int:
    """Returns the KV cache whose turn it is in the slot's next step."""
    return slot * self._stride + self._episodes[slot].steps % self._stride

  @functools.cached_property
  def batch_sizes(self) -> list[int]:
    """Compiled batch sizes, ascending; the last is `slots`."""
    sizes = []
    size = 1
    while size < self.slots:
      sizes.append(size)
      size *= _BATCH_GROWTH

    return [*sizes, self.slots]

  def compile(self, on_shape: Callable[[str], None] = lambda text: None) -> None:
    """Compiles all that `act` can need, on all cores, so that no step waits for it.

    Args:
      on_shape: Called with a description before each compilation, from other threads.
    """
    pending: list[tuple[str, Callable[[], Any]]] = []
    for bucket in self.buckets:
      for size in self.batch_sizes:
        compile_step = functools.partial(self._step, bucket, size)
        pending.append((f"{bucket}, batch {size}", compile_step))

      length = self._prompt_length(bucket)
      if length:
        compile_prompt = functools.partial(self._prompt_step, bucket)
        pending.append((f"prompt of {length} tokens", compile_prompt))

    def run(description: str, compile_one: Callable[[], Any]) -> None:
      on_shape(description)
      compile_one()

    # XLA compiles without holding Python's lock, so threads are enough.
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
      for future in [pool.submit(run, *item) for item in pending]:
        future.result()

  def pack(self, task: str, observation: Mapping[str, Any]) -> packing.Packed:
    """Checks a flat observation and packs it for `act`. Any thread may call it.

    Raises:
      GatoError: The task is unknown, or the observation is not what its spec says; the message
        names the field.
    """
    check_name(task, self._layouts, "task")
    return packing.pack(self._layouts[task], observation)

  def start(self, slot: int, task: str, seed: int, group: str = "") -> None:
    """Begins an episode in a slot; its first action empties the slot's KV cache.

    Args:
      slot: Slot of the episode.
      task: Name of the task.
      seed: Seed of the prompt and of the sampled actions.
      group: Name of the episode's group, which its prompt is of (act.prompt_group); "" for none.

    Raises:
      GatoError: There is no such task or slot.
    """
    check_name(task, self._layouts, "task")
    if not 0 <= slot < self.slots:
      raise GatoError(f"slot {slot} does not exist: there are {self.slots}")

    self._episodes[slot] = _Episode(task, seed, group=group_id(group))

  def act(self, observations: Mapping[int, packing.Packed]) -> dict[int, np.ndarray]:
    """Returns one action of its task's action spec for each slot given; the other slots wait.

    Args:
      observations: Slot -> packed observation.

    Raises:
      GatoError: A slot has no episode, or its observation is of another task; nothing has changed
        then.
    """
    # All are checked before the first step runs, since a step changes the state.
    slots_by_bucket: dict[buckets.Bucket, list[int]] = {}
    for slot, packed in sorted(observations.items()):
      episode = self._episodes.get(slot)
      if episode is None or episode.task != packed.task:
        running = "no episode" if episode is None else f"an episode of {episode.task}"
        raise GatoError(
          f"slot {slot} has {running}, the observation is of {packed.task}; call start first"
        )
      slots_by_bucket.setdefault(self._bucket_of_task[packed.task], []).append(slot)

    # Steps are dispatched asynchronously: while the first one computes, the next ones are prepared.
    dispatched = [
      (slots, *self._dispatch(bucket, slots, observations))
      for bucket, slots in slots_by_bucket.items()
    ]

    actions = {}
    for slots, rows, device_actions in dispatched:
      # Waits for the step.
      values = np.asarray(device_actions)

      for slot, row in zip(slots, rows, strict=True):
        episode = self._episodes[slot]
        episode.steps += 1

        field = self._layouts[episode.task].action
        action = values[row, : field.size].astype(field.spec.dtype)
        actions[slot] = action.reshape(field.spec.shape)

    return actions

  def _dispatch(
    self, bucket: buckets.Bucket, slots: Sequence[int], observations: Mapping[int, packing.Packed]
  ) -> tuple[Sequence[int], jax.Array]:
    """Starts a step of some slots of one bucket.

    Returns:
      The row of each slot, and the actions [rows, A], which may still be computed.
    """
    # A prompt empties its slot itself, so the step must not do it again.
    emptied = set()
    for slot in slots:
      episode = self._episodes[slot]
      if not self._begins_anew(episode):
        continue
      if self._prompts[episode.task].steps:
        self._read_prompt(bucket, slot)
      else:
        emptied.add(slot)

    # In a step of all KV caches a row is its slot and they are read in place; otherwise the rows
    # are packed at the beginning of the batch.
    size = next(size for size in self.batch_sizes if size >= len(slots))
    rows = slots if size == self._caches else range(len(slots))

    # Rows that stay unused name a KV cache beyond the last, which the step drops.
    request = np.zeros([step.REQUEST_FIELDS, size], np.int32)
    request[0] = self._caches
    packed_by_row = {}

    for row, slot in zip(rows, slots, strict=True):
      episode = self._episodes[slot]
      # In the order of step.StepRequest: slots, tasks, fresh, seeds, steps, reach.
      request[:, row] = (
        self._cache_of(slot),
        self._index_in_bucket[episode.task],
        slot in emptied,
        episode.noise,
        episode.steps,
        self._reach(episode.task),
      )
      packed_by_row[row] = observations[slot]

    # The old state is donated to the call.
    self._state, actions = self._step(bucket, size)(
      params=self._params,
      state=self._state,
      tables=self._tables[bucket],
      head=self._heads[bucket],
      temperature=self._temperature,
      request=request,
      **buckets.pad_observations(bucket, size, packed_by_row),
    )
    return rows, actions

  def _begins_anew(self, episode: _Episode) -> bool:
    """True when the episode's next step begins with an empty KV cache or with its prompt."""
    period = self._act.memory_steps
    steps = episode.steps % period if period else episode.steps
    return steps < self._stride

  def _reach(self, task: str) -> int:
    """Returns the positions before a step that it may attend to, a prompt's aside."""
    earlier_steps = self._act.history_steps - 1
    if earlier_steps < 0:
      return self._config.memory_length

    return earlier_steps * self._layouts[task].length

  def _step(self, bucket: buckets.Bucket, size: int) -> Any:
    """Returns the compiled step of a bucket and a batch size."""
    key = (bucket, size)
    if key not in self._compiled:
      self._compiled[key] = _ACT.lower(
        *(self._config, bucket, size == self._caches),
        params=self._params,
        state=self._state,
        tables=self._tables[bucket],
        head=self._heads[bucket],
        temperature=self._temperature,
        request=np.zeros([step.REQUEST_FIELDS, size], np.int32),
        **buckets.pad_observations(bucket, size, {}),
      ).compile()

    return self._compiled[key]

  def _prompt_length(self, bucket: buckets.Bucket) -> int:
    """Returns the tokens of the longest prompt among a bucket's tasks."""
    return max(self._prompts[task].length for task in bucket.tasks)

  def _prompt_step(self, bucket: buckets.Bucket) -> Any:
    """Returns the compiled reading of a prompt of a bucket's tasks."""
    key = (bucket, "prompt")
    if key not in self._compiled:
      self._compiled[key] = _PROMPT.lower(
        self._config,
        params=self._params,
        state=self._state,
        slot=np.zeros(1, np.int32),
        chunk=self._empty_prompt_chunk(bucket),
      ).compile()

    return self._compiled[key]

  def _read_prompt(self, bucket: buckets.Bucket, slot: int) -> None:
    """Empties a slot's KV cache and reads its episode's prompt."""
    episode = self._episodes[slot]
    prompts = self._prompts[episode.task]
    chunk = self._prompt_chunk(bucket, prompts.layout, prompts.choose(episode.seed, episode.group))
    chunk["is_prompt"][0] = prompts.are_demonstrations

    self._state = self._prompt_step(bucket)(
      params=self._params,
      state=self._state,
      slot=np.array([self._cache_of(slot)], np.int32),
      chunk=chunk,
    )

  def _empty_prompt_chunk(self, bucket: buckets.Bucket) -> dict[str, np.ndarray]:
    """Returns a chunk of the size of the bucket's longest prompt, all of it padding."""
    length = self._prompt_length(bucket)
    patches = max(self._prompts[task].patch_count for task in bucket.tasks)
    side = vocabulary.PATCH_SIDE

    return {
      "tokens": np.zeros([1, length], np.int32),
      "kinds": np.zeros([1, length], np.int32),
      "locals": np.zeros([1, length], np.int32),
      "patch_slots": np.zeros([1, length], np.int32),
      "patches": np.zeros([1, patches, side, side, 3], np.uint8),
      "patch_positions": np.zeros([1, patches, 4], np.int32),
      "length": np.zeros(1, np.int32),
      "is_prompt": np.ones(1, bool),
    }

  def _prompt_chunk(
    self, bucket: buckets.Bucket, shown: layout.TokenLayout, steps: layout.Steps
  ) -> dict[str, np.ndarray]:
    """Pads an encoded prompt to the bucket's longest.

    Args:
      bucket: Bucket of the task that is played.
      shown: Layout of the demonstrated task, which may be another one.
      steps: The prompt's steps.
    """
    chunk = self._empty_prompt_chunk(bucket)
    length = steps.tokens.size
    side = vocabulary.PATCH_SIDE

    # The timesteps of the prompt, one behind the other.
    for name in ("tokens", "kinds", "locals"):
      chunk[name][0, :length] = getattr(steps, name).ravel()
    chunk["length"][0] = length

    # Positions with patches show them in the order of the sequence.
    is_patch = chunk["kinds"][0] == Kind.PATCH
    chunk["patch_slots"][0] = np.where(is_patch, np.cumsum(is_patch) - 1, 0)

    patch_count = steps.patches.shape[0] * steps.patches.shape[1]
    positions = np.tile(shown.patch_positions, (len(steps.tokens), 1))
    chunk["patches"][0, :patch_count] = steps.patches.reshape(-1, side, side, 3)
    chunk["patch_positions"][0, :patch_count] = positions

    return chunk
