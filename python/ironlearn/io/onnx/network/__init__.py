"""ONNX graphs of networks: one file a family of layers, as in `ironlearn.nn.layers`.

An exporter is a function of a `Writer`, a built layer and the `Value` that goes in; it adds
nodes to the graph and returns the value, or the values, that come out. `registry` lists the
exporter of each type of layer.
"""
