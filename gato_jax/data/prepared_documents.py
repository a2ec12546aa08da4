"""Windows of prepared documents (gato_jax/data/prepared_format.py has the format of the files)."""

import json
import pathlib
import zlib

import numpy as np
import zstandard

from gato_jax.data import prepared_format
from gato_jax.data.prepared_file import PreparedFile
from gato_jax.data.prepared_format import BLOCK_TOKENS, CHECK_BYTES, FOLDER, IMAGE, TOKEN
from gato_jax.task import TaskSpec
from gato_jax.tokens import document_layout, patches, vocabulary
from gato_jax.tokens.vocabulary import Kind


class PreparedDocuments(PreparedFile):
  """The sequences of a document task: one a document, of a captioned image one a caption.

  Attributes:
    spec: The task's spec.
    directory: Directory of the dataset.
    tokenizer: Fingerprint of the tokenizer that made the tokens.
    lengths: int64 [sequences], tokens of each sequence.
    patches: int64 [sequences], patches among them.
    documents: int64 [sequences], index of the document that the sequence is of.
  """

  def __init__(self, directory: pathlib.Path, spec: TaskSpec):
    super().__init__(directory, spec)
    header = json.loads((directory / FOLDER / "prepared.json").read_text())
    self.tokenizer = header["tokenizer"]
    self.lengths = self.index["length"]
    self.patches = self.index["patches"]
    self.documents = self.index["document"]

  def window(self, index: int, start: int, stop: int) -> document_layout.DocumentTokens:
    """Reads tokens [start, stop) of a sequence, and the patches among them.

    Raises:
      GatoError: The file does not hold what was written.
    """
    offset = int(self.index["offset"][index])
    image_count = int(self.index["pictures"][index])

    # With images, the patches before `start` have to be counted, so tokens are read from the first.
    first = 0 if image_count else start
    tokens_offset = offset + image_count * IMAGE.itemsize
    ids = self._tokens(tokens_offset, int(self.lengths[index]), start=first, stop=stop)

    # The window's range among all patches of the sequence.
    is_patch = ids == prepared_format.PATCH_MARK
    first_patch = int(is_patch[: start - first].sum())
    end_patch = int(is_patch.sum())
    pixels, positions = self._patches(offset, image_count, start=first_patch, stop=end_patch)

    ids = ids[start - first :]
    is_patch = is_patch[start - first :]
    return document_layout.DocumentTokens(
      tokens=np.where(is_patch, vocabulary.PADDING_ID, ids).astype(np.int32),
      kinds=np.where(is_patch, Kind.PATCH, Kind.TEXT).astype(np.int32),
      given=np.arange(start, stop) < self.index["given"][index],
      patches=pixels,
      positions=positions,
    )

  def _tokens(self, offset: int, length: int, start: int, stop: int) -> np.ndarray:
    """Reads token ids [start, stop) of a sequence and verifies their check sums.

    Args:
      offset: Byte offset of the sequence's first token.
      length: Tokens of the sequence.
      start: First token.
      stop: End, exclusive.
    """
    first_block = start // BLOCK_TOKENS
    end_block = -(-stop // BLOCK_TOKENS)
    block_bytes = BLOCK_TOKENS * TOKEN.itemsize + CHECK_BYTES

    # The last block of a sequence may be shorter, with a check sum of its own.
    block_count = -(-length // BLOCK_TOKENS)
    sequence_bytes = length * TOKEN.itemsize + block_count * CHECK_BYTES
    begin = first_block * block_bytes
    end = min(end_block * block_bytes, sequence_bytes)
    content = self.read_bytes(offset + begin, end - begin)

    blocks = []
    for block_start in range(0, len(content), block_bytes):
      checked_block = content[block_start : block_start + block_bytes]
      block = checked_block[:-CHECK_BYTES]
      check = checked_block[-CHECK_BYTES:]
      if zlib.crc32(block) != int.from_bytes(check, "little"):
        raise self.damaged()
      blocks.append(block)

    ids = np.frombuffer(b"".join(blocks), TOKEN)
    first_token = first_block * BLOCK_TOKENS
    return ids[start - first_token : stop - first_token]

  def _patches(
    self, offset: int, image_count: int, start: int, stop: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Reads patches [start, stop) of a sequence; only images that hold one of them are decoded.

    Returns:
      Patches uint8 [p, 16, 16, 3] and their positions int32 [p, 4].
    """
    pixels = [np.zeros([0, 16, 16, 3], np.uint8)]
    positions = [np.zeros([0, 4], np.int32)]

    table = np.frombuffer(self.read_bytes(offset, image_count * IMAGE.itemsize), IMAGE)

    # Index of the image's first patch among the patches of the sequence.
    first = 0
    for image in table:
      height = int(image["height"])
      width = int(image["width"])
      count = height * width // vocabulary.PATCH_SIDE**2

      # The part of [start, stop) that lies in this image, relative to its first patch.
      part = slice(max(0, start - first), max(0, min(first + count, stop) - first))
      if part.start < part.stop:
        frame = self.read_bytes(int(image["offset"]), int(image["size"]))
        content = self.decompress(zstandard.ZstdDecompressor(), frame)
        array = np.frombuffer(content, np.uint8).reshape(1, height, width, 3)
        pixels.append(patches.to_patches(array)[0, part])
        positions.append(patches.positions(height, width)[part])

      first += count

    return np.concatenate(pixels), np.concatenate(positions)
