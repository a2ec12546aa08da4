"""Files of documents that are damaged, incomplete or odd.

Nothing is lost silently, and one fault does not stop a set.
"""

import gzip
import io
import json
import pathlib
import re
import struct
import tarfile

import numpy as np
import pytest
import zstandard
from PIL import Image
from user_documents import both, jsonl, png, tar, vqa, written

from gato_jax.errors import GatoError, MissingData
from rlds_builders.files import images, streams, user_files

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"
MEMBERS = {
  f"{i:03}.{form}": content
  for i in range(40)
  for form, content in (("png", png(i)), ("txt", b"a pet"))
}
PACKED = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}


def captioned(split: str) -> list:
  return list(user_files.captioned("pets", split, 32))


def whole_tar(tmp_path: pathlib.Path) -> bytes:
  tar(tmp_path / "whole", MEMBERS)
  return (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "A.TAR.ZST", "gzip inside.tar"])
def test_a_tar_is_read_however_it_is_packed(folder, tmp_path, name, capsys):
  pack = {".tar": PACKED[""], ".zst": PACKED[".zst"]}.get(
    pathlib.Path(name.lower()).suffix, PACKED[".gz"]
  )
  pack = PACKED[".gz"] if name.startswith("gzip") else pack
  (folder / name).write_bytes(pack(whole_tar(tmp_path)))
  train, validation = both(captioned)

  assert len(train) + len(validation) == 40 and not capsys.readouterr().err


# An archive of a tar: 512 bytes of header before every member, its content in blocks of 512, two
# blocks of zeros.
def cut_between_members(content: bytes) -> bytes:
  return content[: 1024 * 20]


def cut_in_a_member(content: bytes) -> bytes:
  return content[: 1024 * 20 + 600]


def cut_in_a_header(content: bytes) -> bytes:
  return content[: 1024 * 20 + 100]


def cut_in_the_end(content: bytes) -> bytes:
  return content[: 1024 * 80 + 512]


def with_a_damaged_header(content: bytes) -> bytes:
  return content[: 1024 * 20] + b"\xff" * 10 + content[1024 * 20 + 10 :]


def with_a_second_archive(content: bytes) -> bytes:
  return content * 2


def with_rubbish(content: bytes) -> bytes:
  return content + b"rubbish"


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (cut_between_members, "it ends without the mark of its end"),
    (cut_in_a_member, "unexpected end of data"),
    (cut_in_a_header, "truncated header, at byte 20,480"),
    (cut_in_the_end, "it ends within the mark of its end"),
    (with_a_damaged_header, "bad checksum, at byte 20,480"),
    (with_a_second_archive, "something stands behind its end"),
    (with_rubbish, "something stands behind its end"),
  ],
)
def test_a_tar_is_read_to_its_declared_end(folder, tmp_path, packed, damage, message):
  (folder / f"train.tar{packed}").write_bytes(PACKED[packed](damage(whole_tar(tmp_path))))
  with pytest.raises(
    GatoError, match=rf"^/[^\n]*/train.tar{packed}: cannot be read \({message}[^\n]*$"
  ):
    captioned("train")


def test_a_tar_with_links_is_refused(folder):
  with tarfile.open(folder / "train.tar", "w") as file:
    link = tarfile.TarInfo("0.png")
    link.type, link.linkname = tarfile.LNKTYPE, "elsewhere.png"
    file.addfile(link)

  with pytest.raises(
    GatoError, match=r"train.tar: .*0.png is a link or a device; pack it with --dereference"
  ):
    captioned("train")


LINES = b'{"text": "one"}\n' * 1000


def block_gzip(content: bytes) -> bytes:
  """Compresses as bgzip does: members with their size in an extra field, and an empty last one."""
  packed = gzip.compress(content, mtime=0)
  size = struct.pack("<H", len(packed) + 8 - 1)
  member = packed[:3] + b"\x04" + packed[4:10] + b"\x06\x00BC\x02\x00" + size + packed[10:]
  return member * 2 + streams._BLOCK_GZIP_END


def test_what_bgzip_writes_is_read(folder):
  (folder / "train.jsonl.gz").write_bytes(block_gzip(LINES))
  (folder / "val.jsonl").write_bytes(LINES)
  assert len(list(user_files.texts("pets", "train"))) == 2000


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.jsonl.gz", b"", "cannot be read .it is empty.; is it whole"),
    ("a.jsonl.zst", b"", "cannot be read .it is empty.; is it whole"),
    ("a.jsonl.gz", gzip.compress(LINES) + b"rubbish", "cannot be read .Not a gzipped file"),
    (
      "a.jsonl.gz",
      gzip.compress(LINES) + gzip.compress(LINES)[:-3],
      "cannot be read .Compressed file ended before",
    ),
    (
      "a.jsonl.gz",
      block_gzip(LINES)[: -len(streams._BLOCK_GZIP_END)],
      "cannot be read .it ends without the last",
    ),
    ("a.jsonl.zst", PACKED[".zst"](LINES) + b"rubbish", "cannot be read"),
    (
      "a.jsonl.zst",
      PACKED[".zst"](LINES) + b"\x28",
      "cannot be read .it ends inside a zstandard frame",
    ),
    ("a.jsonl", POINTER, "only points to its content in Git LFS or git-annex; fetch it"),
    ("a.txt", POINTER, "only points to its content in Git LFS or git-annex; fetch it"),
  ],
)
def test_a_packed_file_is_read_to_its_declared_end(folder, name, content, message):
  (folder / name).write_bytes(content)
  with pytest.raises(GatoError, match=rf"^/[^\n]*/{name}: {message}[^\n]*$"):
    both(lambda split: user_files.texts("pets", split))


def test_what_is_not_read_is_named_once(folder, capsys):
  written(folder, range(3))
  (folder / "train.tsv").write_text("a pet\tpictures/0.png\n")
  (folder / "val.tsv").write_text("a pet\tpictures/1.png\n")

  for name in (
    "a.tar.bz2",
    "b.parquet",
    "c.parquet",
    "shard",
    "README.md",
    "LICENSE",
    "SHA256SUMS.sha256",
  ):
    (folder / name).write_bytes(b"x")

  both(captioned)
  told = capsys.readouterr().err.splitlines()

  assert told == [
    f"pets: not read in {folder}: 1 .tar.bz2 (a.tar.bz2), 2 .parquet (b.parquet, ...), 1 without an ending (shard); "
    "what is read is .tsv or .jsonl beside their pictures, or webdataset .tar, or .gz or .zst of these"
  ]

  for name in ("train.tsv", "val.tsv"):
    (folder / name).unlink()

  with pytest.raises(
    MissingData, match=r"pets holds no such file, but 1 .tar.bz2 \(a.tar.bz2\), 2 .parquet .*; put "
  ):
    captioned("train")


def test_answers_are_not_named_as_unread(folder, capsys):
  vqa(folder, "train2014", "v2_", range(30))
  both(lambda split: user_files.questions("pets", split, 32))
  assert not capsys.readouterr().err


def exif_with_a_malformed_resolution(orientation: int) -> bytes:
  entries = struct.pack(">HHII", 0x112, 3, 1, orientation << 16) + struct.pack(
    ">HHII", 0x11A, 10, 1, 60
  )
  exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + entries + b"\0" * 4
  return exif.ljust(66, b"\0") + struct.pack(">ii", -1, 0)  # -1 / 0


@pytest.mark.parametrize(
  ("exif", "shape"),
  [
    (exif_with_a_malformed_resolution(6), (64, 32, 3)),  # the orientation can be read
    (b"Exif\0\0MM\0*\xff\xff\xff\xff", (32, 64, 3)),
    (b"Exif\0\0rubbish", (32, 64, 3)),
  ],
)
def test_a_picture_with_malformed_exif_is_used(exif, shape):
  file = io.BytesIO()
  Image.new("RGB", (64, 32), (255, 0, 0)).save(file, "JPEG", exif=exif)
  assert images.fit(file.getvalue(), 64, "odd.jpg").shape == shape


@pytest.mark.parametrize(
  ("dtype", "reason"),
  [(np.int32, "grey of 32 bits, signed"), (np.int16, "grey of 16 bits, signed")],
)
def test_numbers_without_a_white_are_no_picture(dtype, reason):
  """A depth of 300 millimetres has no grey value until the user says which depth is white."""
  file = io.BytesIO()
  info = {258: 8 * np.dtype(dtype).itemsize, 339: 2}
  image = Image.fromarray(np.full((32, 32), 300, np.int32))
  if dtype == np.int16:
    image = Image.frombytes("I;16", (32, 32), np.full((32, 32), 300, np.int16).tobytes())
  image.save(file, "TIFF", tiffinfo=info)

  with pytest.raises(images.BadImage, match=reason):
    images.fit(file.getvalue(), 32, "depth.tif")


@pytest.mark.parametrize("form", ["tsv", "jsonl"])
def test_an_empty_caption_does_not_stop_a_set(folder, capsys, form):
  written(folder, range(30))
  captions = {i: f"pet {i}" if i != 7 else " " for i in range(30)}

  if form == "tsv":
    lines = [f"{caption}\tpictures/{i}.png\n" for i, caption in captions.items()]
    (folder / "train.tsv").write_text("".join(lines))
  else:
    jsonl(
      folder / "train.jsonl",
      [{"image": f"pictures/{i}.png", "caption": c} for i, c in captions.items()],
    )

  found = captioned("train")

  assert len(found) == 29
  assert capsys.readouterr().err.splitlines() == [
    f"refused: {folder}/train.{form}:8: pictures/7.png: no caption",
    "pets, train: refused 1 of 30 pictures",
  ]


def test_a_line_without_a_text_does_not_stop_a_set(folder, capsys):
  (folder / "val.txt").write_text("held out")
  jsonl(folder / "train.jsonl", [{"text": f"line {i}" if i != 7 else None} for i in range(30)])

  assert len(list(user_files.texts("pets", "train"))) == 29
  assert capsys.readouterr().err.splitlines() == [
    f"refused: {folder}/train.jsonl:8: field \"text\" must be a text, this is 'None'",
    "pets, train: refused 1 of 30 texts",
  ]


def changed(path: pathlib.Path, change) -> None:
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


@pytest.mark.parametrize(
  ("question", "annotation", "found", "told"),
  [
    ({}, {"answers": [{"answer": 2}]}, ("2",), ""),
    ({}, {"answers": [{"answer": 2.5}, {"answer": True}]}, ("2.5", "true"), ""),
    (
      {},
      {"answers": [{"answer": None}, {"answer": "red"}]},
      ("red",),
      "left out 1 answers that are null or empty",
    ),
    (
      {},
      {"answers": []},
      None,
      "question 5000: its answers in v2_mscoco_train2014_annotations.json are empty",
    ),
    (
      {},
      {"answers": None},
      None,
      "question 5000: its answers in v2_mscoco_train2014_annotations.json are empty",
    ),
    (
      {},
      {"answers": "red"},
      None,
      "question 5000: its answers in v2_mscoco_train2014_annotations.json are empty",
    ),
    ({}, {"answers": [{"answer": " "}]}, None, "question 5000: its answers in .* are empty"),
    (
      {},
      {"question_id": None},
      None,
      "question 5000: v2_mscoco_train2014_annotations.json has no answers to it",
    ),
    ({"question": None}, {}, None, "question 5000: its text is None"),
    ({"question": "\ud83d"}, {}, None, "question 5000: its text is"),
    ({"question_id": None}, {}, None, "question None: it has no question_id"),
    ({"image_id": None}, {}, None, "question 5000: it has no image_id"),
  ],
)
def test_one_odd_question_does_not_stop_a_set(folder, capsys, question, annotation, found, told):
  vqa(folder, "train2014", "v2_", range(20))
  jsonl(
    folder / "v2_OpenEnded_mscoco_val2014_questions.json", []
  )  # says that the split of the other file is train
  changed(
    folder / "v2_OpenEnded_mscoco_train2014_questions.json",
    lambda c: c["questions"][10].update(question),
  )
  changed(
    folder / "v2_mscoco_train2014_annotations.json",
    lambda c: c["annotations"][-11].update(annotation),
  )
  read = list(user_files.questions("pets", "train", 32))

  assert len(read) == (39 if found is None else 40)

  if found:
    assert read[10].answers == found
  error = capsys.readouterr().err

  assert bool(error) == bool(told)

  if told:
    assert re.search(told, error)
    assert found or "refused 1 of 40 questions" in error
