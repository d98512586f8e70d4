"""The 95 % interval of a share: of needles found, of questions answered right."""

import math

_NORMAL = 1.959963984540054  # 97.5 % quantile of the normal distribution
_POISSON = (0.05129329, 0.35536151, 0.81769145)  # 5 % points of the means whose counts are 1, 2, 3: half those of chi^2
_MANY = 50  # trials from which three counts at either end are mended, instead of two


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927), which stays inside 0..1 also for 0 or all successes.

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), with p = successes / n and z = 1.96. Next to shares of 0
    and 1 it covers as little as 79 %. There its outer end is that of a Poisson count, where that lies farther out
    (Brown, Cai and DasGupta 2001, section 4.1.1): then it covers at least 91 % whatever the share.
    """
    p, z = successes / trials, _NORMAL
    middle = p + z**2 / (2 * trials)
    reach = z * math.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    low, high = max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
    return min(low, _outer(successes, trials)), max(high, 1 - _outer(trials - successes, trials))


def _outer(count: float, trials: int) -> float:
    """The lower end of a small count's share; 1 where the count is not small."""
    mended = _POISSON if trials > _MANY else _POISSON[:2]
    return mended[round(count) - 1] / trials if 1 <= round(count) <= len(mended) else 1.0
