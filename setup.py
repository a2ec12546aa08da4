"""The package's metadata.

Exact pins for a reproducible machine: requirements.txt and constraints.txt (`make`).
"""

import setuptools

SIMULATORS = [
  "dm-control==1.0.31",
  "gymnasium==1.4.0",
  "metaworld==3.0.0",
  "minigrid==3.2.0",
  "miniworld==2.1.0",
  "mujoco==3.3.3",
  "packaging",
  "pygame-ce",
  "vizdoom==1.3.2",
]
DATA = [
  "array-record",
  "av",
  "h5py",
  "pyarrow",
  "envlogger==1.2",
  "fonttools",
  "importlib-resources",
  "rlds==0.1.6",
  "seqio==0.0.20",
  "tensorflow==2.21.0",
  "tensorflow-datasets==4.9.10",
  "tensorflow-text==2.21.1",
  "webdataset",
  "zstandard",
]
TRAIN = [
  "flax==0.12.8",
  "jax==0.10.2",
  "optax==0.2.8",
  "orbax-checkpoint==0.12.8",
  "tensorboard",
  "tensorboardX",
]
REPORT = ["jinja2", "matplotlib", "rich", "sacrebleu", "scikit-learn", "scipy"]
BUCKETS = ["fsspec", "gcsfs==2026.10.1", "s3fs==2026.9.0"]

setuptools.setup(
  name="gato_jax",
  version="0.1.0",
  description="The generalist agent of Reed et al. 2022 (Gato), as software others can run",
  license="Apache-2.0",
  python_requires=">=3.11,<3.12",
  packages=setuptools.find_namespace_packages(
    include=["gato_jax*", "rlds_builders*", "experiments*"]
  ),
  package_dir={"": "."},  # makes an editable install one path entry, so that new folders are seen
  package_data={"": ["*.json", "*.html", "*.txt", "*.md", "*.model", "*.vocab"]},
  install_requires=[
    "absl-py",
    "dm-env",
    "ml-collections",
    "numpy<2.4",
    "pillow",
    "psutil",
    "sentencepiece==0.2.1",
    "tqdm",
  ],
  extras_require={
    "simulators": SIMULATORS,
    "data": DATA,
    "train": TRAIN,
    "report": REPORT,
    "atari": ["ale-py==0.12.1"],  # GPL-2, so never part of "all"
    "wandb": ["wandb==0.31.0"],
    "gpu": ["jax[cuda12]==0.10.2"],
    "tpu": ["jax[tpu]==0.10.2"],
    "buckets": BUCKETS,
    "all": SIMULATORS + DATA + TRAIN + REPORT + BUCKETS,
    "dev": ["hypothesis", "mypy", "pytest", "ruff", "types-psutil"],
  },
)
