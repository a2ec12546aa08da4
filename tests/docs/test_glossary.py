"""docs/glossary.md has every public class and every setting of the library.

`python tests/docs/test_glossary.py` writes its tables anew, from the docstrings.
"""

import ast
import dataclasses
import inspect
import pathlib
import re

from experiments.analysis.interpret import InterpretConfig
from gato_jax.agent import ActConfig
from gato_jax.data.mixture import FineTuneConfig, MixtureConfig
from gato_jax.documents import ImageConfig
from gato_jax.env.collect import CollectConfig
from gato_jax.evaluate import EvaluateConfig
from gato_jax.evaluate.corrections import DaggerConfig
from gato_jax.model import GatoConfig
from gato_jax.serve.server import ServeConfig
from gato_jax.train.config import TrainConfig
from gato_jax.train.optimizer import OptimizerConfig

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "glossary.md"
TABLES = "## Classes of the library\n"

SECTIONS = {
  "act": ActConfig,
  "collect": CollectConfig,
  "dagger": DaggerConfig,
  "data": MixtureConfig,
  "evaluate": EvaluateConfig,
  "fine_tune": FineTuneConfig,
  "images": ImageConfig,
  "interpret": InterpretConfig,
  "model": GatoConfig,
  "optimizer": OptimizerConfig,
  "serve": ServeConfig,
  "train": TrainConfig,
}


def public_classes() -> list[tuple[str, str, str]]:
  """Returns (name, file, first line of the docstring) of the public classes of gato_jax."""
  rows = []

  for path in sorted((ROOT / "gato_jax").rglob("*.py")):
    for node in ast.parse(path.read_text()).body:
      if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
        docstring = ast.get_docstring(node)
        assert docstring, f"{path}: {node.name} has no docstring"
        file = path.relative_to(ROOT / "gato_jax").as_posix()
        rows.append((node.name, file, docstring.splitlines()[0]))

  return sorted(rows)


def settings() -> list[tuple[str, str]]:
  """Returns ("section.key", description) of every setting, from the dataclasses' docstrings."""
  rows = []

  for section, config in SECTIONS.items():
    docstring = inspect.getdoc(config)
    _, _, attributes = docstring.partition("Attributes:\n")

    for field in dataclasses.fields(config):
      # An entry ends where the next one begins: a name at the same indentation.
      entry = re.search(rf"^  {field.name}: (.*?)(?=^  \w+: |\Z)", attributes, re.M | re.S)
      assert entry, f"{config.__name__}.{field.name} is not described in its docstring"
      rows.append((f"{section}.{field.name}", " ".join(entry[1].split())))

  return rows


def cell(text: str) -> str:
  """Returns a text as the cell of a table."""
  return text.replace("|", r"\|")


def tables() -> str:
  """Returns the part of the page that follows from the code."""
  lines = [TABLES, "| class | file | |", "|---|---|---|"]
  lines += [f"| `{name}` | `{file}` | {cell(text)} |" for name, file, text in public_classes()]

  lines += ["", "## Settings", "", "| setting | |", "|---|---|"]
  lines += [f"| `{name}` | {cell(text)} |" for name, text in settings()]
  return "\n".join(lines) + "\n"


def test_every_public_class_and_setting_is_in_the_glossary():
  assert PAGE.read_text().partition(TABLES)[2] == tables().partition(TABLES)[2], (
    "run python tests/docs/test_glossary.py"
  )


def test_no_term_stands_twice():
  terms = re.findall(r"^\| ([a-zKV -]+?) \|", PAGE.read_text().partition(TABLES)[0], re.M)
  assert len(terms) > 40 and len(set(terms)) == len(terms)


if __name__ == "__main__":
  PAGE.write_text(PAGE.read_text().partition(TABLES)[0] + tables())
