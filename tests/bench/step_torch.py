"""A LoRA step in PyTorch: diffusers' UNet, PEFT on the modules that lora-train takes, AdamW, float32.

step_torch.py MODEL WIDTH HEIGHT RANK STEPS gradient-checkpointing|no-gradient-checkpointing.  Prints seconds a step, the median of all but the first, and
the most memory.
"""
import resource
import statistics
import sys
import time

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig

model, width, height, rank, steps, way = sys.argv[1], *map(int, sys.argv[2:6]), sys.argv[6]
unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet", torch_dtype=torch.float32)
unet = unet.to(memory_format=torch.channels_last)
unet.requires_grad_(False)
# every linear layer of the attention blocks: 722 of SDXL
taken = [n for n, m in unet.named_modules() if ".attentions." in f".{n}" and isinstance(m, torch.nn.Linear)]
unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=taken))
if way == "gradient-checkpointing":
    unet.enable_gradient_checkpointing()
unet.train()
weights = [p for p in unet.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(weights, lr=1e-4)
c = unet.config
noise_steps = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000) ** 2
kept = torch.cumprod(1 - noise_steps, 0)
latent = torch.randn(1, c.in_channels, height // 8, width // 8).to(memory_format=torch.channels_last)
context = torch.randn(1, 77, c.cross_attention_dim)
added = {
    "text_embeds": torch.randn(1, c.projection_class_embeddings_input_dim - 6 * c.addition_time_embed_dim),
    "time_ids": torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32),
}
print(f"{len(taken)} modules, {sum(p.numel() for p in weights)} weights", flush=True)
seconds = []
for i in range(steps):
    began = time.monotonic()
    noise, t = torch.randn_like(latent), torch.randint(0, 1000, (1,))
    noisy = kept[t].sqrt() * latent + (1 - kept[t]).sqrt() * noise
    loss = torch.nn.functional.mse_loss(unet(noisy, t, context, added_cond_kwargs=added).sample, noise)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds.append(time.monotonic() - began)
    print(f"step {i + 1}: {seconds[-1]:.3f} s", flush=True)
print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1048576:.2f} GiB")
print(f"median {statistics.median(seconds[1:] or seconds):.3f} s")
