"""Clustering."""

from ironlearn.cluster.kmeans import KMeans

__all__ = ["KMeans"]
