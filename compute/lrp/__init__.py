"""Layer-wise relevance propagation on Keras networks.

graph: a network as a chain of plain nodes. operators: the nodes in TensorFlow. rules, published:
how relevance passes a node, by convention. propagate: the engine.
"""
