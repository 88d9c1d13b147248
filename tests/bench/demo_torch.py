"""The demo's training in PyTorch: diffusers' UNet, PEFT, AdamW, cached latents and text, each step a batch of one bucket.

demo_torch.py MODEL RANK BATCH STEPS THREADS.  Prints how many modules are trained, seconds a step and the median of all
but the first.
"""
import statistics
import sys
import time

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from diffusers.optimization import get_cosine_schedule_with_warmup
from peft import LoraConfig

model, (rank, batch, steps, threads) = sys.argv[1], map(int, sys.argv[2:6])
torch.set_num_threads(threads)
unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet", torch_dtype=torch.float32)
unet.requires_grad_(False)
# what conv_dim takes as well: every linear layer and convolution of these
taken = sorted({
    f"{outer}.{inner}"
    for outer, block in unet.named_modules()
    if isinstance(block, (Downsample2D, ResnetBlock2D, Transformer2DModel, Upsample2D))
    for inner, layer in block.named_modules()
    if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d))
})
unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=taken))
unet.train()
weights = [p for p in unet.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(weights, lr=4e-3, betas=(0.9, 0.98))
rate = get_cosine_schedule_with_warmup(optimizer, 20, 700)
schedule = DDPMScheduler.from_pretrained(model, subfolder="scheduler")
c = unet.config
pooled = c.projection_class_embeddings_input_dim - 6 * c.addition_time_embed_dim
sizes = [(16, 16), (20, 12), (12, 20)]
latents = [torch.randn(batch, c.in_channels, *size) for size in sizes]
context, text = torch.randn(batch, 77, c.cross_attention_dim), torch.randn(batch, pooled)
print(f"{len(taken)} modules, {sum(p.numel() for p in weights)} weights", flush=True)
seconds = []
for i in range(steps):
    began = time.monotonic()
    latent = latents[i % len(sizes)]
    h, w = (4 * x for x in latent.shape[2:])
    noise, t = torch.randn_like(latent), torch.randint(0, 1000, (batch,))
    added = {"text_embeds": text, "time_ids": torch.tensor([[h, w, 0, 0, h, w]] * batch, dtype=torch.float32)}
    predicted = unet(schedule.add_noise(latent, noise, t), t, context, added_cond_kwargs=added).sample
    # the debiased loss: 1 / sqrt(SNR)
    kept = schedule.alphas_cumprod[t]
    loss = (((predicted - noise) ** 2).mean((1, 2, 3)) * ((1 - kept) / kept).sqrt()).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    rate.step()
    optimizer.zero_grad(set_to_none=True)
    seconds.append(time.monotonic() - began)
    print(f"step {i + 1}: {seconds[-1]:.4f} s", flush=True)
print(f"median {statistics.median(seconds[1:] or seconds):.4f} s")
