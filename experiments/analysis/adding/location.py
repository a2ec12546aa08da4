"""Recognises recorded episodes by what lies at a path."""

import pathlib

from gato_jax.errors import GatoError


def dataset_of(text: str) -> str:
  """Returns the Source.dataset of a path, by what lies there.

  Raises:
    GatoError: Nothing that is known lies there.
  """
  path = pathlib.Path(text).expanduser()
  if not path.exists():
    # A name with its format, which says by itself whether there is such a thing.
    if ":" in text:
      return text
    raise GatoError(
      f"--from={text}: there is nothing; give a path, or tfds:NAME or minari:NAME of a dataset"
    )

  path = path.resolve()
  if path.is_file():
    if path.suffix in (".hdf5", ".h5"):
      return f"hdf5:{path}"
    raise GatoError(f"--from={path}: a file must be HDF5, .hdf5 or .h5; of others give the folder")

  for form, mark in (
    ("lerobot", "meta/info.json"),
    ("minari", "data/main_data.hdf5"),
    ("rlds", "dataset_info.json"),
  ):
    if (path / mark).exists():
      return f"{form}:{path}"
  if any(path.glob("*.npz")) or any(path.glob("*/*.npz")):
    return f"npz:{path}"

  # TFDS keeps NAME/CONFIG/VERSION.
  below = sorted(path.glob("**/dataset_info.json"))
  hint = f"; did you mean --from={below[-1].parent}?" if below else ""
  raise GatoError(
    f"--from={path}: neither LeRobot (meta/info.json), Minari (data/main_data.hdf5), TFDS "
    f"(dataset_info.json) nor .npz files are there{hint}"
  )
