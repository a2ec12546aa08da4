"""Batches and networks that tests of the model share."""

import dataclasses
import functools

import jax
import numpy as np

from gato_jax import model
from gato_jax.model import cache
from gato_jax.model.attention import distance_table
from gato_jax.tokens import vocabulary

Kind = vocabulary.Kind


CONFIG = model.GatoConfig(
  layers=2,
  heads=2,
  width=32,
  feed_forward=64,
  key_size=16,
  patch_channels=32,
  drop_path=0.0,
  dtype="float32",
  remat="none",
  scan_layers=True,
)


NETWORK = model.Gato(CONFIG)


# One timestep: a text token, padding of the text field, two patches, two continuous values,
# separator, two actions.
STEP = [Kind.TEXT, Kind.PADDING, Kind.PATCH, Kind.PATCH, Kind.CONTINUOUS, Kind.CONTINUOUS] + [
  Kind.SEPARATOR
]


STEP += [Kind.ACTION] * 2


OBSERVATION = 7  # positions of a timestep before its actions


def make_batch(steps=4, rows=2, seed=0):
  random = np.random.default_rng(seed)
  kinds = np.tile(np.array(STEP, np.int32), (rows, steps))
  length = kinds.shape[1]
  place = np.tile(np.arange(len(STEP)), steps)
  has_token = (kinds != Kind.PATCH) & (kinds != Kind.PADDING)
  observed = np.isin(kinds, [Kind.TEXT, Kind.PATCH, Kind.CONTINUOUS])
  low = random.integers(0, 100, (rows, 2 * steps, 2))
  return {
    "tokens": np.where(has_token, random.integers(0, vocabulary.SIZE, (rows, length)), 0).astype(
      np.int32
    ),
    "kinds": kinds,
    "locals": np.where(observed, place, -1).astype(np.int32),
    "segments": np.where(kinds == Kind.PADDING, 0, 1).astype(np.int32),
    "patches": random.integers(0, 256, (rows, 2 * steps, 16, 16, 3)).astype(np.uint8),
    "patch_positions": np.stack([low, low + 20], -1).reshape(rows, 2 * steps, 4).astype(np.int32),
    "patch_slots": np.where(kinds == Kind.PATCH, np.cumsum(kinds == Kind.PATCH, 1) - 1, 0).astype(
      np.int32
    ),
  }


@functools.partial(jax.jit, static_argnames="network")
def forward(params, batch, network=NETWORK):
  return network.apply({"params": params}, batch)


@functools.partial(jax.jit, static_argnames="network")
def embed(params, batch, network=NETWORK):
  return network.apply({"params": params}, batch, method="embed")


init = jax.jit(model.init_params, static_argnums=0)


def pieces(batch):
  """Cuts a batch into chunks as in acting: the observation, then each action token."""
  length = batch["kinds"].shape[1]
  starts = [i for i in range(length) if i % len(STEP) == 0 or i % len(STEP) >= OBSERVATION]
  for start, end in zip(starts, starts[1:] + [length], strict=True):
    yield {k: v[:, start:end] if v.shape[1] == length else v for k, v in batch.items()}


@jax.jit
def extend(params, chunk, memory, rows, fresh):
  """Reads one chunk as in acting; returns hidden states [B, T, d] and the new memory."""
  past = cache.view(memory, rows, fresh)
  batch, length = chunk["kinds"].shape
  everything = np.ones((batch, length), bool)
  place = np.broadcast_to(np.arange(length), (batch, length))
  hidden, present = cache.read(
    CONFIG,
    params,
    past,
    cache.begin(CONFIG, batch, length),
    cache.embed(CONFIG, params, chunk),
    0,
    place,
    everything,
    chunk["kinds"] != Kind.PADDING,
  )
  return hidden, cache.commit(memory, np.arange(batch) if rows is None else rows, past, present)


def extend_all(params, batch, memory, rows=None, fresh=(False, False)):
  """Reads a batch in pieces; the rows that are `fresh` begin anew."""
  hidden = []

  for chunk in pieces(batch):
    out, memory = extend(params, chunk, memory, rows, np.array(fresh))
    hidden.append(out)
    fresh = (False, False)

  return np.concatenate(hidden, 1), memory


def memory_of(length):
  return cache.init_cache(dataclasses.replace(CONFIG, memory_length=length), 2)


def acting_params(params, length):
  return cache.acting_params(dataclasses.replace(CONFIG, memory_length=length), params)


def reference_with_window(params, batch, window):
  """A slow Transformer-XL: plain loops over queries, each with its own keys.

  A query's keys are itself and the last `window` positions before it.
  """
  params = jax.tree.map(np.asarray, params)
  x = np.asarray(embed(params, batch))

  def norm(x, p):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]

  for layer in range(CONFIG.layers):
    p = jax.tree.map(lambda leaf, i=layer: leaf[i], params["decoder"]["layers"])
    attention = p["attention"]
    h = norm(x, p["attention_norm"])
    query, key, value = np.einsum("bld,dchk->cblhk", h, attention["qkv"])
    mixed = np.zeros_like(query)

    for b, i in np.ndindex(x.shape[:2]):
      keys = [
        j
        for j in range(max(0, i - window), i + 1)
        if j == i or (batch["kinds"][b, i] != Kind.PADDING and batch["kinds"][b, j] != Kind.PADDING)
      ]
      sinusoid = [np.asarray(distance_table(i - j, CONFIG.width))[0] for j in keys]
      distance = np.einsum("md,dhk->mhk", np.stack(sinusoid), attention["distance"])
      score = np.einsum("hk,mhk->hm", query[b, i] + attention["content_bias"], key[b, keys])
      score += np.einsum("hk,mhk->hm", query[b, i] + attention["distance_bias"], distance)
      weight = np.exp(score / np.sqrt(CONFIG.key_size))
      mixed[b, i] = np.einsum("hm,mhk->hk", weight / weight.sum(-1, keepdims=True), value[b, keys])

    x = x + np.einsum("blhk,hkd->bld", mixed, attention["out"])
    h = norm(x, p["feed_forward_norm"])
    gate, linear = np.einsum("bld,dcf->cblf", h, p["feed_forward"]["in"])
    x = x + (np.asarray(jax.nn.gelu(gate)) * linear) @ p["feed_forward"]["out"]

  return norm(x, params["decoder"]["final_norm"])
