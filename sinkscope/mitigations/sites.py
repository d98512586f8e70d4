"""What is left of the outliers: the largest |x| and the kurtosis of what every quantized module reads.

Taken on calibration text, unquantized: by this, a model before and after a mitigation compare module by module.
"""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.methods.linear_modules import Place
from sinkscope.methods.read_inputs import read_inputs
from sinkscope.metrics.moments import kurtosis, token_moments
from sinkscope.passes.batches import Batch
from sinkscope.tables.builder import Rows


@torch.no_grad()
def site_outliers(
    model: PreTrainedModel, label: str, mitigation: str, places: list[Place], batches: list[Batch]
) -> pd.DataFrame:
    """The table `mitigation_sites` of one model under one mitigation.

    Args:
        model: unquantized, under the mitigation.
        label: its name in the table.
        mitigation: its name in the table.
        places: the modules.
        batches: windows of text.
    """
    counts, sums = dict.fromkeys((place.name for place in places), 0), dict[str, Tensor]()
    largest = dict.fromkeys(counts, 0.0)

    def look(name: str) -> Callable[[Tensor], None]:
        def at(x: Tensor) -> None:
            found = token_moments(x)
            counts[name] += x.numel()
            sums[name] = found.power_sums + sums.get(name, 0)
            largest[name] = max(largest[name], float(found.abs_max.max()))

        return at

    read_inputs(model, [(place.module, look(place.name)) for place in places], batches, "measuring outliers")
    rows = Rows("mitigation_sites")
    for place in places:
        rows.add(model=label, mitigation=mitigation, layer=place.layer, site=place.site, module=place.name,
                 abs_max=largest[place.name], kurtosis=kurtosis(counts[place.name], sums[place.name]))  # fmt: skip
    return rows.frame()
