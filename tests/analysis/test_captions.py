"""Sets of captioned images and pages that packages install or TFDS keeps.

Stamps, emoji, pages of both, MS-COCO.
"""

import io
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from user_documents import both, colour, png

import rlds_builders
from gato_jax import documents
from gato_jax.errors import MissingData
from rlds_builders.files import emoji, stamps


def coco(data_dir: pathlib.Path, features: tfds.features.FeaturesDict) -> None:
  """Writes the catalogue's dataset with its own features and three photos a split."""

  class CocoCaptions(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.1.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="2014", version="1.1.0")]
    pkg_dir_path = data_dir

    def _info(self):
      return self.dataset_info_from_configs(features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
      return {"train": self._generate_examples(0), "val": self._generate_examples(3)}

    def _generate_examples(self, first):
      for i in range(first, first + 3):
        captions = [{"id": i * 5 + k, "text": f"pet {i}, caption {k} "} for k in range(5)]
        photo = {
          "image": io.BytesIO(png(i, "JPEG")),
          "image/filename": f"COCO_{i}.jpg",
          "image/id": i,
        }
        yield i, {**photo, "objects": [], "captions": captions}

  CocoCaptions(config="2014", data_dir=data_dir).download_and_prepare()


def test_coco_captions_of_tfds(tmp_path, monkeypatch):
  domain = rlds_builders.get("ms_coco")
  monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))

  with pytest.raises(
    MissingData, match=r"tfds:coco_captions/2014 is not in .*`tfds build coco_captions/2014` gets"
  ):
    domain.read_documents("tfds", "train", 32)

  with tfds.testing.mock_data():  # for the catalogue's own features
    features = tfds.builder("coco_captions/2014").info.features
  coco(tmp_path, features)

  for split, numbers in (("train", (0, 1, 2)), ("validation", (3, 4, 5))):
    found = list(domain.read_documents("tfds", split, 32))
    assert [one.captions[4] for one in found] == [f"pet {i}, caption 4" for i in numbers]
    assert [colour(one.image) for one in found] == [i % 3 for i in numbers]
    assert all(len(one.captions) == 5 and one.image.shape == (32, 32, 3) for one in found)


needs_stamps = pytest.mark.skipif(
  not stamps.FOLDER.is_dir(), reason="apt-get install tuxpaint-stamps-default"
)
needs_emoji = pytest.mark.skipif(
  not (emoji.FONT.exists() and emoji.CLDR.is_dir()),
  reason="apt-get install fonts-noto-color-emoji unicode-cldr-core",
)


def red(picture: np.ndarray) -> float:
  """Share of the pixels that are red."""
  r, g, b = np.moveaxis(picture.astype(int), -1, 0)
  return float(((r > 120) & (g < 90) & (b < 90)).mean())


@needs_stamps
def test_stamps():
  train, validation = both(
    lambda split: rlds_builders.get("align").read_documents("stamps", split, 64)
  )

  assert len(train) + len(validation) > 700 and 20 < len(validation) < 60

  named = {one.captions[0]: one.image for one in train + validation}

  assert red(named["A red apple."]) > 0.4 and red(named["A rubber duck."]) < 0.1
  assert named["A rubber duck."][0, 0].tolist() == [255, 255, 255]  # it was transparent
  assert not any(".utf8=" in caption or not caption for caption in named)
  assert not {one.image.tobytes() for one in train} & {one.image.tobytes() for one in validation}


@needs_emoji
def test_emoji():
  train, validation = both(
    lambda split: rlds_builders.get("ltip").read_documents("emoji", split, 64)
  )

  assert len(train) + len(validation) > 1700 and 50 < len(validation) < 130

  named = {one.captions[0]: one.image for one in train + validation}

  assert (
    red(named["red apple"]) > 0.3
    and red(named["flag: Denmark"]) > 0.3
    and red(named["mountain"]) < 0.1
  )
  assert "woman firefighter" in named and not any("skin tone" in name for name in named)
  assert not {one.image.tobytes() for one in train} & {one.image.tobytes() for one in validation}

  kinds = {one.name: one.kind for split in documents.SPLITS for one in emoji.find("ltip", split)}

  assert (
    kinds["woman firefighter"] == ("Smileys & People", "person-role")
    and kinds["zebra"][1] == "animal-mammal"
  )
  assert kinds["grinning squinting face"][1] == "face-positive"  # the last one of a range
  assert kinds["man pilot"][1] == "person-role"  # without the selector that its label has


@needs_stamps
@needs_emoji
def test_pages_of_stamps_and_emoji():
  read = rlds_builders.get("m3w").read_documents
  single = [*rlds_builders.get("align").read_documents("stamps", "validation", 32)]
  single += rlds_builders.get("ltip").read_documents("emoji", "validation", 32)
  captions = {one.image.tobytes(): one.captions[0] for one in single}
  pages = list(read("pages", "validation", 32))
  again = list(read("pages", "validation", 32))
  shown = 0

  for page, same in zip(pages, again, strict=True):
    texts = "".join(part for part in page.segments if isinstance(part, str))
    assert (
      texts == "".join(part for part in same.segments if isinstance(part, str))
      and texts[0].isupper()
    )

    for part in page.segments:
      if not isinstance(part, str):
        shown += 1
        assert captions[part.tobytes()] in texts

  assert shown == 5 * len(single)
  assert next(iter(read("pages", "train", 32))).segments[0] != pages[0].segments[0]


def test_packages_that_are_not_installed(tmp_path, monkeypatch):
  for module, attribute in ((stamps, "FOLDER"), (emoji, "FONT"), (emoji, "CLDR")):
    with monkeypatch.context() as patch:
      patch.setattr(emoji, "FONT", tmp_path)  # anything that is there
      patch.setattr(module, attribute, tmp_path / "nothing")
      with pytest.raises(
        MissingData, match=r"^x: .*nothing.* is not there; run apt-get install [-a-z]+$"
      ):
        module.find("x", "train")


def test_no_domain_is_called_like_a_set_of_tfds():
  """TFDS registers builders by name, ours among them, and refuses the second of a name."""
  known = set(tfds.list_builders(with_community_datasets=False))
  assert "coco_captions" in known and not known & set(rlds_builders.domains())
