"""The five rows about the norm of token 0 that every branch has, equation (3)."""

from sinkscope.quantities.over_layers import largest, largest_over_neighbours, mean, over_neighbours
from sinkscope.quantities.quantity import Quantity, Threshold

_EQUATION = "3"


def norm_quantities(
    site: str,
    name: str,
    noun: str,
    *,
    meaning: str,
    ratio_meaning: str = "",
    threshold: Threshold | None = None,
    ratio_on_front_page: bool = False,
    monitored: int | None = None,
) -> tuple[Quantity, ...]:
    """Token 0, its neighbours and their ratio, over layers.

    Args:
        site: the vector whose norm is taken.
        name: of the branch, before the names of the quantities.
        noun: of the branch, for readers; without a capital where it has none inside a sentence.
        meaning: of the norms.
        ratio_meaning: of the ratios; empty where `meaning` covers them.
        threshold: of the ratio of the means.
        ratio_on_front_page: whether that ratio stands on a comparison's first page.
        monitored: its place among what a monitor logs.
    """
    title = noun[0].upper() + noun[1:]
    return (
        Quantity(
            f"{name}_t0_mean",
            f"{title} norm, token 0 (3), mean",
            meaning,
            _EQUATION,
            short=f"{noun} norm at token 0",
            over_layers=mean(f"{site}_t0"),
            compared=50,
            front_page=True,
        ),
        Quantity(
            f"{name}_t0_max",
            f"{title} norm, token 0, largest layer",
            "",
            _EQUATION,
            over_layers=largest(f"{site}_t0"),
            compared=50,
        ),
        Quantity(
            f"{name}_early_mean",
            f"{title} norm, early, mean",
            "",
            _EQUATION,
            over_layers=mean(f"{site}_early"),
            compared=50,
        ),
        Quantity(
            f"{name}_t0_over_early",
            f"{title} norm, token 0 / early",
            ratio_meaning,
            _EQUATION,
            short=f"{noun} norm, token 0 over early",
            over_layers=over_neighbours(site),
            compared=50,
            front_page=ratio_on_front_page,
            monitored=monitored,
            threshold=threshold,
        ),
        Quantity(
            f"{name}_t0_over_early_max",
            f"{title} norm, token 0 / early, largest layer",
            "",
            _EQUATION,
            over_layers=largest_over_neighbours(site),
            compared=50,
        ),
    )
