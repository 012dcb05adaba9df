"""Pictures as networks trained on ImageNet take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn.layers.base import positive

#: Mean and standard deviation of ImageNet's red, green and blue, on the scale from 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
#: Means of blue, green and red on the scale from 0 to 255, as the first VGG networks had them.
CAFFE_MEAN = (103.939, 116.779, 123.68)

SCALES = ("torch", "tf", "caffe")


def preprocess(
    picture: Any, size: int = 224, resize: int = 256, scale: str = "torch"
) -> NDArray[np.float32]:
    """Return the middle of a picture, resized and scaled.

    The shorter side becomes `resize` (bilinear, each new pixel a mean over all that it covers), the
    longer one in proportion; the square of `size` in the middle is kept.

    Parameters
    ----------
    picture : PIL.Image.Image or ndarray of shape (H, W, 3) or (H, W) of uint8
        Any size; other modes are turned into RGB.
    size : int, default=224
        Height and width of the result.
    resize : int, default=256
        Length of the shorter side before the cut, at least `size`.
    scale : {"torch", "tf", "caffe"}, default="torch"
        What becomes of values from 0 to 255: ``"torch"`` divides by 255, subtracts ImageNet's mean
        and divides by its standard deviation; ``"tf"`` maps to [-1, 1]; ``"caffe"`` turns RGB to
        BGR and subtracts the means, without scaling.

    Returns
    -------
    ndarray of shape (size, size, 3)

    Raises
    ------
    InvalidParameterError
        `resize` is below `size`, or `scale` is unknown.

    Notes
    -----
    With ``scale="torch"`` these are the steps of torchvision's ``ImageClassification`` transform;
    ``"tf"`` and ``"caffe"`` are the modes of ``keras.applications``, which leaves resizing to its
    caller.

    Examples
    --------
    >>> grey = np.full((300, 500, 3), 127, np.uint8)
    >>> preprocess(grey, scale="tf").shape, round(float(preprocess(grey, scale="tf")[0, 0, 0]), 3)
    ((224, 224, 3), -0.004)
    """
    from PIL import Image

    positive("preprocess", "size", size)
    positive("preprocess", "resize", resize)
    if resize < size:
        raise InvalidParameterError(f"resize must be at least size={size}, got {resize}.")
    if scale not in SCALES:
        raise InvalidParameterError(f"scale must be one of {SCALES}, got {scale!r}.")
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image = image.convert("RGB")
    short = min(image.size)
    width, height = (resize if side == short else resize * side // short for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    values = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)
    if scale == "tf":
        return values / np.float32(127.5) - np.float32(1)
    if scale == "caffe":
        return values[:, :, ::-1] - np.array(CAFFE_MEAN, np.float32)
    mean, std = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_STD, np.float32)
    return np.asarray((values / np.float32(255) - mean) / std, np.float32)
