"""Prediction from model files without importing scikit-learn.

Examples
--------
>>> import tempfile, os
>>> from sklearn.datasets import load_iris
>>> from ironlearn.naive_bayes import GaussianNB
>>> from ironlearn import serving
>>> X, y = load_iris(return_X_y=True)
>>> path = os.path.join(tempfile.mkdtemp(), "iris.ironlearn")
>>> GaussianNB().fit(X, y).save(path)
>>> serving.load(path).predict(X[:2])
array([0, 0])
"""

from ironlearn.serving.predictor import Predictor, load

__all__ = ["Predictor", "load"]
