"""Keeps TensorFlow's start-up messages out of a verb's output; errors are still shown."""

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

# Lines of TensorFlow's C++ libraries of level INFO and WARNING, the one that says that logging is
# not set up yet, and the "error" that a machine has CUDA and no GPU. No environment variable
# silences them.
_GREETING = re.compile(
  rb"(WARNING: All log messages before absl::InitializeLog\(\)"
  rb"|[IW]\d{4} [\d:. ]+ \S+:\d+\]"
  rb"|E\d{4} [\d:. ]+ \S+:\d+\] failed call to cuInit).*\n?"
)

# TensorFlow greets when it is imported, and when it looks for GPUs.
_GREETERS = ("tensorflow", "gato_jax.data.tensorflow_cpu")


class _QuietLoader(importlib.abc.Loader):
  """Another loader whose module is executed without greetings."""

  def __init__(self, loader: importlib.abc.Loader):
    self._loader = loader

  def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
    return self._loader.create_module(spec)

  def exec_module(self, module: types.ModuleType) -> None:
    # The module must look as if the original loader had loaded it: importlib.resources asks it.
    assert module.__spec__ is not None
    module.__spec__.loader = self._loader

    with without_greetings():
      self._loader.exec_module(module)


class _QuietFinder(importlib.abc.MetaPathFinder):
  """Finds the modules that greet, and has them loaded quietly."""

  def __init__(self):
    self._remaining = set(_GREETERS)

  def find_spec(
    self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
  ) -> importlib.machinery.ModuleSpec | None:
    if name not in self._remaining:
      return None

    # The ordinary finders find the module, now that this one passes it on.
    self._remaining.remove(name)
    spec = importlib.util.find_spec(name)
    if spec is not None:
      assert spec.loader is not None
      spec.loader = _QuietLoader(spec.loader)

    return spec


@contextlib.contextmanager
def without_greetings() -> Iterator[None]:
  """Holds back standard error, also of C++ libraries, and writes it at exit without greetings."""
  # C++ code writes to file descriptor 2 and not to sys.stderr, so the descriptor is replaced.
  stderr_copy = os.dup(2)
  try:
    with tempfile.TemporaryFile() as buffer:
      sys.stderr.flush()
      os.dup2(buffer.fileno(), 2)

      try:
        yield
      finally:
        sys.stderr.flush()
        os.dup2(stderr_copy, 2)
        buffer.seek(0)
        os.write(2, b"".join(line for line in buffer if not _GREETING.fullmatch(line)))
  finally:
    os.close(stderr_copy)


def install() -> None:
  """Makes the first import of TensorFlow quiet; call it before anything imports TensorFlow."""
  if "tensorflow" not in sys.modules:
    sys.meta_path.insert(0, _QuietFinder())
