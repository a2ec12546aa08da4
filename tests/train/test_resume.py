"""A run does not continue with another config or dataset by accident, but does on request."""

import json

import jax.numpy as jnp
import pytest
from dm_env import specs as dm_specs

from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec
from gato_jax.train import checkpoint, resume


def task_spec(size: int) -> TaskSpec:
  unit = dm_specs.BoundedArray((1,), "float32", -1, 1)
  return TaskSpec("a.b", {"x": dm_specs.Array((size,), "float32")}, unit)


def described(tasks=("a.b",), size=3, episodes=30, **changes):
  """Description of a run; `changes` are section__setting=value."""
  config = {
    "domains": {"a": {"weight": 1.0, "tasks": ["b"]}},
    "data": {"seed": 0},
    "model": {"layers": 4, "dtype": "float32", "remat": "none"},
    "optimizer": {"peak_learning_rate": 1e-3},
    "train": {"steps": 10, "batch_size": 8, "mesh_data": 0, "keep": 3},
  }
  for name, value in changes.items():
    section, setting = name.split("__")
    config[section][setting] = value

  return resume.description(
    config, dict.fromkeys(tasks, task_spec(size)), dict.fromkeys(tasks, episodes)
  )


@pytest.fixture
def started(tmp_path):
  """Workdir of a run with a checkpoint at step 4."""
  resume.refuse_changes(tmp_path, described())
  checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints")
  checkpoints.save(4, {"w": jnp.ones(3)}, {"m": jnp.ones(3)}, described(), b"")
  checkpoints.close()
  return tmp_path


def warnings(caplog):
  return [
    record.getMessage() for record in caplog.records if record.name == "gato_jax.train.resume"
  ]


def test_the_checkpoint_holds_the_config_and_its_hash(started):
  meta = checkpoint.newest_meta(started / "checkpoints")
  assert (
    meta["config"] == described()["config"] == json.loads((started / "config.json").read_text())
  )
  assert (
    meta["config_sha256"]
    == described()["config_sha256"]
    != described(data__seed=1)["config_sha256"]
  )


@pytest.mark.parametrize(
  "change", [{}, {"train__mesh_data": 4}, {"train__keep": 9}, {"model__remat": "full"}]
)
def test_the_same_run_goes_on_anywhere(started, caplog, change):
  resume.refuse_changes(started, described(**change))
  assert not warnings(caplog)


@pytest.mark.parametrize("change", [{"train__steps": 20}, {"optimizer__peak_learning_rate": 1e-4}])
def test_a_longer_run_or_another_rate_is_said(started, caplog, change):
  resume.refuse_changes(started, described(**change))
  (said,) = warnings(caplog)
  assert "step 4 was trained with " in said and "now it is" in said


MIXTURE = [
  ({"data__seed": 3}, "started with data.seed=0, now it is 3"),
  ({"domains__a": {"weight": 2.0, "tasks": ["b"]}}, "with domains.a.weight=1.0, now it is 2.0"),
  ({"domains__c": {"weight": 1.0, "tasks": []}}, "with domains.c.tasks=None, now it is "),
  ({"model__dtype": "bfloat16"}, "with model.dtype=float32, now it is bfloat16"),
  ({"train__batch_size": 16}, "with train.batch_size=8, now it is 16"),
  ({"size": 4}, "with another dataset of a.b: observation 'x'"),
  ({"tasks": ("a.b", "a.c")}, "with another dataset of a.c: it was not there"),
  ({"episodes": 31}, "with 30 episodes of a.b, now there are 31"),
]


@pytest.mark.parametrize("change, said", MIXTURE)
def test_a_change_is_named_and_nothing_is_overwritten(started, caplog, change, said):
  written = (started / "config.json").read_bytes()
  with pytest.raises(
    GatoError, match=rf"{said}.*--config.workdir, or accept it with --accept_changes"
  ):
    resume.refuse_changes(started, described(**change))
  assert (started / "config.json").read_bytes() == written

  resume.refuse_changes(started, described(**change), accept=True)

  assert any(said.removeprefix("started ") in line for line in warnings(caplog))
  assert json.loads((started / "config.json").read_text()) == described(**change)["config"]


def test_parameters_of_another_shape_are_never_accepted(started):
  with pytest.raises(
    GatoError, match="model.layers=4, now it is 5, which its parameters do not fit"
  ):
    resume.refuse_changes(started, described(model__layers=5), accept=True)

  # The run is older than this setting, which had its default.
  with pytest.raises(GatoError, match=r"model.text_pieces=32000, now it is 2048, which its"):
    resume.refuse_changes(started, described(model__text_pieces=2048), accept=True)
