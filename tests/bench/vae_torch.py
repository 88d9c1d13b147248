"""The same as vae.c in PyTorch: vae_torch.py MODEL encode|decode WIDTH HEIGHT RUNS [channels_last].  Prints seconds a run and the median."""
import statistics
import sys
import time

import torch
from diffusers import AutoencoderKL

model, way, width, height, runs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
layout = torch.channels_last if "channels_last" in sys.argv[6:] else torch.contiguous_format
vae = AutoencoderKL.from_pretrained(model, subfolder="vae", torch_dtype=torch.float32).eval().to(memory_format=layout)
if way == "encode":
    x, run = torch.randn(1, 3, height, width), lambda x: vae.encode(x).latent_dist.parameters
else:
    x, run = torch.randn(1, vae.config.latent_channels, height // 8, width // 8), lambda x: vae.decode(x).sample
x = x.to(memory_format=layout)
seconds = []
with torch.inference_mode():
    for i in range(runs):
        began = time.monotonic()
        run(x)
        seconds.append(time.monotonic() - began)
        print(f"run {i + 1}: {seconds[-1]:.4f} s", flush=True)
print(f"median {statistics.median(seconds):.4f} s")
