"""The prepared form of a dataset against its records.

It is equal, complete or absent, refused when stale or damaged; length costs nothing.
"""

import io
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import sentencepiece
import zstandard
from conftest import EPISODES

from benchmarks import synthetic_rlds
from gato_jax.data import (
  check,
  demonstrations,
  mixture,
  pipeline,
  prepare,
  prepared,
  prepared_format,
  records,
  windows,
)
from gato_jax.errors import GatoError
from gato_jax.storage import lock
from gato_jax.tokens import codec

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = codec.default_text_codec()
REACH = "dummy/reach/1.0.0"


@pytest.fixture
def copy(dummy_tfds, tmp_path):
  """A copy of the datasets that tests may damage."""
  shutil.copytree(dummy_tfds, tmp_path / "tfds")
  return tmp_path / "tfds"


def first_batch(tfds_dir, task="dummy.reach", text=TEXT):
  config = mixture.MixtureConfig(weights={task: 1.0}, sequence_length=128)
  return next(pipeline.Input(config, tfds_dir, 8, text, 512).batches())


def test_prepared_windows_are_the_records(dummy_tfds):
  source, data = (
    records.EpisodeRecords(dummy_tfds / REACH),
    prepared.load(dummy_tfds, "dummy.reach"),
  )

  assert len(source) == len(data) == EPISODES

  random = np.random.default_rng(0)
  pieces, expected = [], []

  for index in range(EPISODES):
    episode = source.episode(index)
    observation, action, metadata = episode.observation, episode.action, episode.metadata
    length = len(action)

    assert data.lengths[index] == length and data.returns[index] == metadata["return"]

    start, stop = np.sort(random.integers(length, size=2)) + (0, 1)

    for a, b in ((0, length), (start, stop)):
      pieces.append((index, int(a), int(b)))
      expected.append(
        {**{key: column[a:b] for key, column in observation.items()}, "action": action[a:b]}
      )

  random.shuffle(order := np.arange(len(pieces)))
  observation, action = data.windows(
    [pieces[i] for i in order]
  )  # all of them at once, in any order

  for key, column in {**observation, "action": action}.items():
    wanted = np.concatenate([expected[i][key] for i in order])
    assert column.dtype == wanted.dtype
    np.testing.assert_array_equal(column, wanted, err_msg=key)


def test_demonstrations_are_whole_episodes_and_long_ones_keep_their_ends(dummy_tfds, tmp_path):
  data = prepared.load(dummy_tfds, "dummy.reach")
  order = data.kept[np.argsort(-data.returns[data.kept], kind="stable")[:4]]
  demonstrations.write(tmp_path, "dummy.reach", data.best())

  for index, (observation, action) in zip(
    order, demonstrations.read(tmp_path, "dummy.reach"), strict=True
  ):
    whole, actions = data.window(int(index), 0, int(data.lengths[index]))
    np.testing.assert_array_equal(action, actions)
    np.testing.assert_array_equal(observation["camera"], whole["camera"])
    assert observation["instruction"].tolist() == [text.decode() for text in whole["instruction"]]

  step_bytes = 4 * (2 + 2 + 1 + 2) + 32 * 48 * 3  # position, velocity, clock, action; camera
  lengths = data.lengths[data.kept].tolist()

  assert max(lengths) > 5

  clocks = [
    seen["clock"][:, 0].tolist()
    for seen, _ in data.best(len(lengths), episode_bytes=5 * step_bytes)
  ]
  wanted = [
    [0, 1, length - 2, length - 1] if length > 4 else list(range(length)) for length in lengths
  ]

  assert sorted(clocks) == sorted(wanted)


@pytest.fixture(scope="module")
def short_and_long(tmp_path_factory):
  """Two tasks that differ in the length of their episodes: 40 and 400 steps."""
  path = tmp_path_factory.mktemp("lengths")
  for name, length in (("short", 40), ("long", 400)):
    synthetic_rlds.build(path, name, episodes=8, length=length)
    prepare.prepare(path / "tfds", f"{name}.reach", TEXT)
  return path / "tfds"


def test_the_work_of_a_window_does_not_grow_with_its_episode(short_and_long, monkeypatch):
  """Counts bytes read and images decompressed, rather than time, for the same windows."""
  read, decoded = [], []
  pread, decompressor = os.pread, zstandard.ZstdDecompressor

  class Counted:
    def decompress(self, frame):
      decoded.append(len(frame))
      return decompressor().decompress(frame)

  monkeypatch.setattr(os, "pread", lambda *args: read.append(args[1]) or pread(*args))
  monkeypatch.setattr(zstandard, "ZstdDecompressor", Counted)
  work = {}

  for name in ("short", "long"):
    data = prepared.load(short_and_long, f"{name}.reach", keep=-10.0)
    layout = windows.EpisodeWindows(data, TEXT, mixture.MixtureConfig(), 512).layout
    pieces = [(e, start, start + 5) for e in range(8) for start in (0, 7, 33)]
    data.windows(pieces)  # texts are read once and then remembered
    read.clear(), decoded.clear()
    observation, action = data.windows(pieces)

    assert len(layout.encode(observation, action).tokens) == 5 * len(pieces)

    work[name] = len(read), sum(n for n in read) - sum(decoded), len(decoded)

    assert sum(decoded) < 5 * len(pieces) * 1000

  assert work["short"] == work["long"]
  assert work["long"][0] == 2 * len(pieces) and work["long"][2] == 5 * len(pieces)


def test_what_is_prepared_is_kept_until_its_records_change(copy):
  assert not prepare.prepare(copy, "dummy.reach", TEXT)

  (record,) = (copy / REACH).glob("*.tfrecord*")
  content = record.read_bytes()
  other = bytearray(content)
  other[len(content) // 3] ^= 1  # a rebuilt dataset differs in every compressed block

  for path, changed in (
    (record, bytes(other)),
    (info := copy / REACH / "dataset_info.json", info.read_bytes() + b" "),
  ):
    whole = path.read_bytes()
    path.write_bytes(changed)

    with pytest.raises(
      GatoError,
      match="was prepared from other records than those beside it; run .*experiments.build",
    ):
      prepared.load(copy, "dummy.reach")

    path.write_bytes(whole)
    prepared.load(copy, "dummy.reach")

  info.write_bytes(info.read_bytes() + b" ")

  assert prepare.prepare(copy, "dummy.reach", TEXT)

  prepared.load(copy, "dummy.reach")


def test_two_do_not_prepare_one_dataset_at_once(copy):
  shutil.rmtree(copy / REACH / prepared_format.FOLDER)
  with (
    lock.only_writer((copy / REACH).parent, "build"),
    pytest.raises(GatoError, match=r"dummy/reach: process \d+ on .* writes here \(build\)"),
  ):
    prepare.prepare(copy, "dummy.reach", TEXT)

  assert prepare.prepare(copy, "dummy.reach", TEXT)


def test_data_that_is_not_prepared_is_one_clear_error(copy):
  shutil.rmtree(copy / REACH / prepared_format.FOLDER)
  with pytest.raises(
    GatoError, match="reach/1.0.0 is not prepared for training; run python -m experiments.build"
  ):
    first_batch(copy)


def test_another_format_is_prepared_again(copy):
  header = copy / REACH / prepared_format.FOLDER / "prepared.json"
  header.write_text(json.dumps(json.loads(header.read_text()) | {"format": 0}))

  with pytest.raises(
    GatoError, match=f"is of format 0, this version reads {prepared_format.FORMAT}; run"
  ):
    prepared.load(copy, "dummy.reach")
  assert prepare.prepare(copy, "dummy.reach", TEXT)

  first_batch(copy)


@pytest.mark.parametrize(
  "name, damage",
  [
    ("data.bin", "cut"),
    ("data.bin", "missing"),
    ("index.npy", "cut"),
    ("index.npy", "missing"),
    ("index.npy", "a bit"),
  ],
)
def test_damaged_files_are_refused_and_prepared_again(copy, name, damage):
  path = copy / REACH / prepared_format.FOLDER / name
  whole = path.read_bytes()
  path.unlink()

  if damage == "cut":
    path.write_bytes(whole[:-1])
  elif damage == "a bit":
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

  with pytest.raises(GatoError, match="is damaged; run python -m experiments.build"):
    prepared.load(copy, "dummy.reach")
  assert prepare.prepare(copy, "dummy.reach", TEXT)
  assert path.read_bytes() == whole


@pytest.mark.parametrize(
  "damage", ["zero steps", "one bit of a step", "one bit before them", "cut while reading"]
)
def test_damage_inside_the_file_is_one_clear_error(copy, damage):
  data = prepared.load(copy, "dummy.reach")
  offset, size = int(data.index["offset"][3]), prepared_format.step_dtype(data.spec).itemsize
  path = copy / REACH / prepared_format.FOLDER / "data.bin"
  content = bytearray(path.read_bytes())

  if damage == "zero steps":
    content[offset : offset + 2 * size] = bytes(2 * size)
  elif damage == "one bit of a step":
    content[offset + size + 5] ^= 16
  elif damage == "one bit before them":
    content[offset - 20] ^= 16  # in its last image, or in its text
  else:
    del content[offset:]

  path.write_bytes(content)

  with pytest.raises(
    GatoError,
    match="gato_prepared is damaged; delete the folder and run python -m experiments.build",
  ):
    data.window(3, 0, int(data.lengths[3]))


def test_every_byte_of_a_step_counts_in_its_sum(dummy_tfds):
  dtype = prepared_format.step_dtype(records.load_spec(dummy_tfds / REACH))
  zero = np.zeros(1, dtype)

  assert prepared_format.check_sums(zero) != zero["check"]  # a page that was never written

  size = dtype.itemsize - zero["check"].itemsize
  changed = np.zeros([size * 255, dtype.itemsize], np.uint8)
  for byte in range(size):
    changed[byte * 255 : (byte + 1) * 255, byte] = np.arange(1, 256)

  assert not np.isin(
    prepared_format.check_sums(zero), prepared_format.check_sums(changed.reshape(-1).view(dtype))
  )


def test_damage_stops_training_with_its_own_message(copy):
  path = copy / REACH / prepared_format.FOLDER / "data.bin"
  path.write_bytes(bytes(path.stat().st_size))
  with pytest.raises(GatoError, match="^[^\n]*gato_prepared is damaged[^\n]*$"):
    first_batch(copy)


def test_preparing_that_was_stopped_leaves_nothing_to_read(copy, monkeypatch):
  folder = copy / REACH / prepared_format.FOLDER
  whole = (folder / "data.bin").read_bytes()
  shutil.rmtree(folder)
  episode = records.EpisodeRecords.episode

  def stopped(self, index):
    if index == 5:
      raise KeyboardInterrupt
    return episode(self, index)

  monkeypatch.setattr(records.EpisodeRecords, "episode", stopped)

  with pytest.raises(KeyboardInterrupt):
    prepare.prepare(copy, "dummy.reach", TEXT)
  assert not folder.exists() and folder.with_suffix(".partial").exists()

  monkeypatch.setattr(records.EpisodeRecords, "episode", episode)

  assert prepare.prepare(copy, "dummy.reach", TEXT)
  assert (folder / "data.bin").read_bytes() == whole and not folder.with_suffix(".partial").exists()


@pytest.mark.parametrize("field", ["action", "return_to_go"])
def test_check_finds_a_prepared_form_that_tells_otherwise(copy, field):
  """The checksums are right, the values are not: only the comparison with records can tell."""
  assert check.check(copy, "dummy.reach", 128)["problems"] == []

  data = prepared.load(copy, "dummy.reach")
  dtype, offset = prepared_format.step_dtype(data.spec), int(data.index["offset"][7])
  path = copy / REACH / prepared_format.FOLDER / "data.bin"
  content = bytearray(path.read_bytes())
  step = np.frombuffer(content[offset : offset + dtype.itemsize], dtype).copy()
  step[field] += np.float32(1e-3)
  step["check"] = prepared_format.check_sums(step)
  content[offset : offset + dtype.itemsize] = step.tobytes()
  path.write_bytes(content)
  (problem,) = check.check(copy, "dummy.reach", 128)["problems"]

  assert (
    problem.startswith("episode 7, steps 0 to ")
    and f"the prepared {field!r} is not the record's" in problem
  )


def test_documents_are_prepared_again_for_another_tokenizer(tmp_path, monkeypatch):
  import importlib

  # A page of the documentation is a document.
  folder = tmp_path / "sources/text"
  folder.mkdir(parents=True)
  for i, page in enumerate(sorted((ROOT / "docs").glob("*.md"))):
    (folder / f"{i}.txt").write_text(page.read_text())
  monkeypatch.setenv("GATO_SOURCES", str(tmp_path / "sources"))

  builder = importlib.import_module("rlds_builders.text.text_dataset_builder").Builder(
    config="files", data_dir=tmp_path
  )
  builder.download_and_prepare()
  task, directory = "text.files", tmp_path / "text/files/1.0.0"

  assert prepare.prepare(tmp_path, task, TEXT) and not prepare.prepare(tmp_path, task, TEXT)

  source, data = records.DocumentRecords(directory), prepared.load(tmp_path, task)

  for i in (0, 5, len(source) - 1):
    tokens = TEXT.encode(source.document(i))
    np.testing.assert_array_equal(data.window(i, 3, len(tokens) - 2).tokens, tokens[3:-2])
    assert data.window(i, 0, len(tokens) + 1).tokens[-1] == TEXT.end

  model = io.BytesIO()
  lines = [source.document(i)[:4000] for i in range(len(source))]
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(lines), model_writer=model, vocab_size=400, minloglevel=2
  )
  other = codec.TextCodec(model.getvalue())

  with pytest.raises(
    GatoError, match="prepared with another tokenizer; run python -m experiments.build"
  ):
    first_batch(tmp_path, task, other)
  assert prepare.prepare(tmp_path, task, other)

  batch = first_batch(tmp_path, task, other)

  assert 0 < batch["tokens"].max() < 400


def test_a_corrupt_record_is_one_clear_error(copy):
  (record,) = (copy / REACH).glob("*.tfrecord*")
  content = bytearray(record.read_bytes())
  content[len(content) // 4 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 4)
  record.write_bytes(content)

  with pytest.raises(GatoError, match="reach/1.0.0.*run experiments.build again"):
    prepare.prepare(copy, "dummy.reach", TEXT)
  assert check.report(copy, "dummy.reach", 128) is None
