"""One network of control, captions and questions, and text: after one run it acts, captions and answers by what it
sees, and its text costs fewer bits than any code that knows only which bytes are common."""

import collections
import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import rlds_builders
from gato_jax import results
from gato_jax.data import prepare, records
from gato_jax.language import measure
from gato_jax.tokens import codec
from rlds_builders import _builder, _scenes

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = """
import ml_collections
from experiments.configs import default, mixed

def get_config():
  config = mixed.get_config()
  config.domains = default.domains(
    dummy=0.1, conceptual_captions=(0.3, "scenes"), ok_vqa=(0.5, "grids"), text=(0.1, "python_docs")
  )
  config.data.sequence_length = 96
  config.train.update(minutes=None, steps=500, log_every=50)
  config.evaluate.update(episodes=10, baseline_episodes=10, videos=False)
  config.collect.domain_episodes = ml_collections.ConfigDict(dict(dummy=30))
  config.collect.disturbance = ml_collections.ConfigDict()
  return config
"""
DOCUMENTS = {"conceptual_captions": "scenes", "ok_vqa": "grids", "text": "python_docs"}


def run(verb: str, folder: pathlib.Path, *more: str) -> str:
  command = [sys.executable, "-m", f"experiments.{verb}", f"--config={folder / 'experiment.py'}"]
  command += [f"--config.data_dir={folder / 'data'}", f"--config.workdir={folder / 'work'}", *more]
  done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=900)
  assert done.returncode == 0, f"{verb}: {done.stderr[-2000:]}"
  return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory, dummy_raw):
  """After one run; dummy is the control, because it needs no simulator."""
  path = tmp_path_factory.mktemp("mixed")
  (path / "experiment.py").write_text(CONFIG)
  (path / "data").mkdir()
  (path / "data/raw").symlink_to(dummy_raw)
  with pytest.MonkeyPatch.context() as patch:  # a tenth of the rooms: they are what takes long
    for name, task in DOCUMENTS.items():
      patch.setattr(_scenes, "PICTURES", {"train": 600 if task == "scenes" else 3000, "validation": 100})
      _builder.build(rlds_builders.get(name), task, path / "data/raw", path / "data/tfds")
      prepare.prepare(path / "data/tfds", f"{name}.{task}", codec.default_text_codec())
  for verb in ("build", "train", "evaluate"):
    run(verb, path)
  run("measure", path, "--documents=200")
  return path


@pytest.fixture(scope="module")
def rows(folder):
  by_task = collections.defaultdict(list)
  for row in results.read(folder / "work" / measure.ROWS, measure.Row):
    by_task[row.task].append(row)
  return by_task


def test_all_kinds_are_in_one_checkpoint(folder):
  (meta,) = (folder / "work/checkpoints").glob("500/meta/metadata")
  shares = json.loads(meta.read_text())["shares"]
  assert set(shares) == {
    "dummy.reach", "dummy.reach_discrete", "conceptual_captions.scenes", "ok_vqa.grids", "text.python_docs"
  }  # fmt: skip


def test_it_acts(folder):
  """Every task's mean return is closer to the expert's than to random's."""
  returns = collections.defaultdict(list)
  for row in results.read(folder / "work/results.jsonl"):
    returns[row.task, row.actor].append(row.episode_return)
  for task in ("dummy.reach", "dummy.reach_discrete"):
    random, agent, expert = (np.mean(returns[task, actor]) for actor in ("random", "gato", "expert"))
    assert agent > (random + expert) / 2, (task, random, agent, expert)


def test_its_captions_are_of_what_it_sees(rows):
  """A caption costs fewer bits with its own picture than with another: on average, by five standard errors."""
  gains = np.array([(row.bits_elsewhere - row.bits) / row.tokens for row in rows["conceptual_captions.scenes"]])
  assert len(gains) == 100
  assert gains.mean() > 5 * gains.std(ddof=1) / math.sqrt(len(gains)), (gains.mean(), gains.std())


def test_its_answers_are_of_what_it_sees(rows):
  """More are right than of someone who knows every training answer and sees no picture."""
  right = [(row.written in row.references, row.blind in row.references, row.common in row.references)
           for row in rows["ok_vqa.grids"]]  # fmt: skip
  written, blind, common = np.mean(right, axis=0)
  assert len(right) > 150 and written > blind > common, (written, blind, common)


def test_its_text_costs_less_than_bytes_do(folder, rows):
  """Than the entropy of the bytes themselves, counted in the very documents that are measured."""
  source = records.Documents(records.directory_of(folder / "data/tfds", "text.python_docs"), "validation")
  counts = np.bincount(np.frombuffer("".join(source.document(i) for i in range(len(source))).encode(), np.uint8))
  shares = counts[counts > 0] / counts.sum()
  of_text = rows["text.python_docs"]
  bits = sum(row.bits for row in of_text) / sum(row.bytes for row in of_text)
  assert 1.0 < bits < -(shares * np.log2(shares)).sum()


def test_generate_writes_about_a_picture(folder):
  """The verb, on a picture that the network never saw."""
  source = records.Documents(records.directory_of(folder / "data/tfds", "conceptual_captions.scenes"), "validation")
  from PIL import Image

  Image.fromarray(source.document(0).picture).save(folder / "room.png")
  words = run("generate", folder, f"--image={folder / 'room.png'}", "--temperature=0", "--seed=1").split()
  known = {word for i in range(len(source)) for caption in source.document(i).captions for word in caption.split()}
  assert words and set(words) <= known, words
