"""Standard normal numbers as lib/views/noise.h defines them for the operation noise, in float64."""

import numpy as np


def philox(counters, key):
    """Philox4x32-10 (Salmon et al. 2011) of counters [n,4]: words [4,n]."""
    c, k0, k1 = counters.T.astype(np.uint64), key[0], key[1]
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = b >> half ^ c[1] ^ np.uint64(k0), b & low, a >> half ^ c[3] ^ np.uint64(k1), a & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c)


def gaussian_of(counter, key, size):
    """Returns [3,size,size]."""
    return channels_of(counter, key, size, 3)


def channels_of(counter, key, size, channels):
    """Returns [channels,size,size]."""
    groups = [three_of(counter[:3] + [counter[3] + (g << 12)], key, size) for g in range(-(-channels // 3))]
    return np.concatenate(groups)[:channels]


def three_of(counter, key, size):
    counters = np.tile(np.array(counter, np.uint32), (size * size, 1))
    counters[:, 0] += np.arange(size * size, dtype=np.uint32)
    f0, f1, f2, f3 = (philox(counters, key) >> np.uint64(8)) / 2.0**24
    red = np.sqrt(-2 * np.log(1 - f0)) * np.cos(2 * np.pi * f1)
    green = np.sqrt(-2 * np.log(1 - f0)) * np.sin(2 * np.pi * f1)
    blue = np.sqrt(-2 * np.log(1 - f2)) * np.cos(2 * np.pi * f3)
    return np.stack([red, green, blue]).reshape(3, size, size)
