"""Both formats of raw logs hold the same, and either is read by packages that are not ours."""

import importlib.util
import shutil
import sys

import dm_env
import numpy as np
import pytest
from dm_env import specs

import rlds_builders
from gato_jax.env import collect, log_files, logs, loop, sequential
from gato_jax.errors import GatoError

DUMMY = rlds_builders.get("dummy")
BOTH = (log_files.RIEGELI, log_files.ARRAY_RECORD)
HAS_ENVLOGGER = importlib.util.find_spec("envlogger") is not None
SETTINGS = collect.TaskSettings(disturbance=0.5, mistakes=0.5)

compares = pytest.mark.skipif(not HAS_ENVLOGGER, reason="compares with envlogger's files")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  """Returns format -> raw logs of the same episodes, some with perturbed actions."""
  directories = {}
  with pytest.MonkeyPatch.context() as patch:
    for file_format in BOTH if HAS_ENVLOGGER else BOTH[1:]:
      directories[file_format] = tmp_path_factory.mktemp(file_format)
      patch.setattr(log_files, "default_format", lambda file_format=file_format: file_format)

      for task in DUMMY.tasks:
        for index in range(2):
          seeds = range(4 * index, 4 * index + 4)
          collect.collect_shard(DUMMY, task, directories[file_format], index, seeds, SETTINGS)

  return directories


def directory(raw, task):
  return logs.task_directory(raw, "dummy", task)


def episodes(raw, task):
  return [e for shard in logs.shards(directory(raw, task)) for e in logs.read_shard(shard)]


def assert_same(one, other):
  """Asserts that two episodes' columns are equal in names, types and values."""
  assert sorted(one) == sorted(other)
  for name, column in one.items():
    assert column.dtype == other[name].dtype, name
    np.testing.assert_array_equal(column, other[name], err_msg=name)


@compares
@pytest.mark.parametrize("task", DUMMY.tasks)
def test_both_formats_hold_the_same_values(raw, task):
  riegeli, array_record = (episodes(raw[file_format], task) for file_format in BOTH)
  assert len(riegeli) == 8

  for (row, columns), (other_row, other_columns) in zip(riegeli, array_record, strict=True):
    assert row.seed == other_row.seed and row.actor == other_row.actor
    assert_same(columns, other_columns)

  # The comparison means something: actions were perturbed.
  assert any((columns["action"] != columns["expert_action"]).any() for _, columns in riegeli)


def test_tfds_opens_what_tfds_wrote(raw):
  import tensorflow_datasets as tfds

  first = logs.shards(directory(raw[log_files.ARRAY_RECORD], "reach"))[0]
  (run,) = (path.parent for path in first.rglob("features.json"))
  episode = tfds.builder_from_directory(run).as_data_source("train")[0]
  steps = list(episode["steps"])

  assert [step["is_first"] for step in steps] == [True] + [False] * (len(steps) - 1)
  assert [step["is_last"] for step in steps] == [False] * (len(steps) - 1) + [True]
  assert steps[-1]["is_terminal"] and not steps[-2]["is_terminal"]


class Odd(dm_env.Environment):
  """Observes types that few simulators have, from buffers that it uses again in each step."""

  def observation_spec(self):
    return {
      "exact": specs.Array((2,), np.float64),
      "flag": specs.Array((), np.bool_),
      "long": specs.Array((), np.int64),
      "text": specs.StringArray(()),
    }

  def action_spec(self):
    return specs.DiscreteArray(3)

  def seed(self, seed):
    self._random = np.random.default_rng(seed)

  def episode_info(self):
    return {}

  def control_timestep(self):
    return 0.0

  def _observe(self):
    self._buffer[:] = self._random.random(2)
    texts = ["", "é" * int(self._random.integers(9)), "\u4e16\u754c"]
    return {
      "exact": self._buffer,
      "flag": np.bool_(self._random.random() < 0.5),
      "long": np.int64(self._random.integers(1 << 62)),
      "text": texts[self._random.integers(3)],
    }

  def reset(self):
    self._steps, self._buffer = 0, np.zeros(2)
    return dm_env.restart(self._observe())

  def step(self, action):
    self._steps += 1
    if self._steps == 6:
      return dm_env.truncation(float(action), self._observe())
    return dm_env.transition(float(action), self._observe())


def play(directory, file_format, index=0, seeds=(3, 4)):
  environment = Odd()
  expert = loop.RandomExpert(environment.action_spec(), "odd")
  with logs.ShardWriter(directory, index, environment, file_format=file_format) as writer:
    for seed in seeds:
      (episode,) = loop.run_episodes([writer.environment], loop.PerSlot([expert]), [seed])
      writer.append(sequential.row("odd.task", "expert", 0, episode))


@compares
def test_every_type_comes_back_bit_by_bit(tmp_path):
  read = {}
  for file_format in BOTH:
    play(tmp_path / file_format, file_format)
    read[file_format] = list(logs.read_shard(tmp_path / file_format / "shard-00000"))

  for (_, columns), (_, other) in zip(*read.values(), strict=True):
    assert_same(columns, other)
    assert columns["observation/exact"].dtype == np.float64

  # Each step has its own values, though the buffer was the same.
  assert len(np.unique(other["observation/exact"], axis=0)) == 7


def test_a_shard_goes_on_in_its_own_format(tmp_path):
  play(tmp_path, log_files.ARRAY_RECORD)
  play(tmp_path, None, seeds=(5,))  # this machine's default is another

  shard = tmp_path / "shard-00000"
  assert log_files.format_of(shard) == log_files.ARRAY_RECORD
  assert [row.seed for row, _ in logs.read_shard(shard)] == [3, 4, 5]


@pytest.mark.parametrize("damage", ["cut", "lost"])
def test_a_damaged_file_is_a_line(tmp_path, damage):
  play(tmp_path, log_files.ARRAY_RECORD)
  shard = tmp_path / "shard-00000"
  (path,) = shard.rglob("*.array_record-*")
  if damage == "cut":
    path.write_bytes(path.read_bytes()[:-20])
  else:
    shutil.rmtree(path.parent)

  with pytest.raises(GatoError, match="half-written or corrupt log; delete the folder") as e:
    list(logs.read_shard(shard))
  assert "\n" not in str(e.value)


@compares
def test_without_envlogger_tfds_writes_and_old_logs_say_what_they_need(tmp_path, monkeypatch):
  play(tmp_path, log_files.RIEGELI)
  monkeypatch.setitem(sys.modules, "envlogger", None)
  real = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, "find_spec", lambda name: None if name == "envlogger" else real(name)
  )

  with pytest.raises(GatoError, match="written by envlogger, which cannot be imported here"):
    list(logs.read_shard(tmp_path / "shard-00000"))

  play(tmp_path, None, index=1)
  assert log_files.format_of(tmp_path / "shard-00001") == log_files.ARRAY_RECORD
