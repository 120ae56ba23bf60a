"""A Keras network as a graph of plain nodes.

nodes: the node types. reader: from a Keras model. folding: BatchNorm into linear layers. operators:
the nodes in TensorFlow, forward and transposed.
"""
