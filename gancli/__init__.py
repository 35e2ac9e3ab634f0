"""gancli: train, evaluate and sample generative image models from one Hydra-driven command line."""

__version__ = "0.1.0"
