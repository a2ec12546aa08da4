"""What all pages share: base.html, figures inside the page, numbers as people write them."""

import base64
import csv
import io
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jinja2

from gato_jax import files

_HERE = pathlib.Path(__file__).parent


def write(path: pathlib.Path, template: str, filters: Mapping[str, Callable[[Any], str]], **values: Any) -> None:
  """Renders a template of this folder to `path`; a name that it lacks is an error."""
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
  )
  environment.filters.update(filters)
  files.write(path, environment.get_template(template).render(**values))


def embed(path: pathlib.Path) -> str:
  """A PNG as an address that needs no file."""
  return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def write_csv(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
  """The first row's keys are the header; a file without rows is empty."""
  rows = list(rows)
  text = io.StringIO(newline="")
  if rows:
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
  files.write(path, text.getvalue())
