"""Which kernels of attention this device has at the head sizes of MAP-Neo, and how fast: causal, and within documents.

Each backend of scaled_dot_product_attention is forced in turn; what it refuses is printed as such. TFLOP/s count the
scores that a causal mask leaves, 3.5 times in a forward and a backward pass. Documents are those of
`training.model.packed_attention`, which has no kernel on a CPU. Run: python -m benchmarks.gpu_kernels
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.measure import median, table
from training.model import cumulative, packed_attention

HEAD = ["attention", "heads", "ms forward", "ms forward and backward", "TFLOP/s", "worst error"]
BACKENDS = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
SHAPES = ((16, 16, 192), (8, 1, 256))  # heads, key and value heads, size: MAP-Neo 7B and 2B
MEANS = (600, 2000, 8192)  # tokens of a document
ROUNDS = 10


def seconds(device: str, work: Callable[[], object]) -> float:
    """Median seconds of some work."""
    found = []
    for _ in range(ROUNDS if device == "cuda" else 3):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return median(found[1:])


def measured(
    name: str,
    device: str,
    shape: tuple[int, int, int],
    parts: list[Tensor],
    work: Callable[..., Tensor],
    wanted: Tensor,
) -> list[str]:
    """A line of the table, or why there is none."""
    heads, shared, size = shape
    length = parts[0].numel() // (heads * size)
    label = [name, f"{heads}/{shared} x {size}"]

    def both() -> None:
        out = work(*parts)
        torch.autograd.grad(out, parts, torch.ones_like(out))

    try:
        out = work(*parts)
        both()
    except (RuntimeError, torch.OutOfMemoryError) as error:
        return [*label, "-", "-", "-", str(error).splitlines()[0][:60]]
    forward, whole = seconds(device, lambda: work(*parts)), seconds(device, both)
    flops = 3.5 * 2 * heads * size * length * length
    error = float((out.detach().float() - wanted.float()).abs().max())
    return [*label, f"{1e3 * forward:.2f}", f"{1e3 * whole:.2f}", f"{flops / whole / 1e12:.3g}", f"{error:.1e}"]


def drawn(shape: tuple[int, int, int], length: int, device: str) -> list[Tensor]:
    """Queries, keys and values [1, heads, length, size] in bfloat16."""
    heads, shared, size = shape
    draw = torch.Generator(device).manual_seed(1)
    return [
        torch.randn(1, n, length, size, generator=draw, device=device).bfloat16().requires_grad_()
        for n in (heads, shared, shared)
    ]


def survey(device: str) -> list[list[str]]:
    """The lines of the table, `HEAD` above them; on a CPU over fewer tokens."""
    length = 8192 if device == "cuda" else 256
    rows = []
    for shape in SHAPES:
        parts, grouped = drawn(shape, length, device), shape[0] != shape[1]
        exact = [part.detach().float() for part in parts]
        with sdpa_kernel(BACKENDS if device == "cuda" else SDPBackend.MATH):
            wanted = F.scaled_dot_product_attention(*exact, is_causal=True, enable_gqa=grouped)
        for backend in BACKENDS:

            def causal(
                q: Tensor, k: Tensor, v: Tensor, backend: SDPBackend = backend, grouped: bool = grouped
            ) -> Tensor:
                with sdpa_kernel(backend):
                    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)

            rows.append(measured(backend.name.lower(), device, shape, parts, causal, wanted))
        if device != "cuda":
            continue
        for mean in MEANS:
            bounds = cumulative([torch.arange(0, length, mean)], length).to(device)
            flat = [part.detach()[0].transpose(0, 1).contiguous().requires_grad_() for part in parts]

            def within(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor = bounds, grouped: bool = grouped) -> Tensor:
                return packed_attention(q, k, v, bounds, length, None, grouped)

            # The reference is each document by itself.
            pieces = [
                F.scaled_dot_product_attention(
                    *(part[:, :, first : first + mean] for part in exact), is_causal=True, enable_gqa=grouped
                )
                for first in range(0, length, mean)
            ]
            alone = torch.cat(pieces, 2)[0].transpose(0, 1)
            rows.append(measured(f"within documents of {mean}", device, shape, flat, within, alone))
    return rows


if __name__ == "__main__":
    print(table(HEAD, survey("cuda" if torch.cuda.is_available() else "cpu")))
