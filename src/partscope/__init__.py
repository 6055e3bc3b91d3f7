"""Turn any pretrained CNN into a part detector."""

__version__ = "0.1.0.dev0"
