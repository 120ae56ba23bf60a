"""Layer-wise relevance propagation on Keras networks.

rules: the rules of linear layers as data. visit: their one equation, and the account of what does not
arrive. canonical, published: how relevance passes each kind of node, by convention. propagate: the
walk through the graph.
"""
