"""peer.py CONFIG.JSON - the step of tests/cuda/card in PyTorch on the same card, as lines for card.jsonl: diffusers'
UNet with random weights, PEFT's LoRA of rank 32 on the layers that kohya adapts, bfloat16, batch 1, 1024x1024."""
import json
import sys
import time

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig

STEPS, WARM_UP = 12, 4
LAYERS = ['to_q', 'to_k', 'to_v', 'to_out.0', 'ff.net.0.proj', 'ff.net.2', 'proj_in', 'proj_out']


def network(config):
    torch.set_default_dtype(torch.bfloat16)
    with torch.device('cuda'):
        unet = UNet2DConditionModel.from_config(config)
    torch.set_default_dtype(torch.float32)
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=32, lora_alpha=32, target_modules=LAYERS))
    trained = [p for p in unet.parameters() if p.requires_grad]
    for p in trained:
        p.data = p.data.float()
    return unet.train(), trained


def stepper(unet, trained):
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    x, t = torch.randn(1, 4, 128, 128, device='cuda'), torch.tensor([500], device='cuda')
    added = {'text_embeds': torch.randn(1, 1280, device='cuda'), 'time_ids': torch.ones(1, 6, device='cuda')}
    context = torch.randn(1, 77, 2048, device='cuda')

    def step():
        with torch.autocast('cuda', torch.bfloat16):
            loss = (unet(x, t, context, added_cond_kwargs=added).sample.float() - x).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return step


def measured(step):
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(STEPS):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    later = sorted(seconds[WARM_UP:])
    return later[len(later) // 2] * 1e3, torch.cuda.max_memory_allocated() >> 20


def main():
    with open(sys.argv[1], encoding='utf-8') as config:
        unet, trained = network(json.load(config))
    step = stepper(unet, trained)
    for case in ('kept', 'checkpointed'):
        if case == 'checkpointed':
            unet.enable_gradient_checkpointing()
        ms, peak = measured(step)
        print(json.dumps({'what': 'peer', 'case': case, 'ms': round(ms, 2), 'seen_mib': peak,
                          'trained': sum(p.numel() for p in trained)}), flush=True)


main()
