"""Documents of the Python standard library: language reference topics and docstrings, read with ast, never imported."""

import ast
import inspect
import itertools
import pathlib
import re
import sysconfig
import tokenize
from collections.abc import Iterator

from gato_jax.errors import MissingData

MIN_CHARACTERS = 200
_EXCLUDED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
_UNDERLINE = re.compile(r"^[*=~^-]{4,}\n", re.MULTILINE)  # reStructuredText decoration below a title
_TRAILING_SPACE = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")


def read() -> Iterator[str]:
  """Every document once, of both splits: topics first, then docstrings by file and line.

  Raises:
    MissingData: a Python without its standard library's sources.
  """
  root = pathlib.Path(sysconfig.get_path("stdlib"))
  topics = root / "pydoc_data" / "topics.py"
  if not topics.exists():
    raise MissingData(f"text.python_docs: {topics} is not there; install Python with its standard library")
  seen = set()
  for title, body in itertools.chain(_topics(topics), _all_docstrings(root)):
    body = _clean(body)
    if len(body) < MIN_CHARACTERS or body in seen:
      continue
    seen.add(body)
    yield f"{title}\n\n{body}\n"


def read_code() -> Iterator[str]:
  """Sources without triple-quoted strings, a file each: more words for the tokenizer, and no document among them."""
  for path in _sources(pathlib.Path(sysconfig.get_path("stdlib"))):
    with path.open("rb") as f:
      tokens = list(tokenize.tokenize(f.readline))
    strings = (t for t in tokens if t.type == tokenize.STRING and t.string.endswith(('"""', "'''")))
    quoted = {line for t in strings for line in range(t.start[0], t.end[0] + 1)}
    lines = {t.start[0]: t.line.rstrip() for t in tokens if t.start[0] not in quoted}
    yield "\n".join(lines.values())


def _topics(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  """(topic, text) of pydoc's copy of the language reference: one literal dict."""
  for node in _parse(path).body:
    if isinstance(node, ast.Assign):
      yield from sorted(ast.literal_eval(node.value).items())


def _all_docstrings(root: pathlib.Path) -> Iterator[tuple[str, str]]:
  for path in _sources(root):
    parts = path.relative_to(root).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    yield from _docstrings(_parse(path), module)


def _sources(root: pathlib.Path) -> Iterator[pathlib.Path]:
  for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root).parts
    if not _EXCLUDED.intersection(parts) and parts[0] != "pydoc_data":
      yield path


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
  """(qualified name, docstring) of a module, class or function and of everything inside it."""
  docstring = ast.get_docstring(node, clean=False)
  if docstring:
    yield name, docstring
  for child in node.body:
    if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
      yield from _docstrings(child, f"{name}.{child.name}")


def _parse(path: pathlib.Path) -> ast.Module:
  with tokenize.open(path) as f:  # honours the file's coding line
    return ast.parse(f.read())


def _clean(text: str) -> str:
  """No common indentation, title underlines, trailing space or runs of blank lines."""
  text = _UNDERLINE.sub("", inspect.cleandoc(text) + "\n")
  return _BLANK_LINES.sub("\n\n", _TRAILING_SPACE.sub("", text)).strip()
