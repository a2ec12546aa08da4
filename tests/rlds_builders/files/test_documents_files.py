"""Small real files of every kind that users have, read as documents of their domains."""

import gzip
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
import zstandard
from user_documents import both, colour, jsonl, png, tar, vqa, written

import rlds_builders
from gato_jax.errors import GatoError, MissingData
from rlds_builders.base import rlds_builder, sources
from rlds_builders.files import streams, user_files


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_texts_of_every_form(folder, packed):
  jsonl(folder / f"some.jsonl{packed}", [{"text": f"Line {i}, ünï\nand more."} for i in range(400)])
  (folder / "books").mkdir()
  for i in range(100):
    jsonl(folder / "books" / f"{i}.txt{packed}", [f"Book {i}"])
  (folder / "empty.txt").write_text(" \n")
  train, validation = both(lambda split: user_files.texts("pets", split))

  assert sorted(train + validation) == sorted(
    [f"Line {i}, ünï\nand more." for i in range(400)] + [f'"Book {i}"\n' for i in range(100)]
  )
  assert 10 < len(validation) < 45


def test_a_file_that_says_so_is_the_validation_split(folder):
  (folder / "train").mkdir()
  (folder / "Validation").mkdir()
  for i in range(30):
    (folder / "train" / f"{i}.txt").write_text(f"train {i}")
  (folder / "Validation" / "a.txt").write_text("held out")
  (folder / "book_test.txt").write_text("held out too")
  (folder / "interval.txt").write_text("of training")  # only whole words count
  train, validation = both(lambda split: user_files.texts("pets", split))

  assert validation == ["held out", "held out too"] and len(train) == 31


def test_names_in_capitals_are_read_and_hidden_files_are_not(folder):
  (folder / "VAL.TXT").write_text("held out")
  (folder / "A.JSONL.GZ").write_bytes(gzip.compress(b'{"text": "in capitals"}'))
  (folder / ".git").mkdir()
  for name in ("._A.txt", ".jsonl", ".git/a.txt"):
    (folder / name).write_bytes(b"\xff")
  train, validation = both(lambda split: user_files.texts("pets", split))

  assert train == ["in capitals"] and validation == ["held out"]


def test_long_texts_are_cut_between_paragraphs(folder, monkeypatch):
  monkeypatch.setattr(user_files, "DOCUMENT_CHARACTERS", 100)
  whole = "\n\n".join(f"Paragraph {i}." for i in range(200)) + "\n" + "x" * 250
  (folder / "long.txt").write_text(whole)
  (folder / "val.txt").write_text("held out")
  pieces = list(user_files.texts("pets", "train"))

  assert "".join(pieces) == whole and max(map(len, pieces)) == 100
  assert sum(piece.startswith("Paragraph") for piece in pieces) > 20


def test_all_frames_of_a_zst_are_read(tmp_path):
  pack = zstandard.ZstdCompressor().compress
  (tmp_path / "a.txt.zst").write_bytes(pack(b"one\ntw") + pack(b"o\n" * 100_000) + pack(b"end"))
  read = [line for _, line in streams.lines(tmp_path / "a.txt.zst")]
  assert read[:3] == ["one", "two", "o"] and read[-1] == "end" and len(read) == 100_002


def cut(pack) -> bytes:
  return pack(np.random.default_rng(0).bytes(10_000).hex().encode())[:-100]


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.jsonl", b'{"text": "good"}\n\n{"text": \n', r"a.jsonl:3: not JSON"),
    (
      "a.jsonl",
      b'{"text": "good"}\n["text"]\n',
      r"a.jsonl:2: a line must hold one JSON object, this is a list",
    ),
    ("a.jsonl", b'{"txt": "good"}\n', r'a.jsonl:1: field "text" must be a text, this is \'None\''),
    ("a.jsonl", b'{"text": "half: \\ud83d"}\n', r'a.jsonl:1: field "text" holds half a character'),
    ("a.txt", b"\xff\xfe no", r"a.txt: not UTF-8 text .*; convert it"),
    ("a.txt.gz", b"no gzip", r"a.txt.gz: cannot be read .*; is it whole"),
    ("a.txt.gz", cut(gzip.compress), r"a.txt.gz: cannot be read .*; is it whole"),
    ("a.txt.zst", b"no zstandard", r"a.txt.zst: cannot be read .*; is it whole"),
    (
      "a.txt.zst",
      cut(zstandard.ZstdCompressor().compress),
      r"a.txt.zst: cannot be read \(it ends inside",
    ),
  ],
)
def test_a_damaged_text_is_one_clear_error(folder, name, content, message):
  (folder / name).write_bytes(content)
  with pytest.raises(GatoError, match=message) as error:
    both(lambda split: user_files.texts("pets", split))
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [user_files.captioned, user_files.pages, user_files.questions])
def test_missing_data_is_one_line_that_says_where(folder, read):
  with pytest.raises(
    MissingData, match=r"^cars: .*/cars is not there; put .* there .*README.* experiments.build$"
  ):
    read("cars", "train", 32)

  with pytest.raises(MissingData, match=r"^pets: .*/pets holds no such file; put "):
    read("pets", "train", 32)
  with pytest.raises(GatoError, match="unknown split of documents: 'test'"):
    read("pets", "test", 32)


def test_texts_that_are_missing(folder):
  with pytest.raises(
    MissingData, match=r'pets holds no such file; put .txt or .jsonl \(field "text"\)'
  ):
    user_files.texts("pets", "train")

  (folder / "val.txt").write_text("held out")

  with pytest.raises(MissingData, match="all files in .* say that they are for validation"):
    user_files.texts("pets", "train")


def check_captioned(found, count: int) -> None:
  """Asserts that each pet has the colour of the number in its caption."""
  assert len(found) == count
  for one in found:
    assert one.image.shape == (48, 48, 3)
    assert all(caption.split()[0] == "pet" for caption in one.captions)
    assert colour(one.image) == int(one.captions[0].split()[1]) % 3


def test_tsv(folder):
  written(folder, range(80))
  (folder / "a.tsv").write_text("".join(f"pet {i} sits\tpictures/{i}.png\n" for i in range(80)))
  train, validation = both(lambda split: user_files.captioned("pets", split, 48))
  check_captioned(train + validation, 80)
  assert 0 < len(validation) < 12


def test_tsv_with_a_header(folder):
  written(folder, range(3))
  lines = ["image\tid\tcaption", *(f"pictures/{i}.png\t{i}\tpet {i}" for i in range(3))]
  (folder / "a.tsv.gz").write_bytes(gzip.compress("\r\n".join(lines).encode()))
  train, validation = both(lambda split: user_files.captioned("pets", split, 48))
  check_captioned(train + validation, 3)


def test_jsonl_with_one_caption_or_several(folder):
  written(folder / "in", range(6))
  records = [
    {"image": f"pictures/{i}.png", "captions": [f"pet {i}", f"pet number {i}", " "]}
    for i in range(3)
  ]
  records += [{"image": f"pictures/{i}.png", "caption": f"pet {i}"} for i in range(3, 6)]
  jsonl(folder / "in" / "train.jsonl.zst", records)
  jsonl(folder / "val.jsonl", [{"image": "in/pictures/0.png", "caption": "pet 0"}])
  train, validation = both(lambda split: user_files.captioned("pets", split, 48))
  check_captioned(train, 6)
  check_captioned(validation, 1)

  assert [len(one.captions) for one in train] == [2, 2, 2, 1, 1, 1]


def test_webdataset_tar(folder, capsys):
  members = {}
  for i in range(100):
    form = ("jpg", "jpeg", "png", "webp")[i % 4]
    members[f"{i:05}.{form}"] = png(i, {"png": "PNG", "webp": "WEBP"}.get(form, "JPEG"))
    if i % 2:
      members[f"{i:05}.txt"] = f"pet {i}\n".encode()
    members[f"{i:05}.json"] = json.dumps({"caption": f"pet {i}", "url": "x"}).encode()

  members["00100.txt"] = b"no picture"
  members["00101.png"] = png(0)
  members["00102.png"], members["00102.txt"] = b"", b"pet 102"
  members["00103.png"], members["00103.json"] = png(0), b'{"caption": null}'
  tar(folder / "train-0.tar", members)
  tar(folder / "val-0.tar", {"a/0.png": png(1), "a/0.json": b'{"captions": ["pet 1", "pet one"]}'})
  train, validation = both(lambda split: user_files.captioned("pets", split, 48))
  check_captioned(train, 100)

  assert [one.captions for one in validation] == [("pet 1", "pet one")]

  told = capsys.readouterr().err.splitlines()
  reasons = (
    "00100: no picture",
    "00101: no caption",
    "00102: the file is empty",
    "00103: no caption",
  )

  assert told[:4] == [f"refused: {folder}/train-0.tar/{reason}" for reason in reasons]
  assert told[4] == "pets, train: refused 4 of 104 pictures"


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    (
      "a.tsv",
      b"a cat\tpictures/0.png\nno tab\n",
      "a.tsv:2: a line is a caption, a tab and .*; this one has 1 fields",
    ),
    (
      "a.tsv",
      b"\tpictures/0.png\n",
      "refused 1 of 1 pictures, .*a.tsv:1: pictures/0.png: no caption",
    ),
    (
      "a.tsv",
      b"a cat\thttp://x.org/cat.jpg\n",
      "a.tsv:1: 'http://x.org/cat.jpg' is an address; fetch",
    ),
    ("a.jsonl", b'{"image": "pictures/0.png"}\n', "refused 1 of 1 pictures, .*: no caption"),
    (
      "a.jsonl",
      b'{"image": "pictures/0.png", "captions": "cat"}\n',
      'a.jsonl:1: "captions" must be a list',
    ),
    (
      "a.jsonl",
      b'{"image": "pictures/0.png", "captions": [1]}\n',
      "a.jsonl:1: a caption must be a text, this is '1'",
    ),
    ("a.jsonl", b'{"caption": "a cat"}\n', 'a.jsonl:1: field "image" must be a text'),
    ("a.tar", b"no tar", "a.tar: cannot be read .*; is it whole"),
  ],
)
def test_a_wrong_file_of_captions_is_one_clear_error(folder, name, content, message):
  written(folder, [0])
  (folder / name).write_bytes(content)
  with pytest.raises(GatoError, match=message) as error:
    both(lambda split: user_files.captioned("pets", split, 48))
  assert "\n" not in str(error.value)


def test_a_tar_that_is_cut_off_or_holds_no_text(folder):
  tar(folder / "a.tar", {f"{i}.png": np.random.default_rng(i).bytes(3000) for i in range(10)})
  (folder / "a.tar").write_bytes((folder / "a.tar").read_bytes()[:20_000])

  with pytest.raises(GatoError, match="a.tar: cannot be read"):
    both(lambda split: user_files.captioned("pets", split, 48))

  for name, content, message in (
    ("0.txt", b"\xff", "a.tar/0: its txt is not UTF-8"),
    ("0.json", b"[", "a.tar/0: its json is no JSON"),
    ("0.json", b"[]", "a.tar/0: its json must hold an object, this is a list"),
  ):
    tar(folder / "a.tar", {"0.png": png(0), name: content})
    with pytest.raises(GatoError, match=message):
      both(lambda split: user_files.captioned("pets", split, 48))


def test_pages(folder, capsys):
  written(folder, range(3))
  pages = [
    {
      "segments": [
        {"text": f"Page {i}\n"},
        {"image": "pictures/0.png"},
        {"text": "then"},
        {"image": "pictures/2.png"},
      ]
    }
    for i in range(60)
  ]
  pages.append({"segments": [{"image": "pictures/none.png"}, {"text": "the picture is gone"}]})
  jsonl(folder / "pages.jsonl.gz", pages)
  train, validation = both(lambda split: user_files.pages("pets", split, 32))

  assert len(train + validation) == 61 and validation

  for page in train[:-1] + validation:
    text, red, then, blue = page.segments
    assert text.startswith("Page ") and then == "then" and (colour(red), colour(blue)) == (0, 2)

  assert train[-1].segments == ("the picture is gone",)
  assert "refused 1 of 1" in capsys.readouterr().err


@pytest.mark.parametrize(
  "segments", [None, "text", [{"txt": "a"}], [{"text": 1}], [{"image": None}], ["text"]]
)
def test_a_wrong_page_is_one_clear_error(folder, segments):
  jsonl(folder / "train.jsonl", [{"segments": segments}])
  jsonl(folder / "val.jsonl", [])
  with pytest.raises(GatoError, match=r"train.jsonl:1: "):
    list(user_files.pages("pets", "train", 32))


@pytest.mark.parametrize("prefix", ["v2_", ""])
def test_vqa_as_it_is_published(folder, prefix):
  vqa(folder, "train2014", prefix, range(7, 12))
  vqa(folder, "val2014", prefix, range(20, 22))
  train, validation = both(lambda split: user_files.questions("pets", split, 32))

  assert len(train) == 10 and len(validation) == 4

  for found, number in ((train[0], 7), (train[3], 8), (validation[2], 21)):
    assert found.question.endswith(f" in {number}?") and colour(found.image) == number % 3
    assert len(found.answers) == 10 and found.answers[0] == "yes" and found.answers[9] == "no 9"
    assert found.answer == "yes"


def test_vqa_without_its_validation_files(folder):
  vqa(folder, "train2014", "v2_", range(100))
  train, validation = both(lambda split: user_files.questions("pets", split, 32))
  assert len(train + validation) == 200 and 0 < len(validation) < 30
  pictures = [{one.question.split()[-1] for one in split} for split in (train, validation)]
  assert not pictures[0] & pictures[1]  # all questions about a picture are of one split


def test_vqa_that_is_not_whole(folder, capsys):
  vqa(folder, "val2014", "", range(7, 12))
  (folder / "val2014" / "COCO_val2014_000000000008.jpg").unlink()

  assert len(list(user_files.questions("pets", "validation", 32))) == 8

  told = capsys.readouterr().err

  assert "COCO_val2014_000000000008.jpg: No such file" in told and "refused 1 of 5 pictures" in told

  answers = folder / "mscoco_val2014_annotations.json"
  whole = answers.read_text()

  for content, message in (
    (
      json.dumps({"annotations": []}),
      "refused 10 of 10 questions, all there are; the last one: .* has no answers",
    ),
    ("{}", "are not as VQA publishes them: KeyError, 'annotations'"),
    (whole[:-10], "mscoco_val2014_annotations.json: not JSON .*; is it whole"),
  ):
    answers.write_text(content)
    with pytest.raises(GatoError, match=message):
      list(user_files.questions("pets", "validation", 32))

  answers.unlink()

  with pytest.raises(GatoError, match="mscoco_val2014_annotations.json, are not beside it"):
    list(user_files.questions("pets", "validation", 32))


def test_links_are_followed_once(folder, tmp_path):
  elsewhere = tmp_path / "disk"
  elsewhere.mkdir()
  (elsewhere / "a.txt").write_text("from another disk")
  (elsewhere / "back").symlink_to(elsewhere)
  (folder / "linked").symlink_to(elsewhere)
  (folder / "val.txt").write_text("held out")
  assert list(user_files.texts("pets", "train")) == ["from another disk"]


def test_nothing_is_opened_before_its_turn(folder):
  """A set may exceed memory: a bad line far behind does not stop the first documents."""
  written(folder, [0])
  (folder / "a.tsv").write_text("a cat\tpictures/0.png\n" * 5 + "bad\n")
  (folder / "val.tsv").write_text("a cat\tpictures/0.png\n")
  found = user_files.captioned("pets", "train", 32)
  assert [next(found).captions for _ in range(5)] == [("a cat",)] * 5
  with pytest.raises(GatoError, match="a.tsv:6"):
    next(found)


def test_a_users_files_are_built(folder, tmp_path, capsys):
  domain = rlds_builders.get("align")
  align = tmp_path / "align"
  written(align, range(40))
  lines = [f"pet {i}\tpictures/{i}.png\n" for i in range(40)]
  (align / "train.tsv").write_text("".join(lines[:36] + ["pet 99\tpictures/99.png\n"]))
  (align / "val.tsv").write_text("".join(lines[36:]))
  assert rlds_builder.build(domain, "files", tmp_path, tmp_path / "tfds")

  built = tfds.builder_from_directory(tmp_path / "tfds/align/files/1.0.0").info.splits
  assert {name: split.num_examples for name, split in built.items()} == {
    "train": 36,
    "validation": 4,
  }
  assert "align, train: refused 1 of 37 pictures" in capsys.readouterr().err

  (align / "val.tsv").write_text("bad\n")

  with pytest.raises(GatoError, match=r"^/[^\n]*val.tsv:1: [^\n]*$"):
    rlds_builder.build(domain, "files", tmp_path, tmp_path / "other")


def test_splits_are_the_same_everywhere():
  """Pins the hash: another one would move held-out documents into the training data."""
  assert [i for i in range(60) if sources.is_validation(f"picture {i}")] == [2, 8, 19, 22, 25, 59]
