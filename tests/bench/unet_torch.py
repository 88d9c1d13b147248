"""The same UNet forward as unet.c in PyTorch: unet_torch.py MODEL WIDTH HEIGHT RUNS DTYPE.  Prints seconds a run and the median."""
import statistics
import sys
import time

import torch
from diffusers import UNet2DConditionModel

model, width, height, runs, dtype = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet", torch_dtype=getattr(torch, dtype)).eval()
unet = unet.to(memory_format=torch.channels_last)
c = unet.config
kind = dict(dtype=unet.dtype)
sample = torch.randn(1, c.in_channels, height // 8, width // 8, **kind)
context = torch.randn(1, 77, c.cross_attention_dim, **kind)
added = {
    "text_embeds": torch.randn(1, c.projection_class_embeddings_input_dim - 6 * c.addition_time_embed_dim, **kind),
    "time_ids": torch.tensor([[height, width, 0, 0, height, width]], **kind),
}
seconds = []
with torch.inference_mode():
    for i in range(runs):
        began = time.monotonic()
        unet(sample, 500, context, added_cond_kwargs=added)
        seconds.append(time.monotonic() - began)
        print(f"run {i + 1}: {seconds[-1]:.3f} s", flush=True)
print(f"median {statistics.median(seconds):.3f} s")
