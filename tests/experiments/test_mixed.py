"""The whole path as a person runs it: one network of control, captions, questions and text.

Afterwards the network acts, captions and answers by what it sees, and running again repeats
nothing.
"""

import collections
import functools
import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import rlds_builders
from experiments.analysis.language import measure
from gato_jax import agent, documents
from gato_jax.data import prepare, records
from gato_jax.env import results
from gato_jax.tokens import codec
from rlds_builders.base import rlds_builder
from rlds_builders.scenes import contents

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Ten minutes of training on two cores; the parts of the path have quick tests of their own.
pytestmark = pytest.mark.slow
CONFIG = """
import ml_collections
from experiments.configs import default, mixed

def get_config():
  config = mixed.get_config()
  config.domains = default.domains(
    control_suite=(CONTROL, "cartpole-balance"), conceptual_captions=(SEEN, "scenes"), vqa_v2=(SEEN, "scenes"),
    text=(0.05, "python_docs"), align=(0.5, "files"),
  )
  config.leave_out_missing = True
  config.images.side = 32
  config.data.sequence_length = 96
  config.model.update(width=64, layers=2, heads=2, feed_forward=256)
  config.optimizer.peak_learning_rate = 2.5e-3
  config.train.update(minutes=None, steps=STEPS, log_every=50)
  config.evaluate.update(episodes=4, baselines="scores", videos=False)
  config.collect.domain_episodes = ml_collections.ConfigDict(dict(control_suite=12))
  return config
"""
SIDE = 32  # four patches a picture
TASKS = {
  "control_suite": "cartpole-balance",
  "conceptual_captions": "scenes",
  "vqa_v2": "scenes",
  "text": "python_docs",
}


def start(verb: str, folder: pathlib.Path, *more: str) -> subprocess.CompletedProcess:
  command = [sys.executable, "-m", f"experiments.{verb}", f"--config={folder / 'experiment.py'}"]
  command += [f"--config.data_dir={folder / 'data'}", f"--config.workdir={folder / 'work'}", *more]
  return subprocess.run(
    command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=3600
  )


def run(verb: str, folder: pathlib.Path, *more: str) -> str:
  done = start(verb, folder, *more)
  assert done.returncode == 0, f"{verb}: {done.stderr[-2000:]}"
  return done.stdout


def whole_path(
  path: pathlib.Path, control: float, steps: int, pictures: int, measured: int
) -> pathlib.Path:
  """Runs every verb once, with the share `control` of control tasks, and returns the directory."""
  numbers = {"CONTROL": control, "SEEN": (0.95 - control) / 2, "STEPS": steps}
  config = functools.reduce(
    lambda text, name: text.replace(name, f"{numbers[name]:g}"), numbers, CONFIG
  )
  (path / "experiment.py").write_text(config)
  run("collect", path)

  with pytest.MonkeyPatch.context() as patch:  # fewer rooms: they are what takes long
    patch.setattr(contents, "PICTURES", {"train": pictures, "validation": measured})
    for name, task in TASKS.items():
      rlds_builder.build(rlds_builders.get(name), task, path / "data/raw", path / "data/tfds", SIDE)
      prepare.prepare(path / "data/tfds", f"{name}.{task}", codec.default_text_codec())

  for verb in ("train", "evaluate"):
    run(verb, path)
  run("measure", path, f"--documents={measured}")
  (path / "printed").write_text(run("report", path))
  return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return whole_path(
    tmp_path_factory.mktemp("mixed"), control=0.65, steps=150, pictures=100, measured=10
  )


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
  """A run long enough to use images: with 500 steps and 800 images it ignored them."""
  return whole_path(
    tmp_path_factory.mktemp("learned"), control=0.15, steps=600, pictures=1000, measured=100
  )


@pytest.fixture(scope="module")
def rows(learned):
  by_task = collections.defaultdict(list)
  for row in results.read(learned / "work" / measure.ROWS, measure.DocumentRow):
    by_task[row.task].append(row)
  return by_task


def test_all_kinds_are_in_one_checkpoint(folder):
  """Tasks without a dataset here are left out, and the others keep their shares."""
  (meta,) = (folder / "work/checkpoints").glob("150/meta/metadata")
  shares = json.loads(meta.read_text())["shares"]

  assert shares == pytest.approx(
    {
      "control_suite.cartpole-balance": 0.65,
      "conceptual_captions.scenes": 0.15,
      "vqa_v2.scenes": 0.15,
      "text.python_docs": 0.05,
    }
  )


def test_the_path_ends_in_a_table_and_a_page(folder):
  printed, report = (folder / "printed").read_text(), folder / "work/report"
  assert "1 of 1 tasks at or above 50 % of the expert (paper: 450 of 604)" in printed

  page = (report / "index.html").read_text()

  assert f"report: {report / 'index.html'}" in printed and "control_suite.cartpole-balance" in page
  assert "Text, captions and answers" in page and list(
    (report / "pictures/vqa_v2.scenes").glob("*.png")
  )

  header, line = (report / "tasks.csv").read_text().splitlines()

  assert header.startswith("task,score,low,high") and line.startswith(
    "control_suite.cartpole-balance,"
  )

  losses = [
    json.loads(line)["loss"] for line in (folder / "work/metrics.jsonl").read_text().splitlines()
  ]

  assert losses[-1] < losses[0] / 2


def test_running_again_repeats_nothing(folder):
  files = [
    p for p in (*(folder / "data").rglob("*"), *(folder / "work").glob("*.jsonl")) if p.is_file()
  ]
  before = {p: p.stat().st_mtime_ns for p in files if p.name != "collect.log"}
  said = {
    "collect": "nothing to do",
    "build": "0 of 5 datasets built",
    "evaluate": "rows of 1 tasks",
  }
  for verb, words in said.items():
    assert words in run(verb, folder)
  run("measure", folder, "--documents=10")

  assert before == {p: p.stat().st_mtime_ns for p in before}


def test_a_run_is_not_continued_with_another_mixture(folder):
  done = start("train", folder, "--config.data.seed=3")
  assert done.returncode == 1
  assert "started with data.seed=0, now it is 3" in done.stderr.splitlines()[-1]


def test_it_acts(folder):
  """Its mean return is closer to the expert's than to random's."""
  scores = json.loads(rlds_builders.scores_path("control_suite").read_text())["cartpole-balance"]
  returns = [
    row.episode_return for row in results.read(folder / "work/results.jsonl") if row.actor == "gato"
  ]
  assert len(returns) == 4 and np.mean(returns) > (scores["random"] + scores["expert"]) / 2, returns


def test_its_captions_are_of_what_it_sees(rows):
  """A caption costs fewer bits with its own image than with another.

  On average, by four standard errors.
  """
  gains = np.array(
    [(row.bits_elsewhere - row.bits) / row.tokens for row in rows["conceptual_captions.scenes"]]
  )

  assert len(gains) == 100
  assert gains.mean() > 4 * gains.std(ddof=1) / math.sqrt(len(gains)), (gains.mean(), gains.std())


def test_its_answers_are_better_than_the_most_common_one(rows):
  """Exact match is compared with always giving training's most common answer."""
  right = [
    (row.written in row.references, row.common in row.references) for row in rows["vqa_v2.scenes"]
  ]
  written, common = np.mean(right, axis=0)
  assert len(right) == 100 and written > 2 * common, (written, common)


def test_its_answers_are_of_what_it_sees(learned):
  """The right answer costs fewer bits with its own image than with another's.

  On average, by four standard errors.
  """
  reader = agent.Policy(learned / "work").text_generator()
  source = records.DocumentRecords(
    records.directory_of(learned / "data/tfds", "vqa_v2.scenes"), "validation"
  )
  questions = [source.document(i) for i in range(len(source))]

  def bits(question, picture) -> float:
    reader.forget()
    reader.read([picture, documents.ask(question.question)])
    return -reader.score([f" {question.answer}"]).sum()

  half = len(questions) // 2
  others = questions[half:] + questions[:half]
  gains = [
    bits(q, other.image) - bits(q, q.image) for q, other in zip(questions, others, strict=True)
  ]

  assert np.mean(gains) > 4 * np.std(gains, ddof=1) / math.sqrt(len(gains)), (
    np.mean(gains),
    np.std(gains),
  )


def test_its_text_costs_less_than_bytes_do(learned, rows):
  """It costs less than the entropy of the measured documents' bytes."""
  source = records.DocumentRecords(
    records.directory_of(learned / "data/tfds", "text.python_docs"), "validation"
  )
  counts = np.bincount(
    np.frombuffer("".join(source.document(i) for i in range(len(source))).encode(), np.uint8)
  )
  shares = counts[counts > 0] / counts.sum()
  of_text = rows["text.python_docs"]
  bits = sum(row.bits for row in of_text) / sum(row.bytes for row in of_text)

  assert 1.0 < bits < -(shares * np.log2(shares)).sum()


def test_generate_writes_about_a_picture(learned):
  """Runs the verb on an image that the network never saw."""
  source = records.DocumentRecords(
    records.directory_of(learned / "data/tfds", "conceptual_captions.scenes"), "validation"
  )
  Image.fromarray(source.document(0).image).save(learned / "room.png")
  words = run(
    "generate", learned, f"--image={learned / 'room.png'}", "--temperature=0", "--seed=1"
  ).split()
  known = {
    word
    for i in range(len(source))
    for caption in source.document(i).captions
    for word in caption.split()
  }

  assert words and set(words) <= known, words
