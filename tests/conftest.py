"""What tests share: dummy episodes, logged by EnvLogger and built into RLDS, and a small network's checkpoint."""

import pathlib

import jax
import numpy as np
import pytest

import rlds_builders
from gato_jax import checkpoint, collect, demonstrations, logs, specs
from gato_jax.model import GatoConfig, init_params
from gato_jax.tokens import codec

EPISODES = 30
SMALL = GatoConfig(
  layers=2, heads=2, width=32, feed_forward=64, key_size=16, patch_channels=32, dtype="float32", remat="none",
  memory_length=256,
)  # fmt: skip


@pytest.fixture(scope="session")
def dummy_raw(tmp_path_factory) -> pathlib.Path:
  """Raw logs of both dummy tasks; the dummy domain needs no simulator, so it may be played in this process."""
  raw = tmp_path_factory.mktemp("data") / "raw"
  domain = rlds_builders.get("dummy")
  for task in domain.tasks:
    for index, seeds in collect.missing_shards(domain, task, raw, collect.CollectConfig(episodes=EPISODES)):
      collect.collect_shard(domain, task, raw, index, seeds)
  return raw


@pytest.fixture(scope="session")
def small_workdir(tmp_path_factory, dummy_raw) -> pathlib.Path:
  """The workdir of an untrained network that knows both dummy tasks: checkpoint 5 and demonstrations."""
  path = tmp_path_factory.mktemp("run")
  params = jax.tree.map(lambda x: 4 * x, init_params(SMALL, jax.random.key(3)))  # large: decided, not near uniform
  domain, task_specs = rlds_builders.get("dummy"), {}
  for task in domain.tasks:
    environment = domain.make_environment(task)
    task_specs[f"dummy.{task}"] = specs.environment_task_spec(domain, task, environment).to_json()
    shard = logs.shards(logs.task_directory(dummy_raw, "dummy", task))[0]
    pieces = []
    for row, columns in list(logs.read_shard(shard))[:2]:
      observation = {k.removeprefix("observation/"): v[: row.length] for k, v in columns.items() if "observation/" in k}
      pieces.append((observation, columns["action"][: row.length]))
    demonstrations.write(path, f"dummy.{task}", pieces)
  store = checkpoint.Checkpoints(path / "checkpoints", keep=1)
  meta = {"model": SMALL.to_json(), "specs": task_specs}
  store.save(5, params, {"count": np.zeros([], np.int32)}, meta, codec.default_text_codec().model)
  store.close()
  return path


@pytest.fixture(scope="session")
def dummy_tfds(dummy_raw) -> pathlib.Path:
  """RLDS datasets of both dummy tasks, prepared for training."""
  return build_dummy(dummy_raw, dummy_raw.parent / "tfds")


def build_dummy(raw: pathlib.Path, tfds_dir: pathlib.Path) -> pathlib.Path:
  """Builds the dummy domain's datasets from raw logs and prepares them."""
  from gato_jax.data import prepare  # TensorFlow: not in the processes of tests that render
  from rlds_builders import _builder

  domain = rlds_builders.get("dummy")
  for task in domain.tasks:
    _builder.build(domain, task, raw, tfds_dir)
    prepare.prepare(tfds_dir, f"dummy.{task}", codec.default_text_codec())
  return tfds_dir
