"""Where the time of a run goes, as a runtime's profiler tells: shares of kernels, for training to learn from.

A network's latency says what the sum of its kernels takes; its profile says what each does. The file is a NumPy
archive: `ids` of the dataset's rows, `sizes` (how many tokens each row's network has), and for all tokens one after
another `shares` of the time of all kernels and `groups`, the token that has the share of all that ran as one kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from narformer.errors import DataError


class Profile(NamedTuple):
    """One network's. target: on which it was taken. shares: (T,), 0 for the run and for all of a group but
    one; their sum is 1. groups: (T,), the token that has each one's share.
    """

    target: str
    shares: npt.NDArray[np.float32]
    groups: npt.NDArray[np.int64]


def read_profiles(path: Path, target: str) -> dict[str, Profile]:
    """The profiles of a file by the ids of rows. Raises DataError where it is not one."""
    try:
        with np.load(path) as arrays:
            ids, sizes = arrays["ids"].tolist(), arrays["sizes"].astype(np.int64)
            shares, groups = arrays["shares"].astype(np.float32), arrays["groups"].astype(np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a file of profiles ({error})") from error
    if len(ids) != len(sizes) or sizes.sum() != len(shares) or len(shares) != len(groups):
        raise DataError(f"{path}: a file of profiles whose columns differ in length")
    ends = np.cumsum(sizes)
    return {
        id: Profile(target, shares[start:end], groups[start:end])
        for id, start, end in zip(ids, (ends - sizes).tolist(), ends.tolist(), strict=True)
    }


def write_profiles(path: Path, profiles: Mapping[str, Profile]) -> None:
    """The file of some profiles, all of one target."""
    np.savez_compressed(
        path,
        ids=np.array(list(profiles)),
        sizes=np.array([len(p.shares) for p in profiles.values()], dtype=np.int32),
        shares=np.concatenate([p.shares for p in profiles.values()]).astype(np.float16),
        groups=np.concatenate([p.groups for p in profiles.values()]).astype(np.int16),
    )
