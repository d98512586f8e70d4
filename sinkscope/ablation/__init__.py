"""What the outliers do: a model with something taken away, against as much taken away elsewhere.

A run of `analyze` says where the massive activations, the sinks and their heads are. Each is taken away in turn
(`sinkscope.interventions`), and so are several random draws of the same size in the same layers: the control. The loss,
the next-token distributions and the headline quantities say what was lost.
"""
