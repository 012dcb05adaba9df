"""Clustering."""

from ironlearn.cluster.kmeans import KMeans
from ironlearn.cluster.mini_batch import MiniBatchKMeans

__all__ = ["KMeans", "MiniBatchKMeans"]
