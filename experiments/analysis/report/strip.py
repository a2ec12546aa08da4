"""A strip of images: what the agent does in each domain, at one glance."""

import pathlib

from PIL import Image

from gato_jax.evaluate import videos

SIDE = 112  # pixels of an image
GAP = 4
MOST = 8  # images

# Where in an episode the image is taken: the scene has changed, the goal is not yet reached.
_MOMENT = 0.6


def write(directory: pathlib.Path, path: pathlib.Path) -> bool:
  """Draws one image of each domain, from its best video.

  Args:
    directory: Directory of the videos.
    path: The PNG to write.

  Returns:
    False if there are no videos, and nothing was written.
  """
  rollouts = videos.find(directory)
  best = {rollout.domain: rollout for rollout in rollouts if rollout.kind != "worst"}
  shown = [rollout for rollout in best.values() if rollout.path.suffix == ".gif"]

  # Variants, such as control_suite_pixels beside control_suite, look alike and come last.
  def is_variant(rollout: videos.Rollout) -> bool:
    return any(rollout.domain.startswith(f"{name}_") for name in best)

  chosen = sorted(shown, key=is_variant)[:MOST]
  if not chosen:
    return False

  width = len(chosen) * (SIDE + GAP) - GAP
  drawn = Image.new("RGB", (width, SIDE), "white")
  for index, rollout in enumerate(chosen):
    drawn.paste(_image(rollout.path), (index * (SIDE + GAP), 0))

  drawn.save(path, optimize=True)
  return True


def _image(path: pathlib.Path) -> Image.Image:
  """Returns an image of a GIF, cut to a square."""
  with Image.open(path) as gif:
    gif.seek(int(_MOMENT * (getattr(gif, "n_frames", 1) - 1)))
    image = gif.convert("RGB")

  side = min(image.size)
  left, top = (image.width - side) // 2, (image.height - side) // 2
  square = image.crop((left, top, left + side, top + side))

  return square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
