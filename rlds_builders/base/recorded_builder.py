"""Base class of TFDS builders of episodes that others recorded, in TFDS' catalogue or in files.

experiments.build needs no copy of them: it writes the dataset's description, and training's form is
prepared from where they lie (recorded_episodes.py). `tfds build`, or build with --file_format,
writes them as RLDS as well.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from gato_jax.domain import RecordedDomain, source_to_json
from rlds_builders.base import recorded_episodes, rlds_builder


class CatalogueBuilder(rlds_builder.EpisodesBase, skip_registration=True):  # type: ignore[call-arg]
  """Builds the recorded episodes of one task.

  Subclasses give DOMAIN, with sources, and BUILDER_CONFIGS.
  """

  DOMAIN: ClassVar[RecordedDomain]

  def _info(self) -> tfds.core.DatasetInfo:
    source = self.DOMAIN.sources[self.task]
    self._episodes = recorded_episodes.RecordedEpisodes(self.DOMAIN, self.task)

    return self._episodes_info(
      self._episodes.spec,
      f"{source.dataset} in the form that Gato reads.",
      source=source_to_json(source),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager
    names = ("train", "validation")
    splits = zip(names, self._episodes.splits, strict=False)
    return {name: self._generate_examples(split) for name, split in splits}

  def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    yield from enumerate(self._episodes.records(split))
