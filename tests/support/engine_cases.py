"""Layouts, observations and engines that tests of the engine share."""

import jax
import numpy as np
import small_network
from dm_env import specs as dm_specs

from gato_jax.agent import ActConfig, Engine
from gato_jax.agent.prompts import Prompts
from gato_jax.model import transformer
from gato_jax.model.attention import WindowMask, distance_table
from gato_jax.model.embedding import Embedding
from gato_jax.task import TaskSpec
from gato_jax.tokens import codec, layout
from gato_jax.tokens.vocabulary import Kind

CONFIG = small_network.SMALL


WINDOW = CONFIG.memory_length


PADDED_STEPS = 48  # episodes are padded to a multiple


WORDS = ("go", "go to the red ball", "pick up a key then open the door")


def floats(*shape: int) -> dm_specs.Array:
  return dm_specs.Array(shape, np.float32)


def box(low: list[float], high: list[float]) -> dm_specs.BoundedArray:
  return dm_specs.BoundedArray((len(low),), np.float32, low, high)


def image(*shape: int) -> dm_specs.BoundedArray:
  return dm_specs.BoundedArray(shape, np.uint8, 0, 255)


SPECS = {
  spec.name: spec
  for spec in (
    TaskSpec(
      "a.arm", {"state": floats(5), "bounded": box([-1] * 3, [1] * 3)}, box([-1, -2, 0], [1, 2, 3])
    ),
    TaskSpec("a.leg", {"state": floats(11)}, box([-0.5] * 4, [0.5] * 4)),
    TaskSpec(
      "a.keys",
      {"state": floats(2)},
      dm_specs.BoundedArray((4,), np.int32, [0, 1, 2, 3], [5, 1, 9, 40]),
    ),
    TaskSpec(
      "b.grid",
      {
        "picture": image(32, 48, 3),
        "grey": image(16, 32, 1),
        "mission": dm_specs.StringArray(()),
        "cell": dm_specs.BoundedArray((2,), np.int64, 0, 1023),
      },
      dm_specs.DiscreteArray(7, np.int64),
      {"mission": 12},
    ),
    TaskSpec("b.game", {"frame": image(80, 64, 3)}, dm_specs.DiscreteArray(18, np.int32)),
  )
}


LAYOUTS = {
  name: layout.TokenLayout(spec, codec.default_text_codec()) for name, spec in SPECS.items()
}


def make_engine(acting_params, slots: int, tasks=tuple(SPECS), stride: int = 1, **act) -> Engine:
  config = ActConfig(**{"temperature": 0.0, "prompt": "none", **act})
  chosen = {task: LAYOUTS[task] for task in tasks}
  return Engine(
    CONFIG,
    acting_params,
    chosen,
    {t: Prompts(o, [], 0, config) for t, o in chosen.items()},
    slots,
    config,
    stride,
  )


def observe(task: str, seed: int, number: int) -> dict:
  """A random observation, the same for the same seed and number."""
  random = np.random.default_rng([seed, number])
  observation = {}

  for key, spec in SPECS[task].observation.items():
    if isinstance(spec, dm_specs.StringArray):
      observation[key] = WORDS[seed % len(WORDS)]
    elif spec.dtype == np.uint8:
      observation[key] = random.integers(0, 256, spec.shape, np.uint8)
    elif np.issubdtype(spec.dtype, np.integer):
      observation[key] = random.integers(0, 1024, spec.shape)
    else:
      observation[key] = random.normal(size=spec.shape).astype(spec.dtype).clip(-1, 1)

  return observation


@jax.jit
def _hidden(params, chunk: dict) -> jax.Array:
  """Hidden states [L, D] of one row, in which each position sees the last WINDOW."""
  kinds = chunk["kinds"]
  length = kinds.shape[1]
  distance = np.arange(length)[:, None] - np.arange(length)
  own = (distance >= 0) & (distance <= WINDOW) & (kinds != Kind.PADDING)[0]
  own |= np.eye(length, dtype=bool)

  x = Embedding(CONFIG).apply({"params": params["embedding"]}, chunk)
  mask = WindowMask(own[None], distance_table(length - 1, CONFIG.width))
  return transformer.Decoder(CONFIG).apply({"params": params["decoder"]}, x, mask)[0]


def most_likely(
  params, task: str, observations: list[dict], actions: list[np.ndarray]
) -> np.ndarray:
  """Most likely action tokens [n, A] by the full forward pass.

  All steps are one row, in which each position sees the last WINDOW.
  """
  one = LAYOUTS[task]
  stacked = {key: np.stack([np.asarray(o[key]) for o in observations]) for key in observations[0]}
  n = len(actions)

  # Padded by the last step, so that few programs are compiled; a causal mask never looks there.
  padded = -(-n // PADDED_STEPS) * PADDED_STEPS
  repeats = np.where(np.arange(padded) < n, np.arange(padded), n - 1)
  stacked = {key: column[repeats] for key, column in stacked.items()}
  steps = one.encode(stacked, np.stack(actions)[repeats])

  kinds = steps.kinds.reshape(1, -1)
  chunk = {
    "tokens": steps.tokens.reshape(1, -1),
    "kinds": kinds,
    "locals": steps.locals.reshape(1, -1),
    "patches": steps.patches.reshape(1, -1, 16, 16, 3),
    "patch_positions": np.tile(one.patch_positions, (padded, 1))[None],
    "patch_slots": np.where(kinds == Kind.PATCH, np.cumsum(kinds == Kind.PATCH, axis=1) - 1, 0),
  }

  # Logits of legal tokens only: those of the whole vocabulary take longer than the network.
  hidden, table = np.array(_hidden(params, chunk)), np.asarray(params["embedding"]["tokens"])
  low, high = one.legal_actions()
  tokens = np.zeros(actions[0].size * n, np.int64)
  positions = np.flatnonzero(kinds[0] == Kind.ACTION)[: tokens.size]
  for i, position in enumerate(positions):
    legal = slice(low[i % len(low)], high[i % len(low)] + 1)
    tokens[i] = legal.start + np.argmax(table[legal] @ hidden[position - 1])

  return tokens.reshape(n, -1)


def executed(task: str, actions: list[np.ndarray]) -> np.ndarray:
  """Tokens [n, A] that decode to the actions."""
  one = LAYOUTS[task]
  stand_in = observe(task, 0, 0)
  stacked = {key: np.stack([np.asarray(value)] * len(actions)) for key, value in stand_in.items()}
  return one.encode(stacked, np.stack(actions)).tokens[:, one.action.slice]
