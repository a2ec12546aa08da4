"""Keeps what TensorFlow says when it is imported out of a verb's output; errors are still shown."""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
import tempfile
import types
from collections.abc import Iterator, Sequence

# Lines of its C++ libraries, of level INFO and WARNING, and the one that says that logging is not set up yet. They heed
# no variable.
_GREETING = re.compile(rb"(WARNING: All log messages before absl::InitializeLog\(\)|[IW]\d{4} [\d:. ]+ \S+:\d+\]).*\n?")


class _Loader(importlib.abc.Loader):
  """Another loader, with the greetings left out."""

  def __init__(self, loader: importlib.abc.Loader):
    self._loader = loader

  def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
    return self._loader.create_module(spec)

  def exec_module(self, module: types.ModuleType) -> None:
    module.__spec__.loader = self._loader
    with without_greetings():
      self._loader.exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
  """Finds TensorFlow, once."""

  def find_spec(
    self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
  ) -> importlib.machinery.ModuleSpec | None:
    if name != "tensorflow":
      return None
    sys.meta_path.remove(self)
    spec = importlib.util.find_spec(name)
    if spec is not None:
      spec.loader = _Loader(spec.loader)
    return spec


@contextlib.contextmanager
def without_greetings() -> Iterator[None]:
  """Inside, standard error is held back, of C++ libraries too; then all of it is written but the greetings."""
  shown = os.dup(2)
  try:
    with tempfile.TemporaryFile() as held:
      sys.stderr.flush()
      os.dup2(held.fileno(), 2)
      try:
        yield
      finally:
        sys.stderr.flush()
        os.dup2(shown, 2)
        held.seek(0)
        os.write(2, b"".join(line for line in held if not _GREETING.fullmatch(line)))
  finally:
    os.close(shown)


def install() -> None:
  """To be called before anything imports TensorFlow."""
  if "tensorflow" not in sys.modules:
    sys.meta_path.insert(0, _Finder())
