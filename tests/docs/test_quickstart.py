"""The notebook as git holds it; `make docs` executes it."""

import json
import pathlib

NOTEBOOK = pathlib.Path(__file__).resolve().parents[2] / "docs/quickstart.ipynb"


def test_it_has_no_outputs():
  for cell in json.loads(NOTEBOOK.read_text())["cells"]:
    assert not cell.get("outputs") and cell.get("execution_count") is None, cell["id"]
