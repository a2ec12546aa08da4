"""Texts, captioned images, questions and pages, from the source to rows of a batch.

Every row holds exactly the document that was given.
"""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from document_sets import LENGTH, TEXT, builder_of, domain, inputs, picture, read
from PIL import Image

import rlds_builders
from gato_jax import documents
from gato_jax.data import check, prepare, prepared, prepared_format, records
from gato_jax.domain import document_task_spec
from gato_jax.errors import GatoError, MissingData
from gato_jax.tokens import document_layout, patches
from gato_jax.tokens.vocabulary import Kind
from rlds_builders.base import rlds_builder

TASKS = {"text": "text", "captions": "captions", "questions": "questions", "pages": "pages"}


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp("tfds")
  for kind in documents.KINDS:
    builder_of(kind)(config=kind, data_dir=path).download_and_prepare()
    assert prepare.prepare(path, f"{kind}.{kind}", TEXT) and not prepare.prepare(
      path, f"{kind}.{kind}", TEXT
    )

  return path


def same(a, b) -> bool:
  if isinstance(a, np.ndarray):
    return np.array_equal(a, b)
  if isinstance(a, tuple):
    return len(a) == len(b) and all(map(same, a, b))

  if dataclasses.is_dataclass(a):
    return type(a) is type(b) and all(
      same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)
    )

  return a == b


@pytest.mark.parametrize("kind", documents.KINDS)
@pytest.mark.parametrize("split", documents.SPLITS)
def test_records_hold_the_documents_of_both_splits(tfds_dir, kind, split):
  source = records.DocumentRecords(records.directory_of(tfds_dir, f"{kind}.{kind}"), split)
  given = list(read(kind, split, 64))

  assert len(source) == len(given)
  assert all(same(source.document(i), one) for i, one in enumerate(given))
  assert (
    source.spec == document_task_spec(domain(kind), kind, 64) and source.spec.document_kind == kind
  )


@pytest.mark.parametrize("kind", documents.KINDS)
def test_any_piece_of_a_sequence_is_what_it_was_made_of(tfds_dir, kind):
  data = prepared.load(tfds_dir, f"{kind}.{kind}")
  documents_read = list(read(kind, "train", 64))
  given = [(i, s) for i, one in enumerate(documents_read) for s in documents.sequences(one)]

  assert len(data) == len(given) and data.documents.tolist() == [i for i, _ in given]

  random = np.random.default_rng(0)

  for index, (i, sequence) in enumerate(given):
    whole = document_layout.encode(sequence, TEXT, given=documents.given(documents_read[i]))
    n = len(whole.tokens)

    assert (
      data.lengths[index] == n
      and data.patches[index] == len(whole.patches)
      and whole.tokens[-1] == TEXT.end
    )

    for start, stop in [(0, n), *np.sort(random.integers(0, n + 1, (4, 2))).tolist()]:
      piece = data.window(index, start, stop)
      shown = np.flatnonzero(whole.kinds == Kind.PATCH)
      shown = (shown >= start) & (shown < stop)

      assert np.array_equal(piece.tokens, whole.tokens[start:stop])
      assert np.array_equal(piece.kinds, whole.kinds[start:stop])
      assert np.array_equal(piece.given, whole.given[start:stop])
      assert np.array_equal(piece.patches, whole.patches[shown])
      assert np.array_equal(piece.positions, whole.positions[shown])

      cut = document_layout.cut(whole, start, stop - start)

      assert all(np.array_equal(getattr(cut, key), value) for key, value in vars(piece).items())


def parts(batch, row: int, segment: int) -> list:
  """Decodes a segment of a row into texts and patches, independently of the pipeline."""
  found: list = []

  for at in np.flatnonzero(batch["segments"][row] == segment):
    if batch["kinds"][row, at] == Kind.PATCH:
      slot = batch["patch_slots"][row, at]
      patch = (batch["patches"][row, slot].tobytes(), tuple(batch["patch_positions"][row, slot]))
      found.append(patch)
    elif found and isinstance(found[-1], list):
      found[-1].append(int(batch["tokens"][row, at]))
    else:
      found.append([int(batch["tokens"][row, at])])

  return found


@pytest.mark.parametrize("kind", ["captions", "questions"])
def test_five_pairs_make_a_row_each_picture_before_its_own_text(tfds_dir, kind):
  batch = next(inputs(tfds_dir, kind).batches())
  known = {one.image.tobytes(): one for one in read(kind, "train", 64)}
  by_patches = {
    tuple(p.tobytes() for p in patches.to_patches(one.image[None])[0]): one
    for one in read(kind, "train", 64)
  }

  assert len(by_patches) == len(known)
  assert np.all((batch["segments"] == 1) == (batch["kinds"] != Kind.PADDING))  # they see each other

  seen = 0

  for row in range(4):
    run: list = []
    for part in parts(batch, row, 1):
      if isinstance(part, tuple):
        run.append(part)
        continue

      said = TEXT.decode(part[:-1])

      assert part[-1] == TEXT.end or part is parts(batch, row, 1)[-1]

      one = by_patches.get(tuple(pixels for pixels, _ in run))

      if one is not None:  # the first picture of a row that was cut is not whole
        expected = {"".join(p for p in s if isinstance(p, str)) for s in documents.sequences(one)}
        assert said in expected or not part[-1] == TEXT.end
        positions = patches.positions(*one.image.shape[:2])
        assert np.array_equal([p for _, p in run], positions)
        seen += 1

      run = []

  assert seen >= 16 if kind == "captions" else seen >= 12
  assert np.array_equal(batch["targets"][:, 1:], batch["kinds"][:, 1:] == Kind.TEXT)


def test_of_questions_the_answers_alone_may_be_targets(tfds_dir):
  batch = next(inputs(tfds_dir, "questions", question_targets=False, name="answers").batches())
  for row in range(4):
    said = TEXT.decode(batch["tokens"][row][batch["targets"][row]])
    assert said == "".join(
      f" number {i}" for i in re.findall(r"which is it, (\d+)", TEXT.decode(batch["tokens"][row]))
    )
    assert batch["targets"][row].sum() < (batch["kinds"][row] == Kind.TEXT).sum() / 2


def test_pairs_are_padded_or_cut_at_random(tfds_dir):
  short, long = (
    next(inputs(tfds_dir, "captions", sequence_length=n, name=f"n{n}").batches()) for n in (512, 32)
  )
  assert np.all(short["kinds"][:, -1] == Kind.PADDING) and np.all(long["kinds"] != Kind.PADDING)
  inside = (long["kinds"][:, 0] == Kind.TEXT) | long["patch_positions"][:, 0, [0, 2]].any(axis=1)
  assert inside.any()  # a cut is anywhere, not only where a picture begins


def test_without_pairs_as_many_as_fit_are_packed_apart(tfds_dir):
  batch = next(inputs(tfds_dir, "captions", pairs=0, name="packed").batches())
  assert np.all(batch["segments"].max(axis=1) > 5)
  for row in range(4):
    first = parts(batch, row, 1)
    assert isinstance(first[0], tuple) and first[-1][-1] == TEXT.end


@pytest.mark.parametrize("kind", ["text", "pages"])
def test_documents_are_packed_each_in_a_segment_of_its_own(tfds_dir, kind):
  batch = next(inputs(tfds_dir, kind).batches())
  given = [
    "".join(p if isinstance(p, str) else "#" for p in s)
    for d in read(kind, "train", 64)
    for s in documents.sequences(d)
  ]

  for row in range(4):
    assert batch["segments"][row].max() > 1
    for segment in range(1, batch["segments"][row].max() + 1):
      found = parts(batch, row, segment)
      texts = [
        TEXT.decode([i for i in part if i != TEXT.end]) for part in found if isinstance(part, list)
      ]
      assert any(all(t in one for t in texts) for one in given), texts

  assert np.mean(batch["kinds"] == Kind.PADDING) < 0.2


@pytest.mark.parametrize("kind", documents.KINDS)
def test_a_batch_does_not_depend_on_where_a_run_begins(tfds_dir, kind):
  made = inputs(tfds_dir, kind)
  batches = made.batches()
  third = [next(batches) for _ in range(3)][2]
  again = next(made.batches(start=2))
  assert all(np.array_equal(third[key], again[key]) for key in third)


def test_captions_of_one_picture_are_held_out_together(tfds_dir):
  held = inputs(tfds_dir, "captions", validation_every=4, name="held").windows["captions.captions"]
  data = prepared.load(tfds_dir, "captions.captions")
  assert set(data.documents[held._sequences]) == set(range(24)) - {3, 7, 11, 15, 19, 23}


@pytest.mark.parametrize("kind", documents.KINDS)
def test_check_reads_it_all_and_sees_a_changed_pixel(tfds_dir, kind, tmp_path, monkeypatch):
  found = check.check(tfds_dir, f"{kind}.{kind}", LENGTH)
  assert found["problems"] == [] and found["documents"] == 24 and found["for validation"] == 4

  window = prepared.PreparedDocuments.window

  def changed(self, index, start, stop):
    piece = window(self, index, start, stop)
    values = (piece.patches if kind != "text" else piece.tokens).copy()
    values.flat[0] ^= 1
    return dataclasses.replace(piece, **{"patches" if kind != "text" else "tokens": values})

  monkeypatch.setattr(prepared.PreparedDocuments, "window", changed)

  assert (
    "the prepared tokens or pictures are not the record's"
    in check.check(tfds_dir, f"{kind}.{kind}", LENGTH)["problems"][0]
  )


def test_a_damaged_picture_is_one_line(tfds_dir, tmp_path):
  copy = tmp_path / "tfds"
  shutil.copytree(tfds_dir, copy)
  data = prepared.load(copy, "captions.captions")
  path = copy / "captions/captions/1.0.0" / prepared_format.FOLDER / "data.bin"
  content = bytearray(path.read_bytes())
  content[20:24] = b"oops"
  path.write_bytes(content)

  with pytest.raises(GatoError, match="^[^\n]*gato_prepared is damaged[^\n]*$"):
    data.window(0, 0, 4)


def test_a_split_without_documents_is_one_line(tmp_path, monkeypatch):
  monkeypatch.setattr("document_sets.read", lambda task, split, side: iter(()))
  with pytest.raises(GatoError, match="text.text: there is no document of the train split"):
    builder_of("text")(config="text", data_dir=tmp_path).download_and_prepare()


def test_a_dataset_is_built_again_for_another_size_and_kept_where_its_files_are_gone(
  tmp_path, monkeypatch
):
  monkeypatch.setenv("GATO_SOURCES", str(tmp_path / "sources"))
  monkeypatch.setenv("GATO_IMAGE_SIDE", "64")  # build sets it; undone at the end
  folder = tmp_path / "sources/align"
  folder.mkdir(parents=True)

  for split in ("train", "val"):
    Image.fromarray(picture(1, 40, 30)).save(folder / f"{split}.png")
    (folder / f"{split}.jsonl").write_text(
      json.dumps({"image": f"{split}.png", "caption": "noise"})
    )

  align = rlds_builders.get("align")

  def built(side: int) -> bool:
    return rlds_builder.build(align, "files", tmp_path, tmp_path / "tfds", side)

  def height() -> int:
    directory = records.directory_of(tmp_path / "tfds", "align.files")
    return records.DocumentRecords(directory, "validation").document(0).image.shape[0]

  assert built(64) and not built(64) and height() == 64
  assert built(32) and height() == 32

  shutil.rmtree(folder)

  assert not built(32)
  with pytest.raises(MissingData, match="sources/align is not there"):
    built(48)
  assert height() == 32
