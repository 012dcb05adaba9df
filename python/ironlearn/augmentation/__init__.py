"""Random changes of training data that keep their meaning."""

from ironlearn.augmentation.images import ImageAugmentation

__all__ = ["ImageAugmentation"]
