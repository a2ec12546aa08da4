"""Follows a page as a reader would: writes its files into a copy and runs its commands there.

A block with a path above it is a file; a block of bash is run.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping

ROOT = pathlib.Path(__file__).resolve().parents[2]
_FOLDERS = ("benchmarks", "experiments", "gato_jax", "launch", "rlds_builders", "tests")
_FILES = ("pyproject.toml", "requirements.txt", "constraints.txt")
_BLOCK = re.compile(r"^(?:`([\w/.]+)`\n\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Block = tuple[str, str, str]  # path, language, text; the path is "" where it is no file


def copy(root: pathlib.Path) -> None:
  """Copies the repository, without what it generated."""
  for folder in _FOLDERS:
    shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
  for file in _FILES:
    shutil.copy(ROOT / file, root)


def sections(page: str) -> dict[str, list[Block]]:
  """Maps the headings of a page in docs/ to their blocks."""
  _, *parts = re.split(r"^## (.+)\n", (ROOT / "docs" / page).read_text(), flags=re.MULTILINE)
  return {
    heading: _BLOCK.findall(text) for heading, text in zip(parts[::2], parts[1::2], strict=True)
  }


def follow(
  root: pathlib.Path, blocks: list[Block], replaced: Mapping[str, str] | None = None
) -> str:
  """Writes the files and runs the commands of a section, and returns what these printed.

  Args:
    root: A copy of the repository.
    blocks: Of `sections`.
    replaced: Parts of commands that are replaced, such as minutes of training.
  """
  path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
  environment = os.environ | {"PATH": path, "PYTHONPATH": str(root)}

  said = []
  for file, language, text in blocks:
    if file:
      (root / file).write_text(text)
    elif language == "bash":
      for old, new in (replaced or {}).items():
        text = text.replace(old, new)
      done = subprocess.run(
        ["bash", "-e", "-c", text], cwd=root, env=environment, capture_output=True, text=True
      )
      assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
      said.append(done.stdout)

  return "".join(said)
