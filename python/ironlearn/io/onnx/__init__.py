"""Export of fitted estimators to ONNX, for runtimes without Python.

Needs the extra ``onnx``. Classifiers get the outputs ``label`` and ``probabilities`` or
``scores`` (one pair a target, numbered, where there are several), regressors ``prediction``,
clusterings ``label`` and ``distances``. The first dimension is free.

Sums, distances and kernels are computed in double precision whatever the input is, and trees
compare in single precision as ironlearn does, so the answers are ironlearn's to the last
digits. The operators are those of the ONNX specification, opset 17, and of its extension
``ai.onnx.ml``, version 3.

Examples
--------
>>> import os, tempfile
>>> from sklearn.datasets import load_iris
>>> from ironlearn.io.onnx import save_onnx, to_onnx
>>> from ironlearn.naive_bayes import GaussianNB
>>> X, y = load_iris(return_X_y=True)
>>> model = GaussianNB().fit(X, y)
>>> [output.name for output in to_onnx(model).graph.output]
['label', 'probabilities']
>>> save_onnx(model, os.path.join(tempfile.mkdtemp(), "iris.onnx"))
"""

from ironlearn.io.onnx.export import from_onnx, save_onnx, to_onnx

__all__ = ["from_onnx", "save_onnx", "to_onnx"]
