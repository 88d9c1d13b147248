"""What lora-merge into and lora-inspect --norms do, in PyTorch as sd-scripts has it, in float:

adapter_torch.py merge CHECKPOINT ADAPTER OUT: SDXL in a single file, kohya's names
adapter_torch.py norms ADAPTER
"""
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

# Stability's names of the second text encoder, kohya's of the same
OPENCLIP = {"mlp_c_fc": "mlp_fc1", "mlp_c_proj": "mlp_fc2", "attn_out_proj": "self_attn_out_proj"}


def modules(path):
    """Name and dW of each module of a LoRA."""
    with safe_open(path, "pt") as f:
        for key in f.keys():
            if key.endswith(".lora_down.weight"):
                name = key.removesuffix(".lora_down.weight")
                down, up = f.get_tensor(key).float(), f.get_tensor(name + ".lora_up.weight").float()
                yield name, f.get_tensor(name + ".alpha").item() / len(down) * (up @ down)


def places(weights):
    """From kohya's name of a layer to its tensor, and to which third of its rows."""
    at = {}
    for key in weights:
        name = key.removesuffix(".weight").replace(".", "_")
        if name.startswith("model_diffusion_model_"):
            at["lora_unet_" + name.removeprefix("model_diffusion_model_")] = key, None
        elif name.startswith("conditioner_embedders_0_transformer_"):
            at["lora_te1_" + name.removeprefix("conditioner_embedders_0_transformer_")] = key, None
        elif "_resblocks_" in name:
            layer, part = name.split("_resblocks_")[1].split("_", 1)
            layer = f"lora_te2_text_model_encoder_layers_{layer}_"
            at[layer + OPENCLIP.get(part, part)] = key, None
            if part == "attn_in_proj_weight":
                for third, letter in enumerate("qkv"):
                    at[f"{layer}self_attn_{letter}_proj"] = key, third
    return at


def merge(checkpoint, adapter, out):
    weights = load_file(checkpoint)
    at = places(weights)
    for name, dw in modules(adapter):
        key, third = at[name]
        w = weights[key] if third is None else weights[key].chunk(3)[third]
        w.copy_((w.float() + dw).to(w.dtype))
    save_file(weights, out)


def norms(adapter):
    for name, dw in modules(adapter):
        print(name, dw.norm().item())


{"merge": merge, "norms": norms}[sys.argv[1]](*sys.argv[2:])
