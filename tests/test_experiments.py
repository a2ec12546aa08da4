"""The verbs as a person runs them: the whole path on the dummy domain, run again, and mistakes made on purpose."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
DUMMY = "--config=experiments/configs/dummy.py"


def run(verb: str, *arguments: str) -> subprocess.CompletedProcess:
  command = [sys.executable, "-m", f"experiments.{verb}", *arguments]
  # JAX, which the fixtures import, sets this variable; a person's shell does not.
  env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
  return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


def error_lines(done: subprocess.CompletedProcess) -> list[str]:
  """What a verb wrote to stderr, without a progress bar's last state and TensorFlow's greeting."""
  noise = ("build:", "I0000", "WARNING", "To enable")
  return [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(noise)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  path = tmp_path_factory.mktemp("experiment")
  return f"--config.data_dir={path / 'data'}", f"--config.workdir={path / 'work'}", path


@pytest.fixture(scope="module")
def finished(folders):
  """Every verb, run once in order."""
  *arguments, path = folders
  for verb in ("collect", "build", "train", "evaluate", "report"):
    done = run(verb, DUMMY, *arguments)
    assert done.returncode == 0, f"{verb}: {done.stderr[-2000:]}"
  return path, done.stdout


def test_the_whole_path_ends_in_a_table_and_a_page(finished):
  path, printed = finished
  assert "of 2 tasks at or above 50 % of the expert (paper: 450 of 604)" in printed
  page = path / "work/report/index.html"
  assert f"report: {page}" in printed and "dummy.reach_discrete" in page.read_text()
  csv = (path / "work/report/tasks.csv").read_text().splitlines()
  assert csv[0].startswith("task,score,low,high") and [line.split(",")[0] for line in csv[1:]] == [
    "dummy.reach",
    "dummy.reach_discrete",
  ]
  rows = [json.loads(line) for line in (path / "work/results.jsonl").read_text().splitlines()]
  played = {(r["task"], r["actor"]) for r in rows}
  assert played == {(f"dummy.{t}", a) for t in ("reach", "reach_discrete") for a in ("gato", "random", "expert")}
  assert (path / "work/videos/dummy.reach.best.gif").read_bytes()[:3] == b"GIF"
  losses = [json.loads(line)["loss"] for line in (path / "work/metrics.jsonl").read_text().splitlines()]
  assert losses[-1] < losses[0] / 4


def test_running_again_repeats_nothing(finished, folders):
  *arguments, path = folders
  before = {p: p.stat().st_mtime_ns for p in (path / "data").rglob("*") if p.is_file() and p.name != "collect.log"}
  results = (path / "work/results.jsonl").read_bytes()
  for verb, said in (("collect", "nothing to do"), ("build", "0 of 2 datasets built"), ("evaluate", "rows of 2 tasks")):
    done = run(verb, DUMMY, *arguments)
    assert done.returncode == 0 and said in done.stdout
  assert before == {p: p.stat().st_mtime_ns for p in before}
  assert (path / "work/results.jsonl").read_bytes() == results


def test_a_run_is_not_continued_with_another_mixture(finished, folders):
  *arguments, _ = folders
  done = run("train", DUMMY, *arguments, "--config.data.seed=3")
  assert done.returncode == 1 and "started with data.seed=0, now it is 3" in done.stderr
  assert len(error_lines(done)) == 1


def test_check_finds_nothing_wrong_with_the_dummy_domain(finished, folders):
  path = folders[-1]
  done = run("check", "--domain=dummy", f"--data_dir={path / 'data'}", "--sequence_length=128")
  assert done.returncode == 0, done.stdout + done.stderr
  assert "ok   dummy.reach:" in done.stdout and "windows a second" in done.stdout and "go to the" in done.stdout


@pytest.mark.parametrize(
  "verb, arguments, said",
  [
    ("describe", (DUMMY, "--config.train.stepz=3"), 'Did you mean "steps"'),
    ("describe", ("--config=experiments/configs/nothing.py",), "no config file 'experiments/configs/nothing.py'"),
    ("describe", (DUMMY, "--config.domains.dummy.tasks=('reech',)"), "did you mean 'reach'?"),
    ("describe", (DUMMY, "stray"), "unknown argument 'stray'"),
    ("check", ("--domain=dumy",), "unknown domain: 'dumy'; did you mean 'dummy'?"),
    ("train", (DUMMY, "--config.data_dir=/nowhere"), "no dataset in /nowhere"),
    ("evaluate", (DUMMY, "--config.workdir=/nowhere"), "no checkpoint in /nowhere"),
    ("report", (DUMMY, "--config.workdir=/nowhere"), "nothing to report in /nowhere"),
    ("build", (DUMMY, "--config.data_dir=/nowhere"), "no raw logs of dummy.reach"),
  ],
)
def test_a_mistake_ends_in_one_line(verb, arguments, said):
  done = run(verb, *arguments)
  assert done.returncode == 1 and said in done.stderr, done.stderr
  lines = [
    line for line in done.stderr.splitlines() if line.strip() and not line.startswith(("build:", "I0000", "WARNING"))
  ]
  assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr


def test_describe_shows_what_will_be_trained():
  done = run("describe", DUMMY)
  assert "parameters: " in done.stdout and "tokens a batch: 8 rows x 128 = 1,024" in done.stdout
  assert "dummy.reach: 26 tokens a step, 6 of them patches" in done.stdout and "50.00%" in done.stdout


@pytest.mark.parametrize("name, said", [("gato_79m", "78,3"), ("gato_364m", "364,"), ("gato_1b", "1,177,")])
def test_the_papers_sizes_have_configs(name, said):
  """Their parameters as describe counts them; one task a domain, for every task would start its simulator."""
  one = {"babyai": "GoToObj", "control_suite": "point_mass-easy", "meta_world": "reach-v3", "sokoban": "boxes_1"}
  tasks = [f"--config.domains.{domain}.tasks=('{task}',)" for domain, task in one.items()]
  done = run("describe", f"--config=experiments/configs/{name}.py", *tasks)
  assert done.returncode == 0 and f"parameters: {said}" in done.stdout, done.stderr
  assert "tokens a batch: 512 rows x 1024 = 524,288" in done.stdout
