"""The environment's episode_info() reaches the raw logs and RLDS's episode_metadata."""

import dataclasses
import json
import shutil

import pytest
import tensorflow_datasets as tfds

import rlds_builders
from gato_jax.data import mixture, pipeline, prepare
from gato_jax.env import collect, logs
from gato_jax.errors import GatoError
from gato_jax.storage import origin
from gato_jax.tokens import codec
from rlds_builders.base import logged_episodes, rlds_builder
from rlds_builders.dummy import environment

TEXT = codec.default_text_codec()
DOMAIN = dataclasses.replace(rlds_builders.get("dummy"), environment="test_episode_info:make")


class Drawn(environment.Reach):
  """Environment whose episode_info() gives its random goal."""

  def episode_info(self):
    return {**super().episode_info(), "goal": self.goal.tolist(), "names": {"colour": "red"}}


class NotJson(environment.Reach):
  def episode_info(self):
    return {"goal": self.goal}


def make(task):
  return NotJson(discrete=True) if task == "reach_discrete" else Drawn(discrete=False)


def metadata(tfds_dir):
  source = tfds.builder_from_directory(tfds_dir / "dummy/reach/1.0.0").as_dataset(split="train")
  return [episode["episode_metadata"] for episode in tfds.as_numpy(source)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  raw = tmp_path_factory.mktemp("info") / "raw"
  collect.collect_shard(DOMAIN, "reach", raw, 0, range(12))
  (
    raw / "dummy/reach" / origin.FILE
  ).unlink()  # it is built as if the dummy domain had collected it
  return raw


def test_info_goes_from_the_environment_into_rlds(raw, tmp_path):
  rows = logs.rows(logs.task_directory(raw, "dummy", "reach"))
  goals = []

  for seed in range(12):
    drawn = make("reach")
    drawn.seed(seed)
    drawn.reset()
    goals.append(drawn.goal.tolist())

  assert [row.info for row in rows] == [
    {"goal": goal, "names": {"colour": "red"}} for goal in goals
  ]

  rlds_builder.build(rlds_builders.get("dummy"), "reach", raw, tmp_path)

  assert [json.loads(m["info"])["goal"] for m in metadata(tmp_path)] == goals
  assert {m["success"] for m in metadata(tmp_path)} == {1}


def test_logs_without_info_are_built(raw, tmp_path):
  shutil.copytree(raw, tmp_path / "raw")
  (shard,) = logs.shards(logs.task_directory(tmp_path / "raw", "dummy", "reach"))
  rows = [json.loads(line) for line in (shard / "rows.jsonl").read_text().splitlines()]
  (shard / "rows.jsonl").write_text(
    "".join(json.dumps({k: v for k, v in row.items() if k != "info"}) + "\n" for row in rows)
  )
  rlds_builder.build(rlds_builders.get("dummy"), "reach", tmp_path / "raw", tmp_path)

  assert {m["info"] for m in metadata(tmp_path)} == {b"{}"}


def test_datasets_that_were_built_without_info_train(raw, tmp_path, monkeypatch):
  """Older builders had no such field in their features and records."""
  info, record = rlds_builder.EpisodeBuilder._info, logged_episodes.record

  def old_info(self):
    new = info(self)
    fields = dict(new.features.items())
    fields["episode_metadata"] = {
      k: v for k, v in fields["episode_metadata"].items() if k != "info"
    }
    new.features._feature_dict = tfds.features.FeaturesDict(fields)._feature_dict
    return new

  def old_record(*arguments, **keywords):
    new = record(*arguments, **keywords)
    del new["episode_metadata"]["info"]
    return new

  monkeypatch.setattr(rlds_builder.EpisodeBuilder, "_info", old_info)
  monkeypatch.setattr(logged_episodes, "record", old_record)
  rlds_builder.build(rlds_builders.get("dummy"), "reach", raw, tmp_path)

  assert "info" not in metadata(tmp_path)[0]

  monkeypatch.undo()

  assert not rlds_builder.build(rlds_builders.get("dummy"), "reach", raw, tmp_path)  # it is kept

  prepare.prepare(tmp_path, "dummy.reach", TEXT)
  config = mixture.MixtureConfig(weights={"dummy.reach": 1.0}, sequence_length=128)
  batch = next(pipeline.Input(config, tmp_path, 4, TEXT, 512).batches())

  assert batch["targets"].any()


def test_info_that_is_not_json_is_one_clear_error(tmp_path):
  with pytest.raises(
    GatoError, match=r"dummy.reach_discrete, seed 0: episode_info\(\) must be JSON-able"
  ):
    collect.collect_shard(DOMAIN, "reach_discrete", tmp_path, 0, [0])
