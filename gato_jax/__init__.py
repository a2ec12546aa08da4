"""gato_jax: the generalist agent of Reed et al. 2022, as software others can run."""

__version__ = "0.1.0"
