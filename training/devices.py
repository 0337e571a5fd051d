"""What is known of accelerators by their names: peaks, for the share of them that a run reaches, and memory.

Dense bfloat16 peaks in TFLOP/s and memory in GiB, from NVIDIA's data sheets; the first entry whose name a device's name
holds counts. Memory is what the driver leaves of it: 143,771 MiB of an H200.
"""

PEAKS = {
    "GB200": 2500.0, "B200": 2250.0, "H100 PCIe": 756.0, "H800 PCIe": 756.0, "H100 NVL": 835.0, "H100": 989.0,
    "H200": 989.0, "H800": 989.0, "H20": 148.0, "A100": 312.0, "A800": 312.0, "L40S": 362.0,
}  # fmt: skip


def bf16_tflops(device: str) -> float | None:
    """The dense bfloat16 peak of a device by its name, None where it is not known."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)
