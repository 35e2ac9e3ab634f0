"""gancli: train, evaluate and sample generative image models from one Hydra-driven command line."""

__version__ = "0.2.0.dev0"
