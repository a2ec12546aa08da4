"""Fixtures that tests share: dummy episodes, their RLDS datasets, a small network's checkpoint."""

import pathlib

import pytest

import rlds_builders
from gato_jax.env import collect
from gato_jax.tokens import codec

EPISODES = 30


@pytest.fixture(scope="session")
def dummy_raw(tmp_path_factory) -> pathlib.Path:
  """Raw logs of both dummy tasks.

  The dummy domain needs no simulator, so it may be played in this process.
  """
  raw = tmp_path_factory.mktemp("data") / "raw"
  domain = rlds_builders.get("dummy")

  for task in domain.tasks:
    for index, seeds in collect.missing_shards(
      domain, task, raw, collect.CollectConfig(episodes=EPISODES)
    ):
      collect.collect_shard(domain, task, raw, index, seeds)

  return raw


@pytest.fixture(scope="session")
def small_workdir(tmp_path_factory, dummy_raw) -> pathlib.Path:
  """The workdir of an untrained network that knows both dummy tasks.

  It holds checkpoint 5 and demonstrations.
  """
  import small_network  # JAX, Flax and Orbax: seconds that most test files save

  return small_network.write(tmp_path_factory.mktemp("run"), dummy_raw)


@pytest.fixture(scope="session")
def dummy_tfds(dummy_raw) -> pathlib.Path:
  """RLDS datasets of both dummy tasks, prepared for training."""
  return build_dummy(dummy_raw, dummy_raw.parent / "tfds")


def build_dummy(raw: pathlib.Path, tfds_dir: pathlib.Path) -> pathlib.Path:
  """Builds the dummy domain's datasets from raw logs and prepares them."""
  from gato_jax.data import prepare  # TensorFlow: not in the processes of tests that render
  from rlds_builders.base import rlds_builder

  domain = rlds_builders.get("dummy")
  for task in domain.tasks:
    rlds_builder.build(domain, task, raw, tfds_dir)
    prepare.prepare(tfds_dir, f"dummy.{task}", codec.default_text_codec())

  return tfds_dir
