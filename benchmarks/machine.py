"""What the benchmarks run on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from tests.testbed.versions import Versions


def machine() -> Mapping[str, str]:
    """Returns what a reader needs to judge the numbers."""
    versions = Versions.from_environment()
    return {
        "processors": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Kubernetes": versions.kubernetes,
        "clusterctl": versions.cluster_api,
    }


def _processor() -> str:
    """Returns the processor's name; Linux tells it in a file only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
