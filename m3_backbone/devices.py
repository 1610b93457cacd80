"""Whether a device can be used: found out before anything is fetched or loaded. Torch-free until asked."""

from __future__ import annotations


class DeviceError(ValueError):
    """A device that torch does not know or this machine does not have; the message has the remedy."""


def require_device(name: str) -> None:
    """Raises `DeviceError` unless one number can be kept on the device ``name`` and read back."""
    import torch

    try:
        torch.zeros(1, device=torch.device(name)).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # each backend has its own way
        said = " ".join(str(error).split())
        raise DeviceError(f"device {name!r} cannot be used: {_reason(name, said)}") from error


def _reason(name: str, said: str) -> str:
    import torch

    if not name.startswith("cuda"):
        return f"{said.split('. ')[0].rstrip('.')}. Take cpu, cuda, cuda:1, ..."
    if torch.version.cuda is None:
        return (
            "this torch is a build for the CPU alone. Install one for CUDA, as in `.venv/bin/python -m pip "
            "install --force-reinstall --index-url https://download.pytorch.org/whl/cu130 "
            f"torch=={torch.__version__.split('+')[0]}`, or take cpu."
        )
    count = torch.cuda.device_count()
    if count == 0:
        return "torch sees no GPU. `nvidia-smi` says whether the driver does. Or take cpu."
    return f"{said.split('. ')[0].rstrip('.')}. This machine has {count} of them, counted from cuda:0."
