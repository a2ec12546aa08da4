"""Recorded episodes are prepared from where they lie, with what their declaration says of them."""

import dataclasses
import importlib
import pathlib

import numpy as np
import pytest

import rlds_builders
from gato_jax.data import check, mixture, prepare, prepared, records, splits
from gato_jax.domain import RecordedDomain, Source
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, layout
from rlds_builders.base import rlds_builder

TEXT = codec.default_text_codec()
NAME, TASK = "robot_rlds", "jaco_play"  # whose source is replaced


@pytest.fixture
def recording(tmp_path) -> Source:
  """Episodes of two splits in .npz files, with a state of which few values are far out."""
  random = np.random.default_rng(0)
  for split, count in (("train", 6), ("extra", 2), ("held_out", 3)):
    (tmp_path / "episodes" / split).mkdir(parents=True)
    for number in range(count):
      state = random.uniform(-0.5, 0.5, (9, 2)).astype(np.float32)
      state[3, 0] = 50
      np.savez(
        tmp_path / "episodes" / split / f"{number}.npz",
        **{
          "observation/state": state,
          "observation/depth": random.uniform(200, 4000, (9, 16, 32)).astype(np.uint16),
          "action": random.uniform(-1, 1, (8, 2)),
          "reward": np.full(8, 1.0 + (split == "held_out")),
        },
      )

  return Source(
    f"npz:{tmp_path}/episodes",
    observation={"state": "observation/state", "depth": "observation/depth"},
    observation_bounds={"state": ((-0.5, -0.5), (0.5, 0.5))},
    image_range={"depth": (0, 4095)},
    split="train+extra",
    validation_split="held_out",
  )


@pytest.fixture
def build_and_check(tmp_path, monkeypatch):
  """Builds the dataset of a source as experiments.build does, and returns what check says of it."""

  def build_and_check(source: Source, **settings) -> dict:
    domain = domain_of(source)
    module = importlib.import_module(f"rlds_builders.{NAME}.{NAME}_dataset_builder")
    monkeypatch.setattr(module.Builder, "DOMAIN", domain)

    tfds_dir = tmp_path / "tfds"
    settings = {"copy_recorded": False, **settings}
    rlds_builder.build(domain, TASK, tmp_path, tfds_dir, **settings)
    opened = rlds_builder.episode_source(domain, TASK)
    prepare.prepare(tfds_dir, f"{NAME}.{TASK}", TEXT, source=opened)
    return check.check(tfds_dir, f"{NAME}.{TASK}", 256, TEXT, opened)

  return build_and_check


@pytest.fixture
def build(tmp_path, build_and_check):
  """Builds the dataset of a source, and opens what is prepared."""

  def build(source: Source, **settings) -> prepared.PreparedEpisodes:
    assert build_and_check(source, **settings)["problems"] == []
    return prepared.load(tmp_path / "tfds", f"{NAME}.{TASK}", keep=0.0)

  return build


def domain_of(source: Source) -> RecordedDomain:
  return dataclasses.replace(rlds_builders.get(NAME), sources={TASK: source})


def record_files(tmp_path: pathlib.Path) -> list[pathlib.Path]:
  return list((tmp_path / "tfds").rglob("*record*"))


def test_nothing_is_copied_twice(recording, build, tmp_path):
  data = build(recording)
  assert len(data) == 11 and not record_files(tmp_path)
  assert not records.has_records(data.directory)

  window = data.read([(0, 0, 8)])
  with np.load(tmp_path / "episodes/train/0.npz") as first:
    np.testing.assert_array_equal(window.observation["state"], first["observation/state"][:8])
    np.testing.assert_allclose(window.action, first["action"], atol=1e-6)
    grey = np.rint(first["observation/depth"][:8] / 4095 * 255)
  np.testing.assert_array_equal(window.observation["depth"], np.repeat(grey[..., None], 3, -1))


@pytest.mark.parametrize("copied", [False, True])
def test_the_validation_split_never_trains(recording, build, copied, tmp_path):
  data = build(recording, copy_recorded=copied)
  assert bool(record_files(tmp_path)) == copied
  assert data.kept.tolist() == list(range(8)) and data.validation.tolist() == [8, 9, 10]
  assert data.returns[data.validation].tolist() == [16.0] * 3

  # Its better episodes do not move the expert's return, by which the others are judged.
  assert data.expert_return == 8.0

  for every in (0, 2):
    config = mixture.MixtureConfig(validation_every=every)
    assert splits.split_episodes(data, config, "train").tolist() == list(range(8))
    assert splits.split_episodes(data, config, "validation").tolist() == [8, 9, 10]


def test_states_are_scaled_by_their_bounds_which_travel_in_the_spec(recording, build):
  data = build(recording)
  tokens = layout.TokenLayout(data.spec, TEXT)
  (state,) = [field for field in tokens.observation if field.key == "state"]
  assert "linear in its bounds" in tokens.describe()

  window = data.read([(0, 0, 8)])
  ids = tokens.encode(window.observation, window.action).tokens[:, state.slice] - 32000
  expected = np.clip(np.floor((window.observation["state"] + 0.5) * 1024), 0, 1023)
  assert np.abs(ids - expected).max() <= 1 and ids[3, 0] == 1023


def test_episodes_that_are_added_are_read(recording, build, tmp_path, capsys):
  build(recording)
  source = tmp_path / "episodes/train/0.npz"
  (source.parent / "9.npz").write_bytes(source.read_bytes())

  assert len(build(recording)) == 12
  assert "the recorded files changed; built again" in capsys.readouterr().err


def test_what_was_prepared_needs_the_recording_no_more(recording, build, tmp_path):
  before = len(build(recording))
  (tmp_path / "episodes").rename(tmp_path / "gone")
  domain = domain_of(recording)
  assert not rlds_builder.build(domain, TASK, tmp_path, tmp_path / "tfds", copy_recorded=False)
  assert len(prepared.load(tmp_path / "tfds", f"{NAME}.{TASK}", keep=0.0)) == before


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(validation_split="valid"), "has no split 'valid'; it has extra, held_out, train"),
    (dict(split="train+more"), "has no split 'more'"),
    (
      dict(observation_bounds={"state": ((0.5, 0.0), (0.5, 1.0))}),
      "observation/state: observation_bounds need a smallest and a larger",
    ),
    (dict(observation_bounds={"stat": ((0.0,), (1.0,))}), "key of observation_bounds .*'state'"),
    (dict(image_range={"depth": (0, 1000)}), "outside its image_range"),
  ],
)
def test_a_declaration_that_does_not_fit_is_one_line(recording, build, changes, message):
  with pytest.raises(GatoError, match=message):
    build(dataclasses.replace(recording, **changes))


@pytest.mark.parametrize("episodes", [2, 10])
def test_a_constant_observation_is_a_mistake_where_episodes_are_many(
  build_and_check, tmp_path, episodes
):
  for number in range(episodes):
    folder = tmp_path / "constant" / "train"
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"observation/state": np.full((9, 2), 0.25), "action": np.zeros((8, 2))}
    np.savez(folder / f"{number}.npz", **columns, reward=np.arange(8.0))
  source = Source(
    f"npz:{tmp_path}/constant", observation={"state": "observation/state"}, split="train"
  )

  found = build_and_check(source)

  said = ["state"] if episodes == 10 else []
  assert [problem.partition(":")[0] for problem in found["problems"]] == said
  assert found["constant"] == "state"
