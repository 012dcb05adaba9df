"""Clustering."""

from ironlearn.cluster.bisecting import BisectingKMeans
from ironlearn.cluster.kmeans import KMeans
from ironlearn.cluster.mini_batch import MiniBatchKMeans

__all__ = ["BisectingKMeans", "KMeans", "MiniBatchKMeans"]
