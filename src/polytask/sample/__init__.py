"""Three small synthetic data sets, shipped with polytask so that it runs without a network."""

import pathlib


def root() -> pathlib.Path:
    """The folder of the shipped files: `{sst,quora,sts}-{train,dev,test}.csv`."""
    return pathlib.Path(__file__).parent / "data"


def demo_config() -> pathlib.Path:
    """The config of `polytask demo`."""
    return pathlib.Path(__file__).parent / "demo.toml"
