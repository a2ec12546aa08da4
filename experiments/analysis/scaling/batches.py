"""Measures what a batch of a mixture holds: it decides the FLOPs and the epochs of a run.

Targets and components of a batch vary, so they are counted over some batches once and kept in the
sweep's directory.
"""

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, flops
from gato_jax.storage import files, paths
from gato_jax.tokens import vocabulary

# Reports read what was measured, and are also made where no data package is installed.
if TYPE_CHECKING:
  from gato_jax.data import pipeline

FILE = "batches.json"
_MEASURED = 64


@dataclasses.dataclass(frozen=True)
class BatchContent:
  """Means over batches of a mixture.

  Attributes:
    rows: Rows of a batch.
    length: Positions of a row.
    present_patches: Image patches of a batch.
    targets: Predicted positions of a batch.
    component_tokens: Component -> its positions in a batch.
    available_tokens: Component -> different tokens that it has.
    modalities: Domain -> "control", or the kind of its documents.
  """

  rows: int
  length: int
  present_patches: float
  targets: float
  component_tokens: Mapping[str, float]
  available_tokens: Mapping[str, int]
  modalities: Mapping[str, str]

  @property
  def tokens(self) -> int:
    """Positions of a batch, padding included."""
    return self.rows * self.length

  def flops_per_token(self, config: GatoConfig) -> float:
    """Returns the training FLOPs per position of a network."""
    step = flops.train_step(
      config,
      rows=self.rows,
      length=self.length,
      targets=self.targets,
      patches=self.present_patches,
    )
    return step / self.tokens

  def epochs(self, steps: int) -> float:
    """Returns how often a run has seen what it sees, a mean over its tokens."""
    total = sum(self.component_tokens.values())
    return sum(
      tokens / total * steps * tokens / self.available_tokens[name]
      for name, tokens in self.component_tokens.items()
    )

  def unique_tokens(self, steps: int) -> float:
    """Returns the positions of a run whose tokens are different ones, padding in proportion."""
    total = sum(self.component_tokens.values())
    unique = sum(
      min(steps * tokens, self.available_tokens[name])
      for name, tokens in self.component_tokens.items()
    )
    return self.tokens * unique / total


def measure(inputs: "pipeline.Input") -> BatchContent:
  """Counts the content of the first batches of a mixture."""
  tokens: collections.Counter[str] = collections.Counter()
  targets = patches = 0

  batches = list(itertools.islice(inputs.batches(), _MEASURED))
  for batch in batches:
    targets += int(batch["targets"].sum())
    patches += int((batch["kinds"] == vocabulary.Kind.PATCH).sum())
    in_row = (batch["kinds"] != vocabulary.Kind.PADDING).sum(axis=1)
    for component, count in zip(batch["components"], in_row, strict=True):
      tokens[inputs.names[component]] += int(count)

  # A component that these batches lack has too small a share to matter.
  rows, length = batches[0]["tokens"].shape
  return BatchContent(
    rows=rows,
    length=length,
    present_patches=patches / _MEASURED,
    targets=targets / _MEASURED,
    component_tokens={name: count / _MEASURED for name, count in tokens.items()},
    available_tokens={name: inputs.windows[name].available_tokens for name in tokens},
    modalities={
      spec.domain: spec.document_kind if spec.is_document else "control"
      for spec in inputs.task_specs.values()
    },
  )


def read(workdir: pathlib.Path) -> BatchContent | None:
  """Returns what was measured for a sweep; None where nothing was.

  Raises:
    GatoError: The file is not JSON, or of an older version.
  """
  path = paths.path(workdir) / FILE
  if not path.exists():
    return None

  content = files.read_json(path, "delete it and sweep again")
  if set(content) != {field.name for field in dataclasses.fields(BatchContent)}:
    # The FLOPs of runs were others then, so that their points do not belong to one fit.
    raise GatoError(
      f"{path} was written by an older version, which counted the FLOPs of absent image patches;"
      " sweep in another --config.workdir"
    )
  return BatchContent(**content)


def write(workdir: pathlib.Path, content: BatchContent) -> None:
  """Keeps what was measured for a sweep."""
  paths.make_directory(paths.path(workdir))
  files.write_json(paths.path(workdir) / FILE, dataclasses.asdict(content))
