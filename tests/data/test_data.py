"""Raw logs -> RLDS -> batches: exact columns, the same batch(i) in any process.

Shares, packing, prompts and bad logs.
"""

import os
import pathlib
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import EPISODES, build_dummy

import rlds_builders
from gato_jax.data import mixture, pipeline, prepare, prepared, tasks
from gato_jax.data.rows import FEATURES
from gato_jax.domain import environment_task_spec
from gato_jax.env import logs, results
from gato_jax.errors import GatoError
from gato_jax.storage import origin
from gato_jax.task import spec_difference
from gato_jax.tokens import codec, layout, vocabulary
from gato_jax.tokens.vocabulary import Kind

TEXT = codec.default_text_codec()
LENGTH = 128


def make_input(tfds_dir, **changes) -> pipeline.Input:
  settings = dict(
    weights={"dummy.reach": 1.0, "dummy.reach_discrete": 3.0}, sequence_length=LENGTH, seed=7
  )
  return pipeline.Input(mixture.MixtureConfig(**(settings | changes)), tfds_dir, 8, TEXT, 512)


def take(inputs, n, **where):
  iterator = inputs.batches(**where)
  return [next(iterator) for _ in range(n)]


def assert_same(a, b):
  for key in FEATURES:
    np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def test_rlds_holds_what_the_simulator_gave(dummy_raw, dummy_tfds):
  data = prepared.load(dummy_tfds, "dummy.reach")
  assert len(data) == EPISODES

  directory = logs.task_directory(dummy_raw, "dummy", "reach")
  recorded = [e for shard in logs.shards(directory) for e in logs.read_shard(shard)]

  for index in (0, 13, EPISODES - 1):
    row, columns = recorded[index]
    observation, action = data.window(index, 0, row.length)

    np.testing.assert_array_equal(action, columns["action"][:-1])

    for key, values in observation.items():
      expected = columns[f"observation/{key}"][:-1]
      if key == "instruction":
        values = np.array([v.decode() for v in values])
      np.testing.assert_array_equal(values, expected, err_msg=key)

    assert data.lengths[index] == row.length and np.isclose(data.returns[index], row.episode_return)


def test_rlds_flags_and_metadata(dummy_tfds):
  builder = tfds.builder_from_directory(dummy_tfds / "dummy/reach/1.0.0")
  assert builder.info.file_format.value == "tfrecord"

  episodes = tfds.as_numpy(builder.as_dataset(split="train"))
  for i, episode in zip(range(5), episodes, strict=False):
    steps = list(episode["steps"])
    metadata = episode["episode_metadata"]

    assert [s["is_first"] for s in steps] == [True] + [False] * (len(steps) - 1)
    assert [s["is_last"] for s in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1]["is_terminal"] == bool(
      metadata["success"]
    )  # dummy terminates exactly when the goal is reached
    assert np.isclose(sum(s["reward"] for s in steps), metadata["return"], atol=1e-4)
    assert (
      metadata["index"] == metadata["seed"] == i and metadata["agent_id"] == b"straight-line-v1"
    )


@pytest.mark.parametrize(
  "parts",
  [
    [range(8)],
    [range(4), range(4, 8)],
    [range(0, 8, 2), range(1, 8, 2)],
    [[0], [1, 7], [2, 3, 4, 5, 6]],
    [range(6), range(2, 8), [0, 7]],  # processes of one model replica hold the same rows
  ],
)
def test_the_global_batch_does_not_depend_on_which_process_reads_which_rows(dummy_tfds, parts):
  inputs = make_input(dummy_tfds)
  whole = take(inputs, 4, start=3)
  for rows in parts:
    rows = np.array(rows)
    for batch, part in zip(whole, take(inputs, 4, start=3, rows=rows), strict=True):
      assert_same({key: batch[key][rows] for key in FEATURES}, part)


@pytest.mark.parametrize("rows", [[], [8], [-1, 3], [2, 1], [1, 1]])
def test_rows_outside_the_batch_are_refused(dummy_tfds, rows):
  with pytest.raises(GatoError, match="rows must ascend within"):
    make_input(dummy_tfds).batches(0, np.array(rows, int))


def test_a_run_resumed_at_any_step_sees_the_same_batches(dummy_tfds):
  whole = take(make_input(dummy_tfds), 12)
  for start in (0, 1, 5, 11):
    assert_same(whole[start], take(make_input(dummy_tfds), 1, start=start)[0])
  rows = np.array([1, 2, 6])

  assert_same(
    {k: whole[9][k][rows] for k in FEATURES},
    take(make_input(dummy_tfds), 1, start=9, rows=rows)[0],
  )


def test_another_seed_gives_other_batches(dummy_tfds):
  assert not np.array_equal(
    take(make_input(dummy_tfds), 1)[0]["tokens"],
    take(make_input(dummy_tfds, seed=8), 1)[0]["tokens"],
  )


def test_components_come_in_their_shares():
  n = 200_000
  shares = np.array([0.1, 0.25, 0.65])
  counts = np.bincount(tasks.choose_components(np.arange(n), 3, shares), minlength=3) / n
  assert np.all(np.abs(counts - shares) < 4 * np.sqrt(shares * (1 - shares) / n))


def test_batches_come_in_their_shares(dummy_tfds):
  inputs = make_input(dummy_tfds)
  found = np.concatenate([b["components"] for b in take(inputs, 150)])
  share = inputs.shares["dummy.reach_discrete"]
  assert inputs.names[1] == "dummy.reach_discrete" and np.isclose(share, 0.75)
  assert abs(found.mean() - share) < 4 * np.sqrt(share * (1 - share) / len(found))


def places(data, text) -> dict[bytes, tuple[int, int]]:
  """Maps the tokens of every step of the dataset to (episode, step)."""
  known = {}
  for episode in range(len(data)):
    steps = text.encode(*data.window(episode, 0, int(data.lengths[episode])))
    known.update({tokens.tobytes(): (episode, i) for i, tokens in enumerate(steps.tokens)})
  return known


def test_a_rows_segments_decode_to_steps_of_one_episode_each(dummy_tfds):
  """Every segment without a prompt is found in the dataset: consecutive steps of one episode."""
  inputs = make_input(dummy_tfds, prompt_probability=0.0, weights={"dummy.reach": 1.0})
  data, text = inputs.datasets["dummy.reach"], inputs.windows["dummy.reach"].layout
  known = places(data, text)
  seen = set()

  for batch in take(inputs, 3):
    for tokens, segments, kinds in zip(
      batch["tokens"], batch["segments"], batch["kinds"], strict=True
    ):
      steps = tokens[: len(tokens) // text.length * text.length].reshape(-1, text.length)
      numbers = segments[: steps.size].reshape(steps.shape).max(axis=1)

      assert np.all((segments == 0) == (kinds == Kind.PADDING))

      for segment in range(1, segments.max() + 1):
        found = [known[s.tobytes()] for s in steps[numbers == segment]]
        assert len({episode for episode, _ in found}) == 1
        assert [i for _, i in found] == list(range(found[0][1], found[0][1] + len(found)))
        seen.update(found)

  assert len({i for _, i in seen}) > 5


def test_prompts_come_from_another_kept_episode_and_take_at_most_half(dummy_tfds):
  inputs = make_input(dummy_tfds, prompt_probability=1.0, weights={"dummy.reach": 1.0})
  data, text = inputs.datasets["dummy.reach"], inputs.windows["dummy.reach"].layout
  known = {tokens: episode for tokens, (episode, _) in places(data, text).items()}
  prompted = 0

  for batch in take(inputs, 2):
    for tokens in batch["tokens"]:
      steps = tokens[: len(tokens) // text.length * text.length].reshape(-1, text.length)
      first = [known[s.tobytes()] for s in steps if s.tobytes() in known]
      changes = [i for i in range(1, len(first)) if first[i] != first[i - 1]]
      prompted += bool(changes)
      assert not changes or changes[0] <= len(steps) // 2
      assert set(first) <= set(data.kept.tolist())

  assert prompted == 16


def test_only_predictable_text_and_actions_are_targets(dummy_tfds):
  for batch in take(make_input(dummy_tfds), 3):
    kinds, segments, targets = batch["kinds"], batch["segments"], batch["targets"]
    assert set(np.unique(kinds[targets])) <= {Kind.TEXT, Kind.ACTION}
    assert (
      np.all(segments[:, 1:][targets[:, 1:]] == segments[:, :-1][targets[:, 1:]])
      and not targets[:, 0].any()
    )
    assert targets[kinds == Kind.ACTION].all()
    assert np.all(batch["patch_slots"][kinds != Kind.PATCH] == 0)


def test_episodes_below_the_expert_return_are_left_out(dummy_tfds):
  data = prepared.load(dummy_tfds, "dummy.reach", keep=0.8)
  threshold = data.expert_return - 0.2 * abs(data.expert_return)
  assert data.expert_return == results.expert_return(data.returns) < 0
  assert 0 < len(data.kept) < len(data)
  assert data.returns[data.kept].min() >= threshold > np.delete(data.returns, data.kept).max()


def test_expert_return_by_hand():
  assert results.expert_return([1, 2, 3]) == 3  # W = 1
  assert results.expert_return([0] * 10 + [10, 20] + [0] * 8) == 15  # W = 2


def test_windows_of_one_step_share_a_row_and_not_a_segment(dummy_tfds):
  inputs = make_input(
    dummy_tfds, window_steps=1, prompt_probability=0.0, observation_text_targets=False
  )
  (batch,) = take(inputs, 1)
  separators = batch["kinds"] == Kind.SEPARATOR
  for segments, separator in zip(batch["segments"], separators, strict=True):
    assert np.array_equal(segments[separator], np.arange(1, separator.sum() + 1))

  assert set(np.unique(batch["kinds"][batch["targets"]])) == {Kind.ACTION}


@pytest.mark.slow  # builds and prepares all of python_docs
def test_documents_fill_rows(tmp_path):
  import importlib

  builder = importlib.import_module("rlds_builders.text.text_dataset_builder").Builder(
    config="python_docs", data_dir=tmp_path
  )
  builder.download_and_prepare()
  prepare.prepare(tmp_path, "text.python_docs", TEXT)
  inputs = make_input(tmp_path, weights={"text.python_docs": 1.0})
  (batch,) = take(inputs, 1)

  assert batch["patches"].shape[1] == 0 and np.mean(batch["kinds"] == Kind.TEXT) > 0.95
  assert np.all(batch["locals"] == -1) and batch["targets"].mean() > 0.9
  assert len(TEXT.decode(batch["tokens"][0])) > 100 and batch["tokens"].max() < vocabulary.TEXT_SIZE

  # Of a long document the first tokens are drawn as often as the others (a middle one 92 times, the
  # first five never).
  rows, data = inputs.windows["text.python_docs"], inputs.datasets["text.python_docs"]
  long = int(np.flatnonzero(data.lengths > 1000)[0])
  rows._sequences = np.array([long])
  seen, read = np.zeros(data.lengths[long], int), data.window
  data.window = lambda sequence, start, stop: [
    np.add.at(seen, np.s_[start:stop], 1),
    read(sequence, start, stop),
  ][1]
  while seen.mean() < 60:
    rows.row(np.random.default_rng(int(seen.sum())), 0)

  assert seen.min() > 0.4 * seen.mean()


@pytest.mark.slow  # reads thousands of batches
@pytest.mark.parametrize("batches", [1_000, 10_000])
def test_memory_stays_flat(dummy_tfds, batches):
  """A cached dataset or a leaking iterator would make memory grow."""
  iterator = make_input(dummy_tfds).batches()
  for _ in range(250):
    next(iterator)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  for _ in range(batches):
    next(iterator)

  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before * 1.05


_LEFT_OPEN = """
import gc, pathlib, sys
from gato_jax.data import mixture
from gato_jax.data import pipeline
from gato_jax.tokens import codec
gc.disable()
for name in "abcd":
  config = mixture.MixtureConfig(name=name, weights={"dummy.reach": 1.0})
  batches = pipeline.Input(config, pathlib.Path(sys.argv[1]), 4, codec.default_text_codec(), 512).batches()
  cycle = [next(batches), batches]
  cycle.append(cycle)  # as a traceback that somebody keeps holds the frames of all callers
del batches, cycle
"""


# Slow: a minute: test_ending.py does it with four processes.
@pytest.mark.slow
def test_a_process_ends_though_iterators_are_open(dummy_tfds):
  """Iterators that the interpreter has to destroy would deadlock with TensorFlow's threads."""
  for _ in range(3):
    subprocess.run(
      [sys.executable, "-c", _LEFT_OPEN, dummy_tfds], check=True, timeout=600, capture_output=True
    )


def test_a_half_written_log_is_one_clear_error(dummy_raw, tmp_path):
  copy = tmp_path / "raw"
  shutil.copytree(dummy_raw, copy)
  shard = copy / "dummy/reach/shard-00001"
  log = max((p for p in shard.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
  log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])

  with pytest.raises(
    GatoError, match="shard-00001: half-written or corrupt log; delete the folder"
  ):
    build_dummy(copy, tmp_path / "tfds")


@pytest.mark.slow  # a process of TFDS with Beam, half a minute
def test_tfds_build_works_as_its_users_know_it(dummy_raw, tmp_path):
  command = [
    pathlib.Path(sys.executable).with_name("tfds"),
    "build",
    "--config=reach",
    f"--data_dir={tmp_path}",
  ]
  folder = pathlib.Path(rlds_builders.__file__).parent / "dummy"
  done = subprocess.run(
    command, cwd=folder, env=os.environ | {"GATO_RAW_DIR": str(dummy_raw)}, capture_output=True
  )

  assert done.returncode == 0, done.stderr.decode()

  prepare.prepare(tmp_path, "dummy.reach", TEXT)

  assert len(prepared.load(tmp_path, "dummy.reach")) == EPISODES


def test_a_partial_shard_is_not_read(dummy_raw, tmp_path):
  copy = tmp_path / "raw"
  shutil.copytree(dummy_raw, copy)
  shard = copy / "dummy/reach/shard-00002"
  shard.rename(shard.with_suffix(".partial"))
  assert [s.name for s in logs.shards(shard.parent)] == ["shard-00000", "shard-00001"]


def test_raw_logs_of_another_spec_are_refused(dummy_raw, tmp_path):
  copy = tmp_path / "raw/dummy/reach"
  shutil.copytree(dummy_raw / "dummy/reach", copy)
  spec, before = logs.read_spec(copy), origin.read(copy)
  logs.write_origin(copy, spec, before)

  observation = {**before["observation"], "clock": {**before["observation"]["clock"], "shape": [2]}}

  with pytest.raises(
    origin.OriginChanged, match="observation 'clock' was .*'shape': .1.*, now it is .*'shape': .2."
  ):
    logs.write_origin(copy, spec, before | {"observation": observation})
  assert origin.read(copy) == before


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(weights={}), "mixture is empty"),
    (dict(weights={"dummy.reach": 0.0}), "share of dummy.reach must be positive"),
    (dict(weights={"dummy.nothing": 1.0}), "no dataset in .*nothing.*experiments.build"),
    (dict(sequence_length=16), "one step takes 26 tokens, a sequence has 16"),
  ],
)
def test_bad_mixtures_are_refused(dummy_tfds, changes, message):
  with pytest.raises(GatoError, match=message):
    make_input(dummy_tfds, **changes)


def test_the_layout_of_the_dataset_is_the_environments(dummy_tfds):

  domain = rlds_builders.get("dummy")
  live = environment_task_spec(domain, "reach", domain.make_environment("reach"))
  stored = prepared.load(dummy_tfds, "dummy.reach").spec
  assert spec_difference(live, stored) == ""
  assert layout.TokenLayout(live, TEXT).describe() == layout.TokenLayout(stored, TEXT).describe()
