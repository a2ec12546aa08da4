"""docs/add_a_domain.md works: its files are written into a copy and its commands run there."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from gato_jax.env import results

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/add_a_domain.md"
COPIED = ("benchmarks", "experiments", "gato_jax", "launch", "rlds_builders", "tests")
BLOCK = re.compile(r"^(?:`([\w/.]+)`\n\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections():
  """Maps headings to their (path, language, text) blocks; path is "" where it is no file."""
  _, *parts = re.split(r"^## (.+)\n", PAGE.read_text(), flags=re.MULTILINE)
  return {
    heading: BLOCK.findall(text) for heading, text in zip(parts[::2], parts[1::2], strict=True)
  }


def follow(root, headings):
  """Writes the files and runs the shell blocks of some sections, in the page's order.

  Returns the standard output of the commands.
  """
  path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
  said = []

  for heading in headings:
    for file, language, text in sections()[heading]:
      if file:
        (root / file).write_text(text)
      elif language == "bash":
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(root)}
        command = ["bash", "-e", "-c", text]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{heading}\n{text}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)

  return "".join(said)


@pytest.fixture
def copy(tmp_path):
  assert not (ROOT / "rlds_builders/lander").exists(), (
    "the page's domain must not be in the repository"
  )

  for folder in COPIED:
    shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
  for file in ("pyproject.toml", "requirements.txt", "constraints.txt"):
    shutil.copy(ROOT / file, tmp_path)
  return tmp_path


def test_files_and_commands_up_to_check(copy):
  headings = list(sections())
  said = follow(copy, headings[: headings.index("5. Test and check it") + 1])
  for task in ("calm", "windy"):
    assert f"ok   lander.{task}: episodes: 2, kept: 2" in said
  shown = next(
    text for _, language, text in sections()["5. Test and check it"] if language == "text"
  )

  for (
    line
  ) in shown.splitlines():  # the doc's numbers of an episode are this machine's, its tokens are not
    if not line.startswith("ok "):
      assert line in said


@pytest.mark.slow
def test_the_whole_page(copy):
  said = follow(copy, sections())
  assert (copy / "rlds_builders/lander/scores.json").exists() and (
    copy / "work/lander/report/index.html"
  ).exists()

  returns = {"gato": [], "random": []}
  for row in results.read(copy / "work/lander/results.jsonl"):
    if row.actor in returns:
      returns[row.actor].append(row.episode_return)

  assert len(returns["gato"]) == len(returns["random"]) == 40
  assert np.mean(returns["gato"]) > np.mean(returns["random"]) + 10, (
    said
  )  # a tenth of what landing every time earns
