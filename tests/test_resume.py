"""A run is not continued with another config or another dataset by accident."""

import pytest
from dm_env import specs as dm_specs

from gato_jax import specs
from gato_jax.errors import GatoError
from gato_jax.train import resume


def task_spec(size: int) -> specs.TaskSpec:
  unit = dm_specs.BoundedArray((1,), "float32", -1, 1)
  return specs.TaskSpec("a.b", {"x": dm_specs.Array((size,), "float32")}, unit)


SETTINGS = {"data": {"seed": 0}, "model": {"layers": 4}}


def test_the_same_run_goes_on(tmp_path):
  for _ in range(2):
    resume.refuse_changes(tmp_path, SETTINGS, {"a.b": task_spec(3)})


@pytest.mark.parametrize(
  "settings, tasks, said",
  [
    ({**SETTINGS, "model": {"layers": 5}}, {"a.b": task_spec(3)}, "started with model.layers=4, now it is 5"),
    (SETTINGS, {"a.b": task_spec(4)}, "another dataset of a.b: observation 'x'"),
    (SETTINGS, {"a.c": task_spec(3)}, "another dataset of a.c: it was not in the mixture"),
  ],
)
def test_a_change_is_named_and_nothing_is_overwritten(tmp_path, settings, tasks, said):
  resume.refuse_changes(tmp_path, SETTINGS, {"a.b": task_spec(3)})
  written = (tmp_path / "config.json").read_bytes()
  with pytest.raises(GatoError, match=said):
    resume.refuse_changes(tmp_path, settings, tasks)
  assert (tmp_path / "config.json").read_bytes() == written
