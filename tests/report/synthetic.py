"""Made-up runs of any shape that look like measured ones, with every declared table filled."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sinkscope.capture.settings import Settings
from sinkscope.intervals.headline_ends import headline_with_intervals
from sinkscope.sites import Site
from sinkscope.tables.builder import Rows
from sinkscope.tables.columns import BY_KIND, frame
from sinkscope.tables.run_folder import Run

WORDS = (
    "<bos>",
    "the",
    "$x$ $",
    "line\nbreak",
    "\u0120of",
    "\u6f22\u5b57",
    "\\alpha_1",
    "[bold]",
    "averyveryverylongtoken" * 3,
)
CONVENTION = "mean attention of queries s..s+window-1 on key s, the self term t = s included"
NAMES = [table.name for table in BY_KIND["analysis"]]
MASSIVE_SITES = ("h_out", "r_mlp", "r_attn", "down_in")


@dataclass(frozen=True)
class Shape:
    """What a synthetic run is like."""

    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    tokens: int = 64
    sequences: int = 4
    hidden: int = 256
    sinks: bool = True
    massive: bool = True
    backward: bool = True
    vscale: bool = False
    experts: int = 0
    learned_sinks: bool = False
    images: bool = False
    seed: int = 0

    def lacks(self, table: str) -> bool:
        """Whether a model of this shape has no such table."""
        optional = {"vscale": self.vscale, "learned_sinks": self.learned_sinks}
        optional |= dict.fromkeys(("experts", "router", "routing"), self.experts > 0)
        optional |= dict.fromkeys(("token_kinds", "modalities"), self.images)
        return not optional.get(table, True)


def synthetic(shape: Shape, **info: Any) -> Run:
    """A run; `info` replaces entries of run.info, `name` the model's name."""
    make = _Maker(shape)
    tables = {name: getattr(make, name)() for name in NAMES if not shape.lacks(name)}
    name = info.pop("name", "example/model-1B")
    run = Run(_info(shape, tables, name), tables)
    return Run({**run.info, **info}, tables)


def changed(run: Run, **headline_values: Any) -> Run:
    """The run with other headline numbers."""
    return replace(run, info={**run.info, "headline": {**run.info["headline"], **headline_values}})


class _Maker:
    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.random = np.random.default_rng(shape.seed)
        self.depth = np.linspace(0, 1, shape.layers)
        self.positions_listed = np.arange(min(Settings().positions, shape.tokens))
        self.early = np.arange(min(Settings().early + 1, shape.tokens))
        strength = np.clip(self.random.normal(0.75, 0.2, (shape.layers, shape.heads)), 0.01, 0.99)
        self.alpha = strength if shape.sinks else 0.1 * strength

    def noise(self, *size: int) -> np.ndarray:
        return np.exp(self.random.normal(0, 0.25, size))

    def each(self, sites: Sequence[str]) -> list[tuple[int, str]]:
        return [(layer, site) for layer in range(self.shape.layers) for site in sites]

    def heads(self) -> pd.DataFrame:
        rows = Rows("heads")
        for layer in range(self.shape.layers):
            alpha = self.alpha[layer]
            rows.add(layer=layer, head=np.arange(self.shape.heads), position=0, alpha=alpha,
                     sink_fraction=(alpha > 0.3) * 1.0, mass=alpha * self.shape.tokens,
                     second_moment=alpha**2 * self.shape.tokens)  # fmt: skip
        for layer, head, position in self._elsewhere():
            rows.add(
                layer=layer, head=head, position=position, alpha=0.2, sink_fraction=0.5, mass=3.0, second_moment=1.0
            )
        return rows.frame()

    def _elsewhere(self) -> list[tuple[int, int, int]]:
        if not self.shape.sinks:
            return []
        count = min(30, self.shape.layers * self.shape.heads)
        return [(i % self.shape.layers, i % self.shape.heads, 1 + i) for i in range(count) if 1 + i < self.shape.tokens]

    def layers(self) -> pd.DataFrame:
        ratio = 15 * self.noise(self.shape.layers) if self.shape.backward else np.full(self.shape.layers, np.nan)
        return frame(
            "layers",
            {
                "layer": np.arange(self.shape.layers),
                "sink_rate": (self.alpha > 0.3).mean(1),
                "gradient_sink_ratio": ratio,
                "alpha_norm_correlation": self.random.uniform(-0.5, 1, self.shape.layers),
            },
        )

    def _sites_of(self, layer: int) -> list[str]:
        return [str(site) for site in Site if site is not Site.FINAL_IN or layer == self.shape.layers - 1]

    def sites(self) -> pd.DataFrame:
        rows = Rows("sites")
        for layer in range(self.shape.layers):
            for site in self._sites_of(layer):
                largest = 1500.0 if self.shape.massive and site == "h_out" else 12.0
                rows.add(layer=layer, site=site, abs_max=largest * self.noise(1)[0], abs_median=0.4,
                         kurtosis=largest * self.noise(1)[0])  # fmt: skip
        return rows.frame()

    def positions(self) -> pd.DataFrame:
        rows = Rows("positions")
        count = len(self.positions_listed)
        for layer in range(self.shape.layers):
            for site in self._sites_of(layer):
                norm = 20 * (1 + 3 * self.depth[layer]) * self.noise(count)
                if site in ("h_in", "h_half", "h_out", "final_in") and self.shape.massive:
                    norm[0] *= 60
                gradient = 1e-3 * self.noise(count) / (1 + self.positions_listed) ** 0.5
                if site == "q":
                    gradient[0] = 0.0
                rows.add(layer=layer, site=site, position=self.positions_listed, norm=norm, norm_max=1.3 * norm,
                         grad_norm=gradient if self.shape.backward else np.nan)  # fmt: skip
        return rows.frame()

    def branches(self) -> pd.DataFrame:
        rows = Rows("branches")
        for layer, branch in self.each(("attn", "mlp")):
            norm = 20 * self.noise(len(self.positions_listed))
            norm[0] *= 60
            known = 1.0 if self.shape.backward else np.nan
            rows.add(layer=layer, branch=branch, position=self.positions_listed, input_norm=norm,
                     bloat=known * self.noise(len(norm)), change=known * self.noise(len(norm)),
                     compress=known * 16 / norm * self.noise(len(norm)))  # fmt: skip
        return rows.frame()

    def bounds(self) -> pd.DataFrame:
        rows = Rows("bounds")
        if self.shape.backward:
            for layer, bound in self.each(("value_mass", "value_moment", "compress_attn", "compress_mlp")):
                rows.add(layer=layer, bound=bound, checked=5000, max_ratio=self.random.uniform(0.2, 1),
                         mean_ratio=0.1, violations=0)  # fmt: skip
        return rows.frame()

    def massive(self) -> pd.DataFrame:
        rows = Rows("massive")
        for layer, site in self.each(MASSIVE_SITES):
            for sequence in range(self.shape.sequences):
                position = np.minimum(np.array([0, 0, 0, 1, 2, 3, 5, 7]), self.shape.tokens - 1)
                scale = 1500.0 if self.shape.massive and site == "h_out" else 5.0
                value = scale * self.noise(8) * np.array([1, -1, 1, 0.1, 0.01, 0.01, 0.01, -0.01])
                ratio = np.abs(value) / 0.4
                rows.add(layer=layer, site=site, sequence=sequence, position=position,
                         token=[WORDS[p] for p in position], channel=np.array([11, 133, 7, 90, 12, 200, 201, 202]),
                         value=value, ratio_to_median=ratio,
                         is_massive=(np.abs(value) > 100) & (ratio >= 1000))  # fmt: skip
        self.listed_massive = rows.frame()
        return self.listed_massive

    def massive_counts(self) -> pd.DataFrame:
        entries = self.listed_massive.query("is_massive").groupby(["layer", "site", "sequence"])
        counts = entries.agg(entries=("channel", "size"), positions=("position", "nunique"),
                             channels=("channel", "nunique")).reset_index()  # fmt: skip
        return frame("massive_counts", {name: counts[name] for name in counts})

    def values(self) -> pd.DataFrame:
        rows = Rows("values")
        for layer in range(self.shape.layers):
            for head in range(self.shape.kv_heads):
                norm = 4 * self.noise(len(self.positions_listed))
                norm[0] *= 0.1
                rows.add(layer=layer, kv_head=head, position=self.positions_listed, norm=norm, norm_scaled=0.7 * norm)
        return rows.frame()

    def vscale(self) -> pd.DataFrame:
        layer, head = np.indices((self.shape.layers, self.shape.kv_heads)).reshape(2, -1)
        theta = 1 - 2 * self.depth[layer] + self.random.normal(0, 0.1, len(layer))
        return frame("vscale", {"layer": layer, "kv_head": head, "theta": theta, "C": np.exp(theta)})

    def experts(self) -> pd.DataFrame:
        rows = Rows("experts")
        E = self.shape.experts
        for layer in range(1, self.shape.layers):  # the first one is dense
            peak = 20 * self.noise(E)
            if self.shape.massive and layer == 2:
                peak[E // 2] = 3000.0
            unused = np.arange(E) == (E - 1 if E > 1 else -1)
            rows.add(layer=layer, kind="routed", expert=np.arange(E), tokens=np.where(unused, 0, 30), share=1 / E,
                     abs_max=np.where(unused, np.nan, 9 * self.noise(E)), abs_median=0.1, kurtosis=30.0, massive=0,
                     output_abs_max=np.where(unused, np.nan, peak), output_position=0, output_token=WORDS[0],
                     output_channel=7, is_super=peak > 1000)  # fmt: skip
            rows.add(layer=layer, kind="shared", expert=0, tokens=200, share=1.0, abs_max=9.0, abs_median=0.1,
                     kurtosis=30.0, massive=0, output_abs_max=20.0, output_position=3, output_token=WORDS[1],
                     output_channel=1, is_super=False)  # fmt: skip
        return rows.frame()

    def _groups(self) -> list[str]:
        return ["first", "sink", "other"] if self.shape.sinks else ["first", "other"]

    def router(self) -> pd.DataFrame:
        rows = Rows("router")
        E = self.shape.experts
        for layer in range(1, self.shape.layers):
            for group in self._groups():
                share = self.random.dirichlet(np.full(E, 0.2 if group == "first" else 2.0)) * min(2, E)
                rows.add(layer=layer, expert=np.arange(E), group=group, tokens=np.round(100 * share).astype(int),
                         share=share, weight=0.5)  # fmt: skip
        return rows.frame()

    def routing(self) -> pd.DataFrame:
        rows = Rows("routing")
        for layer in range(1, self.shape.layers):
            for group in self._groups():
                overlap = dict(zip(("first", "sink", "other"), self.random.uniform(0.1, 1, 3), strict=True))
                rows.add(layer=layer, group=group, tokens=100, entropy=1.5,
                         **{f"overlap_{name}": value for name, value in overlap.items()})  # fmt: skip
        return rows.frame()

    def learned_sinks(self) -> pd.DataFrame:
        rows = Rows("learned_sinks")
        for layer in range(self.shape.layers):
            mass = self.random.uniform(0, 1, self.shape.heads)
            rows.add(layer=layer, head=np.arange(self.shape.heads), logit=0.3, mass=mass, token_mass=1 - mass,
                     early_mass=mass, alpha=self.alpha[layer] * (1 - mass))  # fmt: skip
        return rows.frame()

    def _image(self) -> tuple[int, int]:
        return 1, max(self.shape.tokens // 2, 2)

    def token_kinds(self) -> pd.DataFrame:
        rows = Rows("token_kinds")
        start, stop = self._image()
        for sequence in range(self.shape.sequences):
            for first, end, kind in ((0, start, "text"), (start, stop, "image"), (stop, self.shape.tokens, "text")):
                if end > first:
                    rows.add(sequence=sequence, start=first, stop=end, kind=kind)
        return rows.frame()

    def modalities(self) -> pd.DataFrame:
        rows = Rows("modalities")
        for layer in range(self.shape.layers):
            for kind in ("first", "text", "image"):
                share = self.random.uniform(0, 1) if kind == "first" else 0.05 * self.random.uniform(0, 1)
                size = 900.0 if kind == "first" else 20.0
                rows.add(layer=layer, kind=kind, tokens=100, judged=90, sinks=round(90 * share), sink_share=share,
                         norm=size * self.noise(1)[0], norm_max=2 * size, abs_max=size)  # fmt: skip
        return rows.frame()

    def sequences(self) -> pd.DataFrame:
        rows = Rows("sequences")
        order = np.arange(self.shape.sequences)
        rows.add(layer=None, sequence=order, metric="loss", value=3 * self.noise(len(order)))
        for layer in range(self.shape.layers):
            rate = np.clip((self.alpha[layer] > 0.3).mean() * self.noise(len(order)), 0, 1)
            rows.add(layer=layer, sequence=order, metric="sink_rate", value=rate)
            rows.add(layer=layer, sequence=order, metric="abs_max", value=1500 * self.noise(len(order)))
            for site in ("h_out", "r_mlp", "r_attn", "v_scaled"):
                rows.add(layer=layer, sequence=order, metric=f"{site}_t0", value=600 * self.noise(len(order)))
                rows.add(layer=layer, sequence=order, metric=f"{site}_early", value=20 * self.noise(len(order)))
        return rows.frame()

    def slope_sums(self) -> pd.DataFrame:
        """Pairs on a line of slope 0.95, with noise."""
        rows = Rows("slope_sums")
        random = np.random.default_rng([self.shape.seed, 7])  # leaves the other tables as they were
        for layer in range(self.shape.layers if self.shape.backward else 0):
            x = random.normal(2, 1.5, (self.shape.sequences, len(self.early)))
            y = 0.95 * x - 14 + random.normal(0, 0.5, x.shape)
            parts = {"pairs": np.ones_like(x), "x": x, "y": y, "xx": x * x, "xy": x * y, "yy": y * y}
            sums = {name: part.sum(1) for name, part in parts.items()}
            rows.add(layer=layer, sequence=np.arange(len(x)), **sums)
        return rows.frame()

    def gradient_blocks(self) -> pd.DataFrame:
        rows = Rows("gradient_blocks")
        if self.shape.backward:
            first, second = np.triu_indices(min(self.shape.sequences, 32))
            for layer, position in np.ndindex(self.shape.layers, len(self.early)):
                gradients = self.random.normal(2.0 if position == 0 else 0.1, 1.0, (self.shape.sequences, 8))
                rows.add(layer=layer, position=position, block_i=first, block_j=second,
                         dot=1e-6 * (gradients @ gradients.T)[first, second])  # fmt: skip
        return rows.frame()

    def sinks(self) -> pd.DataFrame:
        rows = Rows("sinks")
        for layer, head in np.argwhere(self.alpha > 0.3):
            rows.add(layer=layer, head=head, sequence=np.arange(self.shape.sequences), position=0,
                     token=["<bos>"] * self.shape.sequences, alpha=self.alpha[layer, head])  # fmt: skip
        for layer, head, position in self._elsewhere():
            rows.add(layer=layer, head=head, sequence=position % self.shape.sequences, position=position,
                     token=WORDS[position % len(WORDS)], alpha=0.5)  # fmt: skip
        return rows.frame()

    def sink_norms(self) -> pd.DataFrame:
        rows = Rows("sink_norms")
        for layer in range(self.shape.layers):
            rows.add(layer=layer, sequence=np.arange(self.shape.sequences), position=0,
                     token=["<bos>"] * self.shape.sequences, heads=int((self.alpha[layer] > 0.3).sum()), norm=900.0,
                     rank=1, positions=self.shape.tokens)  # fmt: skip
        for layer, _, position in self._elsewhere():
            rows.add(layer=layer, sequence=position % self.shape.sequences, position=position,
                     token=WORDS[position % len(WORDS)], heads=1, norm=90.0, rank=2,
                     positions=self.shape.tokens)  # fmt: skip
        return rows.frame()

    def maps(self) -> pd.DataFrame:
        rows = Rows("maps")
        for layer in range(self.shape.layers):
            for head in sorted({int(self.alpha[layer].argmax()), int(self.alpha[layer].argmin())}):
                for kind, size in (("window", min(128, self.shape.tokens)), ("pooled", min(64, self.shape.tokens))):
                    row, column = np.tril_indices(size)
                    weight = np.where(column == 0, self.alpha[layer, head], (1 - self.alpha[layer, head]) / (1 + row))
                    rows.add(layer=layer, head=head, kind=kind, row=row, column=column, weight=weight)
        return rows.frame()

    def map_tokens(self) -> pd.DataFrame:
        count = min(128, self.shape.tokens)
        rows = Rows("map_tokens")
        rows.add(position=np.arange(count), token=[WORDS[position % len(WORDS)] for position in range(count)])
        return rows.frame()

    def scatter(self) -> pd.DataFrame:
        rows = Rows("scatter")
        if not self.shape.backward:
            return rows.frame()
        for layer, kind in self.each(("value_mass", "value_moment", "compress_attn", "compress_mlp")):
            position = self.early[(self.early & (self.early - 1)) == 0]
            bound = 1e-3 * self.noise(len(position)) ** 4
            rows.add(layer=layer, kind=kind, kv_head=0 if kind.startswith("value") else None, sequence=0,
                     position=position, x=bound, y=bound * self.random.uniform(0.05, 1, len(position)))  # fmt: skip
        for layer in range(self.shape.layers):
            mass = self.shape.tokens / (1.0 + self.early) * self.noise(len(self.early))
            rows.add(layer=layer, kind="mass_slope", kv_head=0, sequence=0, position=self.early,
                     x=mass**2, y=1e-6 * mass**1.9 * self.noise(len(self.early)))  # fmt: skip
        return rows.frame()


def _info(shape: Shape, tables: dict[str, pd.DataFrame], name: str) -> dict[str, Any]:
    grouped = tables["sinks"].groupby("position")["token"]
    return {
        "kind": "analysis",
        "sinkscope": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
        "model": {"name": name, "revision": None, "weights_sha256": "0123456789abcdef" * 4, "family": "llama",
                  "layers": shape.layers, "heads": shape.heads, "kv_heads": shape.kv_heads, "hidden_size": shape.hidden,
                  "head_dim": 64, "parameters": 101_000_000, "dtype": "float32", "quantization": None,
                  "vscale": "learned" if shape.vscale else None},
        "device": "cpu",
        "data": {"source": "stdlib", "sha256": "fedcba9876543210" * 4, "sequences": shape.sequences,
                 "tokens": shape.tokens, "bos": True, "isolated_documents": False,
                 "targets": shape.sequences * (shape.tokens - 1)},
        "sink_tokens": [{"position": int(position), "token": tokens.iloc[0], "share": 1.0, "sinks": len(tokens)}
                        for position, tokens in grouped],
        "settings": {**asdict(Settings(backward=shape.backward)), "batch_size": 1},
        "conventions": {f"convention_{number}": CONVENTION for number in range(8)},
        "versions": dict.fromkeys(("python", "torch", "transformers", "numpy", "pandas", "pyarrow"), "1.2.3"),
        "seconds": 12.5,
        "peak_memory_bytes": 1_500_000_000,
        "not_applicable": {},
        "headline": headline_with_intervals(tables, 0.3),
    }  # fmt: skip
