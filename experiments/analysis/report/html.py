"""Code that all pages share: rendering templates, embedding figures, writing CSVs."""

import base64
import csv
import io
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jinja2

from gato_jax.storage import files

_TEMPLATES = pathlib.Path(__file__).parent


def write(
  path: pathlib.Path, template: str, filters: Mapping[str, Callable[[Any], str]], **values: Any
) -> None:
  """Renders a template of this directory to `path`; a name without a value is an error."""
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
  )
  environment.filters.update(filters)

  # A page is replaced at once, so that an interrupted report leaves the earlier one.
  files.write(path, environment.get_template(template).render(**values))


def made_by(facts: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the values of made.html: facts as a table, and "commands", a list, as a block."""
  table = {label: value for label, value in facts.items() if label != "commands"}

  return {"facts": table, "commands": facts.get("commands", [])}


def embedded_json(data: Any) -> str:
  """Returns JSON for a page's <script type="application/json">, which no text in it can end."""
  text = json.dumps(data, separators=(",", ":"), allow_nan=False)

  return text.replace("<", "\\u003c")


def embed(path: pathlib.Path) -> str:
  """Returns a PNG as a data URL, so that the page needs no other file."""
  return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def write_csv(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes rows to a CSV, whose header is the first row's keys; without rows, an empty file."""
  rows = list(rows)

  # csv ends lines itself, so the text must not translate them again.
  text = io.StringIO(newline="")
  if rows:
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)

  files.write(path, text.getvalue())
