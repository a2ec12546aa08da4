"""Steps of episodes, and pieces of documents, by random access at a cost that does not grow with the episode.

An RLDS record is one episode: to read a window of it, all of it has to be read and parsed. So each dataset has a
prepared form beside its records, written by gato_jax/data/prepare.py and derived from them alone:

  <dataset>/gato_prepared/
    prepared.json   format, fingerprints of the records and of the tokenizer, size of data.bin, hash of index.npy
    index.npy       one EPISODE each, or one DOCUMENT for each sequence that is learned from a document
    data.bin        episodes: per episode its images and new texts, a Zstandard frame each, then its steps, a packed
                    record each (`step_dtype`). Documents: per document its pictures, a Zstandard frame each, then for
                    each sequence a PICTURE each and the token ids, uint16, with PATCH_MARK where a patch stands, in
                    blocks of BLOCK_TOKENS with a CRC-32 behind each

Files are read with pread and not mapped: resident memory stays flat and a truncated file is an error, not a SIGBUS.
"""

import functools
import hashlib
import json
import os
import pathlib
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import zstandard

from gato_jax import results, returns, specs
from gato_jax.data import records
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, layout, patches, prose, vocabulary
from gato_jax.tokens.vocabulary import Kind

FOLDER = "gato_prepared"
FORMAT = 4  # raised when what is written changes
EPISODE = np.dtype(
  [("offset", np.uint64), ("length", np.int64), ("return", np.float64), ("seed", np.int64), ("disturbed", np.bool_)]
)
DOCUMENT = np.dtype(
  [(name, np.int64) for name in ("offset", "length", "pictures", "patches", "given", "document")]
)  # given: tokens before an answer
PICTURE = np.dtype([("offset", np.uint64), ("size", np.uint32), ("height", np.uint16), ("width", np.uint16)])
TOKEN = np.dtype(np.uint16)
PATCH_MARK = np.iinfo(TOKEN).max  # no token id: there are 33,025
_BLOB = np.dtype([("offset", np.uint64), ("size", np.uint32)])  # of a text or an image in data.bin
BLOCK_TOKENS = 512  # of a document; a window reads the blocks that it lies in
_SAMPLED = 4096  # bytes
_CACHED_TEXTS = 1024


def step_dtype(spec: specs.TaskSpec) -> np.dtype:
  """One step of a task in data.bin: tensors as they are, texts and images by their place, the sum of rewards from it
  on, and a check sum."""
  fields = []
  for key, field in sorted(spec.observation.items()):
    blob = layout.kind_of(key, field) in (Kind.TEXT, Kind.PATCH)
    fields.append((f"observation/{key}", _BLOB) if blob else (f"observation/{key}", field.dtype, field.shape))
  actions = [(name, spec.action.dtype, spec.action.shape) for name in ("action", "expert_action")]
  return np.dtype([*fields, *actions, (specs.RETURN_TO_GO, np.float32), ("check", np.uint32)])


def check_sums(steps: np.ndarray) -> np.ndarray:
  """Returns the CRC-32 of each packed step, uint32 [n]; that of a step that is all zero is not zero."""
  size = steps.dtype.itemsize
  content = memoryview(np.ascontiguousarray(steps)).cast("B")
  sums = [zlib.crc32(content[at : at + size - 4]) for at in range(0, len(content), size)]
  return np.array(sums, np.uint32)


def with_checks(tokens: np.ndarray) -> bytes:
  """Returns TOKENs as they lie in data.bin, a CRC-32 behind each block."""
  blocks = [tokens[at : at + BLOCK_TOKENS].tobytes() for at in range(0, len(tokens), BLOCK_TOKENS)]
  return b"".join(block + zlib.crc32(block).to_bytes(4, "little") for block in blocks)


def source_fingerprint(directory: pathlib.Path) -> str:
  """Hash of a dataset's description and of samples of its records: cheap enough to be asked at every start."""
  found = sorted(directory.glob("*.array_record*"))
  digest = hashlib.sha256((directory / "dataset_info.json").read_bytes())
  for name in ("features.json", "metadata.json"):
    digest.update((directory / name).read_bytes())
  for path in found[:: max(1, len(found) // 4)]:
    size = path.stat().st_size
    digest.update(f"{path.name} {size}".encode())
    with path.open("rb") as file:
      for at in (0, size // 3, 2 * size // 3):
        file.seek(at)
        digest.update(file.read(_SAMPLED))
  return digest.hexdigest()[:16]


def tokenizer_fingerprint(text: codec.TextCodec) -> str:
  return hashlib.sha256(text.model).hexdigest()[:16]


def index_fingerprint(folder: pathlib.Path) -> str:
  return hashlib.sha256((folder / "index.npy").read_bytes()).hexdigest()[:16]


def fault(directory: pathlib.Path) -> str:
  """Why the prepared form of the dataset in `directory` cannot be used, or ""."""
  folder = directory / FOLDER
  if not (folder / "prepared.json").exists():
    return f"{directory} is not prepared for training"
  header = json.loads((folder / "prepared.json").read_text())
  if header["format"] != FORMAT:
    return f"{folder} is of format {header['format']}, this version reads {FORMAT}"
  if header["source"] != source_fingerprint(directory):
    return f"{folder} was prepared from other records than those beside it"
  whole = all((folder / name).exists() for name in ("index.npy", "data.bin"))
  if (
    not whole or (folder / "data.bin").stat().st_size != header["bytes"] or index_fingerprint(folder) != header["index"]
  ):
    return f"{folder} is damaged"
  return ""


class _Prepared:
  """What episodes and documents share: the index, and reading of data.bin by place."""

  def __init__(self, directory: pathlib.Path, spec: specs.TaskSpec):
    self.spec = spec
    self.directory = directory
    self._index = np.load(directory / FOLDER / "index.npy")
    self._file = (directory / FOLDER / "data.bin").open("rb", buffering=0)

  def __len__(self) -> int:
    return len(self._index)

  def _read(self, offset: int, size: int) -> bytes:
    content = os.pread(self._file.fileno(), size, offset)
    if len(content) != size:
      raise self._damaged()
    return content

  def _decompress(self, decompressor: zstandard.ZstdDecompressor, frame: bytes | memoryview) -> bytes:
    try:
      return decompressor.decompress(frame)
    except zstandard.ZstdError as e:
      raise self._damaged() from e

  def _damaged(self) -> GatoError:
    folder = self.directory / FOLDER
    return GatoError(f"{folder} is damaged; delete the folder and run python -m experiments.build")


class Documents(_Prepared):
  """The sequences of a document task: one a document, of a captioned picture one a caption.

  Attributes:
    tokenizer: fingerprint of the one that made the tokens.
    lengths, patches: int64 [sequences], tokens of each, patches among them. documents: int64, of which document it is.
  """

  def __init__(self, directory: pathlib.Path, spec: specs.TaskSpec):
    super().__init__(directory, spec)
    self.tokenizer = json.loads((directory / FOLDER / "prepared.json").read_text())["tokenizer"]
    self.lengths, self.patches, self.documents = (self._index[name] for name in ("length", "patches", "document"))

  def window(self, index: int, start: int, stop: int) -> prose.Prose:
    """Tokens [start, stop) of a sequence, and the patches among them."""
    count = int(self._index["pictures"][index])
    offset = int(self._index["offset"][index])
    tokens_at = offset + count * PICTURE.itemsize
    first = 0 if count else start  # how many patches come before `start` is not known without counting
    ids = self._tokens(tokens_at, int(self.lengths[index]), first, stop)
    is_patch = ids == PATCH_MARK
    before, until = int(is_patch[: start - first].sum()), int(is_patch.sum())
    ids, is_patch = ids[start - first :], is_patch[start - first :]
    pixels, positions = self._patches(offset, count, before, until)
    return prose.Prose(
      tokens=np.where(is_patch, vocabulary.PADDING_ID, ids).astype(np.int32),
      kinds=np.where(is_patch, Kind.PATCH, Kind.TEXT).astype(np.int32),
      given=np.arange(start, stop) < self._index["given"][index],
      patches=pixels,
      positions=positions,
    )

  def _tokens(self, at: int, length: int, start: int, stop: int) -> np.ndarray:
    """Token ids [start, stop) of a sequence of `length` that lies at `at`, after a look at their check sums."""
    first, last = start // BLOCK_TOKENS, -(-stop // BLOCK_TOKENS)
    block_bytes = BLOCK_TOKENS * TOKEN.itemsize + 4
    size = min(last * block_bytes, length * TOKEN.itemsize + 4 * -(-length // BLOCK_TOKENS)) - first * block_bytes
    content = self._read(at + first * block_bytes, size)

    blocks = []
    for begin in range(0, len(content), block_bytes):
      checked = content[begin : begin + block_bytes]
      block, check = checked[:-4], checked[-4:]
      if zlib.crc32(block) != int.from_bytes(check, "little"):
        raise self._damaged()
      blocks.append(block)

    ids = np.frombuffer(b"".join(blocks), TOKEN)
    return ids[start - first * BLOCK_TOKENS : stop - first * BLOCK_TOKENS]

  def _patches(self, offset: int, count: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches [start, stop) of a sequence with `count` pictures; only those that they lie in are decoded."""
    pixels, positions = [np.zeros([0, 16, 16, 3], np.uint8)], [np.zeros([0, 4], np.int32)]
    table = np.frombuffer(self._read(offset, count * PICTURE.itemsize), PICTURE)
    sides = table["height"].astype(int), table["width"].astype(int)
    ends = np.cumsum(sides[0] * sides[1] // vocabulary.PATCH_SIDE**2)
    for place, height, width, end in zip(table, *sides, ends, strict=True):
      begin = end - height * width // vocabulary.PATCH_SIDE**2
      piece = slice(max(0, start - begin), max(0, min(end, stop) - begin))
      if piece.start < piece.stop:
        frame = self._decompress(zstandard.ZstdDecompressor(), self._read(int(place["offset"]), int(place["size"])))
        picture = np.frombuffer(frame, np.uint8).reshape(1, height, width, 3)
        pixels.append(patches.to_patches(picture)[0, piece])
        positions.append(patches.positions(height, width)[piece])
    return np.concatenate(pixels), np.concatenate(positions)


class Window(NamedTuple):
  """Steps of episodes, as training reads them.

  Attributes:
    observation: flat key -> column [n, ...].
    action: [n, ...], what was executed. expert_action: [n, ...], what the expert would have done there.
  """

  observation: dict[str, np.ndarray]
  action: np.ndarray
  expert_action: np.ndarray


class Episodes(_Prepared):
  """The episodes of a control task.

  Attributes:
    spec: the task's spec, from the dataset; with the return-to-go as one more field where that is asked for.
    returns, lengths: float64, int64 [episodes], in collection order.
    expert_return: GATO_SPEC section 4's expert return, of the undisturbed episodes.
    kept: indices of the episodes whose return reaches `keep` of the expert return; all of them where it is 0.
  """

  def __init__(self, directory: pathlib.Path, spec: specs.TaskSpec, keep: float = 0.8, with_returns: bool = False):
    super().__init__(directory, spec)
    self._dtype = step_dtype(spec)
    self._kinds = {key: layout.kind_of(key, field) for key, field in sorted(spec.observation.items())}
    self._offsets = self._index["offset"].astype(np.int64)
    self.returns = self._index["return"]
    self.lengths = self._index["length"]
    self.expert_return = results.expert_return(self.returns[~self._index["disturbed"]])
    self.kept = np.flatnonzero(results.reaches(self.returns, self.expert_return, keep))
    if with_returns:
      self.spec = spec.with_return_to_go(self.expert_return)
    self._text = functools.lru_cache(_CACHED_TEXTS)(self._read_text)  # an instruction repeats through an episode

  def best(
    self, count: int = 4, episode_bytes: int = 4 << 20, among: np.ndarray | None = None
  ) -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Returns the best episodes, whole, with the actions that were executed: demonstrations for prompting.

    Args:
      among: indices of the episodes that may be shown; by default all that are kept.

    An episode of more than `episode_bytes` (decoded; texts are not counted) loses its middle. Its first and last steps,
    which prompts are cut from, stay; only a piece from anywhere may cross the gap, and seldom does.
    """
    fields = [f for f in (*self.spec.observation.values(), self.spec.action) if np.dtype(f.dtype) != object]
    step_bytes = sum(int(np.prod(f.shape)) * np.dtype(f.dtype).itemsize for f in fields)
    half = max(1, episode_bytes // step_bytes // 2)
    demonstrations = []
    among = self.kept if among is None else among
    for i in among[np.argsort(-self.returns[among], kind="stable")[:count]].tolist():
      length = int(self.lengths[i])
      pieces = [(i, 0, length)] if length <= 2 * half else [(i, 0, half), (i, length - half, length)]
      demonstrations.append(self.windows(pieces))
    return demonstrations

  def window(self, index: int, start: int, stop: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Flat observation columns and actions of steps [start, stop) of one episode."""
    return self.windows([(index, start, stop)])

  def windows(self, pieces: Sequence[tuple[int, int, int]]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Reads several windows (episode, start, stop): observations and executed actions, as `read` does."""
    window = self.read(pieces)
    return window.observation, window.action

  def read(self, pieces: Sequence[tuple[int, int, int]]) -> "Window":
    """Reads several windows (episode, start, stop), one after the other, n steps in all.

    Raises:
      GatoError: the file does not hold what was written.
    """
    steps = self._steps(pieces)
    ends = np.cumsum([stop - start for _, start, stop in pieces])
    observation = {}
    for key, kind in self._kinds.items():
      column = steps[f"observation/{key}"]
      if kind == Kind.TEXT:
        column = self._texts(column)
      elif kind == Kind.PATCH:
        column = self._images(column, ends, self.spec.observation[key].shape)
      observation[key] = column
    if self.spec.expert_return is not None:
      observation[specs.RETURN_TO_GO] = returns.percent(steps[specs.RETURN_TO_GO], self.spec.expert_return)
    return Window(observation, steps["action"], steps["expert_action"])

  def returns_to_go(self, index: int, start: int, stop: int) -> np.ndarray:
    """float32 [n], of steps [start, stop) of one episode: the sum of rewards from each on, whatever is asked for."""
    return self._steps([(index, start, stop)])[specs.RETURN_TO_GO]

  def _steps(self, pieces: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Packed steps [n] of several windows."""
    size = self._dtype.itemsize
    content = [self._read(int(self._offsets[e]) + start * size, (stop - start) * size) for e, start, stop in pieces]
    steps = np.frombuffer(b"".join(content), self._dtype)
    if not np.array_equal(check_sums(steps), steps["check"]):
      raise self._damaged()
    return steps

  def _texts(self, places: np.ndarray) -> np.ndarray:
    """Places [n] -> bytes, dtype object [n], as TFDS has texts."""
    texts = np.empty(len(places), object)
    texts[:] = [self._text(offset, size) for offset, size in places.tolist()]
    return texts

  def _read_text(self, offset: int, size: int) -> bytes:
    return self._decompress(zstandard.ZstdDecompressor(), self._read(offset, size))

  def _images(self, places: np.ndarray, ends: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Places [n] -> uint8 [n, *shape]. The images of one window, which ends where `ends` says, lie side by side."""
    decompressor, images = zstandard.ZstdDecompressor(), []  # not to be shared by threads
    offsets, sizes = places["offset"].astype(np.int64), places["size"].astype(np.int64)
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
      first = int(offsets[begin])
      block = memoryview(self._read(first, int(offsets[end - 1] + sizes[end - 1]) - first))
      for at, size in zip((offsets[begin:end] - first).tolist(), sizes[begin:end].tolist(), strict=True):
        images.append(self._decompress(decompressor, block[at : at + size]))
    return np.frombuffer(b"".join(images), np.uint8).reshape(-1, *shape)


def load(
  tfds_dir: pathlib.Path, task: str, keep: float = 0.8, with_returns: bool = False, version: str = "1.0.0"
) -> Episodes | Documents:
  """The prepared dataset of "domain.task" under `tfds_dir`; GatoError where there is none that fits its records."""
  directory = records.directory_of(tfds_dir, task, version)
  spec = records.load_spec(directory)
  reason = fault(directory)
  if reason:
    raise GatoError(f"{reason}; run python -m experiments.build")
  return Documents(directory, spec) if spec.is_document else Episodes(directory, spec, keep, with_returns)
