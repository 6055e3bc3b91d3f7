"""Backbones: a network, one of its layers, its preprocessing and a content hash, behind one registry."""

from partscope.backbones.core import Backbone, feature_layers
from partscope.backbones.embedding import EMBEDDING_SIZE, Embedder
from partscope.backbones.preprocessing import Preprocessing
from partscope.backbones.registry import DEFAULT_BACKBONE, NETWORKS, get_backbone, get_embedder

__all__ = [
    "DEFAULT_BACKBONE",
    "EMBEDDING_SIZE",
    "NETWORKS",
    "Backbone",
    "Embedder",
    "Preprocessing",
    "feature_layers",
    "get_backbone",
    "get_embedder",
]
