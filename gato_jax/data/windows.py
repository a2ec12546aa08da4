"""The rows that a task contributes to batches, drawn from its episodes or its documents."""

from gato_jax.data import prepared
from gato_jax.data.document_windows import DocumentWindows
from gato_jax.data.episode_windows import EpisodeWindows
from gato_jax.data.mixture import MixtureConfig
from gato_jax.tokens import codec

Windows = EpisodeWindows | DocumentWindows


def make_windows(
  data: prepared.PreparedEpisodes | prepared.PreparedDocuments,
  text: codec.TextCodec,
  config: MixtureConfig,
  max_local_positions: int,
  split: str = "train",
) -> Windows:
  """Returns the rows of a dataset's "train" or "validation" split."""
  if isinstance(data, prepared.PreparedDocuments):
    return DocumentWindows(data, text, config=config, split=split)

  return EpisodeWindows(
    data, text, config=config, max_local_positions=max_local_positions, split=split
  )
