"""ONNX: fitted estimators and networks for runtimes without Python, and networks out of files.

Needs the extra ``onnx``. `to_onnx` and `save_onnx` take every estimator and every network;
`from_onnx` makes a network of a file, whoever wrote it.

Classifiers get the outputs ``label`` and ``probabilities`` or ``scores`` (one pair a target,
numbered, where there are several), regressors ``prediction``, clusterings ``label`` and
``distances``, networks ``output``. The first dimension is free, and so are lengths of sequences
that a network leaves open.

In the graphs of estimators on tables, sums, distances and kernels are computed in double precision
whatever the input is, and trees compare in single precision as ironlearn does, so the answers are
ironlearn's to the last digits. Networks compute in single precision, as they do here. Images are
channels last at a graph's input and output, and channels first between convolutions.

What ONNX has no operator for stays outside: cutting texts into words, resizing pictures. The
operators are those of the ONNX specification, opset 17, and of its extension ``ai.onnx.ml``,
version 3.

Examples
--------
>>> import os, tempfile
>>> from sklearn.datasets import load_iris
>>> from ironlearn.io.onnx import from_onnx, save_onnx, to_onnx
>>> from ironlearn.naive_bayes import GaussianNB
>>> X, y = load_iris(return_X_y=True)
>>> model = GaussianNB().fit(X, y)
>>> [output.name for output in to_onnx(model).graph.output]
['label', 'probabilities']
>>> save_onnx(model, os.path.join(tempfile.mkdtemp(), "iris.onnx"))

A network there and back:

>>> from ironlearn.nn.layers import Dense, Sequential
>>> network = Sequential([Dense(4, "relu"), Dense(2)]).initialize((3,))
>>> [type(layer).__name__ for layer in from_onnx(to_onnx(network)).layers]
['Dense', 'Dense']
"""

from ironlearn.io.onnx.export import from_onnx, save_onnx, to_onnx

__all__ = ["from_onnx", "save_onnx", "to_onnx"]
