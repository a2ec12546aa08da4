"""The command `gato`: help that imports nothing heavy, completion, names of configs, packages."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

from experiments import verbs
from experiments.cli import config_names
from gato_jax.errors import GatoError

ROOT = pathlib.Path(__file__).resolve().parents[2]


def gato(*arguments, cwd=ROOT, **environment):
  """Runs the command in a process of its own."""
  return subprocess.run(
    [sys.executable, "-m", "experiments", *arguments],
    cwd=cwd,
    env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    capture_output=True,
    text=True,
  )


def test_every_verb_is_named_with_what_it_does():
  done = gato("--help")
  assert done.returncode == 0
  for name in verbs.names():
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"  {name} ")]
    assert line.split(None, 1)[1][0].isupper() and "python -m" not in line


def test_help_imports_neither_jax_nor_tensorflow():
  code = (
    "import sys; from experiments import __main__ as command\n"
    "sys.argv = ['gato', 'train', '--help']; command.main()\n"
    "heavy = {'jax', 'tensorflow', 'numpy', 'ml_collections', 'absl'} & set(sys.modules)\n"
    "assert not heavy, heavy"
  )
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert "--tracker" in done.stdout and "--config" in done.stdout


@pytest.mark.parametrize("verb", verbs.names())
def test_help_shows_the_flags_that_the_verb_has(verb):
  shown = verbs.parser(verb).format_help()
  source = (ROOT / f"experiments/{verb}.py").read_text()
  defined = [
    node.args[0].value
    for node in ast.walk(ast.parse(source))
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("flags.DEFINE_")
  ]
  assert all(f"--{name} " in shown or f"--{name}\n" in shown for name in defined)
  assert ("--config " in shown) == ("cli.run(" in source)
  assert ("--checkpoint " in shown) == ("plays=True" in source)


@pytest.mark.slow  # imports everything
def test_absl_knows_every_flag_that_help_shows():
  """The verb itself, whose flags are defined by running it, agrees with its source."""
  done = subprocess.run(
    [sys.executable, "-m", "experiments.evaluate", "--helpfull"],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  for action in verbs.parser("evaluate")._actions:
    name = action.option_strings[-1]
    assert name == "--help" or name in done.stdout or f"--[no]{name[2:]}" in done.stdout


@pytest.mark.parametrize(
  "arguments, said",
  [
    (["trian"], "did you mean 'train'?"),
    (["describe", "--config=dumy"], "unknown config: 'dumy'; did you mean 'dummy'?"),
    (["doctor", "now"], "takes no arguments"),
  ],
)
def test_a_mistake_is_one_line(arguments, said):
  done = gato(*arguments)
  assert done.returncode == 1 and said in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1


def test_a_verb_runs_from_anywhere_by_the_name_of_its_config(tmp_path):
  done = gato("describe", "--config=dummy", cwd=tmp_path)
  assert done.returncode == 0 and "dummy.reach" in done.stdout, done.stderr


def test_a_package_that_is_missing_is_named(tmp_path):
  (tmp_path / "jax.py").write_text("raise ModuleNotFoundError('none', name='jax')")
  done = gato("train", PYTHONPATH=f"{tmp_path}:{ROOT}")
  assert done.returncode == 1
  assert done.stderr.startswith("error: gato train needs jax, which is not installed: pip install")
  assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
  "text, path",
  [
    ("demo", "experiments/configs/demo.py"),
    ("history", "experiments/configs/studies/history.py"),
    ("studies/history:velocities", "experiments/configs/studies/history.py:velocities"),
    ("experiments/configs/demo.py", "experiments/configs/demo.py"),
    ("elsewhere/own.py", "elsewhere/own.py"),
  ],
)
def test_configs_by_name(monkeypatch, text, path):
  monkeypatch.chdir(ROOT)
  assert config_names.resolve(text) == path


def test_configs_by_name_outside_the_clone(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  absolute = str(ROOT / "experiments/configs/demo.py")
  assert config_names.resolve("demo") == absolute
  assert config_names.resolve("experiments/configs/demo.py") == absolute
  with pytest.raises(GatoError, match="did you mean 'demo'"):
    config_names.resolve("demos")


def completions(line):
  """Returns what bash offers behind a line, by argcomplete's own protocol."""
  environment = {
    "_ARGCOMPLETE": "1",
    "_ARGCOMPLETE_IFS": "\n",
    "COMP_LINE": line,
    "COMP_POINT": str(len(line)),
    "COMP_TYPE": "9",
  }
  # Completions are written to descriptor 8.
  script = f"exec 8>&1 1>/dev/null 9>/dev/null; exec {sys.executable} -m experiments"
  done = subprocess.run(
    ["bash", "-c", script], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
  )
  return [word.strip() for word in done.stdout.split("\n") if word.strip()]


def test_the_shell_completes_verbs_flags_and_configs():
  assert {"train", "train_tokenizer"} <= set(completions("gato trai"))
  assert "--tracker" in completions("gato train --tr")
  assert "demo" in completions("gato train --config de") or "demo" in " ".join(
    completions("gato train --config=de")
  )


def test_doctor_looks_at_everything_and_changes_nothing(tmp_path):
  done = gato("doctor", cwd=tmp_path)
  assert done.returncode == 0, done.stdout
  for title in ("Python", "Packages", "Devices", "Graphics", "Disks", "Buckets", "Programs"):
    assert f"{title}\n" in done.stdout
  assert "ok      [train]" in done.stdout and "ok      jax" in done.stdout
  assert not list(tmp_path.iterdir())


@pytest.mark.slow  # the first one is enough for the shape
def test_doctor_says_what_is_broken(tmp_path):
  (tmp_path / "jax.py").write_text("raise RuntimeError('libtpu is of another version')")
  done = gato("doctor", cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
  assert done.returncode == 1
  assert "broken  jax               RuntimeError: libtpu is of another version" in done.stdout
