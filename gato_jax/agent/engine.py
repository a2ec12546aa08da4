"""Many environments of many tasks against one memory: episodes begin in slots, batches of them act."""

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dm_env
import jax
import numpy as np

from gato_jax import randomness, specs
from gato_jax.agent import packing, shapes, step
from gato_jax.agent.config import ActConfig
from gato_jax.agent.prompts import Prompts
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, acting
from gato_jax.tokens import layout
from gato_jax.tokens.vocabulary import Kind

_BATCH_GROWTH = 4  # compiled batch sizes are 1, 4, 16, ... and all slots: a batch is padded to the next


@dataclasses.dataclass
class _Episode:
  """The episode that runs in a slot.

  Attributes:
    steps: how many have been acted.
    noise: int32, keys the sampling of its actions: another one for each task and seed, so that two tasks that look
      alike do not act alike.
  """

  task: str
  seed: int
  steps: int = 0

  @functools.cached_property
  def noise(self) -> np.int32:
    return np.uint32(randomness.key(f"act/{self.task}/{self.seed}") % 2**32).view(np.int32)


class Engine:
  """Acts for up to `slots` environments at once; used from one thread, `pack` apart.

  Attributes:
    slots: rows of the memory. shapes: those that are compiled, with their tasks.
  """

  def __init__(
    self,
    config: GatoConfig,
    params: acting.ActingParams,
    layouts: Mapping[str, layout.TokenLayout],
    prompts: Mapping[str, Prompts],
    slots: int,
    act: ActConfig,
  ):
    for task, one in layouts.items():
      if one.length > config.memory_length:
        raise GatoError(f"{task}: one step takes {one.length} tokens, the memory holds {config.memory_length}")
    self.slots = slots
    self.shapes = shapes.group(layouts)
    self._config, self._params, self._act = config, params, act
    self._layouts, self._prompts = layouts, prompts
    self._place = {task: (shape, index) for shape in self.shapes for index, task in enumerate(shape.tasks)}
    self._tables = {shape: jax.device_put(shapes.tables(shape, layouts)) for shape in self.shapes}
    self._heads = {shape: step.head(params, shape) for shape in self.shapes}
    self._temperature = jax.device_put(np.float32(act.temperature))
    self._state = step.init_state(config, slots)
    self._episodes: dict[int, _Episode] = {}
    self._compiled: dict[tuple[Any, ...], Any] = {}

  @functools.cached_property
  def batch_sizes(self) -> list[int]:
    """Ascending; the last is `slots`."""
    sizes, size = [], 1
    while size < self.slots:
      sizes.append(size)
      size *= _BATCH_GROWTH
    return [*sizes, self.slots]

  def compile(self, on_shape: Callable[[str], None] = lambda text: None) -> None:
    """Compiles all that `act` can need, on all cores, so that no step waits for it.

    Args:
      on_shape: called before each, from other threads.
    """
    todo: list[tuple[str, Callable[[], Any]]] = []
    for shape in self.shapes:
      for size in self.batch_sizes:
        todo.append((f"{shape}, batch {size}", functools.partial(self._step, shape, size)))
      length = self._prompt_length(shape)
      if length:
        todo.append((f"prompt of {length} tokens", functools.partial(self._prompt_step, shape)))

    def one(what: str, call: Callable[[], Any]) -> None:
      on_shape(what)
      call()

    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
      for done in [pool.submit(one, *item) for item in todo]:
        done.result()

  def pack(self, task: str, observation: Mapping[str, Any]) -> packing.Packed:
    """A flat observation, checked and laid out: what `act` takes. Any thread may call it.

    Raises:
      GatoError: not what the task's spec says; names the field.
    """
    specs.check_name(task, self._layouts, "task")
    return packing.pack(self._layouts[task], observation)

  def start(self, slot: int, task: str, seed: int) -> None:
    """An episode of `task` begins in `slot`; what was there is forgotten with its first action."""
    specs.check_name(task, self._layouts, "task")
    if not 0 <= slot < self.slots:
      raise GatoError(f"slot {slot} does not exist: there are {self.slots}")
    self._episodes[slot] = _Episode(task, seed)

  def act(self, observations: Mapping[int, packing.Packed]) -> dict[int, np.ndarray]:
    """One action for each slot named, of its task's action spec; the other slots wait.

    Raises:
      GatoError: a slot without an episode, or an observation of another task; nothing has changed then.
    """
    by_shape: dict[shapes.Shape, list[int]] = {}
    for slot, packed in sorted(observations.items()):
      episode = self._episodes.get(slot)
      if episode is None or episode.task != packed.task:
        running = "no episode" if episode is None else f"an episode of {episode.task}"
        raise GatoError(f"slot {slot} has {running}, the observation is of {packed.task}; call start first")
      by_shape.setdefault(self._place[packed.task][0], []).append(slot)
    running = [(slots, self._dispatch(shape, slots, observations)) for shape, slots in by_shape.items()]
    actions = {}
    for slots, (rows, result) in running:
      values = np.asarray(result)
      for slot, row in zip(slots, rows, strict=True):
        episode = self._episodes[slot]
        episode.steps += 1
        field = self._layouts[episode.task].action
        actions[slot] = values[row, : field.size].astype(field.spec.dtype).reshape(field.spec.shape)
    return actions

  def _dispatch(
    self, shape: shapes.Shape, slots: Sequence[int], observations: Mapping[int, packing.Packed]
  ) -> tuple[Sequence[int], jax.Array]:
    """Starts one call; returns the row of each slot, and the actions to come."""
    fresh = [slot for slot in slots if self._is_fresh(self._episodes[slot])]
    prompted = {slot for slot in fresh if self._prompts[self._episodes[slot].task].steps}
    for slot in prompted:
      self._read_prompt(shape, slot)
    size = next(size for size in self.batch_sizes if size >= len(slots))
    rows = slots if size == self.slots else range(len(slots))
    asked = np.zeros([5, size], np.int32)
    asked[0] = self.slots  # beyond the last: nobody
    values = np.zeros([size, shape.tokens], np.float32)
    ids = np.zeros([size, shape.tokens], np.int32)
    lines = np.zeros([size, 16 * shape.patches, packing.LINE], np.uint8)
    for row, slot in zip(rows, slots, strict=True):
      packed, episode = observations[slot], self._episodes[slot]
      is_fresh = slot in fresh and slot not in prompted
      asked[:, row] = slot, self._place[episode.task][1], is_fresh, episode.noise, episode.steps
      n = len(packed.values)
      values[row, :n], ids[row, :n], lines[row, : len(packed.lines)] = packed.values, packed.ids, packed.lines
    call = self._step(shape, size)
    self._state, actions = call(
      self._params, self._state, self._tables[shape], self._heads[shape], self._temperature, asked, values, ids, lines
    )
    return rows, actions

  def _is_fresh(self, episode: _Episode) -> bool:
    every = self._act.memory_steps
    return episode.steps == 0 or bool(every and episode.steps % every == 0)

  def _step(self, shape: shapes.Shape, size: int) -> Any:
    """The compiled step for a shape and a batch size."""
    key = (shape, size)
    if key not in self._compiled:
      call = functools.partial(step.act, self._config, shape, size == self.slots)
      arguments = (
        self._params, self._state, self._tables[shape], self._heads[shape], self._temperature,
        np.zeros([5, size], np.int32), np.zeros([size, shape.tokens], np.float32),
        np.zeros([size, shape.tokens], np.int32), np.zeros([size, 16 * shape.patches, packing.LINE], np.uint8),
      )  # fmt: skip
      self._compiled[key] = jax.jit(call, donate_argnums=1).lower(*arguments).compile()
    return self._compiled[key]

  def _prompt_length(self, shape: shapes.Shape) -> int:
    """Tokens of the longest prompt among a shape's tasks."""
    return max(self._prompts[task].length for task in shape.tasks)

  def _prompt_step(self, shape: shapes.Shape) -> Any:
    key = (shape, "prompt")
    if key not in self._compiled:
      chunk = self._prompt_chunk(shape, shape.tasks[0], None)
      call = functools.partial(step.prompt, self._config)
      lowered = jax.jit(call, donate_argnums=1).lower(self._params, self._state, np.zeros(1, np.int32), chunk)
      self._compiled[key] = lowered.compile()
    return self._compiled[key]

  def _read_prompt(self, shape: shapes.Shape, slot: int) -> None:
    episode = self._episodes[slot]
    chunk = self._prompt_chunk(shape, episode.task, self._prompts[episode.task].choose(episode.seed))
    self._state = self._prompt_step(shape)(self._params, self._state, np.array([slot], np.int32), chunk)

  def _prompt_chunk(self, shape: shapes.Shape, task: str, steps: layout.Steps | None) -> dict[str, np.ndarray]:
    """An encoded prompt, of whatever task, padded to the shape's longest; without steps: an empty one."""
    length = self._prompt_length(shape)
    patches = max(self._prompts[other].patch_count for other in shape.tasks)
    chunk = {name: np.zeros([1, length], np.int32) for name in ("tokens", "kinds", "locals", "patch_slots")}
    chunk["patches"] = np.zeros([1, patches, 16, 16, 3], np.uint8)
    chunk["patch_positions"] = np.zeros([1, patches, 4], np.int32)
    chunk["length"] = np.zeros(1, np.int32)
    if steps is not None:
      n, count = steps.tokens.size, steps.patches.shape[0] * steps.patches.shape[1]
      for name in ("tokens", "kinds", "locals"):
        chunk[name][0, :n] = getattr(steps, name).ravel()
      is_patch = chunk["kinds"][0] == Kind.PATCH
      chunk["patch_slots"][0] = np.where(is_patch, np.cumsum(is_patch) - 1, 0)
      chunk["patches"][0, :count] = steps.patches.reshape(-1, 16, 16, 3)
      shown = self._prompts[task].layout
      chunk["patch_positions"][0, :count] = np.tile(shown.patch_positions, (len(steps.tokens), 1))
      chunk["length"][0] = n
    return chunk


class GatoActor:
  """An engine for copies of one task's environment (environment_loop.Actor): an environment's place is its slot."""

  def __init__(self, engine: Engine, task: str):
    self.engine = engine
    self._task = task

  def reset(self, slot: int, seed: int) -> None:
    self.engine.start(slot, self._task, seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> dict[int, np.ndarray]:
    return self.engine.act(
      {slot: self.engine.pack(self._task, specs.flatten(one.observation)) for slot, one in timesteps.items()}
    )
