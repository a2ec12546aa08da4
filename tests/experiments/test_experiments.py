"""The verbs as a person runs them: a domain checked, and mistakes made on purpose.

test_mixed.py runs the whole path.
"""

import subprocess

import commands
import pytest

DUMMY = "--config=experiments/configs/dummy.py"


def run(verb: str, *arguments: str) -> subprocess.CompletedProcess:
  return commands.run(f"experiments.{verb}", *arguments)


def error_lines(done: subprocess.CompletedProcess) -> list[str]:
  """Lines of a verb on standard error, without a progress bar's last state."""
  return [
    line for line in done.stderr.splitlines() if line.strip() and not line.startswith("build:")
  ]


@pytest.mark.slow  # collects, builds and checks, 20 seconds; test_check.py has the faults
def test_check_finds_nothing_wrong_with_the_dummy_domain(tmp_path):
  done = run("check", "--domain=dummy", f"--data_dir={tmp_path}", "--sequence_length=128")
  assert done.returncode == 0, done.stdout + done.stderr
  assert (
    "ok   dummy.reach:" in done.stdout
    and "windows a second" in done.stdout
    and "go to the" in done.stdout
  )


@pytest.mark.parametrize(
  "verb, arguments, said",
  [
    ("describe", (DUMMY, "--config.train.stepz=3"), 'Did you mean "steps"'),
    (
      "describe",
      ("--config=experiments/configs/nothing.py",),
      "no config file 'experiments/configs/nothing.py'",
    ),
    ("describe", (DUMMY, "--config.domains.dummy.tasks=('reech',)"), "did you mean 'reach'?"),
    ("describe", (DUMMY, "stray"), "unknown argument 'stray'"),
    ("check", ("--domain=dumy",), "unknown domain: 'dumy'; did you mean 'dummy'?"),
    ("train", (DUMMY, "--config.data_dir=/nowhere"), "no dataset in /nowhere"),
    ("evaluate", (DUMMY, "--config.workdir=/nowhere"), "no checkpoint in /nowhere"),
    ("report", (DUMMY, "--config.workdir=/nowhere"), "nothing to report in /nowhere"),
    ("build", (DUMMY, "--config.data_dir=/nowhere"), "no raw logs of dummy.reach"),
    (
      "collect",
      (DUMMY, "--config.data_dir=gs://bucket/data"),
      "--config.data_dir=gs://bucket/data: this verb works on a directory of this machine",
    ),
    pytest.param(
      "train",
      (DUMMY, "--config.workdir=s3://work"),
      "--config.workdir=s3://work: ",
      marks=pytest.mark.slow,
    ),
    pytest.param(
      "evaluate", (DUMMY, "--results=gs://b"), "--results=gs://b: ", marks=pytest.mark.slow
    ),
    ("check", ("--domain=dummy", "--data_dir=gs://b"), "--data_dir=gs://b: "),
    pytest.param(
      "report", (DUMMY, "--runs=work/a,gs://b"), "--runs=gs://b: ", marks=pytest.mark.slow
    ),
    pytest.param(
      "serve",
      (DUMMY, "--config.act.remove=gs://b"),
      "--config.act.remove=gs://b: ",
      marks=pytest.mark.slow,
    ),
  ],
)
def test_a_mistake_ends_in_one_line(verb, arguments, said):
  done = run(verb, *arguments)
  assert done.returncode == 1 and said in done.stderr, done.stderr
  lines = error_lines(done)
  assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr


def test_a_build_without_logs_leaves_nothing(tmp_path):
  done = run("build", DUMMY, f"--config.data_dir={tmp_path / 'none'}")
  assert done.returncode == 1 and "no raw logs of dummy.reach" in done.stderr
  assert not (tmp_path / "none").exists()


def test_describe_shows_what_will_be_trained():
  done = run("describe", DUMMY)
  assert "parameters: " in done.stdout and "tokens a batch: 8 rows x 128 = 1,024" in done.stdout
  assert (
    "dummy.reach: 26 tokens a step, 6 of them patches" in done.stdout and "50.00%" in done.stdout
  )


def test_the_papers_size_has_a_config(tmp_path):
  """`describe` counts its parameters, without any collected data.

  tests/model/test_model.py counts those of the other sizes.
  """
  done = run("describe", "--config=experiments/configs/gato_1b.py", f"--config.data_dir={tmp_path}")

  assert done.returncode == 0 and "parameters: 1,177," in done.stdout, done.stderr
  assert "tokens a batch: 512 rows x 1024 = 524,288" in done.stdout


@pytest.mark.parametrize(
  "given, changes, steps, minutes",
  [
    (["--config.train.steps=7"], {}, 7, None),
    (["--config.train.minutes=60"], {}, None, 60.0),
    (["--config.train.minutes=60"], {"train.steps": 7}, None, 60.0),
    ([], {"train.steps": 7}, 7, None),
    ([], {}, 7, 60.0),  # training refuses it
    (["--config.train.steps=7", "--config.train.minutes=60"], {}, 7, 60.0),
  ],
)
def test_of_steps_and_minutes_the_one_said_last_counts(monkeypatch, given, changes, steps, minutes):
  from experiments.cli import settings
  from experiments.configs import demo

  config = demo.get_config()
  config.train.update(steps=7, minutes=60.0)  # as absl has put the settings in
  monkeypatch.setattr("sys.argv", ["train", *given])
  resolved = settings.with_one_duration(config, changes).train

  assert (resolved.steps, resolved.minutes) == (steps, minutes)
  assert (config.train.steps, config.train.minutes) == (7, 60.0)
