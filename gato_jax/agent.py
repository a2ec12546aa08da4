"""Checkpoint + layout + model -> an actor: the only place where the three meet. No TensorFlow.

A step is one jitted call: the observation and the separator run against the Transformer-XL memory, then the action's
tokens are sampled one after the other, each among its legal ids. History is never recomputed.

Legend: B slots (environments), O observation tokens and separator, A action tokens, T = O + A.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import dm_env
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax import checkpoint, demonstrations, specs
from gato_jax.errors import GatoError
from gato_jax.model import Gato, GatoConfig, Memory, init_memory, reset_memory, select_rows
from gato_jax.tokens import codec, layout
from gato_jax.tokens.vocabulary import Kind

PROMPTS = ("start", "none")


@dataclasses.dataclass(frozen=True)
class ActConfig:
  """How actions are chosen (Reed et al. 2022, section 2.5).

  Attributes:
    temperature: of sampling; 0 takes the most likely token.
    prompt: "start" fills the memory with a demonstration's first steps, "none" leaves it empty.
    memory_steps: the memory starts anew every so many steps (1: the present observation alone); 0: never.
    prompt_share: of the memory's length that the prompt may take; training gives it at most half of a window.
  """

  temperature: float = 1.0
  prompt: str = "start"
  memory_steps: int = 0
  prompt_share: float = 0.5

  def __post_init__(self):
    specs.check_name(self.prompt, PROMPTS, "prompt")


_reset = jax.jit(reset_memory, donate_argnums=0)


@functools.partial(jax.jit, static_argnames=("config",), donate_argnames=("memory",))
def _feed(config: GatoConfig, params: Any, memory: Memory, rows: jax.Array, chunk: Mapping[str, jax.Array]) -> Memory:
  """Empties `rows` (bool [B]) and reads their prompts."""
  memory = reset_memory(memory, rows)
  _, fed = Gato(config).apply({"params": params}, chunk, memory, method="extend")
  return select_rows(rows, fed, memory)


@functools.partial(jax.jit, static_argnames=("config", "low", "high"), donate_argnames=("memory",))
def _act(
  config: GatoConfig,
  low: tuple[int, ...],
  high: tuple[int, ...],
  params: Any,
  memory: Memory,
  rows: jax.Array,
  chunk: Mapping[str, jax.Array],
  keys: jax.Array,
  temperature: jax.Array,
) -> tuple[jax.Array, Memory]:
  """Reads one observation a row and samples its action: int32 [B, A]. Rows (bool [B]) not asked for keep their memory.

  low, high: legal ids of each action position. keys: [B] random keys.
  """
  model = Gato(config)
  hidden, new = model.apply({"params": params}, chunk, memory, method="extend")
  first = min(low)
  ids = slice(first, max(high) + 1)

  def one_token(carry, position):
    last, memory = carry
    lowest, highest, index = position
    logits = model.apply({"params": params}, last, ids, method="logits")
    legal = jnp.arange(ids.start, ids.stop)
    logits = jnp.where((legal >= lowest) & (legal <= highest), logits, -jnp.inf)
    noise = jax.vmap(lambda key: jax.random.gumbel(jax.random.fold_in(key, index), logits.shape[1:]))(keys)
    token = first + jnp.argmax(logits + temperature * noise, axis=-1)  # Gumbel: a sample; without noise: the mode
    action = {
      "tokens": token[:, None],
      "kinds": jnp.full_like(token[:, None], Kind.ACTION),
      "locals": jnp.full_like(token[:, None], -1),
      "patches": jnp.zeros([rows.shape[0], 0, 16, 16, 3], jnp.uint8),
      "patch_positions": jnp.zeros([rows.shape[0], 0, 4], jnp.int32),
      "patch_slots": jnp.zeros_like(token[:, None]),
    }
    hidden, memory = model.apply({"params": params}, action, memory, method="extend")
    return (hidden[:, -1], memory), token

  positions = (jnp.asarray(low), jnp.asarray(high), jnp.arange(len(low)))
  (_, new), tokens = jax.lax.scan(one_token, (hidden[:, -1], new), positions)
  return tokens.T, select_rows(rows, new, memory)


class GatoActor:
  """Acts for many copies of one task's environment (environment_loop.Actor)."""

  def __init__(self, policy: "Policy", task: str, slots: int, config: ActConfig):
    self._policy = policy
    self._config = config
    self._slots = slots
    spec = policy.spec(task)
    self.layout = layout.TokenLayout(spec, policy.text, policy.model_config.max_local_positions)
    self._low, self._high = (tuple(int(i) for i in ids) for ids in self.layout.legal_actions())
    self._memory = init_memory(policy.model_config, slots)
    if self.layout.length > policy.model_config.memory_length:
      raise GatoError(
        f"{task}: one step takes {self.layout.length} tokens, the memory holds {policy.model_config.memory_length}"
      )
    self._prompts = self._make_prompts(demonstrations.read(policy.workdir, task) if config.prompt != "none" else [])
    self._seeds = np.zeros(slots, np.int64)
    self._steps = np.zeros(slots, np.int64)
    self._fresh: set[int] = set(range(slots))

  def _make_prompts(self, examples: list[demonstrations.Demonstration]) -> list[layout.Steps]:
    """Demonstrations cut to one common number of steps, so that one compiled call serves every prompt."""
    room = int(self._policy.model_config.memory_length * self._config.prompt_share) // self.layout.length
    if not examples or not room:
      return []
    n = min(room, *(len(action) for _, action in examples))
    return [self.layout.encode({k: v[:n] for k, v in o.items()}, a[:n]) for o, a in examples]

  def reset(self, slot: int, seed: int) -> None:
    self._seeds[slot], self._steps[slot] = seed, 0
    self._fresh.add(slot)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> dict[int, np.ndarray]:
    if self._config.memory_steps:
      self._fresh |= {slot for slot in timesteps if self._steps[slot] % self._config.memory_steps == 0}
    self._start_episodes()
    rows = np.zeros(self._slots, bool)
    rows[list(timesteps)] = True
    stand_in = next(iter(timesteps.values()))  # idle rows compute something that is thrown away
    observations = [specs.flatten(timesteps.get(slot, stand_in).observation) for slot in range(self._slots)]
    stacked = {key: np.stack([np.asarray(o[key]) for o in observations]) for key in self.layout.spec.observation}
    chunk = self._chunk(self.layout.encode(stacked, None))
    keys = jax.vmap(lambda s, t: jax.random.fold_in(jax.random.fold_in(jax.random.key(0), s), t))(
      self._seeds, self._steps
    )
    tokens, self._memory = _act(
      self._policy.model_config,
      self._low,
      self._high,
      self._policy.params,
      self._memory,
      rows,
      chunk,
      keys,
      np.float32(self._config.temperature),
    )
    self._steps += rows
    tokens = np.asarray(tokens)
    return {slot: self.layout.decode_action(tokens[slot]) for slot in timesteps}

  def _start_episodes(self) -> None:
    """Empties the memory of slots with a new episode and reads their prompts; the episode's seed picks one."""
    if not self._fresh:
      return
    rows = np.zeros(self._slots, bool)
    rows[list(self._fresh)] = True
    self._fresh.clear()
    if not self._prompts:
      self._memory = _reset(self._memory, rows)
      return
    chosen = [self._prompts[seed % len(self._prompts)] for seed in self._seeds]
    steps = {f.name: np.stack([getattr(p, f.name) for p in chosen]) for f in dataclasses.fields(layout.Steps)}
    chunks = layout.Steps(**{k: v.reshape(self._slots, -1, *v.shape[3:]) for k, v in steps.items()})
    self._memory = _feed(self._policy.model_config, self._policy.params, self._memory, rows, self._chunk(chunks))

  def _chunk(self, steps: layout.Steps) -> dict[str, np.ndarray]:
    """Flat tokens [B, n] and patches [B, P, ...] -> the model's chunk."""
    slots, n = self._slots, steps.patches.shape[1]
    is_patch = steps.kinds == Kind.PATCH
    positions = np.tile(self.layout.patch_positions, (n // max(1, self.layout.patch_count), 1))
    return {
      "tokens": steps.tokens,
      "kinds": steps.kinds,
      "locals": steps.locals,
      "patches": steps.patches,
      "patch_positions": np.broadcast_to(positions, (slots, n, 4)),
      "patch_slots": np.where(is_patch, np.cumsum(is_patch, axis=1) - 1, 0).astype(np.int32),
    }


class Policy:
  """Everything a checkpoint holds for acting.

  Attributes:
    step: training step of the checkpoint.
    meta: what training wrote: configs, specs, the input's fingerprint.
  """

  def __init__(self, workdir: pathlib.Path, step: int | None = None):
    self.workdir = pathlib.Path(workdir)
    self.params, self.meta, self.step = checkpoint.load_for_acting(self.workdir / "checkpoints", step)
    self.model_config = GatoConfig.from_json(self.meta["model"])
    self.text = codec.TextCodec(self.meta["tokenizer"])

  @property
  def tasks(self) -> list[str]:
    return sorted(self.meta["specs"])

  def spec(self, task: str) -> specs.TaskSpec:
    specs.check_name(task, self.meta["specs"], f"task of the checkpoint in {self.workdir}")
    return specs.TaskSpec.from_json(self.meta["specs"][task])

  def check_environment(self, spec: specs.TaskSpec) -> None:
    """GatoError when the environment's spec is not the one trained on."""
    difference = specs.difference(self.spec(spec.name), spec)
    if difference:
      raise GatoError(
        f"{spec.name}: the checkpoint in {self.workdir} was trained on another spec ({difference}); collect, build and "
        "train again, or evaluate with the code that trained it"
      )

  def actor(self, task: str, slots: int, config: ActConfig) -> GatoActor:
    return GatoActor(self, task, slots, config)
