"""A step on single weights: super weights to zero, all that were found."""

from sinkscope.ablation.steps.step import Step, Subject, Variation
from sinkscope.interventions.weights import WeightAt, other_weights, weights_zeroed


def super_weights(subject: Subject, what: str, where: str, places: list[WeightAt]) -> Step:
    """Super weights to zero; the controls are weights of the same down projections."""

    def variation(weights: list[WeightAt]) -> Variation:
        return Variation(lambda: weights_zeroed(subject.model, weights))

    def control(seed: int) -> Variation:
        return variation(other_weights(subject.model, places, seed))

    return Step(what, where, "weights", float(len(places)), variation(places), control)
