"""Networks of ONNX files: `network.from_onnx`.

`file` turns bytes into checked nodes and arrays; `operators` has a function for each operator,
one file a family; `builder` is what they add layers to; `values` follows axes through
transpositions and reshapes, so that these mostly cost nothing; `functions` finds out which
activation a chain of elementwise operators is; `assemble` makes the network.
"""
