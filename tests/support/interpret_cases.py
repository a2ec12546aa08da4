"""Samples and states that tests of interpretation share."""

import dataclasses

import jax
import numpy as np
import small_network

from experiments.analysis.interpret import (
  InterpretConfig,
  probes,
  samples,
)
from gato_jax.data.mixture import MixtureConfig
from gato_jax.model import cache

CONFIG = small_network.SMALL


MIXTURE = MixtureConfig(sequence_length=192, window_steps=1, keep=0.0)


ASKED = InterpretConfig(
  samples=24, test_every=3, components=(2,), directions=(1,), map_samples=12, frames=1
)


TASKS = ("dummy.reach", "dummy.reach_discrete")


# As networks are trained on CPUs: no scan, some queries at a time.
TRAINED = dataclasses.replace(CONFIG, scan_layers=False, attention_block=64, drop_path=0.5)


def make_samples(tasks=("a.one", "a.two", "b.three"), episodes=20, each=4):
  """Samples without rows; every fourth episode is a test episode."""
  return [
    samples.Sample(task, episode, episode % 4 == 3, {})
    for task in tasks
    for episode in range(episodes)
    for _ in range(each)
  ]


def make_codes(made, scale, width=8, seed=0):
  """Hidden states [1, 1, N, width]: noise, with the task at `scale` in the first dimensions."""
  random = np.random.default_rng(seed)
  number = np.unique([one.task for one in made], return_inverse=True)[1]
  noise = random.normal(size=(len(made), width))
  noise[:, :3] += scale * np.eye(3)[number]
  return noise[None, None].astype(np.float32)


def fit_probe(fit, made, residual):
  config = InterpretConfig(tokens=(1,), parts=("probes",))
  return {row.target: row for row in probes.run([fit], made, residual, config)}


def lower(params):
  config = CONFIG
  memory = cache.init_cache(config, 1)
  present = cache.begin(config, 1, 2)
  yes = np.ones((1, 2), bool)

  def read(params, x):
    return cache.read(config, params, memory, present, x, 0, np.arange(2)[None], yes, yes)[0]

  return jax.jit(read).lower(params, np.zeros((1, 2, config.width), np.float32)), read
